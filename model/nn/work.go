package nn

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/par"
)

// Work is what the layers of a training step share: the workers, their memory,
// and the operands of the products that make gradients. No sum is divided among
// workers, or it is divided into blocks of a fixed size whose sums are added in
// order: gradients have the same bits for any number of workers.
type Work struct {
	team    *par.Team
	scratch []Scratch

	at      []float32 // (N, blockStride): dYᵀ of a block of tokens
	xp      []float32 // panels of X of the same block, [tokenBlock][NR] each
	partial []float32 // sums of each block of rows
}

const (
	// tokenBlock is how many tokens a weight's gradient sums up in one product:
	// the panels of one block stay in a core's second cache.
	tokenBlock = 512
	// blockStride keeps rows of at apart by no multiple of 4096 bytes.
	blockStride = tokenBlock + 16
	// sumBlock is how many rows one partial sum of a norm's gradient covers.
	sumBlock = 64
)

// NewWork starts a team of workers; 0 is GOMAXPROCS. Close ends them.
func NewWork(workers int) *Work {
	w := &Work{team: par.NewTeam(workers)}
	w.scratch = make([]Scratch, w.team.Size())
	return w
}

// Close ends the workers.
func (w *Work) Close() { w.team.Close() }

// Workers returns the number of workers.
func (w *Work) Workers() int { return w.team.Size() }

// task is a function as the team runs it.
type task struct {
	w *Work
	f func(s *Scratch, lo, hi int)
}

func (t *task) Do(worker, lo, hi int) { t.f(&t.w.scratch[worker], lo, hi) }

// Each calls f for ranges of up to grain indices that cover [0, n), in parallel.
func (w *Work) Each(n, grain int, f func(s *Scratch, lo, hi int)) {
	w.team.Run(n, grain, &task{w, f})
}

// Rows calls f for pieces of m rows of a product, in parallel. A piece is small
// enough that what one operation of f leaves of it is in cache for the next.
func (w *Work) Rows(m int, f func(s *Scratch, lo, hi int)) { w.pieces(m, kernel.RowBlock, f) }

// pieces calls f for ranges of up to size indices that cover [0, n), in parallel:
// as many for each worker, at least two while they do not become short.
func (w *Work) pieces(n, size int, f func(s *Scratch, lo, hi int)) {
	const short = 28
	workers := w.team.Size()
	count := max((n+size-1)/size, min(2*workers, n/short))
	count = (count + workers - 1) / workers * workers
	if count == 0 {
		return
	}
	grain := (n + count - 1) / count
	if workers > 1 {
		w.Each(n, grain, f)
		return
	}
	for lo := 0; lo < n; lo += grain { // a team of one would take all at once
		f(&w.scratch[0], lo, min(n, lo+grain))
	}
}

// sums calls f for each block of rows with zeroed room for n partial sums, in
// parallel, and adds the blocks' sums to dst in order.
func (w *Work) sums(dst []float32, n, m int, f func(sum []float32, lo, hi int)) {
	blocks := (m + sumBlock - 1) / sumBlock
	part := grow(&w.partial, blocks*n)
	w.Each(blocks, 1, func(_ *Scratch, lo, hi int) {
		for b := lo; b < hi; b++ {
			sum := part[b*n:][:n]
			clear(sum)
			f(sum, b*sumBlock, min(m, (b+1)*sumBlock))
		}
	})
	for b := range blocks {
		kernel.AddTo(dst[:n], part[b*n:][:n])
	}
}

// Rows returns memory for n values, which lasts until the worker's next call.
func (s *Scratch) Rows(n int) []float32 { return grow(&s.rows, n) }
