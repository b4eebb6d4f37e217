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

	logits  []float32
	targets []int32
	losses  []float64
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
	l.losses = append(l.losses[:0], make([]float64, len(l.t.batch.ids))...)
	l.output(scale != 0, func(_ *Scratch, i int, row []float32) {
		l.losses[i] = CrossEntropy(row, l.targets[i], scale)
	})
	for _, v := range l.losses {
		loss += v
	}
	return loss, nil
}

// output computes the logits of every token that has a target and calls f, in
// parallel, which replaces them by the gradient of the loss; with learn that is
// carried back to the weights.
func (l *Language) output(learn bool, f func(w *Scratch, i int, row []float32)) {
	t := l.t
	T, ld, V := len(t.batch.ids), t.ldc(), t.net.Vocab
	features := t.readOut(T)
	ldv := kernel.Stride(V)
	logits := keep(&l.logits, min(T, logitRows), ldv)
	var dfeatures []float32
	if learn {
		dfeatures = t.pool.take(T * ld)
	}
	for at := 0; at < T; at += logitRows {
		m := min(logitRows, T-at)
		t.work.Rows(m, func(w *Scratch, lo, hi int) {
			l.head.forward(&w.Gemm, logits[lo*ldv:], ldv, features[(at+lo)*ld:], ld, hi-lo, kernel.Store)
			for i := lo; i < hi; i++ {
				row := logits[i*ldv:][:V]
				if l.targets[at+i] == NoTarget {
					clear(row)
				} else {
					f(w, at+i, row)
				}
			}
		})
		if learn {
			l.head.backward(t.work, dfeatures[at*ld:], ld, false, logits, ldv, features[at*ld:], ld, m)
		}
	}
	if learn {
		t.backward(dfeatures)
	}
}

// forward carries the texts through all layers, every token through all of them.
func (l *Language) forward(texts []Text, p Pass) error {
	seqs := make([]Sequence, len(texts))
	l.targets = l.targets[:0]
	for i, x := range texts {
		seqs[i] = whole(x.IDs)
		if err := l.t.model.Validate(seqs[i]); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
		if x.Targets == nil {
			l.targets = append(append(l.targets, x.IDs[1:]...), NoTarget)
			continue
		}
		if len(x.Targets) != len(x.IDs) {
			return fmt.Errorf("sequence %d: %d targets for %d tokens", i, len(x.Targets), len(x.IDs))
		}
		l.targets = append(l.targets, x.Targets...)
	}
	for i, v := range l.targets {
		if v != NoTarget && (v < 0 || int(v) >= l.t.net.Vocab) {
			return fmt.Errorf("target %d at token %d, want 0 to %d", v, i, l.t.net.Vocab-1)
		}
	}
	l.t.forward(seqs, p, false)
	return nil
}
