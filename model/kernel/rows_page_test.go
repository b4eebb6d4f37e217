//go:build linux

package kernel

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// page returns n elements between two pages that fault when touched: at the
// start of the page between them, or at its end.
func page(t *testing.T, n int, end bool) []float32 {
	t.Helper()
	size := unix.Getpagesize()
	inner := (4*n + size - 1) / size * size
	m, err := unix.Mmap(-1, 0, inner+2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Munmap(m) })
	require.NoError(t, unix.Mprotect(m[:size], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(m[size+inner:], unix.PROT_NONE))
	at := size
	if end {
		at += inner - 4*n
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&m[at])), n)
}

// TestRowsTouchNothingBeyondTheirSlices runs every operation on slices that end
// or begin at a page that faults: the process dies on a stray access.
func TestRowsTouchNothingBeyondTheirSlices(t *testing.T) {
	for _, end := range []bool{false, true} {
		for _, n := range []int{1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 129} {
			x, y, z, w := page(t, n, end), page(t, n, end), page(t, n, end), page(t, n, end)
			h := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(page(t, (n+1)/2, false)))), n)
			if end {
				all := page(t, (n+1)/2, true)
				h = unsafe.Slice((*uint16)(unsafe.Pointer(&all[0])), 2*len(all))[2*len(all)-n:]
			}
			eachLevel(t, func(t *testing.T) {
				for _, e := range []Epilogue{GELU, GELUTanh, ReLU, Tanh} {
					Activate(x, n, 1, n, e)
				}
				Gate(x, n, y, n, z, n, 1, n, SiLUMul)
				Gate(x, n, y, n, z, n, 1, n, GELUTanhMul)
				for lo := range min(n, 20) {
					Softmax(x, lo, n, 1)
					Softmax(x, 0, n-lo, 1)
				}
				rmsNormRow(x, y, w, 1e-6)
				layerNormRow(x, y, w, z, 1e-6)
				layerNormRow(x, y, w, nil, 1e-6)
				RotateRows(x, n, 1, 1, n, y[:n/2], z[:n/2], n/2, n/2)
				RotateRows(x[:n/2*2], n, 1, 1, n/2*2, y[n-n/2:], z[n-n/2:], n/2, n/2)
				AddTo(x, y)
				AddScaled(x, 2, y)
				Dot(x, y)
				RoundBF16(h, x)
				WidenBF16(x, h)
				q := quads(words(w))
				quantRow(q[len(q)-4*steps(Int8, n):], x, 1, quantZero)
			})
		}
	}
}
