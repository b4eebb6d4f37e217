package pareto

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
)

// fronted are measurements in which the ends know one kind each and the average
// half-way is wrong on every k-th pair of both.
func fronted(k int) measurements {
	const n = 200
	chance := labtest.JudgedPairs(n, 2, 1)
	all := labtest.JudgedPairs(n, 0, 1)
	f := front{Name: "made-up", Other: lab.Test{Name: "made-up", Clusters: labtest.Numbered(n)},
		First: []both{{labtest.ScoredAs(all), labtest.ScoredAs(chance)}}, Second: []both{{labtest.ScoredAs(chance), labtest.ScoredAs(all)}}, Union: kinds{labtest.JudgedPairs(n, 5, 1), labtest.JudgedPairs(n, 5, 1)}}
	for _, lambda := range []float64{0, 0.5, 1} {
		w := weighed{lambda, kinds{all, chance}}
		switch lambda {
		case 0.5:
			w.kinds = kinds{labtest.JudgedPairs(n, k, 1), labtest.JudgedPairs(n, k, 1)}
		case 1:
			w.kinds = kinds{chance, all}
		}
		f.Walk = append(f.Walk, w)
	}
	return measurements{K: 1, Pairs: 10, Debates: lab.Test{Name: "debates", Clusters: labtest.Numbered(n)}, Fronts: []front{f}}
}

func TestParetoVerdicts(t *testing.T) {
	good := labtest.FindingsOf(t, analyse, fronted(0))
	assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, good, "The average half-way is above the line"))
	assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, good, "The average half-way is more accurate than members that learned both"))
	bad := labtest.FindingsOf(t, analyse, fronted(2))
	assert.Equal(t, lab.Contradicted, labtest.OutcomeOf(t, bad, "The average half-way is above the line"))
	assert.Equal(t, lab.Contradicted, labtest.OutcomeOf(t, bad, "The average half-way is more accurate than members that learned both"))
}

func TestEnsembleOfTwoKindsEndsAtEach(t *testing.T) {
	m := fronted(0)
	f := &m.Fronts[0]
	for lambda, members := range map[float64][]both{0: f.First, 1: f.Second} {
		debates, other, err := f.mixed(lambda)
		require.NoError(t, err)
		spread := members[0].spread()
		require.Positive(t, spread)
		for i, v := range members[0].Debates.Margins() {
			assert.InDelta(t, v/spread, debates[i], 1e-12)
		}
		for i, v := range members[0].Other.Margins() {
			assert.InDelta(t, v/spread, other[i], 1e-12)
		}
	}
}

func TestMeanOfTwoTestsCountsBothAlike(t *testing.T) {
	m := measurements{Debates: lab.Test{Clusters: labtest.Numbered(4)}}
	f := front{Other: lab.Test{Clusters: labtest.Numbered(2)}}
	e, err := lab.Mean(m.bothKinds(&f, []float64{1, 1, 1, 1}, []float64{0, 0.5}))
	require.NoError(t, err)
	assert.InDelta(t, 0.625, e.Value, 1e-12)
}

func TestDamagedFrontsAreErrors(t *testing.T) {
	for name, damage := range map[string]func(*front){
		"too few places":            func(f *front) { f.Walk = f.Walk[:2] },
		"margins of another number": func(f *front) { f.Union.Other = nil },
		"rewards of another number": func(f *front) { f.Second[0].Debates.Chosen = nil },
		"members that tell nothing apart": func(f *front) {
			f.First[0] = both{labtest.ScoredAs(make(lab.Rewards, 200)), labtest.ScoredAs(make(lab.Rewards, 200))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := fronted(0)
			damage(&m.Fronts[0])
			raw, err := json.Marshal(m)
			require.NoError(t, err)
			_, err = analyse(raw)
			assert.Error(t, err)
		})
	}
}
