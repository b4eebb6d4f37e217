package kernel

import (
	"fmt"
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

func TestRowsBecomeStepsInTheirPlaceAndNoOther(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 10))
		for _, x := range []struct {
			cols int
			pack func(dst []float32, panel, step int, src []float32, lds, rows, n int)
		}{{NR, PackCols}, {LeftRows, PackLeft}} {
			for range 300 {
				rows, n, step := 1+r.IntN(40), 1+r.IntN(100), r.IntN(5)
				lds, panel := n+r.IntN(5), (rows+step+r.IntN(3))*x.cols
				panels := (n + x.cols - 1) / x.cols
				src, okS := walled(r, (rows-1)*lds+n)
				dst, okD := walled(r, panels*panel)
				want := append([]float32(nil), dst...)
				for i := range rows {
					for j := range panels * x.cols {
						v := float32(0)
						if j < n {
							v = src[i*lds+j]
						}
						want[j/x.cols*panel+(step+i)*x.cols+j%x.cols] = v
					}
				}
				x.pack(dst, panel, step, src, lds, rows, n)
				sameBits(t, want, dst)
				require.True(t, okS() && okD())
			}
		}
	})
}

func TestBFloat16PackingWritesNothingElse(t *testing.T) {
	for _, l := range Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer SetLevel(l)()
			const n, guard = 45, 0xdeadbeef
			src := randomRows(rand.New(rand.NewPCG(3, 4)), 9, n)
			for _, step := range []int{0, 1, 4, 5} {
				panel := 8 * NR
				dst := make([]uint32, 2*panel)
				for i := range dst {
					dst[i] = guard
				}
				PackColsBF16(dst, panel, step, src, n, 9, n)
				for p := range 2 {
					for i := range 8 {
						inside := i >= step/2 && i <= (step+8)/2
						for j := range NR {
							got := dst[p*panel+i*NR+j]
							if !inside {
								assert.EqualValues(t, guard, got, fmt.Sprint(step, p, i, j))
							} else if i == step/2 && step%2 == 1 && p*NR+j < n {
								assert.EqualValues(t, guard&0xffff, got&0xffff, "the half that was there stays")
							}
						}
					}
				}
			}
		})
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
