//go:build amd64 && !noasm

package kernel

import "unsafe"

//go:generate go -C _asm run . -out .. -only gemm

// tilesAsm runs the float32 tiles of the active level. The caller has checked
// every length; m, k and n are positive.
func tilesAsm(c []float32, ldc int, a []float32, lda int, w []float32, panel int, bias []float32, m, k, n int, add bool) {
	t := tileArgs{ldc: 4 * ldc, a: unsafe.Pointer(&a[0]), lda: 4 * lda, panel: 4 * panel, k: k, add: add}
	avx512 := active.level == AVX512
	p := 0
	if avx512 && m <= wideRows {
		t.mr = m
		for ; p+wide <= n; p += wide {
			t.at(c, w, panel, bias, p)
			tileWideF32AVX512(&t)
		}
	}
	if avx512 {
		for ; p < n; p++ {
			t.at(c, w, panel, bias, p)
			t.split(m, 14)
			tileF32AVX512(&t)
		}
		return
	}
	for ; p < n; p++ {
		t.at(c, w, panel, bias, p)
		t.split(m, 6)
		tileF32AVX2(&t)
		t.at(c, w, panel, bias, p)
		t.c, t.w, t.bias = unsafe.Add(t.c, 64), unsafe.Add(t.w, 64), unsafe.Add(t.bias, 64)
		t.split(m, 6)
		tileF32AVX2(&t)
	}
}

// at moves the arguments to panel p.
func (t *tileArgs) at(c, w []float32, panel int, bias []float32, p int) {
	t.c = unsafe.Pointer(&c[p*NR])
	t.w = unsafe.Pointer(&w[p*panel])
	t.bias = unsafe.Pointer(&zeros)
	if bias != nil {
		t.bias = unsafe.Pointer(&bias[p*NR])
	}
}
