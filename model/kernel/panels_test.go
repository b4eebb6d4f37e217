package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPackRowsPutsEveryValueInItsPlaceAndNoOther(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 9))
		for range 300 {
			rows, k, row := 1+r.IntN(70), 1+r.IntN(70), r.IntN(40)
			lds, panel := k+r.IntN(5), k*NR+r.IntN(3)
			src, okS := walled(r, (rows-1)*lds+k)
			dst, okD := walled(r, ((row+rows-1)/NR)*panel+k*NR)
			want := append([]float32(nil), dst...)
			for i := range rows {
				for kk := range k {
					j := row + i
					want[j/NR*panel+kk*NR+j%NR] = src[i*lds+kk]
				}
			}
			PackRows(dst, panel, row, src, lds, rows, k)
			sameBits(t, want, dst, rows, " rows at ", row, ", k ", k)
			require.True(t, okS() && okD())
		}
	})
}

func TestPackColsPutsEveryValueInItsPlaceAndNoOther(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 10))
	for range 300 {
		rows, n, step := 1+r.IntN(40), 1+r.IntN(100), r.IntN(5)
		lds, panel := n+r.IntN(5), (rows+step+r.IntN(3))*NR
		src, okS := walled(r, (rows-1)*lds+n)
		dst, okD := walled(r, Pad(n)/NR*panel)
		want := append([]float32(nil), dst...)
		for i := range rows {
			for j := range Pad(n) {
				v := float32(0)
				if j < n {
					v = src[i*lds+j]
				}
				want[j/NR*panel+(step+i)*NR+j%NR] = v
			}
		}
		PackCols(dst, panel, step, src, lds, rows, n)
		sameBits(t, want, dst)
		require.True(t, okS() && okD())
	}
}

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
	assert.Equal(t, 4*64*10, NewPanels(Float32, 33, 10).Bytes())
	assert.Equal(t, 2*64*10, NewPanels(BFloat16, 33, 9).Bytes(), "an odd K is filled to pairs")
	assert.Equal(t, 64*12+8*64, NewPanels(Int8, 33, 9).Bytes(), "quads, scales and sums")
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

func TestDType(t *testing.T) {
	for _, d := range []DType{Float32, BFloat16, Int8} {
		got, err := ParseDType(d.String())
		require.NoError(t, err)
		assert.Equal(t, d, got)
	}
	_, err := ParseDType("float16")
	assert.ErrorContains(t, err, `"float16"`)
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

// BenchmarkPackAttention packs the keys and values of one head of 128 tokens.
func BenchmarkPackAttention(b *testing.B) {
	const tokens, d, ld = 128, 64, 784
	src := make([]float32, tokens*ld)
	keys, values := make([]float32, Pad(tokens)*d), make([]float32, Pad(d)*tokens)
	b.Run("keys", func(b *testing.B) {
		b.SetBytes(4 * tokens * d)
		for b.Loop() {
			PackRows(keys, d*NR, 0, src, ld, tokens, d)
		}
	})
	b.Run("values", func(b *testing.B) {
		b.SetBytes(4 * tokens * d)
		for b.Loop() {
			PackCols(values, tokens*NR, 0, src, ld, tokens, d)
		}
	})
}
