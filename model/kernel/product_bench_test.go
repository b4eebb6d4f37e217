package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/par"
)

// shapes are tokens × in × out of linear layers, from MiniLM to Qwen3-0.6B.
var shapes = [][3]int{
	{128, 384, 384}, {1024, 384, 1536}, {1024, 768, 768}, {1024, 768, 3072},
	{2048, 1024, 4096}, {4096, 1024, 3072}, {16, 1024, 3072}, {4, 1024, 3072}, {1, 1024, 3072},
}

// splitTask computes a product by ranges of rows, or of panels where the rows are
// few.
type splitTask struct {
	g *kernel.Product
	s []kernel.Scratch
}

// fewRows is the number of rows below which ranges of panels are handed out.
const fewRows = 56

func (t *splitTask) Do(worker, lo, hi int) {
	if t.g.M < fewRows {
		t.g.Panels(lo, hi, &t.s[worker])
		return
	}
	g := *t.g
	g.A, g.C, g.M = g.A[lo*g.LDA:], g.C[lo*g.LDC:], hi-lo
	g.All(&t.s[worker])
}

// run computes the product in about two ranges for each worker.
func (t *splitTask) run(team *par.Team) {
	n := t.g.M
	if n < fewRows {
		n = t.g.W.Len()
	}
	if team.Size() == 1 {
		t.g.All(&t.s[0])
		return
	}
	parts := 2 * team.Size()
	if grain := (n + parts - 1) / parts; t.g.M >= fewRows {
		team.Run(n, max(grain, 28), t)
	} else {
		team.Run(n, grain, t)
	}
}

func fill(x []float32) []float32 {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range x {
		x[i] = r.Float32() - 0.5
	}
	return x
}

func newProduct(d kernel.DType, m, k, n int) *kernel.Product {
	w := kernel.NewPanels(d, n, k)
	w.Pack(0, fill(make([]float32, n*k)))
	return &kernel.Product{
		C: make([]float32, m*kernel.Stride(n)), LDC: kernel.Stride(n),
		A: fill(make([]float32, m*kernel.Stride(k))), LDA: kernel.Stride(k), W: w, M: m,
	}
}

// BenchmarkProduct reports the median and the best rate of whole products, and
// their shares of the peak measured before and after in the same process.
func BenchmarkProduct(b *testing.B) {
	for _, d := range benchDTypes {
		for _, threads := range []int{1, 2} {
			for _, s := range shapes {
				b.Run(fmt.Sprintf("%v/t%d/%dx%dx%d", d, threads, s[0], s[1], s[2]), func(b *testing.B) {
					team := par.NewTeam(threads)
					defer team.Close()
					g := newProduct(d, s[0], s[1], s[2])
					task := &splitTask{g, make([]kernel.Scratch, threads)}
					task.run(team) // the first writes of C fault its pages in
					peak := kernel.Peak(d)
					var took []float64
					for b.Loop() {
						t := time.Now()
						task.run(team)
						took = append(took, time.Since(t).Seconds())
					}
					peak = max(peak, kernel.Peak(d)) * float64(threads)
					slices.Sort(took)
					rate := func(sec float64) float64 { return 2 * float64(s[0]) * float64(s[1]) * float64(s[2]) / sec / 1e9 }
					median := rate(took[len(took)/2])
					b.ReportMetric(median, "Gop/s")
					b.ReportMetric(100*median/peak, "%peak")
					b.ReportMetric(100*rate(took[0])/peak, "%best")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

// BenchmarkProductFromMemory takes sixteen matrices of 768×3072 in turn on one core, as a
// model's layers do, so that no cache of its own holds one until it is needed again. Reports
// the median and the rate that the best tenth of the products reach.
func BenchmarkProductFromMemory(b *testing.B) {
	for _, d := range benchDTypes {
		for _, m := range []int{8, 32, 128, 512} {
			b.Run(fmt.Sprintf("%v/%d", d, m), func(b *testing.B) {
				var layers [16]*kernel.Product
				for i := range layers {
					layers[i] = newProduct(d, m, 768, 3072)
				}
				var s kernel.Scratch
				var took []float64
				for b.Loop() {
					for _, g := range layers {
						t := time.Now()
						g.All(&s)
						took = append(took, time.Since(t).Seconds())
					}
				}
				slices.Sort(took)
				ops := 2 * float64(m) * 768 * 3072 / 1e9
				b.ReportMetric(ops/took[len(took)/2], "Gop/s")
				b.ReportMetric(ops/took[len(took)/10], "Gop/s-best")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkEpilogue compares a feed-forward product with and without its
// activation on one core.
func BenchmarkEpilogue(b *testing.B) {
	for _, d := range benchDTypes {
		for _, e := range []struct {
			name string
			kernel.Epilogue
		}{{"store", kernel.Store}, {"add", kernel.Add}, {"gelu", kernel.GELU}, {"gelutanh", kernel.GELUTanh}, {"silumul", kernel.SiLUMul}} {
			b.Run(d.String()+"/"+e.name, func(b *testing.B) {
				g := newProduct(d, 512, 768, 3072)
				g.Epilogue = e.Epilogue
				var s kernel.Scratch
				for b.Loop() {
					g.All(&s)
				}
				b.ReportMetric(2*512*768*3072*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gop/s")
			})
		}
	}
}

var benchDTypes = []kernel.DType{kernel.Float32, kernel.BFloat16, kernel.Int8}
