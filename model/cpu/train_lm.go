package cpu

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Language is a causal language model that learns: the layers of a reward model
// below an output layer over the vocabulary. As for [Training], bits do not
// depend on the number of workers.
type Language struct {
	t      *Training
	head   *linear
	params []nn.Param

	targets []target
	losses  []float64
	// Of the targets at hand: what the output layer reads, that gradient, and logits.
	x, dx, logits []float32
}

// target is a token that is to follow.
type target struct {
	row       int32 // of the wanted tokens: the one that it follows
	token     int32
	text, pos int // which text's, and where in it is the token that it follows
}

// NoTarget is the target of a token after which nothing is to be learned.
const NoTarget = int32(-1)

// logitRows is how many tokens' logits are in memory at a time.
const logitRows = 256

// body is a language model's source without its output layer.
type body struct {
	binding.Source
	output string // "" when it is tied
}

func (b body) Names() []string {
	return slices.DeleteFunc(slices.Clone(b.Source.Names()), func(n string) bool { return n == b.output })
}

// whole is a sequence whose last token is read.
func whole(ids []int32) Sequence { return Sequence{IDs: ids, Read: []int32{int32(len(ids) - 1)}} }

// NewLanguage reads a language model for training; see [NewDecoder] for the
// arguments. workers and d are those of [NewTraining]; the output layer stays
// float32.
func NewLanguage(n *nn.Network, src binding.Source, output string, workers int, d kernel.DType) (*Language, error) {
	if output != "" {
		if err := hasOutput(n, src, output); err != nil {
			return nil, err
		}
	}
	t, err := NewTraining(n.Headless(), body{src, output}, workers, d)
	if err != nil {
		return nil, err
	}
	l := &Language{t: t, params: slices.Clone(t.params)}
	if err := l.bindOutput(src, output); err != nil {
		t.Close()
		return nil, err
	}
	l.Refresh()
	return l, nil
}

// bindOutput makes the output layer: of the embedding, or of a weight of its own.
func (l *Language) bindOutput(src binding.Source, head string) error {
	n := l.t.net
	if head == "" {
		l.head = newTied(l.t.model.weights.embedding(n.Tokens))
		return nil
	}
	l.head = &linear{Linear: &nn.Linear{In: n.Hidden, Outs: []int{n.Vocab}}}
	l.head.allocTraining(kernel.Float32)
	p := l.head.Params([]string{head[:len(head)-len(".weight")]})
	l.head.bind(p)
	l.params = append(l.params, p...)
	return src.ReadAt(p[0].Data, head, 0)
}

// Recompute saves memory as [Training.Recompute] does. Set it before the first
// step.
func (l *Language) Recompute(on bool) { l.t.Recompute = on }

// Close ends the workers.
func (l *Language) Close() { l.t.Close() }

// Net returns what is trained.
func (l *Language) Net() *nn.Network { return l.t.net }

// Params returns every weight with its gradient.
func (l *Language) Params() []nn.Param { return l.params }

// Work returns the workers.
func (l *Language) Work() *Work { return l.t.work }

// Refresh makes what is computed from the weights follow them.
func (l *Language) Refresh() {
	l.t.Refresh()
	l.head.refresh()
}

// fix is [Training.fix]. The output layer's parameter, where it has one, is the last; else it
// learns as the embedding does.
func (l *Language) fix(learns []bool) {
	n := len(l.t.params)
	l.t.fix(learns[:n])
	fixed := l.t.model.weights.embedding(l.t.net.Tokens).fixed
	if n == len(learns) && fixed || n < len(learns) && !learns[n] {
		l.head.fix()
	}
}

// ZeroGrads forgets the gradients.
func (l *Language) ZeroGrads() {
	for i := range l.params {
		clear(l.params[i].Grad)
	}
}

// Text is a sequence to learn from: after token i follows Targets[i], or nothing
// with NoTarget. Nil targets are the sequence's own next tokens.
type Text struct {
	IDs     []int32
	Targets []int32
}

// Count returns the number of targets.
func (x *Text) Count() int {
	if x.Targets == nil {
		return max(0, len(x.IDs)-1)
	}
	n := 0
	for _, t := range x.Targets {
		if t != NoTarget {
			n++
		}
	}
	return n
}

