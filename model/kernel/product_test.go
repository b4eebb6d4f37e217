package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var allDTypes = []DType{Float32, BFloat16, Int8}

// interpreted makes level AMXFloat32 the one in use, by an interpreter of its assembly; nil
// where that cannot be.
var interpreted func(t testing.TB) (restore func())

// eachEngine runs f at every level, at those of vectors without the
// instructions for bfloat16 and int8, at that of bfloat16 where it is slower than float32,
// and on a matrix unit by its interpreter.
func eachEngine(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	eachLevel(t, f)
	if cpuHas.bf16 || cpuHas.vnni {
		l := min(cpuHas.level, AVX512)
		t.Run(l.String()+" alone", func(t *testing.T) {
			defer setFeatures(features{level: l})()
			f(t)
		})
	}
	if cpuHas.avxVNNI {
		t.Run("avx2 alone", func(t *testing.T) {
			defer setFeatures(features{level: AVX2})()
			f(t)
		})
	}
	if cpuHas.bf16 && cpuHas.level < AVX512BF16 {
		t.Run(AVX512BF16.String()+", slower", func(t *testing.T) {
			x := cpuHas
			x.level = AVX512BF16
			defer setFeatures(x)()
			f(t)
		})
	}
	if interpreted != nil {
		t.Run("amx interpreted", func(t *testing.T) {
			defer interpreted(t)()
			f(t)
		})
	}
}

// problem is a product whose slices stand between guard words.
type problem struct {
	Product
	weights []float32 // (N, K)
	before  []float32 // C
	intact  func() bool
}

func newProblem(r *rand.Rand, d DType, m, k, n int, e Epilogue, bias bool) *problem {
	p := &problem{}
	cols := Pad(n)
	if e.Gated() {
		n = 2 * Pad(n)
	}
	p.weights = make([]float32, n*k)
	for i := range p.weights {
		p.weights[i] = r.Float32()*2 - 1
	}
	w := NewPanels(d, n, k)
	w.Pack(0, p.weights)
	p.Product = Product{W: w, M: m, Epilogue: e, LDA: k + r.IntN(9), LDC: cols + r.IntN(9)}
	checks := make([]func() bool, 4)
	p.A, checks[0] = walled(r, max(0, (m-1)*p.LDA+k))
	p.C, checks[1] = walled(r, max(0, (m-1)*p.LDC+cols))
	checks[2] = fuse(p.C, p.LDC, cols)
	checks[3] = func() bool { return true }
	if bias {
		p.Bias, checks[3] = walled(r, Pad(n))
	}
	p.before = append([]float32(nil), p.C...)
	p.intact = func() bool { return checks[0]() && checks[1]() && checks[2]() && checks[3]() }
	return p
}

// at returns column j of row i before the epilogue in float64, from operands
// rounded as the format wants, and Σ|terms|. For Int8 the rounding of a row and
// a column is known only by its bound, which is added to slack.
func (p *problem) at(i, j int) (y, abs, slack float64) {
	if p.Bias != nil {
		y, abs = float64(p.Bias[j]), math.Abs(float64(p.Bias[j]))
	}
	if j >= p.W.N {
		return y, abs, 0
	}
	a, w := p.A[i*p.LDA:][:p.W.K], p.weights[j*p.W.K:][:p.W.K]
	sa, sw := float64(maxAbs(a))/127, float64(maxAbs(w))/127
	for k := range a {
		x, v := float64(a[k]), float64(w[k])
		if p.W.DType == BFloat16 {
			x, v = float64(bf16Side(a[k])), float64(bf16Value(w[k]))
		}
		y, abs = y+x*v, abs+math.Abs(x*v)
		if p.W.DType == Int8 { // half a unit each
			slack += 0.5*sa*math.Abs(v) + 0.5*sw*math.Abs(x) + 0.25*sa*sw
		}
	}
	return y, abs, slack
}

func bf16Value(v float32) float32 { return math.Float32frombits(uint32(bf16(v)) << 16) }

// bf16Side is what a product in bfloat16 makes of an activation.
func bf16Side(v float32) float32 {
	if HasBF16() {
		return bf16Value(v)
	}
	return v
}

