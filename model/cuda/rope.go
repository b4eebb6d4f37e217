package cuda

import (
	"maps"
	"slices"
	"sync"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// rope returns the table of a rotary embedding: of each position the cosine and sine of every pair,
// float32, and behind them, where the embedding has frequencies for long sequences, those of these.
func (l *lowering) rope(r *nn.Rope) Ptr {
	return l.table(l.m.ropes, r, 8)
}

// halfTurns is the same as the heads epilogue of products reads it.
func (l *lowering) halfTurns(r *nn.Rope) Ptr {
	return l.table(l.m.halfRopes, r, 4)
}

// table is a table of so many bytes a pair, which is one of those that there are, or a new one.
func (l *lowering) table(of map[*nn.Rope]Ptr, r *nn.Rope, bytes int) Ptr {
	if _, ok := of[r]; !ok {
		of[r] = l.take(l.m.turnRows(r) * len(r.InvFreq) * bytes)
	}
	return of[r]
}

// halves are the frequencies of a rotary embedding's tables.
func (m *Model) halves(r *nn.Rope) [][]float32 {
	if r.Limit == 0 || r.Long == nil {
		return [][]float32{r.InvFreq}
	}
	return [][]float32{r.InvFreq, r.Long}
}

// turnRows is how many rows the tables have. Where long sequences rotate by their own length, there is
// one for each row of a batch behind those of positions, which is computed for each batch.
func (m *Model) turnRows(r *nn.Rope) int {
	if follows(r) {
		return m.positions() + m.rows
	}
	return len(m.halves(r)) * m.positions()
}

// follows says whether the frequencies of long sequences follow their length.
func follows(r *nn.Rope) bool { return r.Limit > 0 && r.Long == nil }

// stretched returns which of the network's embeddings with frequencies for long sequences it is, -1
// for none of them.
func (m *Model) stretched(r *nn.Rope) int { return slices.Index(m.net.Stretched, r) }

// positions is the number of those that a token can have.
func (m *Model) positions() int { return m.longest + int(m.net.First) }

// turnsTogether is how many positions one goroutine computes the table of.
const turnsTogether = 1 << 11

// turns computes the table of a rotary embedding.
func (m *Model) turns(r *nn.Rope) []float32 {
	row, n := 2*len(r.InvFreq), m.positions()
	out := make([]float32, len(m.halves(r))*n*row)
	var all sync.WaitGroup
	for i, freq := range m.halves(r) {
		table := out[i*n*row:][:n*row]
		for from := 0; from < n; from += turnsTogether {
			all.Go(func() {
				for pos := from; pos < min(n, from+turnsTogether); pos++ {
					appendTurns(table[pos*row:pos*row], r, freq, pos)
				}
			})
		}
	}
	all.Wait()
	return out
}

// appendTurns appends cosine and sine of every pair at a position.
func appendTurns(to []float32, r *nn.Rope, freq []float32, pos int) []float32 {
	for _, f := range freq {
		cos, sin := r.Turn(f, pos)
		to = append(to, cos, sin)
	}
	return to
}

// writeRopes computes the tables.
func (m *Model) writeRopes() error {
	for _, r := range m.rotated() {
		if err := m.writeTurns(r, 0, m.turns(r)); err != nil {
			return err
		}
	}
	return nil
}

// rotated are the network's rotary embeddings.
func (m *Model) rotated() []*nn.Rope {
	out := slices.Collect(maps.Keys(m.ropes))
	for r := range m.halfRopes {
		if _, ok := m.ropes[r]; !ok {
			out = append(out, r)
		}
	}
	return out
}

// writeTurns writes rows of an embedding's tables.
func (m *Model) writeTurns(r *nn.Rope, row int, turns []float32) error {
	row *= len(r.InvFreq)
	if at, ok := m.ropes[r]; ok {
		if err := m.dev.Write(at+Ptr(8*row), bytesOf(turns)); err != nil {
			return err
		}
	}
	if at, ok := m.halfRopes[r]; ok {
		return m.dev.Write(at+Ptr(4*row), bytesOf(kernel.Turns(turns, len(r.InvFreq))))
	}
	return nil
}

// writeFollowing computes the rotations of a batch's rows whose sequences rotate by their own length.
func (m *Model) writeFollowing(b *batch) error {
	for _, r := range m.net.Stretched {
		longest := int32(0)
		for _, reach := range b.reach {
			longest = max(longest, r.Reach(int(reach)))
		}
		if !follows(r) || longest == 0 {
			continue
		}
		n := len(r.InvFreq)
		freq, of := make([]float32, n), int32(0)
		turns := make([]float32, 0, 2*n*len(b.ids))
		for i, reach := range b.reach {
			if reach != of && r.Reach(int(reach)) != 0 {
				r.Following(freq, int(reach))
				of = reach
			}
			turns = appendTurns(turns, r, freq, int(b.pos[i]))
		}
		if err := m.writeTurns(r, m.positions(), turns); err != nil {
			return err
		}
	}
	return nil
}
