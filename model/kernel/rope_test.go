package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRotate(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 1))
		for half := range 67 {
			const rows, heads = 3, 3
			d := 2*half + half%5
			ldx, ldt := heads*d+half%3, half+half%2
			x := newFenced((rows-1)*ldx+heads*d, half%7)
			x.normal(r)
			cos, sin := newFenced((rows-1)*ldt+half, 1), newFenced((rows-1)*ldt+half, 3)
			for i := range cos.s {
				s, c := math.Sincos(r.Float64() * 7)
				cos.s[i], sin.s[i] = float32(c), float32(s)
			}
			old := append([]float32(nil), x.s...)
			RotateRows(x.s, ldx, rows, heads, d, cos.s, sin.s, ldt, half)
			for i := range rows {
				row := append([]float32(nil), old[i*ldx:][:heads*d]...)
				for h := range heads {
					for j := range half {
						a, b := float64(row[h*d+j]), float64(row[h*d+half+j])
						c, s := float64(cos.s[i*ldt+j]), float64(sin.s[i*ldt+j])
						// Two roundings of products below |a|+|b|.
						bound := 1.5e-7 * (math.Abs(a) + math.Abs(b))
						require.InDelta(t, a*c-b*s, x.s[i*ldx+h*d+j], bound)
						require.InDelta(t, b*c+a*s, x.s[i*ldx+h*d+half+j], bound)
					}
				}
				RotateRows(row, heads*d, 1, heads, d, cos.s[i*ldt:], sin.s[i*ldt:], half, half)
				require.Equal(t, bits(row), bits(x.s[i*ldx:][:heads*d]), "half %d, row %d", half, i)
			}
			x.check(t)
			cos.check(t)
			sin.check(t)
		}
	})
	assert.Panics(t, func() { RotateRows(make([]float32, 8), 8, 1, 1, 8, make([]float32, 5), make([]float32, 5), 5, 5) })
}
