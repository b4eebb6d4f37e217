package cpu

import (
	"context"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/par"
)

// Decoder continues many texts at a time with a causal language model. In each
// step every text that goes on is one row of the same matrix products, divided
// among the workers; a text that ends makes room for the next, and the keys and
// values of a prompt are computed once for all its answers. Logits have the bits
// of a training pass over the whole text, whatever else is being continued.
//
// A Decoder is not safe for concurrent use.
type Decoder struct {
	m    *Model
	head *linear
	run  *run
	// Slots is how many answers are continued at a time.
	Slots int

	cache  [][]float32 // of each layer (rows, 2·K·D), the keys and values that were read
	kv     []float32   // of the rows being computed
	logits [][]float32 // of each worker
	at     []int32     // where in the cache the row being computed lies
}

// slotsPerWorker gives each worker rows enough for its products to be bound by
// arithmetic rather than by reading weights.
const slotsPerWorker = 64

// NewDecoder reads a language model: the network of a reward model with the same
// backbone, below an output layer. Output is the name of that layer's weight in
// the source, "" where it is the embedding. See [NewTraining] for workers.
func NewDecoder(n *nn.Network, src binding.Source, output string, workers int) (*Decoder, error) {
	m, err := Load(n.Headless(), body{src, output}, binding.Options{})
	if err != nil {
		return nil, err
	}
	head := &linear{Linear: &nn.Linear{In: n.Hidden, Outs: []int{n.Vocab}}}
	head.alloc(kernel.Float32)
	weight := m.weights.embedding(n.Tokens).data
	if output != "" {
		if err := hasOutput(n, src, output); err != nil {
			return nil, err
		}
		weight = make([]float32, n.Vocab*n.Hidden)
		if err := src.ReadAt(weight, output, 0); err != nil {
			return nil, err
		}
	}
	head.w.Pack(0, weight)
	return newDecoder(m, head, workers), nil
}

// hasOutput says whether a source has the output layer of a language model.
func hasOutput(n *nn.Network, src binding.Source, name string) error {
	want := []int{n.Vocab, n.Hidden}
	if shape, ok := src.Shape(name); !ok || !slices.Equal(shape, want) {
		return &binding.Error{Architecture: n.Name,
			Missing: []string{fmt.Sprintf("%s of shape %v", name, want)}}
	}
	return nil
}

// Decoder returns a decoder that shares the weights and follows every Refresh. It
// must not be used while they change.
func (l *Language) Decoder() (*Decoder, error) {
	return newDecoder(l.t.model, l.head, l.t.work.Workers()), nil
}

func newDecoder(m *Model, head *linear, workers int) *Decoder {
	d := &Decoder{m: m, head: head, run: newRun(par.NewTeam(workers))}
	d.cache = make([][]float32, len(m.schedules))
	d.logits = make([][]float32, len(d.run.workers))
	d.Slots = slotsPerWorker * len(d.run.workers)
	return d
}

// Close ends the workers.
func (d *Decoder) Close() { d.run.team.Close() }

// Choose is told the logits of the token that follows an answer, of length V, and
// returns that token, and whether the answer ends with it. It may change the
// logits. It is called by several goroutines at once, each for another answer.
type Choose func(answer int, logits []float32) (token int32, end bool)

// Decode continues each prompt with so many answers of at most most tokens; answer
// i belongs to prompt i/answers. It ends early with ctx.
func (d *Decoder) Decode(ctx context.Context, prompts [][]int32, answers, most int, choose Choose) error {
	if answers < 1 || most < 1 {
		return fmt.Errorf("cpu: %d answers of %d tokens, want 1 or more", answers, most)
	}
	longest := 0
	for i, p := range prompts {
		if err := d.m.Validate(whole(p)); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
		if len(p)+most-1 > d.m.Net.Positions {
			return fmt.Errorf("prompt %d: %d tokens and %d to come, the context holds %d", i, len(p),
				most, d.m.Net.Positions)
		}
		if err := d.fixed(len(p) + most - 1); err != nil {
			return fmt.Errorf("prompt %d: %w", i, err)
		}
		longest = max(longest, len(p)-1)
	}
	s := newSlots(min(d.Slots, len(prompts)*answers), longest, most)
	d.reserve(s.rows())
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if fresh := s.fill(prompts, answers); len(fresh) > 0 {
			d.prefill(fresh)
		}
		if len(s.active) == 0 {
			return nil
		}
		d.step(s)
		s.ended = s.ended[:0]
		for range s.active {
			s.ended = append(s.ended, false)
		}
		d.each(len(s.active), func(_ *Scratch, i int, logits []float32) {
			a := &s.active[i]
			a.next, s.ended[i] = choose(a.answer, logits)
		})
		for i := range s.active {
			if t := s.active[i].next; t < 0 || int(t) >= d.m.Net.Vocab {
				return fmt.Errorf("cpu: token %d was chosen, want 0 to %d", t, d.m.Net.Vocab-1)
			}
		}
		s.drop()
	}
}

