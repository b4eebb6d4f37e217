package model

import (
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

func (n *llama) learnedBlocks() []learnedBlock {
	out := make([]learnedBlock, len(n.Layers))
	for i := range n.Layers {
		out[i] = &n.Layers[i]
	}
	return out
}

func (n *llama) embedding() *nn.Embedding { return &n.Embed }

func (n *llama) scoreHead() *nn.ScoreHead { return &n.Head }

func (n *llama) learnEmbedding(t *Training, x []float32) {
	n.Embed.Lookup(t.work, x, t.ldc(), t.batch.ids, false)
}

func (n *llama) embeddingBackward(t *Training, dx []float32) {
	n.Embed.Backward(t.work, dx, t.ldc(), t.batch.ids)
}

func (n *llama) learnFeatures(t *Training, feat, x []float32, m int) {
	n.Norm.Forward(feat, t.ldc(), x, t.ldc(), m)
}

func (n *llama) featuresBackward(t *Training, dx, dfeat, x []float32, m int) {
	ld := t.ldc()
	n.Norm.Backward(t.work, dx, ld, false, dfeat, ld, x, ld, m, 1)
}

func (l *llamaBlock) learn(t *Training, s *saved) {
	a := &l.attn
	T, Q, ld, ldq, ldkv := len(t.batch.ids), len(s.pos), t.ldc(), t.ldq(), t.ldkv()
	n1, kv := keep(&s.n1, T, ld), keep(&s.kv, T, ldkv)
	if l.KNorm != nil {
		keep(&s.kRaw, T, ldkv)
		keep(&s.qRaw, Q, ldq)
	}
	t.work.Rows(T, func(w *nn.Scratch, lo, hi int) {
		l.InputNorm.Forward(n1[lo*ld:], ld, s.x[lo*ld:], ld, hi-lo)
		l.KV.Forward(&w.Gemm, kv[lo*ldkv:], ldkv, n1[lo*ld:], ld, hi-lo, kernel.Store)
		if l.KNorm != nil {
			copy(s.kRaw[lo*ldkv:hi*ldkv], kv[lo*ldkv:])
		}
		normHeads(l.KNorm, kv[lo*ldkv:], ldkv, hi-lo, a.K, a.D)
		l.rope.Forward(kv[lo*ldkv:], ldkv, a.K, a.D, t.batch.pos[lo:hi])
	})
	n1q, xq := t.pick(s, &s.n1q, n1), t.pick(s, &s.picks, s.x)
	q := keep(&s.q, Q, ldq)
	t.work.Rows(Q, func(w *nn.Scratch, lo, hi int) {
		l.Q.Forward(&w.Gemm, q[lo*ldq:], ldq, n1q[lo*ld:], ld, hi-lo, kernel.Store)
		if l.QNorm != nil {
			copy(s.qRaw[lo*ldq:hi*ldq], q[lo*ldq:])
		}
		normHeads(l.QNorm, q[lo*ldq:], ldq, hi-lo, a.H, a.D)
		l.rope.Forward(q[lo*ldq:], ldq, a.H, a.D, s.pos[lo:hi])
	})
	t.attend(a, s)
	ldf := kernel.Stride(l.GateUp.F)
	ldg := kernel.Stride(2 * kernel.Pad(l.GateUp.F))
	mid, n2, out := keep(&s.mid, Q, ld), keep(&s.n2, Q, ld), keep(&s.out, Q, ld)
	gu, h := keep(&s.up, Q, ldg), keep(&s.h, Q, ldf)
	t.work.Rows(Q, func(w *nn.Scratch, lo, hi int) {
		m := hi - lo
		copy(mid[lo*ld:hi*ld], xq[lo*ld:])
		t.residual(w, &l.O, mid, s.attn, ldq, s, siteResidual, lo, hi)
		l.PostNorm.Forward(n2[lo*ld:], ld, mid[lo*ld:], ld, m)
		l.GateUp.Saved(&w.Gemm, h[lo*ldf:], ldf, gu[lo*ldg:], ldg, n2[lo*ld:], ld, m)
		copy(out[lo*ld:hi*ld], mid[lo*ld:])
		t.residual(w, &l.Down, out, h, ldf, s, siteOutput, lo, hi)
	})
}

func (l *llamaBlock) backward(t *Training, s *saved, dx []float32) {
	a, r := &l.attn, &t.room
	T, Q, ld, ldq, ldkv := len(t.batch.ids), len(s.pos), t.ldc(), t.ldq(), t.ldkv()
	ldf := kernel.Stride(l.GateUp.F)
	ldg := kernel.Stride(2 * kernel.Pad(l.GateUp.F))
	dmid := r.dout // the residual stream's, which every branch adds to

	dh, dgu, dn2 := grow(&r.dh, Q*ldf), grow(&r.dup, Q*ldg), grow(&r.dn2, Q*ld)
	dout := t.undrop(dmid, s, siteOutput)
	t.work.Rows(Q, func(w *nn.Scratch, lo, hi int) {
		l.Down.BackwardInput(w, dh[lo*ldf:], ldf, false, dout[lo*ld:], ld, hi-lo)
		l.GateUp.BackwardInput(w, dn2[lo*ld:], ld, false, dgu[lo*ldg:], dh[lo*ldf:], ldf, s.up[lo*ldg:], ldg, hi-lo)
	})
	l.Down.BackwardWeight(t.work, dout, ld, s.h, ldf, Q)
	l.GateUp.BackwardWeight(t.work, dgu, ldg, s.n2, ld, Q)
	l.PostNorm.Backward(t.work, dmid, ld, true, dn2, ld, s.mid, ld, Q, 1)

	dattn := grow(&r.dattn, Q*ldq)
	l.O.Backward(t.work, dattn, ldq, false, t.undrop(dmid, s, siteResidual), ld, s.attn, ldq, Q)
	t.attendBackward(a, s)
	t.work.Rows(Q, func(_ *nn.Scratch, lo, hi int) { l.rope.Backward(r.dq[lo*ldq:], ldq, a.H, a.D, s.pos[lo:hi]) })
	t.work.Rows(T, func(_ *nn.Scratch, lo, hi int) {
		l.rope.Backward(r.dkv[lo*ldkv:], ldkv, a.K, a.D, t.batch.pos[lo:hi])
	})
	if l.QNorm != nil {
		l.QNorm.Backward(t.work, r.dq, ldq, false, r.dq, ldq, s.qRaw, ldq, Q, a.H)
		l.KNorm.Backward(t.work, r.dkv, ldkv, false, r.dkv, ldkv, s.kRaw, ldkv, T, a.K)
	}
	dn1 := grow(&r.dn1, T*ld)
	t.work.Rows(T, func(w *nn.Scratch, lo, hi int) {
		l.KV.BackwardInput(w, dn1[lo*ld:], ld, false, r.dkv[lo*ldkv:], ldkv, hi-lo)
		if !s.picked {
			l.Q.BackwardInput(w, dn1[lo*ld:], ld, true, r.dq[lo*ldq:], ldq, hi-lo)
		}
	})
	l.KV.BackwardWeight(t.work, r.dkv, ldkv, s.n1, ld, T)
	if s.picked {
		dn1q := grow(&r.dn1q, Q*ld)
		l.Q.Backward(t.work, dn1q, ld, false, r.dq, ldq, s.n1q, ld, Q)
		t.addPicked(dn1, dn1q, t.Config.Hidden)
	} else {
		l.Q.BackwardWeight(t.work, r.dq, ldq, s.n1, ld, Q)
	}
	t.unpick(s, dx, dmid)
	l.InputNorm.Backward(t.work, dx, ld, true, dn1, ld, s.x, ld, T, 1)
}
