package plan

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// run returns n ids from one on.
func run(from, n int32) (ids []int32) {
	for i := range n {
		ids = append(ids, from+i)
	}
	return ids
}

func TestATreeHasWhatSequencesBeginWithOnce(t *testing.T) {
	system, one, two := run(0, 20), run(100, 30), run(200, 10)
	short := run(0, minShare-1)
	for _, c := range []struct {
		name  string
		seqs  [][]int32
		reach []int32
		parts [][2]int // of each part the position and the length
		last  []int32
	}{
		{"apart", [][]int32{one, two}, nil, [][2]int{{0, 30}, {0, 10}}, []int32{0, 1}},
		{"a pair", [][]int32{slices.Concat(one, two), slices.Concat(one, system)}, nil, [][2]int{{0, 30}, {30, 10}, {30, 20}}, []int32{1, 2}},
		{"two pairs behind one system prompt, not neighbours", [][]int32{
			slices.Concat(system, one, run(300, 3)), slices.Concat(system, two, run(400, 4)),
			slices.Concat(system, one, run(500, 5)), slices.Concat(system, two, run(600, 6))}, nil,
			[][2]int{{0, 20}, {20, 30}, {50, 3}, {50, 5}, {20, 10}, {30, 4}, {30, 6}}, []int32{2, 5, 3, 6}},
		{"equal ones keep a token each", [][]int32{one, one, one}, nil, [][2]int{{0, 29}, {29, 1}, {29, 1}, {29, 1}}, []int32{1, 2, 3}},
		{"one is what the other begins with", [][]int32{slices.Concat(one, two), one}, nil, [][2]int{{0, 29}, {29, 11}, {29, 1}}, []int32{1, 2}},
		{"less than is worth it", [][]int32{slices.Concat(short, one), slices.Concat(short, two)}, nil, [][2]int{{0, 37}, {0, 17}}, []int32{0, 1}},
		{"rotated otherwise", [][]int32{one, one}, []int32{0, 9}, [][2]int{{0, 30}, {0, 30}}, []int32{0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.reach == nil {
				c.reach = make([]int32, len(c.seqs))
			}
			tree := NewTree(c.seqs, c.reach, true)
			var parts [][2]int
			for _, p := range tree.Parts {
				parts = append(parts, [2]int{p.Pos, len(p.IDs)})
			}
			assert.Equal(t, c.parts, parts)
			assert.Equal(t, c.last, tree.Last)
			checkTree(t, tree, c.seqs)
			assert.Len(t, NewTree(c.seqs, c.reach, false).Parts, len(c.seqs))
		})
	}
}

// checkTree says whether the parts of each sequence are the sequence.
func checkTree(t *testing.T, tree *Tree, seqs [][]int32) {
	ends := map[int32]bool{}
	for i, ids := range seqs {
		var got []int32
		for _, p := range tree.Chain(nil, i) {
			assert.Equal(t, len(got), tree.Parts[p].Pos)
			got = append(got, tree.Parts[p].IDs...)
		}
		assert.Equal(t, ids, got, "sequence %d", i)
		assert.False(t, ends[tree.Last[i]], "a last part of its own")
		ends[tree.Last[i]] = true
	}
	for i, p := range tree.Parts {
		assert.Less(t, p.Before, i)
		assert.False(t, ends[int32(p.Before)], "nothing follows an end")
	}
}

func TestATreeOfAnythingIsItsSequences(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var seqs [][]int32
		for range 1 + r.IntN(12) {
			ids := make([]int32, 1+r.IntN(40))
			if len(seqs) > 0 { // goes on somewhere in an earlier one
				from := seqs[r.IntN(len(seqs))]
				ids = append(slices.Clone(from[:r.IntN(len(from)+1)]), ids...)
			}
			for i := max(0, len(ids)-r.IntN(30)); i < len(ids); i++ {
				ids[i] = r.Int32N(3)
			}
			seqs = append(seqs, ids)
		}
		checkTree(t, NewTree(seqs, make([]int32, len(seqs)), true), seqs)
	}
}

func TestOwnIsWhatATreeAdds(t *testing.T) {
	a, b := slices.Concat(run(0, 20), run(50, 5)), slices.Concat(run(0, 20), run(90, 7))
	for _, seqs := range [][][]int32{{a, b}, {a, a}, {a, run(7, 9)}, {a[:3], a}, {a, a[:20]}} {
		tokens := 0
		for _, p := range NewTree(seqs, []int32{0, 0}, true).Parts {
			tokens += len(p.IDs)
		}
		assert.Equal(t, tokens, len(seqs[0])+Own(seqs[1], seqs[0]))
	}
}
