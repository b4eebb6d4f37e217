package scorertest_test

import (
	"testing"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/scorertest"
)

func TestFakeIsAScorer(t *testing.T) {
	seqs := []batch.Sequence{
		{IDs: []int32{5}, Read: []int32{0}},
		{IDs: []int32{1, 2, 3}, Read: []int32{2}},
		{IDs: []int32{1, 2, 3}, Read: []int32{1}},
		{IDs: []int32{1, 2, 3, 4}, Types: []int32{0, 0, 1, 1}, Read: []int32{3}},
	}
	scorertest.Run(t, &scorertest.Fake{Vocab: 100}, seqs, []batch.Sequence{{IDs: []int32{100}, Read: []int32{0}}, {IDs: []int32{3, -1}, Read: []int32{1}}})
}
