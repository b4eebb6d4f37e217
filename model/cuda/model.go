package cuda

import (
	"cmp"
	"fmt"
	"io"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// sharedMultiple is what the lengths of shared prefixes are multiples of: kernels read keys in blocks
// of so many positions, so that where a prefix lies does not matter to a bit.
const sharedMultiple = 128

// Model is a model on a device: its weights, the memory of a batch's activations, and the launches
// that carry one through.
type Model struct {
	dev    Device
	limits Limits
	net    *nn.Network
	layout *layout

	weights, activations Ptr // device memory
	rows                 int // of a batch, at most; as many tokens can be read
	longest              int // tokens of a sequence
	header               int // of a batch, in int32
	around               bool

	batch     Ptr // a batch's numbers: see class
	steps     []step
	branches  []branch
	outputs   int // of a token, of all branches
	ropes     map[*nn.Rope]Ptr
	halfRopes map[*nn.Rope]Ptr // as the heads epilogue reads them
	relatives map[*nn.Relative]*projected
	classes   map[[2]int]*class
}

// branch is where the outputs of a part of the head lie.
type branch struct {
	out Ptr
	n   int // of a token
}

// most is the largest batch in rows, unless a model's sequences are longer.
const most = 16384

// overlapped is the largest class, in values of the hidden state, that gains by kernels that start
// early: blocks of those that work on rows crowd where the kernel before ends first.
const overlapped = 1 << 20

// MemoryError is why a model does not fit the device.
type MemoryError struct {
	Network      string
	Weights      int // bytes, as all but Rows
	Rows, Batch  int // the tokens of a batch, and what they take
	Free, Memory int // of the device
}

// Need is what the model would take.
func (e *MemoryError) Need() int { return e.Weights + e.Batch }

func (e *MemoryError) Error() string {
	return fmt.Sprintf("too little memory on the card: %s needs %d MiB (weights %d, a batch of %d tokens %d), %d are free of %d",
		e.Network, e.Need()>>20, e.Weights>>20, e.Rows, e.Batch>>20, e.Free>>20, e.Memory>>20)
}

// Load takes a model onto the device: an image, of so many bytes, that [Pack] made of the network in
// the number format.
func (e *Engine) Load(n *nn.Network, d kernel.DType, image io.ReaderAt, size int) (*Model, error) {
	m, err := e.Begin(n, d, size)
	if err != nil {
		return nil, err
	}
	if err = e.Fill(m, image, 0, size); err == nil {
		err = e.Finish(m)
	}
	if err != nil {
		e.Free(m)
		return nil, err
	}
	return m, nil
}

// Begin takes the memory of a model, of which [Engine.Fill] brings the image, of so many bytes, in
// parts, and fills all of it that is not of the image.
func (e *Engine) Begin(n *nn.Network, d kernel.DType, size int) (*Model, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, err := newLayout(n, d)
	if err != nil {
		return nil, err
	}
	if c := e.dev.Limits().Capability; l.e4m3 && c < leastE4M3 {
		return nil, fmt.Errorf("fp8 needs a card of generation 8.9 or later, and this is one of %d.%d", c/10, c%10)
	}
	if size != l.size {
		return nil, fmt.Errorf("cuda: an image of %d bytes, %s has %d", size, n.Name, l.size)
	}
	m := &Model{dev: e.dev, limits: e.dev.Limits(), net: n, layout: l, classes: map[[2]int]*class{}}
	m.size()
	bytes := m.lower(0).taken
	if l.size+bytes > m.limits.Free {
		return nil, &MemoryError{Network: n.Name, Weights: l.size, Rows: m.rows, Batch: bytes, Free: m.limits.Free, Memory: m.limits.Memory}
	}
	if m.weights, err = m.dev.Alloc(m.layout.size); err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if m.activations, err = m.dev.Alloc(bytes); err != nil {
		m.free()
		return nil, fmt.Errorf("activations: %w", err)
	}
	if err := m.tables(); err != nil {
		m.free()
		return nil, err
	}
	return m, nil
}

// tables fills what lies beside activations and does not depend on weights.
func (m *Model) tables() error {
	if err := m.writeMaps(m.lower(m.activations).maps); err != nil {
		return err
	}
	return m.writeRopes()
}

// Fill brings bytes of the image from one on.
func (e *Engine) Fill(m *Model, image io.ReaderAt, at, bytes int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at < 0 || bytes < 0 || bytes > m.layout.size-at {
		return fmt.Errorf("cuda: bytes %d to %d of an image of %d", at, at+bytes, m.layout.size)
	}
	if err := m.dev.Fill(m.weight(at), io.NewSectionReader(image, int64(at), int64(bytes)), bytes); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// Finish makes a model whose image is there ready to score.
func (e *Engine) Finish(m *Model) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := m.project(); err != nil {
		return err
	}
	return m.dev.Sync()
}

// size decides how large a batch can be.
func (m *Model) size() {
	m.rows = cmp.Or(m.limits.Rows, max(most, min(m.net.Positions, 2*most)))
	m.longest = min(m.net.Positions, m.rows)
	for _, r := range m.net.Stretched {
		if r.Long == nil { // longer sequences rotate by their own length, which has no table
			m.longest = min(m.longest, r.Limit)
		}
	}
	experts := 0
	for _, b := range m.net.Blocks {
		for i := range b.Ops {
			if x := b.Ops[i].Mixture; x != nil {
				experts = max(experts, len(x.Experts))
			}
			m.around = m.around || b.Ops[i].Kind == nn.Neighbours
		}
	}
	m.header = headerCounts + 2*experts + 1
}

// weight is the address of an offset in the image.
func (m *Model) weight(at int) Ptr { return m.weights + Ptr(at) }

// free gives the device's memory back.
func (m *Model) free() {
	for _, c := range m.classes {
		if c.graph != nil {
			c.graph.Free()
		}
	}
	m.classes = nil
	for _, p := range []*Ptr{&m.weights, &m.activations} {
		if *p != 0 {
			m.dev.Free(*p)
			*p = 0
		}
	}
}

// lower turns the network into steps whose memory begins at base.
func (m *Model) lower(base Ptr) *lowering {
	m.ropes, m.halfRopes, m.relatives = map[*nn.Rope]Ptr{}, map[*nn.Rope]Ptr{}, map[*nn.Relative]*projected{}
	m.branches, m.outputs = nil, 0
	l := &lowering{m: m, base: base, maps: map[mapOf]Ptr{}, mixed: map[[2]int]*mixing{}}
	m.batch = l.take(4 * newClass(m, m.rows, m.rows).size)
	x := l.run(m.net.Embed, place{}, false, false)
	for i, b := range m.net.Blocks {
		x = l.run(b, x, i == len(m.net.Blocks)-1 && m.net.Each == nil, false)
	}
	if m.net.Each != nil {
		x = l.mean(l.run(m.net.Each, x, false, false))
	}
	if x.kind == all { // no operation of the last block asked for the wanted rows alone
		x = l.gather(x)
	}
	l.head(l.run(m.net.Features, x, false, false))
	m.steps = l.steps
	return l
}

// Rows is how many tokens a batch has at most.
func (m *Model) Rows() int { return m.rows }

// Bytes is the device memory that the model takes.
func (m *Model) Bytes() int { return m.layout.size }

// Longest is how many tokens a sequence has at most.
func (m *Model) Longest() int { return m.longest }

// Validate says whether the model can score the sequence on this device.
func (m *Model) Validate(s *plan.Sequence) error { return Validate(m.net, m.longest, s) }

// Validate says whether a device on which sequences have a length at most can score one.
func Validate(n *nn.Network, longest int, s *plan.Sequence) error {
	if err := plan.Validate(n, s); err != nil {
		return err
	}
	if len(s.IDs) > longest {
		return fmt.Errorf("cuda: %d tokens, %s takes %d on a card: cut it, or compute it on the CPU", len(s.IDs), n.Name, longest)
	}
	return nil
}

// class returns the smallest class for so many rows and read tokens, recorded.
func (m *Model) class(rows, reads int) (*class, error) {
	key := [2]int{m.step(rows), m.step(reads)}
	if c := m.classes[key]; c != nil {
		return c, nil
	}
	c := newClass(m, key[0], key[1])
	if d, ok := m.dev.(Overlapper); ok {
		d.Overlap(key[0]*m.net.Embed.Width(m.net.Embed.Out) <= overlapped)
	}
	g, err := m.dev.Capture(func() error { return c.launch(m.steps) })
	if err != nil {
		return nil, err
	}
	c.graph = g
	m.classes[key] = c
	return c, nil
}

// step rounds a size up to that of a class.
func (m *Model) step(n int) int {
	s := 64
	for s < n {
		s *= 2
	}
	return min(s, m.rows)
}
