package model

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (n *gptNeoX) learnedBlocks() []learnedBlock {
	out := make([]learnedBlock, len(n.Layers))
	for i := range n.Layers {
		out[i] = &n.Layers[i]
	}
	return out
}

func (n *gptNeoX) embedding() *nn.Embedding { return &n.Embed }

func (n *gptNeoX) scoreHead() *nn.ScoreHead { return &n.Head }

func (n *gptNeoX) learnEmbedding(t *Training, x []float32) {
	n.Embed.Lookup(t.work, x, t.ldc(), t.batch.ids, false)
}

func (n *gptNeoX) embeddingBackward(t *Training, dx []float32) {
	n.Embed.Backward(t.work, dx, t.ldc(), t.batch.ids)
}

func (n *gptNeoX) learnFeatures(t *Training, feat, x []float32, m int) {
	n.Norm.Forward(feat, t.ldc(), x, t.ldc(), m)
}

func (n *gptNeoX) featuresBackward(t *Training, dx, dfeat, x []float32, m int) {
	ld := t.ldc()
	n.Norm.Backward(t.work, dx, ld, false, dfeat, ld, x, ld, m)
}

func (l *gptNeoXBlock) learn(t *Training, s *saved) {
	a := &l.attn
	T, Q, ld, ldq, ldkv := len(t.batch.ids), len(s.pos), t.ldc(), t.ldq(), t.ldkv()
	n1, kv := keep(&s.n1, T, ld), keep(&s.kv, T, ldkv)
	t.work.Rows(T, func(w *nn.Scratch, lo, hi int) {
		l.InputNorm.Forward(n1[lo*ld:], ld, s.x[lo*ld:], ld, hi-lo)
		l.QKV.KV.Forward(&w.Gemm, kv[lo*ldkv:], ldkv, n1[lo*ld:], ld, hi-lo, kernel.Store)
		l.rope.Forward(kv[lo*ldkv:], ldkv, a.K, a.D, t.batch.pos[lo:hi])
	})
	n1q, xq := t.pick(s, &s.n1q, n1), t.pick(s, &s.picks, s.x)
	s.xq = xq
	q := keep(&s.q, Q, ldq)
	t.work.Rows(Q, func(w *nn.Scratch, lo, hi int) {
		l.QKV.Q.Forward(&w.Gemm, q[lo*ldq:], ldq, n1q[lo*ld:], ld, hi-lo, kernel.Store)
		l.rope.Forward(q[lo*ldq:], ldq, a.H, a.D, s.pos[lo:hi])
	})
	t.attend(a, s)
	ldf := kernel.Stride(l.Up.Out())
	n2, out := keep(&s.n2, Q, ld), keep(&s.out, Q, ld)
	up, h := keep(&s.up, Q, ldf), keep(&s.h, Q, ldf)
	mid := xq // what the second norm reads
	if !l.parallel {
		mid = keep(&s.mid, Q, ld)
	}
	t.work.Rows(Q, func(w *nn.Scratch, lo, hi int) {
		m := hi - lo
		if !l.parallel {
			copy(mid[lo*ld:hi*ld], xq[lo*ld:])
			t.residual(w, &l.O, mid, s.attn, ldq, s, siteResidual, lo, hi)
		}
		copy(out[lo*ld:hi*ld], mid[lo*ld:])
		if l.parallel {
			t.residual(w, &l.O, out, s.attn, ldq, s, siteResidual, lo, hi)
		}
		l.PostNorm.Forward(n2[lo*ld:], ld, mid[lo*ld:], ld, m)
		expand(w, &l.Up, l.act, h[lo*ldf:], up[lo*ldf:], ldf, n2[lo*ld:], ld, m)
		t.residual(w, &l.Down, out, h, ldf, s, siteOutput, lo, hi)
	})
}

// expand computes the inner values of a plain feed-forward layer for m rows and
// keeps those before the activation.
func expand(w *nn.Scratch, l *nn.Linear, act kernel.Epilogue, h, up []float32, ldf int, x []float32, ldx, m int) {
	l.Forward(&w.Gemm, up, ldf, x, ldx, m, kernel.Store)
	n := kernel.Pad(l.Out())
	for i := range m {
		copy(h[i*ldf:][:n], up[i*ldf:])
	}
	kernel.Activate(h, ldf, m, n, act)
}

// expandBackward computes dn2 from the gradient dout of what down adds, of a
// plain feed-forward layer; with add it accumulates.
func (t *Training) expandBackward(up, down *nn.Linear, act kernel.Epilogue, s *saved, dn2 []float32, add bool, dout []float32) {
	Q, ld, ldf := len(s.pos), t.ldc(), kernel.Stride(up.Out())
	dh := grow(&t.room.dh, Q*ldf)
	down.BackwardWeight(t.work, dout, ld, s.h, ldf, Q) // first: dn2 may be dout
	t.work.Rows(Q, func(w *nn.Scratch, lo, hi int) {
		d, m := dh[lo*ldf:], hi-lo
		down.BackwardInput(w, d, ldf, false, dout[lo*ld:], ld, m)
		kernel.ActivateBackward(d, ldf, d, ldf, s.up[lo*ldf:], ldf, m, up.Out(), act)
		up.BackwardInput(w, dn2[lo*ld:], ld, add, d, ldf, m)
	})
	up.BackwardWeight(t.work, dh, ldf, s.n2, ld, Q)
}

func (l *gptNeoXBlock) backward(t *Training, s *saved, dx []float32) {
	a, r := &l.attn, &t.room
	T, Q, ld, ldq, ldkv := len(t.batch.ids), len(s.pos), t.ldc(), t.ldq(), t.ldkv()
	dres := r.dout // the residual stream's

	dn2, dattn := grow(&r.dn2, Q*ld), grow(&r.dattn, Q*ldq)
	t.expandBackward(&l.Up, &l.Down, l.act, s, dn2, false, t.undrop(dres, s, siteOutput))
	if l.parallel {
		l.O.Backward(t.work, dattn, ldq, false, t.undrop(dres, s, siteResidual), ld, s.attn, ldq, Q)
		l.PostNorm.Backward(t.work, dres, ld, true, dn2, ld, s.xq, ld, Q)
	} else {
		l.PostNorm.Backward(t.work, dres, ld, true, dn2, ld, s.mid, ld, Q)
		l.O.Backward(t.work, dattn, ldq, false, t.undrop(dres, s, siteResidual), ld, s.attn, ldq, Q)
	}
	t.attendBackward(a, s)
	t.work.Rows(Q, func(_ *nn.Scratch, lo, hi int) { l.rope.Backward(r.dq[lo*ldq:], ldq, a.H, a.D, s.pos[lo:hi]) })
	t.work.Rows(T, func(_ *nn.Scratch, lo, hi int) {
		l.rope.Backward(r.dkv[lo*ldkv:], ldkv, a.K, a.D, t.batch.pos[lo:hi])
	})
	var rows []int32
	if s.picked {
		rows = t.batch.last
	}
	ld3 := kernel.Stride(3 * a.H * a.D)
	dn1, dqkv := grow(&r.dn1, T*ld), grow(&r.dqkv, T*ld3)
	l.QKV.Backward(t.work, dn1, ld, dqkv, ld3, r.dq, ldq, rows, r.dkv, ldkv, s.n1, ld, T)
	t.unpick(s, dx, dres)
	l.InputNorm.Backward(t.work, dx, ld, true, dn1, ld, s.x, ld, T)
}
