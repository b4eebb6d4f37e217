package model

import (
	"math"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (n *bert) learnedBlocks() []learnedBlock {
	out := make([]learnedBlock, len(n.Layers))
	for i := range n.Layers {
		out[i] = &n.Layers[i]
	}
	return out
}

func (n *bert) scoreHead() *nn.ScoreHead { return &n.Head }

func (n *bert) learnEmbedding(t *Training, x []float32) {
	ld := t.ldc()
	sum := keep(&t.hidden, len(t.batch.ids), ld)
	n.Words.Lookup(t.work, sum, ld, t.batch.ids, false)
	n.Types.Lookup(t.work, sum, ld, t.batch.types, true)
	n.Positions.Lookup(t.work, sum, ld, t.batch.pos, true)
	t.work.Rows(len(t.batch.ids), func(_ *nn.Scratch, lo, hi int) {
		n.Norm.Forward(x[lo*ld:], ld, sum[lo*ld:], ld, hi-lo)
	})
}

func (n *bert) embeddingBackward(t *Training, dx []float32) {
	ld := t.ldc()
	n.Norm.Backward(t.work, dx, ld, false, dx, ld, t.hidden, ld, len(t.batch.ids))
	n.Words.Backward(t.work, dx, ld, t.batch.ids)
	n.Types.Backward(t.work, dx, ld, t.batch.types)
	n.Positions.Backward(t.work, dx, ld, t.batch.pos)
}

func (n *bert) learnFeatures(t *Training, feat, x []float32, m int) {
	ld := t.ldc()
	t.work.Rows(m, func(w *nn.Scratch, lo, hi int) {
		n.Pooler.Forward(&w.Gemm, feat[lo*ld:], ld, x[lo*ld:], ld, hi-lo, kernel.Store)
		for i := lo; i < hi; i++ {
			for j, v := range feat[i*ld:][:t.Config.Hidden] {
				feat[i*ld+j] = float32(math.Tanh(float64(v)))
			}
		}
	})
}

func (n *bert) featuresBackward(t *Training, dx, dfeat, x []float32, m int) {
	ld := t.ldc()
	for i := range m {
		for j, y := range t.Features(i) {
			dfeat[i*ld+j] *= 1 - y*y // tanh′
		}
	}
	n.Pooler.Backward(t.work, dx, ld, false, dfeat, ld, x, ld, m)
}

func (l *bertBlock) learn(t *Training, s *saved) {
	T, Q, ld, ldq, ldkv := len(t.batch.ids), len(s.pos), t.ldc(), t.ldq(), t.ldkv()
	kv := keep(&s.kv, T, ldkv)
	t.work.Rows(T, func(w *nn.Scratch, lo, hi int) {
		l.KV.Forward(&w.Gemm, kv[lo*ldkv:], ldkv, s.x[lo*ld:], ld, hi-lo, kernel.Store)
	})
	xq := t.pick(s, &s.picks, s.x)
	s.xq = xq
	q := keep(&s.q, Q, ldq)
	t.work.Rows(Q, func(w *nn.Scratch, lo, hi int) {
		l.Q.Forward(&w.Gemm, q[lo*ldq:], ldq, xq[lo*ld:], ld, hi-lo, kernel.Store)
	})
	t.attend(&l.attn, s)
	ldf := kernel.Stride(l.Up.Out())
	mid, n2 := keep(&s.mid, Q, ld), keep(&s.n2, Q, ld)
	sum, out := keep(&s.sum, Q, ld), keep(&s.out, Q, ld)
	up, h := keep(&s.up, Q, ldf), keep(&s.h, Q, ldf)
	t.work.Rows(Q, func(w *nn.Scratch, lo, hi int) {
		m := hi - lo
		copy(mid[lo*ld:hi*ld], xq[lo*ld:])
		t.residual(w, &l.O, mid, s.attn, ldq, s, siteResidual, lo, hi)
		l.AttnNorm.Forward(n2[lo*ld:], ld, mid[lo*ld:], ld, m)
		expand(w, &l.Up, l.act, h[lo*ldf:], up[lo*ldf:], ldf, n2[lo*ld:], ld, m)
		copy(sum[lo*ld:hi*ld], n2[lo*ld:])
		t.residual(w, &l.Down, sum, h, ldf, s, siteOutput, lo, hi)
		l.OutNorm.Forward(out[lo*ld:], ld, sum[lo*ld:], ld, m)
	})
}

func (l *bertBlock) backward(t *Training, s *saved, dx []float32) {
	r := &t.room
	T, Q, ld, ldq, ldkv := len(t.batch.ids), len(s.pos), t.ldc(), t.ldq(), t.ldkv()
	d := r.dout // from the output back to the input

	l.OutNorm.Backward(t.work, d, ld, false, d, ld, s.sum, ld, Q)
	t.expandBackward(&l.Up, &l.Down, l.act, s, d, true, t.undrop(d, s, siteOutput))
	l.AttnNorm.Backward(t.work, d, ld, false, d, ld, s.mid, ld, Q)

	dattn := grow(&r.dattn, Q*ldq)
	l.O.Backward(t.work, dattn, ldq, false, t.undrop(d, s, siteResidual), ld, s.attn, ldq, Q)
	t.attendBackward(&l.attn, s)
	l.Q.Backward(t.work, d, ld, true, r.dq, ldq, s.xq, ld, Q)
	t.unpick(s, dx, d)
	l.KV.Backward(t.work, dx, ld, true, r.dkv, ldkv, s.x, ld, T)
}
