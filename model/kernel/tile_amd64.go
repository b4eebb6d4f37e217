//go:build amd64 && !noasm

package kernel

import "unsafe"

//go:generate go -C _asm run . -out .. -only gemm

// tileKind names a pair of tile kernels.
type tileKind uint8

const (
	noTile tileKind = iota
	f32AVX512
	bf16AVX512
	int8AVX512
	f32AVX2
)

// tileOf returns the kernels for d at the active level.
func tileOf(d DType) tileKind {
	switch {
	case d == Float32 && active.level == AVX512:
		return f32AVX512
	case d == Float32 && active.level == AVX2:
		return f32AVX2
	case d == BFloat16 && active.bf16:
		return bf16AVX512
	case d == Int8 && active.vnni:
		return int8AVX512
	}
	return noTile
}

func (t *tileArgs) narrow(kind tileKind) {
	switch kind {
	case f32AVX512:
		tileF32AVX512(t)
	case bf16AVX512:
		tileBF16AVX512(t)
	case int8AVX512:
		tileInt8AVX512(t)
	}
}

func (t *tileArgs) wide(kind tileKind) {
	switch kind {
	case f32AVX512:
		tileWideF32AVX512(t)
	case bf16AVX512:
		tileWideBF16AVX512(t)
	case int8AVX512:
		tileWideInt8AVX512(t)
	}
}

// mulAsm computes x unless the active level has no kernel for it. The caller has
// checked every length; m, k and n are positive.
func mulAsm(x *operand, c []float32, ldc int, add bool) bool {
	kind := tileOf(x.dtype)
	if kind == noTile {
		return false
	}
	t := tileArgs{ldc: 4 * ldc, lda: 4 * x.lda, panel: 4 * x.panel, k: x.k, add: add}
	p := 0
	if kind != f32AVX2 && x.m <= wideRows {
		t.mr = x.m
		for ; p+wide <= x.n; p += wide {
			t.at(x, c, p)
			t.wide(kind)
		}
	}
	for ; p < x.n; p++ {
		t.at(x, c, p)
		if kind != f32AVX2 {
			t.split(x.m, 14)
			t.narrow(kind)
			continue
		}
		t.split(x.m, 6)
		tileF32AVX2(&t)
		t.at(x, c, p)
		t.c, t.w, t.bias = unsafe.Add(t.c, 64), unsafe.Add(t.w, 64), unsafe.Add(t.bias, 64)
		t.split(x.m, 6)
		tileF32AVX2(&t)
	}
	return true
}

// at moves the arguments to row 0 of panel p.
func (t *tileArgs) at(x *operand, c []float32, p int) {
	t.c = unsafe.Pointer(&c[p*NR])
	t.a = unsafe.Pointer(&x.a[0])
	t.w = unsafe.Pointer(&x.w[p*x.panel])
	t.bias = unsafe.Pointer(&zeros)
	if x.bias != nil {
		t.bias = unsafe.Pointer(&x.bias[p*NR])
	}
	if x.dtype == Int8 {
		t.scale = unsafe.Pointer(&x.scale[0])
		t.wscale = unsafe.Pointer(&x.wscale[p*NR])
		t.wbias = t.bias
		t.bias = unsafe.Pointer(&x.start[p*NR])
	}
}
