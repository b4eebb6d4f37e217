package lab

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fronted are measurements in which the ends know one kind each and the average
// half-way is wrong on every k-th pair of both.
func fronted(k int) paretoMeasured {
	const n = 200
	chance := judgedPairs(n, 2, 1)
	all := judgedPairs(n, 0, 1)
	f := front{Name: "made-up", Other: test{Name: "made-up", Clusters: numbered(n)},
		First: []both{{scoredAs(all), scoredAs(chance)}}, Second: []both{{scoredAs(chance), scoredAs(all)}}, Union: kinds{judgedPairs(n, 5, 1), judgedPairs(n, 5, 1)}}
	for _, lambda := range []float64{0, 0.5, 1} {
		w := weighed{lambda, kinds{all, chance}}
		switch lambda {
		case 0.5:
			w.kinds = kinds{judgedPairs(n, k, 1), judgedPairs(n, k, 1)}
		case 1:
			w.kinds = kinds{chance, all}
		}
		f.Walk = append(f.Walk, w)
	}
	return paretoMeasured{K: 1, Pairs: 10, Debates: test{Name: "debates", Clusters: numbered(n)}, Fronts: []front{f}}
}

func TestParetoVerdicts(t *testing.T) {
	good := findingsOf(t, analysePareto, fronted(0))
	assert.Equal(t, Seen, outcome(t, good, "The average half-way is above the line"))
	assert.Equal(t, Seen, outcome(t, good, "The average half-way is more accurate than members that learned both"))
	bad := findingsOf(t, analysePareto, fronted(2))
	assert.Equal(t, Contradicted, outcome(t, bad, "The average half-way is above the line"))
	assert.Equal(t, Contradicted, outcome(t, bad, "The average half-way is more accurate than members that learned both"))
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
	m := paretoMeasured{Debates: test{Clusters: numbered(4)}}
	f := front{Other: test{Clusters: numbered(2)}}
	e, err := m.bothKinds(&f, []float64{1, 1, 1, 1}, []float64{0, 0.5})
	require.NoError(t, err)
	assert.InDelta(t, 0.625, e.Value, 1e-12)
}

func TestDamagedFrontsAreErrors(t *testing.T) {
	for name, damage := range map[string]func(*front){
		"too few places":                  func(f *front) { f.Walk = f.Walk[:2] },
		"margins of another number":       func(f *front) { f.Union.Other = nil },
		"rewards of another number":       func(f *front) { f.Second[0].Debates.Chosen = nil },
		"members that tell nothing apart": func(f *front) { f.First[0] = both{scoredAs(make(Rewards, 200)), scoredAs(make(Rewards, 200))} },
	} {
		t.Run(name, func(t *testing.T) {
			m := fronted(0)
			damage(&m.Fronts[0])
			raw, err := json.Marshal(m)
			require.NoError(t, err)
			_, err = analysePareto(raw)
			assert.Error(t, err)
		})
	}
}