func TestProductAgreesWithFloat64(t *testing.T) {
	for _, d := range allDTypes {
		t.Run(d.String(), func(t *testing.T) {
			eachEngine(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(6, uint64(d)))
				var s Scratch
				for range 40 {
					m, k, n := r.IntN(131), 1+r.IntN(130), 1+r.IntN(200)
					e := []Epilogue{Store, Add}[r.IntN(2)]
					p := newProblem(r, d, m, k, n, e, r.IntN(2) == 0)
					p.All(&s)
					require.True(t, p.intact(), "guards of %d×%d×%d", m, k, n)
					for i := range m {
						for j := range Pad(n) {
							want, abs, slack := p.at(i, j)
							if e == Add {
								want += float64(p.before[i*p.LDC+j])
								abs += math.Abs(float64(p.before[i*p.LDC+j]))
							}
							within(t, want, p.C[i*p.LDC+j], sumBound(k, abs)+slack, "[%d %d] of %d×%d×%d", i, j, m, k, n)
						}
					}
				}
			})
		})
	}
}

// TestInt8IsEqualAtEveryLevel: its sums are exact.
func TestInt8IsEqualAtEveryLevel(t *testing.T) {
	for _, shape := range [][3]int{{1, 1, 1}, {3, 7, 130}, {5, 64, 33}, {30, 129, 70}, {112, 96, 256}} {
		var want []float32
		eachEngine(t, func(t *testing.T) {
			p := newProblem(rand.New(rand.NewPCG(7, 7)), Int8, shape[0], shape[1], shape[2], Add, true)
			p.All(&Scratch{})
			if want == nil {
				want = p.C
			}
			sameBits(t, want, p.C, shape)
		})
	}
}

// newBF16Problem is a product of numbers of one of four kinds: of moderate size, of any size,
// and of sizes whose products are about the smallest normal number.
func newBF16Problem(seed uint64, m, k, n int) *problem {
	r := rand.New(rand.NewPCG(seed, 13))
	middle, spread := []int{127, 127, 64, 70}[seed%4], []int{40, 250, 8, 30}[seed%4]
	value := func() uint16 {
		return uint16(r.IntN(2)<<15 | (middle+r.IntN(spread)-spread/2)<<7 | r.IntN(128))
	}
	p := newProblem(r, BFloat16, m, k, n, Epilogue(seed%2), true)
	for j := range p.W.N {
		for i := range p.W.K {
			v := value()
			p.weights[j*k+i] = math.Float32frombits(uint32(v) << 16)
			p.W.BF16[j/NR*up(k, 2)*NR+i/2*2*NR+j%NR*2+i%2] = v
		}
	}
	for i := range p.M {
		for k := range p.W.K {
			p.A[i*p.LDA+k] = math.Float32frombits(uint32(value())<<16 | r.Uint32()&0xffff)
		}
	}
	for j := range p.Bias {
		p.Bias[j] = math.Float32frombits(uint32(value())<<16|r.Uint32()&0xffff) * 0x1p-60
	}
	return p
}

// sameNumbers is sameBits but for what a NaN is made of.
func sameNumbers(t *testing.T, want, got []float32, msg ...any) {
	t.Helper()
	for i := range want {
		if want[i] != want[i] && got[i] != got[i] {
			want[i], got[i] = 0, 0
		}
	}
	sameBits(t, want, got, msg...)
}

// TestBFloat16IsTheFloat32ProductOfItsWeights where both are float32 arithmetic: of any
// numbers, by tiles that widen weights and tiles that find them widened, over one part of a
// panel and several.
func TestBFloat16IsTheFloat32ProductOfItsWeights(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		if HasBF16() {
			return // TestBFloat16PairsAreTheirSpecification, TestMatrixTilesAreTheirSpecification
		}
		r := rand.New(rand.NewPCG(7, 8))
		var s Scratch
		for n := range uint64(60) {
			m, k := 1+r.IntN(130), 1+r.IntN(90)
			if n%6 == 0 && Active() != Generic {
				k = 2*keptSteps*r.IntN(4) + r.IntN(60) + 1
			}
			p := newBF16Problem(n, m, k, 70)
			q := p.Product
			q.W, q.C = NewPanels(Float32, 70, k), append([]float32(nil), p.C...)
			q.W.Pack(0, p.weights)
			p.All(&s)
			q.All(&s)
			require.True(t, p.intact(), "guards of %d×%d", m, k)
			sameNumbers(t, q.C, p.C, n, m, k)
		}
	})
}

