package cpu

import (
	"cmp"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
)

// plan divides a batch into the units and chunks that workers compute. Its
// memory is reused from batch to batch.
type plan struct {
	ids    [][]int32 // of each sequence, up to the last token that matters
	reach  []int32   // of each sequence: see [nn.Network.Reach]
	order  []int32   // sequences, sorted by reach and ids
	lcp    []int32   // tokens that unique[i] shares with unique[i-1]
	unique []int32   // one of each set of equal sequences, in sorted order
	same   []int32   // for each sequence the index in unique of its equal
	rows   []int32   // read tokens of all unique sequences before each, and at the end of all
	units  []unit
	chunks []chunk
}

// unit is a group of sequences that share a prefix, or one sequence alone.
type unit struct {
	lo, hi int32 // of plan.unique
	prefix int32 // tokens computed once, 0 for none
	tokens int32
}

// chunk is a run of units that one worker carries through all layers.
type chunk struct {
	lo, hi int32 // of plan.units
	tokens int32
}

const (
	// chunkTokens is about how many tokens a worker takes at a time: enough
	// that reading the weights costs little beside multiplying.
	chunkTokens = 512
	// minShare is the shortest prefix worth a span of its own.
	minShare = 8
	// unitTokens bounds a group, unless its prefix alone is a quarter of it.
	unitTokens = 2048
)

// make plans a batch. For a causal model tokens behind the scored one are cut
// off; an encoder sees them all and shares nothing. Sequences that are rotated
// otherwise by reason of their lengths share nothing either, nor do those whose
// tokens are averaged.
func (p *plan) make(seqs []Sequence, net *nn.Network, workers int) {
	causal := !net.SeesAhead()
	p.ids, p.reach = p.ids[:0], p.reach[:0]
	p.order = p.order[:0]
	for i := range seqs {
		s := &seqs[i]
		p.ids, p.reach = append(p.ids, s.needed(net)), append(p.reach, net.Reach(len(s.IDs)))
		p.order = append(p.order, int32(i))
	}
	slices.SortFunc(p.order, func(a, b int32) int {
		if c := cmp.Or(cmp.Compare(p.reach[a], p.reach[b]), slices.Compare(p.ids[a], p.ids[b])); c != 0 {
			return c
		}
		x, y := &seqs[a], &seqs[b]
		return cmp.Or(slices.Compare(x.Types, y.Types), cmp.Compare(x.rows(), y.rows()),
			slices.Compare(x.Read, y.Read))
	})
	p.dedupe(seqs)
	p.group(causal)
	p.divide(workers)
}

func (p *plan) dedupe(seqs []Sequence) {
	p.unique, p.lcp, p.rows = p.unique[:0], p.lcp[:0], append(p.rows[:0], 0)
	p.same = slices.Grow(p.same[:0], len(seqs))[:len(seqs)]
	for i, s := range p.order {
		n := int32(0)
		if i > 0 && p.reach[s] == p.reach[p.order[i-1]] {
			prev := p.order[i-1]
			n = commonPrefix(p.ids[prev], p.ids[s])
			equal := int(n) == len(p.ids[s]) && int(n) == len(p.ids[prev])
			if x, y := &seqs[s], &seqs[prev]; equal && x.Every == y.Every &&
				slices.Equal(x.Read, y.Read) && slices.Equal(x.Types, y.Types) {
				p.same[s] = p.same[prev]
				continue
			}
		}
		p.same[s] = int32(len(p.unique))
		p.unique = append(p.unique, s)
		p.lcp = append(p.lcp, n)
		p.rows = append(p.rows, p.rows[len(p.rows)-1]+int32(seqs[s].rows()))
	}
}

// group joins neighbours in sorted order while that saves tokens.
func (p *plan) group(causal bool) {
	p.units = p.units[:0]
	for i := 0; i < len(p.unique); {
		own := p.len(i)
		u := unit{lo: int32(i), hi: int32(i + 1), tokens: own}
		for j := i + 1; causal && j < len(p.unique); j++ {
			share := p.lcp[j]
			if j > i+1 {
				share = min(share, u.prefix)
			}
			n := int32(j - i)
			joined := u.tokens + u.prefix*(n-1) + p.len(j) - share*n // all tokens less the n repeats of the prefix
			if share < minShare || share*n < u.prefix*(n-1) || joined > max(unitTokens, 4*share) {
				break
			}
			u.hi, u.prefix, u.tokens = int32(j+1), share, joined
		}
		p.units = append(p.units, u)
		i = int(u.hi)
	}
}

// divide fills chunks with units, the longest first, so that chunks are of
// nearly equal length; there are at least as many as workers when units allow.
func (p *plan) divide(workers int) {
	slices.SortFunc(p.units,
		func(a, b unit) int { return cmp.Or(cmp.Compare(b.tokens, a.tokens), cmp.Compare(a.lo, b.lo)) })
	total := int32(0)
	for _, u := range p.units {
		total += u.tokens
	}
	n := max(1, (total+chunkTokens/2)/chunkTokens)
	w := int32(workers)
	n = (n + w - 1) / w * w // whole rounds of the team
	want := (total + n - 1) / n
	p.chunks = p.chunks[:0]
	c := chunk{}
	for i, u := range p.units {
		if c.tokens > 0 && c.tokens+u.tokens/2 > want {
			p.chunks = append(p.chunks, c)
			c = chunk{lo: int32(i)}
		}
		c.hi = int32(i + 1)
		c.tokens += u.tokens
	}
	if c.tokens > 0 {
		p.chunks = append(p.chunks, c)
	}
	slices.SortFunc(p.chunks,
		func(a, b chunk) int { return cmp.Or(cmp.Compare(b.tokens, a.tokens), cmp.Compare(a.lo, b.lo)) })
}

// len returns the number of tokens of the i-th unique sequence.
func (p *plan) len(i int) int32 { return int32(len(p.ids[p.unique[i]])) }

func commonPrefix(a, b []int32) int32 {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return int32(i)
		}
	}
	return int32(n)
}
