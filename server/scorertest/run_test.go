package scorertest_test

import (
	"testing"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/scorertest"
)

func TestFakeIsAScorer(t *testing.T) {
	seqs := []batch.Sequence{
		{IDs: []int32{5}},
		{IDs: []int32{1, 2, 3}, At: 2},
		{IDs: []int32{1, 2, 3}, At: 1},
		{IDs: []int32{1, 2, 3, 4}, Types: []int32{0, 0, 1, 1}, At: 3},
	}
	scorertest.Run(t, &scorertest.Fake{Vocab: 100}, seqs, []batch.Sequence{{IDs: []int32{100}}, {IDs: []int32{3, -1}}})
}
