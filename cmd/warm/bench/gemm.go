package bench

import (
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/par"
)

// bandwidth returns what all threads read from memory in GB/s.
func (b *Engine) bandwidth() float64 {
	defer debug.FreeOSMemory() // or the buffer would count as the model's
	buf := make([]byte, 256<<20)
	for i := range buf {
		buf[i] = byte(i) // pages of their own: untouched ones are all the same zero page
	}
	n := len(buf) / b.Threads
	var next sync.Mutex
	at := 0
	return onAll(b.Threads, func() float64 {
		next.Lock()
		part := buf[at : at+n]
		at += n
		next.Unlock()
		return kernel.ReadBandwidth(part, 5)
	})
}

// gemmTask multiplies with the rows divided among the workers, as the engine does.
type gemmTask struct {
	p       kernel.Product
	rows    int // 0: the panels are divided instead
	scratch []kernel.Scratch
}

func (t *gemmTask) Do(worker, lo, hi int) {
	if t.rows == 0 {
		t.p.Panels(lo, hi, &t.scratch[worker])
		return
	}
	p := t.p
	p.A, p.C, p.M = p.A[lo*p.LDA:], p.C[lo*p.LDC:], hi-lo
	p.All(&t.scratch[worker])
}

func (b *Engine) gemms(r *EngineReport, cfg *model.Config, d kernel.DType, peak float64) {
	team := par.NewTeam(b.Threads)
	defer team.Close()
	shapes := [][2]int{{cfg.Hidden, cfg.Heads * cfg.HeadDim}, {cfg.Hidden, cfg.Intermediate},
		{cfg.Intermediate, cfg.Hidden}}
	for i, s := range slices.Compact(shapes) {
		for _, m := range []int{1, 16, 128, 1024} {
			if m < 128 && i == 0 {
				continue
			}
			k, n := s[0], s[1]
			lda, ldc := kernel.Stride(k), kernel.Stride(n)
			t := &gemmTask{scratch: make([]kernel.Scratch, b.Threads), p: kernel.Product{
				A: randomValues(m*lda, 1), LDA: lda, C: make([]float32, m*ldc), LDC: ldc,
				W: kernel.NewPanels(d, n, k), M: m,
			}}
			w := randomValues(n*k, 2)
			t.p.W.Pack(0, w)
			total, grain := t.p.W.Len(), 1
			if m >= 14*b.Threads {
				t.rows, total = m, m
				grain = (m + b.Threads - 1) / b.Threads
				if grain > kernel.RowBlock {
					grain = kernel.RowBlock
				}
			} else {
				grain = max(1, total/(4*b.Threads))
			}
			rates := b.rates(2*float64(m)*float64(n)*float64(k), func() { team.Run(total, grain, t) })
			g := median(rates)
			r.GEMM = append(r.GEMM, gemmReport{d.String(), m, k, n, g, g / peak})
		}
	}
}

// rates measures f for each round and returns 10⁹ operations a second. A round
// repeats f for at least 20 ms.
func (b *Engine) rates(ops float64, f func()) []float64 {
	f()
	t := time.Now()
	f()
	repeat := max(1, int(20*time.Millisecond/max(time.Since(t), 1)))
	var out []float64
	for range b.Rounds {
		t := time.Now()
		for range repeat {
			f()
		}
		out = append(out, ops*float64(repeat)/time.Since(t).Seconds()/1e9)
	}
	return out
}

func randomValues(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()*2 - 1
	}
	return x
}
