package soups

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
)

// stock are measurements of one pool in which the greedy soup is wrong on every
// greedy-th unseen pair and the plain one on every fourth.
func stock(greedy int) measurements {
	const n = 240
	m := measurements{M: 2, Pairs: 10, Valid: lab.Test{Clusters: labtest.Numbered(n)}, Near: lab.Test{Clusters: labtest.Numbered(n)}, Skipped: "made up"}
	one := func(k int) scores {
		return scores{labtest.ScoredAs(labtest.JudgedPairs(n, k, 1)), labtest.ScoredAs(labtest.JudgedPairs(n, k, 1))}
	}
	made := func(kind string, k int, members ...int) soup {
		return soup{Kind: kind, Members: members, Valid: labtest.JudgedPairs(n, k, 1), Near: labtest.JudgedPairs(n, k, 1)}
	}
	m.Pools = []pool{{Name: "pool", Members: []scores{one(3), one(5)}, Soups: []soup{made(soupUniform, 4, 0, 1), made(soupGreedy, greedy, 1), made(soupWeighted, 4, 0, 1)}}}
	return m
}

func TestSoupVerdicts(t *testing.T) {
	assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, labtest.FindingsOf(t, analyse, stock(0)), "A greedy soup"))
	assert.Equal(t, lab.Contradicted, labtest.OutcomeOf(t, labtest.FindingsOf(t, analyse, stock(2)), "A greedy soup"))
	same := labtest.FindingsOf(t, analyse, stock(4))
	assert.Equal(t, lab.Unclear, labtest.OutcomeOf(t, same, "A greedy soup"))
	assert.Contains(t, same.Notes, "made up")
	assert.Equal(t, "best member", same.Tables[0].Rows[0][0])
	assert.Contains(t, same.Tables[0].Rows[0][1], "80.0", "the best on validation pairs is the second")
}

func TestPreTrainingsApart(t *testing.T) {
	const n = 240
	m := stock(4)
	one := func(k int) scores {
		return scores{labtest.ScoredAs(labtest.JudgedPairs(n, k, 1)), labtest.ScoredAs(labtest.JudgedPairs(n, k, 1))}
	}
	m.Apart = &apart{Ours: []scores{one(4), one(4)}, Theirs: []scores{one(0)},
		WA: soup{Valid: labtest.JudgedPairs(n, 4, 1), Near: labtest.JudgedPairs(n, 4, 1)}, Mixed: soup{Valid: labtest.JudgedPairs(n, 2, 1), Near: labtest.JudgedPairs(n, 2, 1)}}
	f := labtest.FindingsOf(t, analyse, m)
	assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, "A weight average across"))
	m.Apart.Theirs[0] = scores{labtest.ScoredAs(labtest.JudgedPairs(n, 0, 9)), labtest.ScoredAs(labtest.JudgedPairs(n, 0, 9))}
	m.Apart.Theirs[0].Valid.Chosen[0] = 1 // spread of validation rewards is not that of the others
	assert.NotEqual(t, f.Tables, labtest.FindingsOf(t, analyse, m).Tables)
}

func TestSoupWeightsCountAccuracyAboveChance(t *testing.T) {
	places, weights := weightsByAccuracy([]float64{0.8, 0.4, 0.6})
	assert.Equal(t, []int{0, 2}, places, "who is worse than chance is left out")
	assert.InDeltaSlice(t, []float64{0.75, 0.25}, weights, 1e-12)
	places, weights = weightsByAccuracy([]float64{0.5, 0.3})
	assert.Equal(t, []int{0, 1}, places)
	assert.Nil(t, weights, "none is above chance")
	assert.Equal(t, []int{1, 2, 0}, ranked([]float64{0.1, 0.9, 0.5}))
}
