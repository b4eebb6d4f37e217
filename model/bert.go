package model

import (
	"math"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// bert is the bidirectional encoder with a pooler over its first token.
// Source: transformers modeling_bert.py; Devlin et al. 2019 (arXiv 1810.04805).
type bert struct {
	Words     nn.Embedding `weight:"bert.embeddings.word_embeddings"`
	Positions nn.Embedding `weight:"bert.embeddings.position_embeddings"`
	Types     nn.Embedding `weight:"bert.embeddings.token_type_embeddings"`
	Norm      nn.LayerNorm `weight:"bert.embeddings.LayerNorm"`
	Layers    []bertBlock  `weight:"bert.encoder.layer"`
	Pooler    nn.Linear    `weight:"bert.pooler.dense"`
	Head      nn.ScoreHead `weight:"classifier"`
}

// bertBlock is norm(x + attention(x)), then norm(x + mlp(x)).
type bertBlock struct {
	Q        nn.Linear    `weight:"attention.self.query"`
	KV       nn.Linear    `weight:"attention.self.key,attention.self.value"`
	O        nn.Linear    `weight:"attention.output.dense"`
	AttnNorm nn.LayerNorm `weight:"attention.output.LayerNorm"`
	Up       nn.Linear    `weight:"intermediate.dense"`
	Down     nn.Linear    `weight:"output.dense"`
	OutNorm  nn.LayerNorm `weight:"output.LayerNorm"`

	attn nn.Attention
	act  kernel.Epilogue
}

func newBert(c *Config) network {
	n := &bert{
		Words:     nn.NewEmbedding(c.VocabSize, c.Hidden),
		Positions: nn.NewEmbedding(c.MaxPositions, c.Hidden),
		Types:     nn.NewEmbedding(c.TypeVocab, c.Hidden),
		Norm:      nn.NewLayerNorm(c.Hidden, c.NormEps),
		Layers:    make([]bertBlock, c.Layers),
		Pooler:    nn.NewLinear(c.Hidden, true, c.Hidden),
		Head:      nn.NewScoreHead(c.Hidden, true),
	}
	for i := range n.Layers {
		n.Layers[i] = bertBlock{
			Q:        nn.NewLinear(c.Hidden, true, c.Hidden),
			KV:       nn.NewLinear(c.Hidden, true, c.Hidden, c.Hidden),
			O:        nn.NewLinear(c.Hidden, true, c.Hidden),
			AttnNorm: nn.NewLayerNorm(c.Hidden, c.NormEps),
			Up:       nn.NewLinear(c.Hidden, true, c.Intermediate),
			Down:     nn.NewLinear(c.Intermediate, true, c.Hidden),
			OutNorm:  nn.NewLayerNorm(c.Hidden, c.NormEps),
			attn:     newAttention(c, i, false),
			act:      plainActivations[c.Activation],
		}
	}
	return n
}

func (n *bert) causal() bool { return false }

func (n *bert) embed(w *worker, x []float32, id, typ, pos int32) {
	tmp, _ := w.rows(len(x))
	n.Words.Read(x, id)
	n.Types.AddTo(x, tmp, typ)
	n.Positions.AddTo(x, tmp, pos)
	n.Norm.Forward(x, 0, x, 0, 1)
}

func (n *bert) blocks() []block {
	out := make([]block, len(n.Layers))
	for i := range n.Layers {
		out[i] = &n.Layers[i]
	}
	return out
}

func (n *bert) score(w *worker, x []float32) float32 {
	y, ldy := w.rows(n.Pooler.Out())
	n.Pooler.Forward(&w.Gemm, y, ldy, x, len(x), 1, kernel.Store)
	for i, v := range y[:len(x)] {
		y[i] = float32(math.Tanh(float64(v)))
	}
	return n.Head.Score(y[:len(x)])
}

func (l *bertBlock) attention() *nn.Attention { return &l.attn }

func (l *bertBlock) project(w *worker, s *stage, lo, hi int) {
	x, m := s.x[lo*s.ldx:], hi-lo
	if s.q != nil {
		l.Q.Forward(&w.Gemm, s.q[lo*s.ldq:], s.ldq, x, s.ldx, m, kernel.Store)
	}
	if s.kv != nil {
		l.KV.Forward(&w.Gemm, s.kv[lo*s.ldkv:], s.ldkv, x, s.ldx, m, kernel.Store)
	}
}

func (l *bertBlock) mix(w *worker, s *stage, lo, hi int) {
	x, m := s.x[lo*s.ldx:], hi-lo
	l.O.Forward(&w.Gemm, x, s.ldx, s.attn[lo*s.ldq:], s.ldq, m, kernel.Add)
	l.AttnNorm.Forward(x, s.ldx, x, s.ldx, m)
	h, ldh := w.inner(l.Up.Out())
	l.Up.Forward(&w.Gemm, h, ldh, x, s.ldx, m, l.act)
	l.Down.Forward(&w.Gemm, x, s.ldx, h, ldh, m, kernel.Add)
	l.OutNorm.Forward(x, s.ldx, x, s.ldx, m)
}