// TestBFloat16PairsAreTheirSpecification: of each pair the second product is added first,
// then the first, each sum rounded to nearest even, and denormals are zero.
func TestBFloat16PairsAreTheirSpecification(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		if !HasBF16() || Active() >= AMX {
			return
		}
		r := rand.New(rand.NewPCG(7, 9))
		for n := range uint64(60) {
			m, k := 1+r.IntN(40), 1+r.IntN(90)
			p := newBF16Problem(n, m, k, 70)
			want := append([]float32(nil), p.C...)
			for i := range m {
				a := append(p.A[i*p.LDA:][:k:k], 0)
				for j := range Pad(p.W.N) {
					acc := p.Bias[j]
					w := make([]float32, k+1)
					if j < p.W.N {
						copy(w, p.weights[j*k:][:k])
					}
					for kk := 0; kk < k; kk += 2 {
						for _, h := range []int{kk + 1, kk} {
							acc = fusedBF16(normal(acc), uint32(bf16(a[h]))<<16, math.Float32bits(w[h]))
						}
					}
					if p.Epilogue == Add {
						acc += want[i*p.LDC+j]
					}
					want[i*p.LDC+j] = acc
				}
			}
			p.All(&Scratch{})
			sameNumbers(t, want, p.C, n, m, k)
		}
	})
}

func TestProductRowsDoNotDependOnTheirCompany(t *testing.T) {
	for _, d := range allDTypes {
		for _, e := range []Epilogue{Store, Add, GELU, GELUTanh, ReLU, SiLUMul, GELUTanhMul, GELUMul} {
			eachEngine(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(8, uint64(e)))
				m := 130
				if Active() == Generic {
					m = 20
				}
				p := newProblem(r, d, m, 70, 96, e, true)
				var s Scratch
				p.All(&s)
				for range 8 {
					lo := r.IntN(m)
					hi := lo + 1 + r.IntN(min(m-lo, 40))
					q := p.Product
					q.M = hi - lo
					q.A = p.A[lo*p.LDA:]
					q.C = append([]float32(nil), p.before[lo*p.LDC:]...)
					step := 2 * (1 + r.IntN(2))
					for p0 := 0; p0 < q.W.Len(); p0 += step { // panels in ranges too
						q.Panels(p0, min(p0+step, q.W.Len()), &s)
					}
					for i := range q.M {
						sameBits(t, p.C[(lo+i)*p.LDC:][:96], q.C[i*p.LDC:][:96], d, e, lo, hi)
					}
				}
			})
		}
	}
}

func TestEpilogueIsTheRowOperationOfTheProduct(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, e := range []Epilogue{GELU, GELUTanh, ReLU} {
			p := newProblem(rand.New(rand.NewPCG(9, 9)), Float32, 40, 33, 70, e, true)
			var s Scratch
			p.All(&s)
			plain := p.Product
			plain.Epilogue, plain.C = Store, append([]float32(nil), p.before...)
			plain.All(&s)
			for i := range p.M {
				row := plain.C[i*p.LDC:][:96]
				Activate(row, 96, 1, 96, e)
				sameBits(t, row, p.C[i*p.LDC:][:96], e)
			}
			require.True(t, p.intact())
		}
		for _, e := range []Epilogue{SiLUMul, GELUTanhMul, GELUMul} {
			p := newProblem(rand.New(rand.NewPCG(9, 10)), Float32, 40, 33, 70, e, true)
			var s Scratch
			p.All(&s)
			plain := p.Product
			plain.Epilogue, plain.LDC = Store, plain.W.Len()*NR
			plain.C = make([]float32, p.M*plain.LDC)
			plain.All(&s)
			for i := range p.M {
				want := make([]float32, 96)
				for j := 0; j < 96; j += NR {
					both := plain.C[i*plain.LDC+2*j:]
					Gate(want[j:j+NR], NR, both[:NR], NR, both[NR:2*NR], NR, 1, NR, e)
				}
				sameBits(t, want, p.C[i*p.LDC:][:96], e)
			}
			require.True(t, p.intact())
		}
	})
}

