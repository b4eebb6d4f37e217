// Package plan says what a batch of sequences is made of: which of them are equal, which share a
// prefix that is computed once, and what a worker takes at a time. Executors of every device follow it.
package plan

import (
	"cmp"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
)

// Plan divides a batch into the units and chunks that workers compute. Its
// memory is reused from batch to batch.
type Plan struct {
	IDs    [][]int32 // of each sequence, up to the last token that matters
	Reach  []int32   // of each sequence: see [nn.Network.Reach]
	order  []int32   // sequences, sorted by reach and ids
	lcp    []int32   // tokens that unique[i] shares with unique[i-1]
	Unique []int32   // one of each set of equal sequences, in sorted order
	Same   []int32   // for each sequence the index in unique of its equal
	Rows   []int32   // read tokens of all unique sequences before each, and at the end of all
	Units  []Unit
	Chunks []Chunk

	// Multiple, above 0, is what the lengths of shared prefixes are multiples of.
	Multiple int32
	// UnitTokens, above 0, bounds a group in the place of 2048.
	UnitTokens int32
	// Most, above 0, bounds the tokens of every group, whatever its prefix, and the read ones.
	Most int32
}

// Unit is a group of sequences that share a prefix, or one sequence alone.
type Unit struct {
	Lo, Hi int32 // of Plan.Unique
	Prefix int32 // tokens computed once, 0 for none
	Tokens int32
}

// Chunk is a run of units that one worker carries through all layers.
type Chunk struct {
	Lo, Hi int32 // of Plan.Units
	Tokens int32
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

// Make plans a batch. For a causal model tokens behind the scored one are cut
// off; an encoder sees them all and shares nothing. Sequences that are rotated
// otherwise by reason of their lengths share nothing either, nor do those whose
// tokens are averaged.
func (p *Plan) Make(seqs []Sequence, net *nn.Network, workers int) {
	causal := !net.SeesAhead()
	p.IDs, p.Reach = p.IDs[:0], p.Reach[:0]
	p.order = p.order[:0]
	for i := range seqs {
		s := &seqs[i]
		p.IDs, p.Reach = append(p.IDs, s.Needed(net)), append(p.Reach, net.Reach(len(s.IDs)))
		p.order = append(p.order, int32(i))
	}
	slices.SortFunc(p.order, func(a, b int32) int {
		if c := cmp.Or(cmp.Compare(p.Reach[a], p.Reach[b]), slices.Compare(p.IDs[a], p.IDs[b])); c != 0 {
			return c
		}
		x, y := &seqs[a], &seqs[b]
		return cmp.Or(slices.Compare(x.Types, y.Types), cmp.Compare(x.Rows(), y.Rows()),
			slices.Compare(x.Read, y.Read))
	})
	p.dedupe(seqs)
	p.group(causal)
	p.divide(workers)
}

func (p *Plan) dedupe(seqs []Sequence) {
	p.Unique, p.lcp, p.Rows = p.Unique[:0], p.lcp[:0], append(p.Rows[:0], 0)
	p.Same = slices.Grow(p.Same[:0], len(seqs))[:len(seqs)]
	for i, s := range p.order {
		n := int32(0)
		if i > 0 && p.Reach[s] == p.Reach[p.order[i-1]] {
			prev := p.order[i-1]
			n = commonPrefix(p.IDs[prev], p.IDs[s])
			equal := int(n) == len(p.IDs[s]) && int(n) == len(p.IDs[prev])
			if x, y := &seqs[s], &seqs[prev]; equal && x.Every == y.Every &&
				slices.Equal(x.Read, y.Read) && slices.Equal(x.Types, y.Types) {
				p.Same[s] = p.Same[prev]
				continue
			}
		}
		p.Same[s] = int32(len(p.Unique))
		p.Unique = append(p.Unique, s)
		p.lcp = append(p.lcp, n)
		p.Rows = append(p.Rows, p.Rows[len(p.Rows)-1]+int32(seqs[s].Rows()))
	}
}

// group joins neighbours in sorted order while that saves tokens.
func (p *Plan) group(causal bool) {
	p.Units = p.Units[:0]
	for i := 0; i < len(p.Unique); {
		own := p.Len(i)
		u := Unit{Lo: int32(i), Hi: int32(i + 1), Tokens: own}
		for j := i + 1; causal && j < len(p.Unique); j++ {
			share := p.lcp[j]
			if j > i+1 {
				share = min(share, u.Prefix)
			}
			if p.Multiple > 0 {
				share -= share % p.Multiple
			}
			n := int32(j - i)
			joined := u.Tokens + u.Prefix*(n-1) + p.Len(j) - share*n // all tokens less the n repeats of the prefix
			most := max(cmp.Or(p.UnitTokens, unitTokens), 4*share)
			if p.Most > 0 {
				most = min(most, p.Most)
			}
			reads := p.Rows[j+1] - p.Rows[i]
			if share < minShare || share*n < u.Prefix*(n-1) || joined > most || p.Most > 0 && reads > p.Most {
				break
			}
			u.Hi, u.Prefix, u.Tokens = int32(j+1), share, joined
		}
		p.Units = append(p.Units, u)
		i = int(u.Hi)
	}
}

// divide fills chunks with units, the longest first, so that chunks are of
// nearly equal length; there are at least as many as workers when units allow.
func (p *Plan) divide(workers int) {
	slices.SortFunc(p.Units,
		func(a, b Unit) int { return cmp.Or(cmp.Compare(b.Tokens, a.Tokens), cmp.Compare(a.Lo, b.Lo)) })
	total := int32(0)
	for _, u := range p.Units {
		total += u.Tokens
	}
	n := max(1, (total+chunkTokens/2)/chunkTokens)
	w := int32(workers)
	n = (n + w - 1) / w * w // whole rounds of the team
	want := (total + n - 1) / n
	p.Chunks = p.Chunks[:0]
	c := Chunk{}
	for i, u := range p.Units {
		if c.Tokens > 0 && c.Tokens+u.Tokens/2 > want {
			p.Chunks = append(p.Chunks, c)
			c = Chunk{Lo: int32(i)}
		}
		c.Hi = int32(i + 1)
		c.Tokens += u.Tokens
	}
	if c.Tokens > 0 {
		p.Chunks = append(p.Chunks, c)
	}
	slices.SortFunc(p.Chunks,
		func(a, b Chunk) int { return cmp.Or(cmp.Compare(b.Tokens, a.Tokens), cmp.Compare(a.Lo, b.Lo)) })
}

// Len returns the number of tokens of the i-th unique sequence.
func (p *Plan) Len(i int) int32 { return int32(len(p.IDs[p.Unique[i]])) }

func commonPrefix(a, b []int32) int32 {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return int32(i)
		}
	}
	return int32(n)
}
