package cpu

import (
	"fmt"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// layer is an [nn.Module] with its weights.
type layer interface {
	// alloc gives the layer zero weights. Matrices that products read are stored
	// in the number format d, everything else in float32.
	alloc(d kernel.DType)
	// memory is what the weights take.
	memory() [][]byte
	// store takes the values of whole rows (indices of the first dimension) of
	// the layer's i-th parameter, beginning with row. Calls for rows of different groups
	// of 64 may run at the same time.
	store(i, row int, values []float32)

	// allocTraining gives the layer float32 weights and gradients, all zero,
	// beside the panels that its products read, in the number format d: float32
	// or bfloat16.
	allocTraining(d kernel.DType)
	// bind sets Data and Grad of the layer's parameters, after allocTraining.
	bind(p []nn.Param)
	// refresh makes everything that is computed from the weights follow them.
	refresh()
}

// collector is a layer whose gradients come in other tensors than its
// parameters': collect adds them up after a backward pass.
type collector interface{ collect() }

// fixer is a layer whose gradients cost products or memory to pass: fix leaves them out, where
// none of its parameters learns.
type fixer interface{ fix() }

func (l *linear) fix()    { l.master.fixed = true }
func (g *gated) fix()     { g.master.fixed = true }
func (f *fusedQKV) fix()  { f.q.fix(); f.kv.fix() }
func (e *embedding) fix() { e.fixed = true }

// fix says that the parameters of which learns is false stay as they are.
func (w *weights) fix(learns []bool) {
	some := map[layer]bool{}
	for i, o := range w.owners {
		some[o.layer] = some[o.layer] || learns[i]
	}
	for l, learned := range some {
		if f, ok := l.(fixer); ok && !learned {
			f.fix()
		}
	}
}

// weights are the layers of a network, and which parameter is whose.
type weights struct {
	layers []layer
	of     map[nn.Module]layer
	params []nn.Param
	owners []owner // of params
	ropes  map[*nn.Rope]*rope

	relatives map[*nn.Relative]*relative
	order     []*relative // in which they were met
	distances map[*nn.Embedding]*distances
}

// owner is the layer that holds a parameter, and its number there.
type owner struct {
	layer layer
	i     int
}

// newWeights makes the layers of a network, without memory.
func newWeights(n *nn.Network) *weights {
	w := &weights{of: map[nn.Module]layer{}, ropes: map[*nn.Rope]*rope{}, params: n.Params(),
		relatives: map[*nn.Relative]*relative{}, distances: map[*nn.Embedding]*distances{}}
	n.Modules(func(names []string, m nn.Module) {
		l := w.layer(m)
		w.layers = append(w.layers, l)
		for i := range m.Params(names) {
			w.owners = append(w.owners, owner{l, i})
		}
	})
	return w
}

func (w *weights) layer(m nn.Module) layer {
	var l layer
	switch m := m.(type) {
	case *nn.Linear:
		l = &linear{Linear: m}
	case *nn.Gated:
		l = &gated{Gated: m}
	case *nn.FusedQKV:
		q, kv := &linear{Linear: &m.Q}, &linear{Linear: &m.KV}
		w.of[&m.Q], w.of[&m.KV] = q, kv
		l = &fusedQKV{FusedQKV: m, q: q, kv: kv}
	case *nn.RMSNorm:
		l = &rmsNorm{RMSNorm: m}
	case *nn.LayerNorm:
		l = &layerNorm{LayerNorm: m}
	case *nn.Embedding:
		l = &embedding{Embedding: m}
	case *nn.ScoreHead:
		l = &scoreHead{ScoreHead: m}
	case *nn.BatchNorm:
		l = &batchNorm{BatchNorm: m}
	case *nn.Constant:
		l = &constant{Constant: m}
	default:
		panic(fmt.Sprintf("cpu: no weights for a layer of type %T", m))
	}
	w.of[m] = l
	if t, ok := newTransposed(m, l); ok {
		return t
	}
	return l
}

func (w *weights) linear(m *nn.Linear) *linear { return w.of[m].(*linear) }
func (w *weights) gated(m *nn.Gated) *gated    { return w.of[m].(*gated) }
func (w *weights) mixture(m *nn.Mixture) *mixture {
	x := &mixture{Mixture: m, router: w.linear(m.Router)}
	for _, e := range m.Experts {
		x.experts = append(x.experts, expert{w.gated(e.GateUp), w.linear(e.Down)})
		x.widest = max(x.widest, e.GateUp.F)
	}
	return x
}

func (w *weights) norm(m nn.Norm) norm                  { return w.of[m].(norm) }
func (w *weights) embedding(m *nn.Embedding) *embedding { return w.of[m].(*embedding) }

// rope returns the tables of a rotary embedding, which layers share.
func (w *weights) rope(r *nn.Rope) *rope {
	if w.ropes[r] == nil {
		w.ropes[r] = newRope(r)
	}
	return w.ropes[r]
}

// allocTraining makes the layers ready for training and gives the parameters
// data and gradient.
func (w *weights) allocTraining(d kernel.DType) {
	at := 0
	for _, l := range w.layers {
		l.allocTraining(d)
		n := at
		for n < len(w.owners) && w.owners[n].layer == l {
			n++
		}
		l.bind(w.params[at:n])
		at = n
	}
}

// memory is what the layers' weights take.
func (w *weights) memory() (all [][]byte) {
	for _, l := range w.layers {
		all = append(all, l.memory()...)
	}
	return all
}

// epilogues of the activations, plain and gated.
var (
	epilogues = map[nn.Activation]kernel.Epilogue{
		nn.None: kernel.Store, nn.GELU: kernel.GELU, nn.GELUTanh: kernel.GELUTanh,
		nn.ReLU: kernel.ReLU, nn.Tanh: kernel.Tanh,
	}
	gates = map[nn.Activation]kernel.Epilogue{nn.SiLU: kernel.SiLUMul, nn.GELU: kernel.GELUMul,
		nn.GELUTanh: kernel.GELUTanhMul}
)

// epilogue returns what a product does with an activation.
func epilogue(of map[nn.Activation]kernel.Epilogue, a nn.Activation) kernel.Epilogue {
	e, ok := of[a]
	if !ok {
		panic(fmt.Sprintf("cpu: no kernel for the activation %d", a))
	}
	return e
}
