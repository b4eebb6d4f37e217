package cpu

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

	blocks  [2]sides  // of the block that is multiplied and of the one that is laid out
	partial []float32 // sums of each block of rows
}

// sides are both sides of the product that makes the gradient of a weight
// (N, in), of one block of tokens.
type sides struct {
	xp []float32 // panels of X, [tokenBlock][NR] each; dY each worker lays out for itself

	// In bfloat16 instead of them:
	at  []float32 // (N, blockStride): dYᵀ
	low []uint32  // panels of X, [tokenBlock/2][NR] each, two tokens a step
}

// sides returns room for a block of a weight's gradient, the first or the second.
func (w *Work) sides(i int, m *master) sides {
	b, panels := &w.blocks[i], kernel.Pad(m.in)/kernel.NR
	if m.low != nil {
		return sides{at: grow(&b.at, m.n*blockStride), low: grow(&b.low, panels*lowPanel)}
	}
	return sides{xp: grow(&b.xp, panels*tokenPanel)}
}

const (
	// tokenBlock is how many tokens a weight's gradient sums up in one product:
	// the panels of one block stay in a core's second cache.
	tokenBlock = 512
	// blockStride keeps rows of at apart by no multiple of 4096 bytes.
	blockStride = tokenBlock + 16
	// tokenGroup, tokenPanel and lowPanel are the elements of a group or panel of a block.
	tokenGroup = tokenBlock * kernel.LeftRows
	tokenPanel = tokenBlock * kernel.NR
	lowPanel   = tokenPanel / 2
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
func (w *Work) Rows(m int, f func(s *Scratch, lo, hi int)) {
	count := w.count(m, kernel.RowBlock)
	w.Each(count, 1, func(s *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ { // a team of one takes all at once
			f(s, i*m/count, (i+1)*m/count)
		}
	})
}

// count returns into how many pieces of up to size indices n are divided: as many
// for each worker, at least two while they do not become short, and no empty one.
func (w *Work) count(n, size int) int {
	const short = 28
	workers := w.team.Size()
	count := max((n+size-1)/size, min(2*workers, n/short))
	return min(n, (count+workers-1)/workers*workers)
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
