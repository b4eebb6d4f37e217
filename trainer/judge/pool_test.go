package judge

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/rm"
)

// reportOf judges random scores of pairs in groups; those in keep alone.
func reportOf(t *testing.T, groups []string, scores map[string][]float64, keep func(group string) bool) *Report {
	t.Helper()
	j := &judge{test: Test{Tolerance: 0.1}}
	var index []int
	for i, g := range groups {
		if keep(g) {
			index = append(index, i)
			p := rm.Preference{Pair: data.Pair{Group: g}}
			if i%3 > 0 {
				p.Chosen.Plain = "longer"
			}
			j.texts = append(j.texts, p)
		}
	}
	r, err := j.begin(0)
	require.NoError(t, err)
	one := func(name string) *Judged {
		chosen, rejected := make([]float64, len(index)), make([]float64, len(index))
		for k, i := range index {
			chosen[k] = scores[name][i]
		}
		out, err := j.judged(name, chosen, rejected)
		require.NoError(t, err)
		return out
	}
	r.Members = []Judged{*one("member-1"), *one("member-2")}
	r.WA, r.Ens, r.Longer = one(NameWA), one(NameEns), one(NameLonger)
	if j.groups == nil {
		require.NoError(t, r.compare(nil, nil))
	} else {
		require.NoError(t, r.compare(j.groups, at(j.groups, j.matched)))
	}
	return r
}

func randomScores(n int) (groups []string, scores map[string][]float64) {
	r := rand.New(rand.NewPCG(1, 2))
	scores = map[string][]float64{}
	for range n {
		groups = append(groups, fmt.Sprint("g", r.IntN(12)))
	}
	for k, name := range []string{"member-1", "member-2", NameWA, NameEns, NameLonger} {
		for range n {
			scores[name] = append(scores[name], r.NormFloat64()+0.2*float64(k))
		}
	}
	return groups, scores
}

func TestPooledFoldsAreTheWhole(t *testing.T) {
	groups, scores := randomScores(600)
	whole := reportOf(t, groups, scores, func(string) bool { return true })
	first := func(g string) bool { return g < "g3" }
	pooled, err := Pool([]*Report{
		reportOf(t, groups, scores, first),
		reportOf(t, groups, scores, func(g string) bool { return !first(g) }),
	})
	require.NoError(t, err)
	assert.Equal(t, whole.Pairs, pooled.Pairs)
	assert.Equal(t, whole.GroupPairs, pooled.GroupPairs)
	for i, w := range whole.All() {
		p := pooled.All()[i]
		assert.Equal(t, w.Name, p.Name)
		assert.Equal(t, w.Wins, p.Wins)
		assert.Equal(t, w.Accuracy, p.Accuracy)
		assert.InDelta(t, w.Low, p.Low, 0.01, "clusters are drawn in another order")
		assert.InDelta(t, w.High, p.High, 0.01)
		assert.InDelta(t, w.Margin, p.Margin, 1e-12)
		assert.Equal(t, w.Matched.Wins, p.Matched.Wins)
		assert.InDeltaMapValues(t, w.Groups, p.Groups, 1e-12)
		assert.InDeltaMapValues(t, w.MatchedGroups, p.MatchedGroups, 1e-12)
	}
	require.Len(t, pooled.Differences, 3)
	for i, w := range whole.Differences {
		p := pooled.Differences[i]
		assert.Equal(t, [2]string{w.Name, w.Than}, [2]string{p.Name, p.Than})
		assert.InDelta(t, w.Difference, p.Difference, 1e-12)
		assert.InDelta(t, w.Low, p.Low, 0.01)
		assert.InDelta(t, w.High, p.High, 0.01)
		assert.InDelta(t, w.Matched.Difference, p.Matched.Difference, 1e-12)
		assert.InDelta(t, w.Matched.Low, p.Matched.Low, 0.02)
	}
	assert.Equal(t, 200, pooled.WA.Matched.Pairs)
	assert.Equal(t, whole.MatchedPairs, pooled.MatchedPairs)
}

func TestADifferenceIsOfTheSamePairs(t *testing.T) {
	groups, scores := randomScores(300)
	scores[NameEns] = scores[NameWA] // right and wrong together: nothing is left to chance
	r := reportOf(t, groups, scores, func(string) bool { return true })
	d := r.Differences[1]
	assert.Equal(t, Difference{Name: NameWA, Than: NameEns, Matched: &Gap{}}, d)
	mean := (r.Members[0].Accuracy + r.Members[1].Accuracy) / 2
	assert.InDelta(t, r.WA.Accuracy-mean, r.Differences[0].Difference, 1e-12)
	assert.Less(t, r.Differences[0].Low, r.Differences[0].Difference)
}

func TestPoolRefusesWhatIsNoFold(t *testing.T) {
	groups, scores := randomScores(100)
	whole := func() *Report { return reportOf(t, groups, scores, func(string) bool { return true }) }
	other := func(change func(*Report)) *Report {
		r := whole()
		change(r)
		return r
	}
	for _, c := range []struct {
		folds []*Report
		want  string
	}{
		{[]*Report{whole()}, "two folds"},
		{[]*Report{whole(), {}}, "report 2"},
		{[]*Report{whole(), other(func(r *Report) { r.WA = nil })}, "report 2: it judges"},
		{[]*Report{whole(), other(func(r *Report) { r.WA.Wins = r.Pairs + 1 })}, "report 2: WA"},
		{[]*Report{whole(), other(func(r *Report) { r.WA.Wins-- })}, "WA"},
		{[]*Report{whole(), other(func(r *Report) { r.GroupPairs["g1"] = -1 })}, `"g1"`},
	} {
		_, err := Pool(c.folds)
		assert.ErrorContains(t, err, c.want)
	}
	alone := reportOf(t, groups, scores, func(g string) bool { return g == "g1" }) // one group: none is named
	pooled, err := Pool([]*Report{alone, whole()})
	require.NoError(t, err)
	assert.Equal(t, alone.Pairs, pooled.GroupPairs["fold 1"])
}
