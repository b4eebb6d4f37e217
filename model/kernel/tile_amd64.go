//go:build amd64 && !noasm

package kernel

import "unsafe"

//go:generate go -C _asm run . -out .. -only gemm
//go:generate go -C _asm run . -out .. -only tilecompat

// tileKind names a tile kernel.
type tileKind uint8

const (
	noTile tileKind = iota
	f32AVX512
	bf16AVX512
	int8AVX512
	bf16WideningAVX512
	f32AVX2
	bf16WideningAVX2
	int8AVX2
)

// tileOf returns the kernel for d at the active level.
func tileOf(d DType) tileKind {
	kinds := [...][3]tileKind{
		Generic: {},
		AVX2:    {f32AVX2, bf16WideningAVX2, int8AVX2},
		AVX512:  {f32AVX512, bf16WideningAVX512, int8AVX2},
	}
	switch {
	case d == BFloat16 && active.bf16:
		return bf16AVX512
	case d == Int8 && active.vnni:
		return int8AVX512
	}
	return kinds[active.level][d]
}

// wideSteps says whether A takes eight bytes a step at the active level: floats
// for bfloat16, int16 for int8.
func wideSteps(d DType) bool {
	switch tileOf(d) {
	case bf16WideningAVX512, bf16WideningAVX2, int8AVX2:
		return true
	}
	return false
}

// shape returns the most rows of a row tile and its bytes of C's columns.
func (k tileKind) shape() (rows, size int) {
	switch k {
	case f32AVX2, bf16WideningAVX2:
		return 6, 64
	case int8AVX2:
		return 6, 32
	}
	return 14, 128
}

func (t *tileArgs) narrow(kind tileKind) {
	switch kind {
	case f32AVX512:
		tileF32AVX512(t)
	case bf16AVX512:
		tileBF16AVX512(t)
	case int8AVX512:
		tileInt8AVX512(t)
	case bf16WideningAVX512:
		tileBF16WideningAVX512(t)
	case f32AVX2:
		tileF32AVX2(t)
	case bf16WideningAVX2:
		tileBF16WideningAVX2(t)
	case int8AVX2:
		tileInt8AVX2(t)
	}
}

// wide computes several panels at once for a few rows, if there is a kernel.
func (t *tileArgs) wide(kind tileKind) bool {
	switch kind {
	case f32AVX512:
		tileWideF32AVX512(t)
	case bf16AVX512:
		tileWideBF16AVX512(t)
	case int8AVX512:
		tileWideInt8AVX512(t)
	default:
		return false
	}
	return true
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
	if x.m <= wideRows {
		t.mr = x.m
		for ; p+wide <= x.n; p += wide {
			t.at(x, c[p*NR:], 0, p, 0)
			if !t.wide(kind) {
				break
			}
		}
	}
	rows, size := kind.shape()
	calls := 1 + x.m*x.words*x.k/callSteps
	for ; p < x.n; p++ {
		for part := 0; part < 4*NR; part += size {
			for i := range calls {
				m0, m1 := i*x.m/calls, (i+1)*x.m/calls
				if m0 < m1 {
					t.at(x, c[m0*ldc+p*NR:], m0, p, part)
					t.split(m1-m0, rows)
					t.narrow(kind)
				}
			}
		}
	}
	return true
}

// callSteps is the number of steps of rows that one call takes, because the
// runtime cannot stop a goroutine in one: 100 µs on Zen 5.
const callSteps = RowBlock * 3500

// at moves the arguments to row i of panel p, part bytes into its columns; c
// begins at that row and panel.
func (t *tileArgs) at(x *operand, c []float32, i, p, part int) {
	col := p*NR + part/4
	t.c = unsafe.Pointer(&c[part/4])
	t.a = unsafe.Pointer(&x.a[i*x.lda])
	t.w = unsafe.Pointer(&x.w[p*x.panel+part/4])
	t.bias = unsafe.Pointer(&zeros)
	if x.bias != nil {
		t.bias = unsafe.Pointer(&x.bias[col])
	}
	if x.dtype == Int8 {
		t.scale, t.scaled = unsafe.Pointer(&x.scale[i]), 0
		t.wscale = unsafe.Pointer(&x.wscale[col])
		t.wbias = t.bias
		t.bias = unsafe.Pointer(&x.start[col])
	}
}