// Step adds up the cross entropy of all targets and, unless scale is 0,
// accumulates scale times its gradient.
func (l *Language) Step(texts []Text, scale float32, p Pass) (loss float64, err error) {
	if err := l.forward(texts, p); err != nil {
		return 0, err
	}
	l.losses = append(l.losses[:0], make([]float64, len(l.targets))...)
	l.output(scale != 0, func(_ *Scratch, i int, row []float32) {
		l.losses[i] = CrossEntropy(row, l.targets[i].token, scale)
	})
	for _, v := range l.losses {
		loss += v
	}
	return loss, nil
}

// output computes the logits of every target and calls f, in parallel, which
// replaces them by the gradient of the loss; with learn that is carried back to
// the weights. A token that several targets follow is read for each.
func (l *Language) output(learn bool, f func(w *Scratch, i int, row []float32)) {
	n := len(l.targets)
	if n == 0 {
		return
	}
	t := l.t
	rows, ld, V := len(t.batch.last), t.ldc(), t.net.Vocab
	features := t.readOut(rows)
	ldv, most := kernel.Stride(V), min(n, logitRows)
	x, dx, logits := keep(&l.x, most, ld), keep(&l.dx, most, ld), keep(&l.logits, most, ldv)
	var dfeatures []float32
	if learn {
		dfeatures = t.pool.take(rows * ld)
		clear(dfeatures)
	}
	for at := 0; at < n; at += logitRows {
		m := min(logitRows, n-at)
		t.work.Rows(m, func(w *Scratch, lo, hi int) {
			for i := lo; i < hi; i++ {
				copy(x[i*ld:][:ld], features[int(l.targets[at+i].row)*ld:])
			}
			l.head.forward(&w.Gemm, logits[lo*ldv:], ldv, x[lo*ld:], ld, hi-lo, kernel.Store)
			for i := lo; i < hi; i++ {
				f(w, at+i, logits[i*ldv:][:V])
			}
		})
		if !learn {
			continue
		}
		l.head.master.backward(t.work, dx, ld, false, logits, ldv, x, ld, m)
		for i, y := range l.targets[at : at+m] {
			kernel.AddTo(dfeatures[int(y.row)*ld:][:t.net.Hidden], dx[i*ld:][:t.net.Hidden])
		}
	}
	if learn {
		t.backward(dfeatures)
	}
}

// forward carries the texts through all layers, the last one for the tokens that
// have targets alone.
func (l *Language) forward(texts []Text, p Pass) error {
	seqs, wanted := make([]Sequence, len(texts)), make([]extent, len(texts))
	l.targets = l.targets[:0]
	for i, x := range texts {
		seqs[i] = whole(x.IDs)
		if err := l.t.model.Validate(seqs[i]); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
		targets := x.Targets
		if targets == nil {
			targets = append(slices.Clone(x.IDs[1:]), NoTarget)
		}
		if len(targets) != len(x.IDs) {
			return fmt.Errorf("sequence %d: %d targets for %d tokens", i, len(targets), len(x.IDs))
		}
		n := len(l.targets)
		for at, v := range targets {
			if v == NoTarget {
				continue
			}
			if v < 0 || int(v) >= l.t.net.Vocab {
				return fmt.Errorf("sequence %d: target %d at token %d, want 0 to %d", i, v, at, l.t.net.Vocab-1)
			}
			l.targets = append(l.targets, target{token: v, text: i, pos: at})
		}
		if own := l.targets[n:]; len(own) > 0 {
			wanted[i] = extent{own[0].pos, own[len(own)-1].pos + 1}
		}
	}
	if len(l.targets) > 0 {
		l.t.forward(seqs, p, wanted)
		l.place()
	}
	return nil
}

// place finds the rows of the targets.
func (l *Language) place() {
	b := &l.t.batch
	at := make([]int, len(b.spans)) // of each part's first token among the wanted ones
	for _, q := range b.scored {
		at[q.Span] = q.Row - q.Lo
	}
	text := -1
	for i := range l.targets {
		y := &l.targets[i]
		if y.text != text {
			text, b.chain = y.text, b.tree.Chain(b.chain[:0], y.text)
		}
		for _, p := range b.chain {
			if sp := b.spans[p]; y.pos < sp.Pos+sp.Len {
				y.row = int32(at[p] + y.pos - sp.Pos)
				break
			}
		}
	}
}
