package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// fence surrounds the slices that kernels write in tests: a NaN, so that a read
// shows in the result and a write in the fence.
const fence = 0x7fc0dead

// fenced is a slice between fence words.
type fenced struct {
	s   []float32
	all []float32
	at  int
}

// newFenced returns n zeros that begin offset elements into an allocation.
func newFenced(n, offset int) *fenced {
	g := &fenced{all: make([]float32, 32+offset+n+32), at: 32 + offset}
	for i := range g.all {
		g.all[i] = math.Float32frombits(fence)
	}
	g.s = g.all[g.at : g.at+n : g.at+n]
	clear(g.s)
	return g
}

func (g *fenced) normal(r *rand.Rand) {
	for i := range g.s {
		g.s[i] = float32(r.NormFloat64())
	}
}

func (g *fenced) check(t *testing.T) {
	t.Helper()
	for i, v := range g.all {
		if i < g.at || i >= g.at+len(g.s) {
			require.Equal(t, uint32(fence), math.Float32bits(v), "fence word %d of a slice at [%d, %d)", i, g.at, g.at+len(g.s))
		}
	}
}

func bits(x []float32) []uint32 {
	u := make([]uint32, len(x))
	for i, v := range x {
		u[i] = math.Float32bits(v)
	}
	return u
}

// lengths are those at which a kernel takes another path: up to two turns of the
// widest loop and one more.
func lengths() []int {
	var n []int
	for i := range 130 {
		n = append(n, i)
	}
	return append(n, 255, 256, 257)
}

// uniform returns n random numbers in [-2, 2) between fences, and what checks
// the fences.
func uniform(r *rand.Rand, n int) ([]float32, *fenced) {
	f := newFenced(n, r.IntN(5))
	for i := range f.s {
		f.s[i] = r.Float32()*4 - 2
	}
	return f.s, f
}