// TestProductKeepsWhatTheEpilogueTakes: Before is the product that is stored, and C as it is
// without Before.
func TestProductKeepsWhatTheEpilogueTakes(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, e := range []Epilogue{GELU, Tanh, SiLUMul, GELUTanhMul} {
			for _, m := range []int{1, 40, RowBlock + 1} {
				p := newProblem(rand.New(rand.NewPCG(9, 11)), Float32, m, 33, 70, e, true)
				var s Scratch
				p.All(&s)
				cols := p.W.Len() * NR
				plain, kept := p.Product, p.Product
				plain.Epilogue, plain.LDC, plain.C = Store, cols, make([]float32, m*cols)
				plain.All(&s)
				kept.C = slices.Clone(p.before)
				kept.LDBefore, kept.Before = cols+7, make([]float32, m*(cols+7))
				kept.All(&s)
				sameBits(t, p.C, kept.C, e)
				for i := range m {
					sameBits(t, plain.C[i*cols:][:cols], kept.Before[i*kept.LDBefore:][:cols], e, " before")
				}
				require.True(t, p.intact())
			}
		}
	})
}

func TestProductHidesNoBadActivation(t *testing.T) {
	for _, d := range allDTypes {
		for _, bad := range []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())} {
			eachEngine(t, func(t *testing.T) {
				p := newProblem(rand.New(rand.NewPCG(10, 10)), d, 20, 40, 64, Store, true)
				p.A[7*p.LDA+39] = bad
				p.All(&Scratch{})
				for i := range p.M {
					for j := range 64 {
						v := float64(p.C[i*p.LDC+j])
						require.Equal(t, i == 7, math.IsNaN(v) || math.IsInf(v, 0), "%v: row %d: %v", d, i, v)
					}
				}
			})
		}
	}
}

func TestProductOfTinyAndZeroRows(t *testing.T) {
	eachEngine(t, func(t *testing.T) {
		p := newProblem(rand.New(rand.NewPCG(11, 11)), Int8, 3, 16, 32, Store, true)
		for k := range 16 {
			p.A[k], p.A[p.LDA+k] = 0, 0x1p-130
		}
		p.All(&Scratch{})
		sameBits(t, p.Bias, p.C[:32])
		sameBits(t, p.Bias, p.C[p.LDC:][:32])
	})
}

func TestProductRefuses(t *testing.T) {
	tests := []struct {
		name string
		edit func(p *Product)
	}{
		{"A too short", func(p *Product) { p.A = p.A[:len(p.A)-1] }},
		{"a row stride below K", func(p *Product) { p.LDA = p.W.K - 1 }},
		{"C too short", func(p *Product) { p.C = p.C[:len(p.C)-1] }},
		{"a row stride below N", func(p *Product) { p.LDC = 63 }},
		{"a short bias", func(p *Product) { p.Bias = p.Bias[:63] }},
		{"panels that are too short", func(p *Product) { p.W = &Panels{N: 64, K: 8, F32: make([]float32, 64*8-1)} }},
		{"odd panels of a gated product", func(p *Product) { p.W = NewPanels(Float32, 96, 8); p.Epilogue = SiLUMul; p.Bias = nil; p.LDC = 64 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newProblem(rand.New(rand.NewPCG(1, 1)), Float32, 5, 8, 64, Store, true).Product
			tt.edit(&p)
			assert.Panics(t, func() { p.All(&Scratch{}) })
		})
	}
}