// fixed says whether the frequencies of a text of up to so many tokens are those
// of its beginnings, whose rotated keys are kept.
func (d *Decoder) fixed(tokens int) error {
	if d.m.Net.Reach(tokens) == 0 {
		return nil
	}
	return fmt.Errorf("cpu: a text of %d tokens: %s rotates those of this length otherwise than their beginnings, and keys are kept: ask for less", tokens, d.m.Net.Name)
}

// reserve makes room for so many rows of the cache.
func (d *Decoder) reserve(rows int) {
	a := d.m.Net.Attention(0)
	for l := range d.cache {
		grow(&d.cache[l], rows*kernel.Stride(2*a.K*a.D))
	}
}

// begin forgets the rows of the last step.
func (d *Decoder) begin() {
	r := d.run
	r.ids, r.spans, r.queries, d.at = r.ids[:0], r.spans[:0], r.queries[:0], d.at[:0]
	r.pos.reset()
}

// add appends the tokens that follow the n tokens of a span of the cache that are
// already there. Prefix is the number of the span before it, of pos tokens.
func (d *Decoder) add(ids []int32, row, n, prefix, pos int) {
	r := d.run
	r.queries = append(r.queries, Query{Span: len(r.spans), Lo: n, Hi: n + len(ids), Row: len(r.ids)})
	r.spans = append(r.spans, Span{Row: row, Len: n + len(ids), Prefix: prefix, Pos: pos})
	r.ids = append(r.ids, ids...)
	r.pos.add(pos+n, len(ids), 0)
	for i := range ids {
		d.at = append(d.at, int32(row+n+i))
	}
}

// prefill reads new prompts, less the last token of each, which begins its answers.
func (d *Decoder) prefill(fresh []prompt) {
	d.begin()
	for _, p := range fresh {
		if n := len(p.ids) - 1; n > 0 {
			d.add(p.ids[:n], p.row, 0, -1, 0)
		}
	}
	d.forward(false)
}

// step reads the next token of every answer.
func (d *Decoder) step(s *slots) {
	d.begin()
	r := d.run
	last, span := -1, -1
	for i := range s.active {
		a := &s.active[i]
		p := &s.prompts[a.prompt]
		if a.prompt != last {
			last, span = a.prompt, -1
			if n := len(p.ids) - 1; n > 0 {
				span = len(r.spans)
				r.spans = append(r.spans, Span{Row: p.row, Len: n, Prefix: -1})
			}
		}
		d.add([]int32{a.next}, a.row, a.n, span, len(p.ids)-1)
		a.n++
	}
	d.forward(true)
}

// forward carries the rows through all layers and adds their keys and values to
// the cache. Without whole, of the last layer that is all.
func (d *Decoder) forward(whole bool) {
	r, n := d.run, len(d.run.ids)
	if n == 0 {
		return
	}
	s := r.begin(d.m)
	r.types = grow(&r.types, n) // of no type
	clear(r.types)
	r.embed(d.m)
	q, attn, kv := grow(&r.q, n*s.ldq), grow(&r.attn, n*s.ldq), grow(&d.kv, n*s.ldkv)
	for l, b := range d.m.schedules {
		keys := !whole && l == len(d.m.schedules)-1
		s.block, s.q, s.kv, s.attn = b, q, kv, attn
		steps := b.both
		if keys {
			steps = b.keys
		}
		s.each(steps, n)
		s.kv = d.cache[l][:cap(d.cache[l])]
		for i, row := range d.at {
			copy(s.kv[int(row)*s.ldkv:][:s.ldkv], kv[i*s.ldkv:])
		}
		if keys {
			break
		}
		s.attend(r.queries)
		s.each(b.rest, n)
	}
	s.block, s.steps = nil, nil
}

// rowTask is a function of rows as the team runs it.
type rowTask struct {
	d *Decoder
	f func(w *Scratch, i int, logits []float32)
}

// each calls f with the logits of every row of the last forward, in parallel.
func (d *Decoder) each(n int, f func(w *Scratch, i int, logits []float32)) {
	t := d.run.team.Size()
	d.run.team.Run(n, max(1, min(kernel.RowBlock, (n+t-1)/t)), &rowTask{d, f})
}

// Do computes the logits of the rows [lo, hi), a block of them at a time.
func (t *rowTask) Do(id, lo, hi int) {
	d := t.d
	w, V := &d.run.workers[id], d.m.Net.Vocab
	ldv := kernel.Stride(V)
	for lo < hi {
		m := min(kernel.RowBlock, hi-lo)
		y, ldy := d.run.stage.read(d.m.features, w, lo, lo+m)
		logits := grow(&d.logits[id], m*ldv)
		d.head.forward(&w.Gemm, logits, ldv, y, ldy, m, kernel.Store)
		for i := range m {
			t.f(&w.Scratch, lo+i, logits[i*ldv:][:V])
		}
		lo += m
	}
}
