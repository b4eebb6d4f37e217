package lab

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// stock are measurements of one pool in which the greedy soup is wrong on every
// greedy-th unseen pair and the plain one on every fourth.
func stock(greedy int) soupsMeasured {
	const n = 240
	m := soupsMeasured{M: 2, Pairs: 10, Valid: test{Clusters: numbered(n)}, Near: test{Clusters: numbered(n)}, Skipped: "made up"}
	one := func(k int) tasted { return tasted{scoredAs(judgedPairs(n, k, 1)), scoredAs(judgedPairs(n, k, 1))} }
	made := func(kind string, k int, members ...int) soup {
		return soup{Kind: kind, Members: members, Valid: judgedPairs(n, k, 1), Near: judgedPairs(n, k, 1)}
	}
	m.Pools = []pots{{Name: "pool", Members: []tasted{one(3), one(5)}, Soups: []soup{made(soupUniform, 4, 0, 1), made(soupGreedy, greedy, 1), made(soupWeighted, 4, 0, 1)}}}
	return m
}

func TestSoupVerdicts(t *testing.T) {
	assert.Equal(t, Seen, outcome(t, findingsOf(t, analyseSoups, stock(0)), "A greedy soup"))
	assert.Equal(t, Contradicted, outcome(t, findingsOf(t, analyseSoups, stock(2)), "A greedy soup"))
	same := findingsOf(t, analyseSoups, stock(4))
	assert.Equal(t, Unclear, outcome(t, same, "A greedy soup"))
	assert.Contains(t, same.Notes, "made up")
	assert.Equal(t, "best member", same.Tables[0].Rows[0][0])
	assert.Contains(t, same.Tables[0].Rows[0][1], "80.0", "the best on validation pairs is the second")
}

func TestPreTrainingsApart(t *testing.T) {
	const n = 240
	m := stock(4)
	one := func(k int) tasted { return tasted{scoredAs(judgedPairs(n, k, 1)), scoredAs(judgedPairs(n, k, 1))} }
	m.Apart = &apart{Ours: []tasted{one(4), one(4)}, Theirs: []tasted{one(0)},
		WA: soup{Valid: judgedPairs(n, 4, 1), Near: judgedPairs(n, 4, 1)}, Mixed: soup{Valid: judgedPairs(n, 2, 1), Near: judgedPairs(n, 2, 1)}}
	f := findingsOf(t, analyseSoups, m)
	assert.Equal(t, Seen, outcome(t, f, "A weight average across"))
	m.Apart.Theirs[0] = tasted{scoredAs(judgedPairs(n, 0, 9)), scoredAs(judgedPairs(n, 0, 9))}
	m.Apart.Theirs[0].Valid.Chosen[0] = 1 // spread of validation rewards is not that of the others
	assert.NotEqual(t, f.Tables, findingsOf(t, analyseSoups, m).Tables)
}

func TestSoupWeightsCountAccuracyAboveChance(t *testing.T) {
	places, weights := soupWeights([]float64{0.8, 0.4, 0.6})
	assert.Equal(t, []int{0, 2}, places, "who is worse than chance is left out")
	assert.InDeltaSlice(t, []float64{0.75, 0.25}, weights, 1e-12)
	places, weights = soupWeights([]float64{0.5, 0.3})
	assert.Equal(t, []int{0, 1}, places)
	assert.Nil(t, weights, "none is above chance")
	assert.Equal(t, []int{1, 2, 0}, ranked([]float64{0.1, 0.9, 0.5}))
}
