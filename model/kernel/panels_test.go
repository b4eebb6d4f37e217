package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPackIsTheSameInPieces packs a matrix row by row and at once.
func TestPackIsTheSameInPieces(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 4))
		for _, d := range []DType{Float32, BFloat16, Int8} {
			for _, nk := range [][2]int{{1, 1}, {3, 5}, {33, 64}, {70, 1027}, {17, 2100}} {
				n, k := nk[0], nk[1]
				src, _ := walled(r, n*k)
				whole, parts := NewPanels(d, n, k), NewPanels(d, n, k)
				whole.Pack(0, src)
				for i := 0; i < n; {
					step := min(1+r.IntN(20), n-i)
					parts.Pack(i, src[i*k:(i+step)*k])
					i += step
				}
				assert.Equal(t, whole, parts, "%v [%d %d]", d, n, k)
			}
		}
	})
}

func TestPackedWeightsAreEqualAtEveryLevel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, d := range []DType{Float32, BFloat16, Int8} {
		for _, nk := range [][2]int{{1, 1}, {31, 15}, {40, 130}, {50, 1100}} {
			n, k := nk[0], nk[1]
			src, _ := walled(r, n*k)
			specials(r, src)
			var want *Panels
			eachLevel(t, func(t *testing.T) {
				got := NewPanels(d, n, k)
				got.Pack(0, src)
				if want == nil {
					want = got
				}
				require.Equal(t, want.words(), got.words(), "%v [%d %d]", d, n, k)
				require.Equal(t, want.Start, got.Start)
				sameBits(t, want.Scale, got.Scale)
			})
		}
	}
}

// specials scatters values that conversions trip over.
func specials(r *rand.Rand, x []float32) {
	odd := []float32{0, float32(math.Copysign(0, -1)), 1e-45, -1e-40, 0x1p-126, 0x1.fffffep-127, math.MaxFloat32, 0x1.ffp0,
		0x1.01p0, 0x1.03p0, 0x1.008p0, 0x1.018p0, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
		math.Float32frombits(0x7f800001), math.Float32frombits(0xffc12345), 127.5, -126.5}
	for i := range x {
		if r.IntN(4) == 0 {
			x[i] = odd[r.IntN(len(odd))]
		}
	}
}

func TestPanelsBytes(t *testing.T) {
	bytes := func(d DType, n, k int) (all int) {
		for _, part := range NewPanels(d, n, k).Memory() {
			all += len(part)
		}
		return all
	}
	assert.Equal(t, 4*64*10, bytes(Float32, 33, 10))
	assert.Equal(t, 2*64*10, bytes(BFloat16, 33, 9), "an odd K is filled to pairs")
	assert.Equal(t, 64*12+8*64, bytes(Int8, 33, 9), "quads, scales and sums")
}

func TestPanelsRefuse(t *testing.T) {
	tests := []struct {
		name string
		f    func()
	}{
		{"rows beyond the matrix", func() { NewPanels(Float32, 3, 4).Pack(2, make([]float32, 8)) }},
		{"part of a row", func() { NewPanels(Float32, 3, 4).Pack(0, make([]float32, 5)) }},
		{"int8 sums that could overflow", func() { NewPanels(Int8, 1, MaxInt8K+1) }},
		{"an unknown format", func() { NewPanels(Int8+1, 1, 1) }},
		{"a source too short", func() { PackRows(make([]float32, 64), 64, 0, make([]float32, 3), 2, 2, 2) }},
		{"a panel too short", func() { PackRows(make([]float32, 63), 64, 0, make([]float32, 4), 2, 2, 2) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { assert.Panics(t, tt.f) })
	}
}

func BenchmarkPack(b *testing.B) {
	const n, k = 1024, 1024
	src := make([]float32, n*k)
	for i := range src {
		src[i] = float32(i%255) - 127
	}
	for _, l := range Available() {
		for _, d := range []DType{Float32, BFloat16, Int8} {
			b.Run(l.String()+"/"+d.String(), func(b *testing.B) {
				defer SetLevel(l)()
				p := NewPanels(d, n, k)
				b.SetBytes(4 * n * k)
				for b.Loop() {
					p.Pack(0, src)
				}
			})
		}
	}
}
