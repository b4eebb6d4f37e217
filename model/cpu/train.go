package cpu

import (
	"fmt"

	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// Training is a reward model that learns: the layers that serve, with float32
// weights and a gradient for each ([Training.Params]). A step is Forward,
// Backward with the gradient of the loss for each score, a change of the weights
// by whoever owns the optimiser, and Refresh. Gradients accumulate until
// ZeroGrads.
//
// What several sequences of a causal model begin with, as the prompt of a pair's
// answers, is computed once in a pass, forward and backward: gradients are those of
// the sequences apart, summed in another order. Scores and gradients have the same
// bits for any number of workers. A Training is not safe for concurrent use.
type Training struct {
	// Recompute keeps of every layer its input alone and runs it forward again
	// before it runs backward: a third more arithmetic for the memory of about
	// one layer. It changes no bit. Set it before the first pass.
	Recompute bool

	net    *nn.Network
	params []nn.Param
	model  *Model
	work   *Work

	embed, features *tape
	each            *tape // nil where the head reads one token
	layers          []*tape
	before          *tape      // the layers of the head before its score head; nil without
	score           *scoreHead // nil below a language model's output layer

	batch    tokens
	drop     Pass
	embedded passed
	layer    []passed    // of each layer; of the first alone when recomputing
	tokens   passed      // of each
	means    []float32   // (B, C) of what each returned
	read     passed      // of features
	hidden   passed      // of before
	inputs   [][]float32 // (T, C) of each layer, when recomputing
	feat     []float32   // (B, C) what the score head reads
	pool     pool
}

// Regularization is the dropout of a training run, each a share in [0, 1).
type Regularization struct {
	Attention float32 `json:"attention,omitempty"` // of attention weights
	Hidden    float32 `json:"hidden,omitempty"`    // of what attention and feed-forward add to the residual stream
	Embedding float32 `json:"embedding,omitempty"` // of the first layer's input
}

// Pass says how a forward pass is made.
type Pass struct {
	Regularization
	// Seed names the run and Step the step; First is the number of the first
	// sequence within the step, so that a step may be divided into parts. They
	// decide what is dropped, with the tokens themselves for a causal model: what
	// sequences begin with in common has one mask in them all, whether it is
	// computed once or in parts of a step. That makes the answers of a pair be
	// compared behind the same reading of their prompt.
	Seed, Step uint64
	First      int
}

// tokens is a batch: the parts of sequences, up to the last token that matters.
type tokens struct {
	ids, types  []int32
	pos         positions
	tree        *plan.Tree
	spans       []Span   // of each part
	rows        []uint64 // of each token what names it to the dropout
	all, scored []Query  // of each part: all tokens, those whose outputs are wanted
	last        []int32  // rows of the latter
	lastPos     positions
	lastRows    []uint64
	chain       []int // parts of the sequence at hand
}

// extent is some of a sequence's tokens.
type extent struct{ lo, hi int }

// by returns the numbers that tokens are looked up by.
func (b *tokens) by(of nn.Numbers) []int32 {
	return [...][]int32{nn.Tokens: b.ids, nn.Types: b.types, nn.Positions: b.pos.pos}[of]
}

// NewTraining reads the weights of a configuration from a source, whose tensors
// must be the model's own (see [Load]). Workers is their number, 0 for
// GOMAXPROCS. With d bfloat16 the products of weights round both sides to that;
// weights, gradients and everything else stay float32. Int8 is not for training.
func NewTraining(n *nn.Network, src binding.Source, workers int, d kernel.DType) (*Training, error) {
	if d != kernel.Float32 && d != kernel.BFloat16 {
		return nil, fmt.Errorf("cpu: training in %v, want float32 or bfloat16", d)
	}
	if err := learns(n); err != nil {
		return nil, err
	}
	m := newModel(n, d)
	if err := binding.Check(n, m.weights.params, src); err != nil {
		return nil, err
	}
	w := m.weights
	w.allocTraining(d)
	t := &Training{net: n, model: m, params: w.params, embed: newTape(n.Embed, w),
		features: newTape(n.Features, w), work: NewWork(workers)}
	if n.Each != nil {
		t.each = newTape(n.Each, w)
	}
	for _, b := range n.Blocks {
		t.layers = append(t.layers, newTape(b, w))
	}
	if m.head != nil {
		t.score = m.head.branches[0].score
		if p := n.Head.Branches[0].Program; p != nil {
			t.before = newTape(p, w)
		}
	}
	t.layer = make([]passed, len(t.layers))
	for i := range t.params {
		p := &t.params[i]
		t.model.parameters += p.Len()
		if err := binding.ReadRows(src, p.Data, n.SourceName(p.Name), p, 0); err != nil {
			t.Close()
			return nil, err
		}
		if i := binding.NotFinite(p.Data); i >= 0 {
			t.Close()
			return nil, fmt.Errorf("tensor %q: element %d is %v: %w", p.Name, i, p.Data[i], binding.ErrNotFinite)
		}
	}
	t.Refresh()
	return t, nil
}

// Close ends the workers.
func (t *Training) Close() { t.work.Close() }

// Net returns what is trained.
func (t *Training) Net() *nn.Network { return t.net }

// Params returns every weight with its gradient, in the order of the network.
// Whoever changes Data calls Refresh before the next pass.
func (t *Training) Params() []nn.Param { return t.params }

// Model returns the model as an [Engine] scores it: it shares the weights and
// follows every Refresh. It must not be scored while the weights change.
func (t *Training) Model() *Model { return t.model }

// Work returns the workers, for the optimiser's own loops.
func (t *Training) Work() *Work { return t.work }

// Refresh makes what is computed from the weights follow them.
func (t *Training) Refresh() {
	layers := t.model.weights.layers
	t.work.Each(len(layers), 1, func(_ *Scratch, lo, hi int) {
		for _, l := range layers[lo:hi] {
			l.refresh()
		}
	})
	t.model.weights.project()
}

// fix says which parameters learn: of layers without one no gradient is computed.
func (t *Training) fix(learns []bool) { t.model.weights.fix(learns) }

// ZeroGrads forgets the gradients.
func (t *Training) ZeroGrads() {
	t.work.Each(len(t.params), 1, func(_ *Scratch, lo, hi int) {
		for i := lo; i < hi; i++ {
			clear(t.params[i].Grad)
		}
	})
}

// Forward writes the score of each sequence and keeps what Backward needs. A
// sequence that the model cannot score fails the pass with an error that names
// its index.
func (t *Training) Forward(scores []float32, seqs []Sequence, p Pass) error {
	if len(scores) != len(seqs) {
		panic(fmt.Sprintf("cpu: Forward: room for %d scores of %d sequences", len(scores), len(seqs)))
	}
	for i, s := range seqs {
		if err := t.model.Validate(s); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
		if len(s.Read) != 1 {
			return fmt.Errorf("sequence %d: %d tokens are read, want one in training", i, len(s.Read))
		}
	}
	t.forward(seqs, p, scoredTokens(seqs))
	t.feat = t.readOut(len(seqs))
	if t.before != nil {
		t.hidden.all = tokenRows{n: len(seqs)}
		t.hidden.begin(t.before, t.feat)
		t.feat = t.forwardTape(t.before, &t.hidden)
	}
	for i := range seqs {
		t.score.forward(scores[i:i+1], t.Features(i))
	}
	return nil
}

// scoredTokens returns of each sequence the token that is read.
func scoredTokens(seqs []Sequence) []extent {
	out := make([]extent, len(seqs))
	for i := range seqs {
		at := int(seqs[i].Read[0])
		out[i] = extent{at, at + 1}
	}
	return out
}

// forward carries a batch through all layers, the last one for the wanted tokens
// of each sequence alone, unless the head reads all.
func (t *Training) forward(seqs []Sequence, p Pass, wanted []extent) {
	t.drop = p
	b := &t.batch
	b.load(t.model, seqs, p.First, wanted)
	t.embedded.all = tokenRows{n: len(b.ids)}
	t.embedded.begin(t.embed, nil)
	x := t.forwardTape(t.embed, &t.embedded)
	t.dropped(0, siteEmbedding, p.Embedding).Rows(t.work, x, t.ldc(), t.net.Hidden, b.rows)
	for i := range t.layers {
		if t.Recompute { // a layer's memory is the next one's too
			if t.inputs == nil {
				t.inputs = make([][]float32, len(t.layers))
			}
			copy(grow(&t.inputs[i], len(x)), x)
			x = t.inputs[i]
		}
		x = t.pass(i, x, t.each == nil && i == len(t.layers)-1)
	}
}

// pass runs a layer forward on its input x.
func (t *Training) pass(i int, x []float32, last bool) []float32 {
	k, b := t.passed(i), &t.batch
	k.index, k.picked = i, last
	k.all = tokenRows{len(b.ids), b.pos, b.rows, b.all}
	k.wanted = k.all
	if last {
		k.wanted = tokenRows{len(b.last), b.lastPos, b.lastRows, b.scored}
	}
	k.begin(t.layers[i], x)
	return t.forwardTape(t.layers[i], k)
}

// passed is the memory of a layer.
func (t *Training) passed(i int) *passed {
	if t.Recompute {
		return &t.layer[0]
	}
	return &t.layer[i]
}

// readOut computes what a head reads of m rows of the last layer's output.
func (t *Training) readOut(m int) []float32 {
	last := len(t.layers) - 1
	out, _ := t.passed(last).value(t.layers[last], t.layers[last].p.Out)
	if t.each != nil {
		out = t.average(out)
	}
	t.read.all = tokenRows{n: m}
	t.read.begin(t.features, out)
	return t.forwardTape(t.features, &t.read)
}

// average returns the mean over each sequence's tokens of what the network makes
// of the last layer's output, the tokens added in their order.
func (t *Training) average(x []float32) []float32 {
	t.tokens.all = tokenRows{n: len(t.batch.ids)}
	t.tokens.begin(t.each, x)
	y, ld, c := t.forwardTape(t.each, &t.tokens), t.ldc(), t.net.Hidden
	out := keep(&t.means, len(t.batch.spans), ld)
	for i, sp := range t.batch.spans {
		sum := out[i*ld:][:c]
		clear(sum)
		for j := range sp.Len {
			kernel.AddTo(sum, y[(sp.Row+j)*ld:][:c])
		}
		scale(sum, 1/float32(sp.Len))
	}
	return out
}

// averageBackward carries the gradient of the means to the last layer's output,
// and gives the memory of d back.
func (t *Training) averageBackward(d []float32) []float32 {
	ld, c := t.ldc(), t.net.Hidden
	dy := t.pool.take(len(t.batch.ids) * ld)
	for i, sp := range t.batch.spans {
		for j := range sp.Len {
			row := dy[(sp.Row+j)*ld:][:c]
			clear(row)
			kernel.AddScaled(row, 1/float32(sp.Len), d[i*ld:][:c])
		}
	}
	t.pool.give(d)
	return t.backwardTape(t.each, &t.tokens, dy)
}

// Features returns what the score head read of sequence i in the last Forward.
func (t *Training) Features(i int) []float32 {
	return t.feat[i*t.ldfeat():][:t.score.C]
}

func (t *Training) ldfeat() int { return kernel.Stride(t.score.C) }

// Backward accumulates the gradient of every weight from the loss's gradient for
// each score of the last Forward.
func (t *Training) Backward(dscores []float32) {
	n := len(t.batch.tree.Last)
	if len(dscores) != n {
		panic(fmt.Sprintf("cpu: Backward: %d gradients of %d scores", len(dscores), n))
	}
	ld := t.ldfeat()
	dfeat := t.pool.take(n * ld)
	t.score.backward(dfeat, ld, dscores, t.feat, ld)
	if t.before != nil {
		dfeat = t.backwardTape(t.before, &t.hidden, dfeat)
	}
	t.backward(dfeat)
}

// backward carries the gradient of what a head reads back to the embedding.
func (t *Training) backward(dx []float32) {
	dx = t.backwardTape(t.features, &t.read, dx)
	if t.each != nil {
		dx = t.averageBackward(dx)
	}
	last := len(t.layers) - 1
	for i := last; i >= 0; i-- {
		if t.Recompute && i < last {
			t.pass(i, t.inputs[i], false)
		}
		dx = t.backwardTape(t.layers[i], t.passed(i), dx)
	}
	t.dropped(0, siteEmbedding, t.drop.Embedding).Rows(t.work, dx, t.ldc(), t.net.Hidden, t.batch.rows)
	t.backwardTape(t.embed, &t.embedded, dx)
	t.model.weights.backwardDistances(t.work)
	for _, l := range t.model.weights.layers {
		if c, ok := l.(collector); ok {
			c.collect()
		}
	}
}

func (t *Training) ldc() int { return kernel.Stride(t.net.Hidden) }

// load lays out a batch, of whose sequences some tokens' outputs are wanted.
func (b *tokens) load(m *Model, seqs []Sequence, first int, wanted []extent) {
	b.ids, b.types, b.rows = b.ids[:0], b.types[:0], b.rows[:0]
	b.pos.reset()
	b.spans, b.all = b.spans[:0], b.all[:0]
	causal := !m.Net.SeesAhead()
	ids, reach := make([][]int32, len(seqs)), make([]int32, len(seqs))
	for i := range seqs {
		ids[i], reach[i] = seqs[i].Needed(m.Net), m.Net.Reach(len(seqs[i].IDs))
	}
	b.tree = plan.NewTree(ids, reach, causal)
	for i, p := range b.tree.Parts {
		row := len(b.ids)
		b.spans = append(b.spans, Span{Row: row, Len: len(p.IDs), Prefix: p.Before, Pos: p.Pos})
		b.all = append(b.all, Query{Span: i, Hi: len(p.IDs), Row: row})
		b.ids = append(b.ids, p.IDs...)
		b.pos = m.positions(b.pos, p.IDs, p.Pos, p.Reach)
		b.types = append(b.types, make([]int32, len(p.IDs))...)
		b.name(p, uint64(first+i), causal)
	}
	for i, s := range seqs { // of a model with types, whose sequences are parts
		if s.Types != nil {
			copy(b.types[b.spans[b.tree.Last[i]].Row:], s.Types)
		}
	}
	b.want(wanted)
}

// name appends what names the rows of a part to the dropout: of a causal model the tokens up to
// each, of another the number of the sequence, which is the part's, and the token's.
func (b *tokens) name(p plan.Part, number uint64, causal bool) {
	before := uint64(0)
	if p.Before >= 0 {
		sp := b.spans[p.Before]
		before = b.rows[sp.Row+sp.Len-1]
	}
	for i, id := range p.IDs {
		if before = nn.Mix(before, uint64(id)); !causal {
			before = number<<32 | uint64(i)
		}
		b.rows = append(b.rows, before)
	}
}

// want lists the rows whose outputs are wanted: of each part from the first to the last that
// some sequence wants, in the order of the sequences.
func (b *tokens) want(wanted []extent) {
	b.last, b.lastRows, b.scored = b.last[:0], b.lastRows[:0], b.scored[:0]
	b.lastPos.reset()
	of := make([]extent, len(b.spans))
	var order []int
	for i, x := range wanted {
		b.chain = b.tree.Chain(b.chain[:0], i)
		for _, p := range b.chain {
			sp := b.spans[p]
			lo, hi := max(x.lo-sp.Pos, 0), min(x.hi-sp.Pos, sp.Len)
			if lo >= hi {
				continue
			}
			if of[p].hi == 0 {
				order = append(order, p)
				of[p] = extent{lo, hi}
			}
			of[p] = extent{min(of[p].lo, lo), max(of[p].hi, hi)}
		}
	}
	for _, p := range order {
		b.scored = append(b.scored, Query{Span: p, Lo: of[p].lo, Hi: of[p].hi, Row: len(b.last)})
		for at := of[p].lo; at < of[p].hi; at++ {
			row := b.spans[p].Row + at
			b.last, b.lastRows = append(b.last, int32(row)), append(b.lastRows, b.rows[row])
			b.lastPos.copy(b.pos, row)
		}
	}
}
