package kernel

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTransposeTurnsEveryShape(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			for rows := 0; rows <= 67; rows++ {
				for _, cols := range []int{0, 1, 5, 31, 32, 33, 64, 65, 129} {
					lds, ldd := cols+3, rows+2
					src, dst := make([]float32, rows*lds+3), make([]float32, cols*ldd+2)
					for i := range src {
						src[i] = float32(i)
					}
					for i := range dst {
						dst[i] = -1
					}
					Transpose(dst, ldd, src, lds, rows, cols)
					for j := range cols {
						for i := range ldd {
							want := float32(-1) // the gap between rows stays
							if i < rows {
								want = src[i*lds+j]
							}
							require.Equal(t, want, dst[j*ldd+i], "%d rows, %d columns", rows, cols)
						}
					}
				}
			}
		})
	}
}
