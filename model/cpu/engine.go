package cpu

import (
	"fmt"
	"slices"
	"sync"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/par"
	"github.com/warmserve/warmserve/model/plan"
)

// Engine scores batches on a fixed team of workers, one batch at a time: a
// process has one, whatever the number of its models. It owns all memory that a
// forward pass needs and reuses it.
type Engine struct {
	mu     sync.Mutex
	team   *par.Team
	plan   plan.Plan
	alone  []*run // for each worker, to carry a chunk alone
	joint  *run   // for all workers on one chunk
	batch  batch
	output []float32 // of the read tokens of each unique sequence, N each
	picked []float32 // outputs of one sequence
}

// NewEngine starts an engine of the given number of workers, 0 for GOMAXPROCS.
func NewEngine(workers int) *Engine {
	e := &Engine{team: par.NewTeam(workers)}
	for range e.team.Size() {
		e.alone = append(e.alone, newRun(nil))
	}
	e.joint = newRun(e.team)
	return e
}

// Close ends the workers.
func (e *Engine) Close() { e.team.Close() }

// Workers returns the number of workers.
func (e *Engine) Workers() int { return e.team.Size() }

// batch is the task of carrying chunks through a model, one to a worker.
type batch struct {
	e    *Engine
	m    *Model
	seqs []Sequence
}

// Do carries the chunks [lo, hi).
func (b *batch) Do(worker, lo, hi int) {
	for _, c := range b.e.plan.Chunks[lo:hi] {
		b.e.alone[worker].forward(b.m, &b.e.plan, c, b.seqs, b.e.output)
	}
}

// Score writes the reward of every sequence to dst, and the outputs that it is made
// of where the sequence has room for them. A sequence that the model
// cannot score fails the batch with an error that names its index; nothing is
// then computed. The rewards may be NaN or infinite when the model's are.
func (e *Engine) Score(m *Model, dst []float32, seqs []Sequence) error {
	if len(dst) != len(seqs) {
		panic(fmt.Sprintf("cpu: Score: room for %d rewards of %d sequences", len(dst), len(seqs)))
	}
	for i, s := range seqs {
		if err := m.Validate(s); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &e.plan
	p.Make(seqs, m.Net, e.team.Size())
	outputs := int(p.Rows[len(p.Unique)]) * m.head.outputs
	e.output = slices.Grow(e.output[:0], outputs)[:outputs]

	// Whole rounds of one chunk a worker; what is left is done by all together.
	n := e.team.Size()
	rounds := len(p.Chunks) / n * n
	e.reserve(m)
	e.batch = batch{e: e, m: m, seqs: seqs}
	e.team.Run(rounds, 1, &e.batch)
	for _, c := range p.Chunks[rounds:] {
		e.joint.forward(m, p, c, seqs, e.output)
	}
	for i, u := range p.Same {
		dst[i] = e.reward(m, &seqs[i],
			e.output[int(p.Rows[u])*m.head.outputs:int(p.Rows[u+1])*m.head.outputs])
	}
	e.batch = batch{}
	return nil
}

// reward makes the reward of a sequence of its outputs.
func (e *Engine) reward(m *Model, s *Sequence, outputs []float32) float32 {
	copy(s.Outputs, outputs)
	if s.Every { // among others
		n := m.head.outputs
		e.picked = e.picked[:0]
		for _, at := range s.Read {
			e.picked = append(e.picked, outputs[int(at)*n:][:n]...)
		}
		outputs = e.picked
	}
	return m.head.reward(outputs)
}

// reserve gives every run room for the longest chunk of the plan, so that which
// worker meets it does not matter and repeated batches allocate nothing.
func (e *Engine) reserve(m *Model) {
	p := &e.plan
	tokens, unique, read, longest := 0, 0, 0, 0
	for _, c := range p.Chunks {
		tokens = max(tokens, int(c.Tokens))
		n, rows := 0, 0
		for _, u := range p.Units[c.Lo:c.Hi] {
			n += int(u.Hi - u.Lo)
			rows += int(p.Rows[u.Hi] - p.Rows[u.Lo])
		}
		unique, read = max(unique, n), max(read, rows)
	}
	for i := range p.Unique {
		longest = max(longest, int(p.Len(i)))
	}
	if len(p.Chunks) >= len(e.alone) {
		for _, r := range e.alone {
			r.reserve(m, tokens, unique, read, longest)
		}
	}
	if len(p.Chunks)%len(e.alone) > 0 {
		e.joint.reserve(m, tokens, unique, read, longest)
	}
}

// worker is the memory of one worker of a run.
type worker struct {
	Scratch
	slots    [maxSlots][]float32
	features []float32 // that the branches of a head read
	outputs  []float32 // of a block of rows
}

// rows returns memory for a block of rows of n values, and their stride.
func (w *worker) rows(slot, block, n int) ([]float32, int) {
	ld := kernel.Stride(n)
	return grow(&w.slots[slot], block*ld), ld
}

// reserve makes room for a list of steps that has a mixture, which is much.
func (w *worker) reserve(steps []step) {
	block := blockRows(steps)
	if block == kernel.RowBlock {
		return
	}
	for i := range steps {
		s := &steps[i]
		if s.out.where == local {
			w.rows(s.out.slot, block, s.out.width)
		}
		if s.Kind == nn.Route {
			w.mixing.reserve(s.mixture)
		}
	}
}

// row returns memory for n values, which lasts until the worker's next call.
func (w *worker) row(n int) []float32 { return w.Scratch.Rows(n) }

// grow returns *buf with n elements of any value, allocating when it is too short.
func grow[T any](buf *[]T, n int) []T {
	if cap(*buf) < n {
		*buf = make([]T, n+n/8)
	}
	return (*buf)[:n]
}
