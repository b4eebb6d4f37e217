package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/plan"
)

// sequences returns n random inputs of up to longest tokens; most of them share
// a prefix with others, some are equal.
func sequences(r *rand.Rand, n, longest int) []Sequence {
	ids := func(n int) []int32 {
		s := make([]int32, n)
		for i := range s {
			s[i] = r.Int32N(300)
		}
		return s
	}
	prefixes := [][]int32{nil, ids(longest / 2), ids(longest / 3), ids(9)}
	var out []Sequence
	for range n {
		if len(out) > 0 && r.IntN(6) == 0 {
			out = append(out, out[r.IntN(len(out))])
			continue
		}
		p := prefixes[r.IntN(len(prefixes))]
		s := append(append([]int32{}, p...), ids(1+r.IntN(longest-len(p)))...)
		if r.IntN(8) == 0 && p != nil {
			s = p // the prefix itself
		}
		out = append(out, Sequence{IDs: s, Read: []int32{r.Int32N(int32(len(s)))}})
	}
	return out
}

func TestPlanComputesSharedPrefixesOnce(t *testing.T) {
	prompt := make([]int32, 400)
	var seqs []Sequence
	for i := range 8 {
		ids := append(append([]int32{}, prompt...), make([]int32, 50)...)
		ids[400] = int32(i + 1)
		seqs = append(seqs, whole(ids))
	}
	seqs = append(seqs, seqs[3]) // an equal one costs nothing
	var p plan.Plan
	p.Make(seqs, &nn.Network{Causal: true}, 2)
	require.Len(t, p.Units, 1)
	assert.EqualValues(t, 400+8*50, p.Units[0].Tokens)
	assert.Equal(t, p.Same[3], p.Same[8])

	p.Make(seqs, &nn.Network{}, 2)
	assert.Len(t, p.Units, 8, "an encoder shares nothing but equal inputs")
}

func TestPlanCoversEverySequence(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 9))
		seqs := sequences(r, 1+r.IntN(60), 20+r.IntN(900))
		var p plan.Plan
		p.Make(seqs, &nn.Network{Causal: true}, 1+r.IntN(4))
		run, seen, tokens := newRun(nil), map[int32]bool{}, 0
		for _, c := range p.Chunks {
			run.load(&Model{Net: &nn.Network{}}, &p, c, seqs)
			assert.EqualValues(t, c.Tokens, len(run.ids))
			tokens += len(run.ids)
			for _, s := range run.scored {
				seen[s.row] = true
				sp := run.spans[s.span]
				ids := p.IDs[p.Unique[s.row]] // each reads one token
				require.Equal(t, ids[len(ids)-1], run.ids[sp.Row+int(s.at)])
			}
		}
		require.Len(t, seen, len(p.Unique))
	}
}

func TestPositionsOfRobertaLeavePaddingUncounted(t *testing.T) {
	m := &Model{Net: &nn.Network{First: 2, Uncounted: 1}}
	assert.Equal(t, []int32{2, 1, 3, 1, 1, 4}, m.positions(positions{}, []int32{0, 1, 7, 1, 1, 2}, 0, 0).pos,
		"create_position_ids_from_input_ids with padding_idx 1")
	assert.Equal(t, []int32{9, 3, 4}, (&Model{Net: &nn.Network{}}).positions(positions{pos: []int32{9}}, []int32{1, 1}, 3, 0).pos, "all are counted")
}