func TestProductAllocatesNothing(t *testing.T) {
	for _, d := range allDTypes {
		for _, e := range []Epilogue{Store, Add, GELU, SiLUMul} {
			p := newProblem(rand.New(rand.NewPCG(1, 1)), d, 20, 33, 64, e, true)
			var s Scratch
			p.All(&s)
			assert.Zero(t, testing.AllocsPerRun(10, func() { p.All(&s) }), "%v", d)
		}
	}
}

// TestLongRowsAreSplitIntoSeveralCalls crosses the bound of one call.
func TestLongRowsAreSplitIntoSeveralCalls(t *testing.T) {
	for _, d := range allDTypes {
		for _, l := range Available()[1:] {
			func() {
				defer SetLevel(l)()
				const m, k = 45, 4*RowBlock*3500/45 + 3
				a := make([]float32, m*k)
				w := NewPanels(d, 32, min(k, MaxInt8K))
				row := make([]float32, w.K)
				for i := range row {
					row[i] = float32(i%3) - 1 // −1, 0, 1: exact in every format
				}
				w.Pack(5, row)
				for i := range m {
					for j := range w.K {
						a[i*k+j] = float32((i+j)%3) - 1
					}
				}
				p := Product{C: make([]float32, m*NR), LDC: NR, A: a, LDA: k, W: w, M: m}
				p.All(&Scratch{})
				for i := range m {
					want := float32(0)
					for j := range w.K {
						want += a[i*k+j] * row[j]
					}
					require.Equal(t, want, p.C[i*NR+5], "%v %v, row %d", l, d, i)
					require.Zero(t, p.C[i*NR+6])
				}
			}()
		}
	}
}

// FuzzProduct compares every level with the specification.
func FuzzProduct(f *testing.F) {
	f.Add(uint8(1), uint8(1), uint8(1), uint8(0), uint8(0), uint64(1))
	f.Add(uint8(15), uint8(33), uint8(130), uint8(1), uint8(3), uint64(7))
	f.Add(uint8(112), uint8(7), uint8(64), uint8(2), uint8(5), uint64(9))
	f.Fuzz(func(t *testing.T, mm, kk, nn, dd, ee uint8, seed uint64) {
		m, k, n := int(mm), 1+int(kk), 1+int(nn)
		d, e := DType(dd%3), Epilogue(ee)%(GELUMul+1)
		first := map[bool][]float32{} // of those that round activations to bfloat16, and of the others
		eachEngine(t, func(t *testing.T) {
			p := newProblem(rand.New(rand.NewPCG(seed, 5)), d, m, k, n, e, seed%2 == 0)
			p.All(&Scratch{})
			require.True(t, p.intact())
			rounds := d == BFloat16 && HasBF16()
			if first[rounds] == nil {
				first[rounds] = p.C
			}
			want := first[rounds]
			// Without activation int8 leaves no freedom; float32 sums carry one rounding a
			// step on both sides, an activation has a slope of at most 1.13 and an error of
			// 1e-6, and a gate multiplies two sums.
			bound := 2.3*sumBound(k, float64(k)+2) + 1e-6
			switch {
			case e.Gated():
				bound *= 2 * float64(k+2)
			case d == Int8 && (e == Store || e == Add):
				sameBits(t, want, p.C)
				return
			}
			for i := range want {
				if i%p.LDC < Pad(n) {
					within(t, float64(want[i]), p.C[i], bound, "element %d of %d×%d×%d", i, m, k, n)
				}
			}
		})
	})
}

// BenchmarkLevel compares the levels on one core, for a batch, sixteen rows and one.
func BenchmarkLevel(b *testing.B) {
	for _, l := range Available() {
		for _, d := range allDTypes {
			for _, m := range []int{224, 16, 1} {
				b.Run(fmt.Sprintf("%v/%v/%d", l, d, m), func(b *testing.B) {
					defer SetLevel(l)()
					k, n := 768, 768
					if l == Generic {
						m = min(m, 8)
					}
					p := newProblem(rand.New(rand.NewPCG(1, 1)), d, m, k, n, Store, false)
					var s Scratch
					for b.Loop() {
						p.All(&s)
					}
					b.ReportMetric(2*float64(m*k*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gop/s")
				})
			}
		}
	}
}
