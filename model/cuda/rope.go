package cuda

import (
	"encoding/binary"
	"math"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// rope returns the table of a rotary embedding: of each position the cosine and sine of every pair,
// float32, and behind them, where the embedding has frequencies for long sequences, those of these.
func (l *lowering) rope(r *nn.Rope) Ptr {
	if at, ok := l.m.ropes[r]; ok {
		return at
	}
	at := l.take(len(l.m.halves(r)) * l.m.positions() * len(r.InvFreq) * 8)
	l.m.ropes[r] = at
	return at
}

// halfTurns is the same as the heads epilogue of products reads it.
func (l *lowering) halfTurns(r *nn.Rope) Ptr {
	if at, ok := l.m.halfRopes[r]; ok {
		return at
	}
	at := l.take(len(l.m.halves(r)) * l.m.positions() * len(r.InvFreq) * 4)
	l.m.halfRopes[r] = at
	return at
}

// halves are the frequencies of a rotary embedding's tables.
func (m *Model) halves(r *nn.Rope) [][]float32 {
	if m.stretched(r) < 0 {
		return [][]float32{r.InvFreq}
	}
	return [][]float32{r.InvFreq, r.Long}
}

// stretched returns which of the network's embeddings with frequencies for long sequences it is, -1
// for none of them.
func (m *Model) stretched(r *nn.Rope) int {
	for i, x := range m.net.Stretched {
		if x == r && r.Long != nil {
			return i
		}
	}
	return -1
}

// positions is the number of those that a token can have.
func (m *Model) positions() int { return m.longest + int(m.net.First) }

// turns computes the table of a rotary embedding.
func (m *Model) turns(r *nn.Rope) []float32 {
	scale := r.Magnitude
	if scale == 0 {
		scale = 1
	}
	var out []float32
	for _, freq := range m.halves(r) {
		for pos := range m.positions() {
			for _, f := range freq {
				// The product is rounded to float32 as the reference does.
				s, c := math.Sincos(float64(float32(pos) * f))
				out = append(out, float32(c)*scale, float32(s)*scale)
			}
		}
	}
	return out
}

// writeRopes computes the tables.
func (m *Model) writeRopes() error {
	for r, at := range m.ropes {
		var b []byte
		for _, v := range m.turns(r) {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		if err := m.dev.Write(at, b); err != nil {
			return err
		}
	}
	for r, at := range m.halfRopes {
		var b []byte
		for _, v := range kernel.Turns(m.turns(r), len(r.InvFreq)) {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
		if err := m.dev.Write(at, b); err != nil {
			return err
		}
	}
	return nil
}
