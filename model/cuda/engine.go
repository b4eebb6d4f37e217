package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/warmserve/warmserve/model/plan"
)

// Engine scores batches on one device, one at a time.
type Engine struct {
	mu    sync.Mutex
	dev   Device
	plan  plan.Plan
	batch batch
	host  []int32 // a batch as it goes to the device
	bytes []byte  // the same
	out   []byte  // outputs as they come back
}

// NewEngine starts an engine on a device, which is its own from then on.
func NewEngine(d Device) *Engine { return &Engine{dev: d} }

// Limits are those of the device.
func (e *Engine) Limits() Limits {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dev.Limits()
}

// Free gives back the memory of a model, which is then not used any more.
func (e *Engine) Free(m *Model) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m.free()
}

// Outputs writes the outputs of every sequence's read tokens to dst, those of one sequence behind
// those of the one before: [plan.Sequence.Rows] times as many as the head has. Sequences are valid
// (see [Model.Validate]).
func (e *Engine) Outputs(m *Model, dst []float32, seqs []plan.Sequence) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := &e.plan
	p.Multiple, p.UnitTokens, p.Most = sharedMultiple, int32(m.rows), int32(m.rows)
	p.Make(seqs, m.net, 1)
	n := m.outputs
	unique := make([]float32, int(p.Rows[len(p.Unique)])*n)
	e.batch.m = m
	e.batch.reset()
	rows, reads := 0, 0
	for _, u := range p.Units {
		r := int(p.Rows[u.Hi] - p.Rows[u.Lo])
		if len(e.batch.ids) > 0 && (rows+int(u.Tokens) > m.rows || reads+r > m.rows) {
			if err := e.run(m, unique); err != nil {
				return err
			}
			rows, reads = 0, 0
		}
		if int(u.Tokens) > m.rows || r > m.rows {
			return fmt.Errorf("cuda: %d tokens, %d of them read, together are more than the %d that a batch holds",
				u.Tokens, r, m.rows)
		}
		e.batch.add(p, u, seqs)
		rows, reads = rows+int(u.Tokens), reads+r
	}
	if err := e.run(m, unique); err != nil {
		return err
	}
	at := 0
	for i := range seqs {
		u := p.Same[i]
		at += copy(dst[at:], unique[int(p.Rows[u])*n:int(p.Rows[u+1])*n])
	}
	return nil
}

// run carries the batch through the model and empties it.
func (e *Engine) run(m *Model, outputs []float32) error {
	b := &e.batch
	if len(b.ids) == 0 {
		return nil
	}
	defer b.reset()
	c, err := m.class(len(b.ids), len(b.reads))
	if err != nil {
		return err
	}
	if len(e.host) < c.size {
		e.host, e.bytes = make([]int32, c.size), make([]byte, 4*c.size)
	}
	n := b.write(c, e.host)
	for i, v := range e.host[:n] {
		binary.LittleEndian.PutUint32(e.bytes[4*i:], uint32(v))
	}
	if err := e.dev.Write(m.batch, e.bytes[:4*n]); err != nil {
		return err
	}
	if err := m.writeFollowing(b); err != nil {
		return err
	}
	if err := c.graph.Launch(); err != nil {
		return err
	}
	if n := 4 * m.outputs * len(b.reads); len(e.out) < n {
		e.out = make([]byte, n)
	}
	at := 0 // of a branch's outputs in a token's
	for i, br := range m.branches {
		got := e.out[:4*br.n*len(b.reads)]
		if err := e.dev.Read(got, br.out); err != nil {
			return fmt.Errorf("outputs of branch %d: %w", i, err)
		}
		for j, row := range b.outputs {
			for k := range br.n {
				outputs[int(row)*m.outputs+at+k] = math.Float32frombits(binary.LittleEndian.Uint32(got[4*(j*br.n+k):]))
			}
		}
		at += br.n
	}
	return nil
}
