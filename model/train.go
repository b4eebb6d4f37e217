package model

import (
	"fmt"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Training is a reward model that learns: the layers that serve, with float32
// weights and a gradient for each ([Training.Params]). A step is Forward,
// Backward with the gradient of the loss for each score, a change of the weights
// by whoever owns the optimiser, and Refresh. Gradients accumulate until
// ZeroGrads.
//
// Scores and gradients have the same bits for any number of workers. A Training
// is not safe for concurrent use.
type Training struct {
	Config *Config
	// Recompute keeps of every layer its input alone and runs it forward again
	// before it runs backward: a third more arithmetic for the memory of about
	// one layer. It changes no bit. Set it before the first pass.
	Recompute bool

	net    learner
	layers []learnedBlock
	params []nn.Param
	model  *Model
	work   *nn.Work

	batch  tokens
	drop   Pass
	scored bool        // the last layer has the scored tokens alone
	layer  []saved     // of each layer; of the first alone when recomputing
	hidden []float32   // (T, C) what the embedding's backward needs
	inputs [][]float32 // (T, C) of each layer, when recomputing
	feat   []float32   // (B, C) what the score head reads
	room   gradients
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
	// decide what is dropped, and nothing else does.
	Seed, Step uint64
	First      int
}

// tokens is a batch: sequences one behind the other, up to the last token that
// matters.
type tokens struct {
	ids, types, pos []int32
	spans           []nn.Span
	numbers         []uint64 // of each sequence within the step
	rows            []uint64 // of each token within the step, for dropout
	last            []int32  // rows of the scored tokens
	lastPos         []int32
	lastRows        []uint64
	all, scored     []nn.Query
}

// saved is what the backward pass of a layer needs of its forward pass. T are all
// tokens; Q those whose output is wanted: all, or in the last layer the scored.
type saved struct {
	x          []float32 // (T, C) the input
	n1, n1q    []float32 // (T, C) and (Q, C) the norm of it
	q          []float32 // (Q, H·D) after norm and rotation
	kv         []float32 // (T, 2·K·D) keys and values
	qRaw, kRaw []float32 // (Q, H·D) and (T, K·D) before the norm of each head
	attn       []float32 // (Q, H·D)
	xq         []float32 // (Q, C) the input of the tokens in Q: x, or the picked rows
	picks      []float32 // (Q, C) memory of the picked rows
	mid        []float32 // (Q, C) after attention
	n2         []float32 // (Q, C) the norm of it
	up         []float32 // (Q, Pad(F)) before the activation, twice as wide when gated
	h          []float32 // (Q, Pad(F)) behind it
	sum        []float32 // (Q, C) before the norm at the end (BERT)
	out        []float32 // (Q, C)

	index   int
	picked  bool // Q are the scored tokens alone
	queries []nn.Query
	pos     []int32  // of the tokens in Q
	rows    []uint64 // of the tokens in Q
}

// learner is a network that learns.
type learner interface {
	network
	learnedBlocks() []learnedBlock
	// learnEmbedding writes the input of the first layer.
	learnEmbedding(t *Training, x []float32)
	// learnFeatures writes what the score head reads, of m rows of the last
	// layer's output.
	learnFeatures(t *Training, feat, x []float32, m int)
	scoreHead() *nn.ScoreHead
	// featuresBackward turns dfeat into dx, the gradient of the last layer's
	// output; embeddingBackward ends the chain.
	featuresBackward(t *Training, dx, dfeat, x []float32, m int)
	embeddingBackward(t *Training, dx []float32)
}

// learnedBlock is a layer that learns.
type learnedBlock interface {
	block
	learn(t *Training, s *saved)
	// backward turns t.room.dout (Q, C), which it may overwrite, into dx (T, C).
	backward(t *Training, s *saved, dx []float32)
}

// gradients is memory that the backward passes of all layers share.
type gradients struct {
	a, b             []float32 // (T, C) of a layer's output and input, in turn
	dout             []float32 // (Q, C) of the current layer's output
	dn1, dn1q, dn2   []float32
	dq, dkv, dqkv    []float32
	dattn, dh, dup   []float32
	masked, features []float32
}

// NewTraining reads the weights of a configuration from a source, whose tensors
// must be the model's own (see [Load]). Workers is their number, 0 for
// GOMAXPROCS. With d bfloat16 the products of weights round both sides to that;
// weights, gradients and everything else stay float32. Int8 is not for training.
func NewTraining(c *Config, src Source, workers int, d kernel.DType) (*Training, error) {
	if d != kernel.Float32 && d != kernel.BFloat16 {
		return nil, fmt.Errorf("model: training in %v, want float32 or bfloat16", d)
	}
	net, ok := architectures[c.Architecture].new(c).(learner)
	if !ok {
		return nil, fmt.Errorf("%s cannot be trained: %w", c.Architecture, ErrArchitecture)
	}
	if err := bind(c, nn.Params(net), src); err != nil {
		return nil, err
	}
	t := &Training{Config: c, net: net, layers: net.learnedBlocks(), work: nn.NewWork(workers)}
	t.layer = make([]saved, len(t.layers))
	t.model = &Model{Config: c, DType: d, net: net, blocks: net.blocks()}
	params, unable := nn.TrainingParams(net, d)
	if unable != nil {
		t.Close()
		return nil, fmt.Errorf("%v cannot be trained: %w", unable, ErrArchitecture)
	}
	t.params = params
	for i := range t.params {
		p := &t.params[i]
		t.model.parameters += p.Len()
		if err := src.ReadAt(p.Data, p.Name, 0); err != nil {
			t.Close()
			return nil, err
		}
		if i := notFinite(p.Data); i >= 0 {
			t.Close()
			return nil, fmt.Errorf("tensor %q: element %d is %v: %w", p.Name, i, p.Data[i], ErrNotFinite)
		}
	}
	t.Refresh()
	return t, nil
}

// Close ends the workers.
func (t *Training) Close() { t.work.Close() }

// Params returns every weight with its gradient, in the order of the network.
// Whoever changes Data calls Refresh before the next pass.
func (t *Training) Params() []nn.Param { return t.params }

// Model returns the model as an [Engine] scores it: it shares the weights and
// follows every Refresh. It must not be scored while the weights change.
func (t *Training) Model() *Model { return t.model }

// Work returns the workers, for the optimiser's own loops.
func (t *Training) Work() *nn.Work { return t.work }

// Refresh makes what is computed from the weights follow them.
func (t *Training) Refresh() {
	var layers []nn.Trainable
	t.model.modules(func(l nn.Module) { layers = append(layers, l.(nn.Trainable)) })
	t.work.Each(len(layers), 1, func(_ *nn.Scratch, lo, hi int) {
		for _, l := range layers[lo:hi] {
			l.Refresh()
		}
	})
}

// ZeroGrads forgets the gradients.
func (t *Training) ZeroGrads() {
	for i := range t.params {
		clear(t.params[i].Grad)
	}
}

// Forward writes the score of each sequence and keeps what Backward needs. A
// sequence that the model cannot score fails the pass with an error that names
// its index.
func (t *Training) Forward(scores []float32, seqs []Sequence, p Pass) error {
	if len(scores) != len(seqs) {
		panic(fmt.Sprintf("model: Forward: room for %d scores of %d sequences", len(scores), len(seqs)))
	}
	for i, s := range seqs {
		if err := t.model.Validate(s); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	t.forward(seqs, p, true)
	c := t.Config
	out := t.out()
	feat := grow(&t.feat, len(seqs)*t.ldc())
	t.net.learnFeatures(t, feat, out, len(seqs))
	for i := range seqs {
		scores[i] = t.net.scoreHead().Score(feat[i*t.ldc():][:c.Hidden])
	}
	return nil
}

// forward carries a batch through all layers, the last one for the scored tokens
// alone when that is asked.
func (t *Training) forward(seqs []Sequence, p Pass, scored bool) {
	t.drop = p
	t.batch.load(seqs, t.model.Causal(), p.First)
	t.scored = scored
	x := grow(t.input(0), len(t.batch.ids)*t.ldc())
	t.net.learnEmbedding(t, x)
	t.dropout(0, siteEmbedding).Rows(t.work, x, t.ldc(), t.Config.Hidden, t.batch.rows)
	for i, l := range t.layers {
		s := t.begin(i)
		l.learn(t, s)
		switch {
		case i == len(t.layers)-1:
		case t.Recompute: // the layer's memory is the next one's too
			copy(grow(t.input(i+1), len(t.batch.ids)*t.ldc()), s.out)
		default:
			t.layer[i+1].x = s.out
		}
	}
}

// input is where the input of a layer lies.
func (t *Training) input(i int) *[]float32 {
	if t.Recompute {
		if t.inputs == nil {
			t.inputs = make([][]float32, len(t.layers))
		}
		return &t.inputs[i]
	}
	return &t.layer[i].x
}

// saved is the memory of a layer.
func (t *Training) saved(i int) *saved {
	if t.Recompute {
		return &t.layer[0]
	}
	return &t.layer[i]
}

// begin prepares a layer's memory for a batch.
func (t *Training) begin(i int) *saved {
	s := t.saved(i)
	s.begin(&t.batch, i, t.scored && i == len(t.layers)-1)
	if t.Recompute {
		s.x = t.inputs[i]
	}
	return s
}

// out is the output of the last layer, after a forward pass.
func (t *Training) out() []float32 { return t.saved(len(t.layers) - 1).out }

// Features returns what the score head read of sequence i in the last Forward.
func (t *Training) Features(i int) []float32 {
	return t.feat[i*t.ldc():][:t.Config.Hidden]
}

// Backward accumulates the gradient of every weight from the loss's gradient for
// each score of the last Forward.
func (t *Training) Backward(dscores []float32) {
	n := len(t.batch.spans)
	if len(dscores) != n {
		panic(fmt.Sprintf("model: Backward: %d gradients of %d scores", len(dscores), n))
	}
	ld, tokens := t.ldc(), len(t.batch.ids)
	r := &t.room
	dfeat := grow(&r.features, n*ld)
	t.net.scoreHead().Backward(dfeat, ld, dscores, t.feat, ld)
	dx := grow(&r.a, tokens*ld)
	t.net.featuresBackward(t, dx, dfeat, t.out(), n)
	t.backward(dx)
}

// backward carries the gradient dx of the last layer's output, in room.a, back to
// the embedding.
func (t *Training) backward(dx []float32) {
	r, ld := &t.room, t.ldc()
	dy := grow(&r.b, len(t.batch.ids)*ld)
	for i := len(t.layers) - 1; i >= 0; i-- {
		s := t.saved(i)
		if t.Recompute && i < len(t.layers)-1 {
			t.layers[i].learn(t, t.begin(i))
		}
		r.dout = dx
		t.layers[i].backward(t, s, dy)
		dx, dy = dy, dx
	}
	t.dropout(0, siteEmbedding).Rows(t.work, dx, ld, t.Config.Hidden, t.batch.rows)
	t.net.embeddingBackward(t, dx)
}

func (t *Training) ldc() int  { return kernel.Stride(t.Config.Hidden) }
func (t *Training) ldq() int  { return kernel.Stride(t.Config.Heads * t.Config.HeadDim) }
func (t *Training) ldkv() int { return kernel.Stride(2 * t.Config.KVHeads * t.Config.HeadDim) }

// load lays out a batch.
func (b *tokens) load(seqs []Sequence, causal bool, first int) {
	b.ids, b.types, b.pos, b.rows = b.ids[:0], b.types[:0], b.pos[:0], b.rows[:0]
	b.spans, b.numbers, b.all, b.scored = b.spans[:0], b.numbers[:0], b.all[:0], b.scored[:0]
	b.last, b.lastPos, b.lastRows = b.last[:0], b.lastPos[:0], b.lastRows[:0]
	for i, s := range seqs {
		ids := s.IDs
		if causal {
			ids = ids[:s.At+1]
		}
		row, number := len(b.ids), uint64(first+i)
		b.spans = append(b.spans, nn.Span{Row: row, Len: len(ids), Prefix: -1})
		b.all = append(b.all, nn.Query{Span: i, Hi: len(ids), Row: row})
		b.scored = append(b.scored, nn.Query{Span: i, Lo: s.At, Hi: s.At + 1, Row: i})
		b.numbers = append(b.numbers, number)
		b.last = append(b.last, int32(row+s.At))
		b.lastPos = append(b.lastPos, int32(s.At))
		b.lastRows = append(b.lastRows, number<<32|uint64(s.At))
		b.ids = append(b.ids, ids...)
		for j := range ids {
			typ := int32(0)
			if s.Types != nil {
				typ = s.Types[j]
			}
			b.types = append(b.types, typ)
			b.pos = append(b.pos, int32(j))
			b.rows = append(b.rows, number<<32|uint64(j))
		}
	}
}

// begin prepares a layer for a batch.
func (s *saved) begin(b *tokens, index int, last bool) {
	s.index, s.picked = index, last
	s.queries, s.pos, s.rows = b.all, b.pos, b.rows
	if last {
		s.queries, s.pos, s.rows = b.scored, b.lastPos, b.lastRows
	}
}
