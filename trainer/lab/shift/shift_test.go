package shift

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

func TestDivergenceOfWords(t *testing.T) {
	words := strings.Fields
	assert.InDelta(t, 0, divergence(words("a b b c"), words("b c a b")), 1e-15)
	assert.InDelta(t, 1, divergence(words("a b"), words("c d d")), 1e-15)
	// Half of one side is shared: ½·(½·log₂(½/½·…)) by hand, from the definition.
	got := divergence(words("a b"), words("a c"))
	assert.InDelta(t, 0.5, got, 1e-15)
	assert.InDelta(t, got, divergence(words("a c"), words("a b")), 1e-15, "symmetric")
}

// shifted are measurements in which two halves' averages agree and members differ
// on every k-th pair.
func shifted(k int) measurements {
	const n = 200
	m := measurements{M: 4, Pairs: 100}
	c := condition{Name: "made up"}
	for i, name := range []string{"training pairs", "far", "near"} {
		m.Tests = append(m.Tests, distantTest{lab.Test{Name: name, Clusters: labtest.Numbered(n)}, []float64{0.1, 0.9, 0.5}[i]})
		r := methods.Scores{}
		for j := range 4 {
			margins := labtest.JudgedPairs(n, 0, 1)
			for p := range margins {
				if p%k == 0 && j%2 == 0 {
					margins[p] *= -1
				}
			}
			r.Members = append(r.Members, labtest.ScoredAs(margins))
		}
		good := labtest.JudgedPairs(n, 0, 1)
		r.Averages = []methods.Average{{Members: []int{0, 1, 2, 3}, Margins: good}, {Members: []int{0, 1}, Margins: good}, {Members: []int{2, 3}, Margins: good}}
		c.Results = append(c.Results, r)
	}
	m.Conditions = []condition{c}
	return m
}

func TestShiftVerdicts(t *testing.T) {
	f := labtest.FindingsOf(t, analyse, shifted(4))
	assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, "Averages of different members disagree less than the members"))
	assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, "Averages of different members disagree no more than ensembles"), "neither disagrees")
	few := shifted(4)
	few.Tests[1].Clusters = few.Tests[1].Clusters[:fewest-1]
	few.Conditions[0].Results[1] = part(&few.Conditions[0].Results[1], methods.Everyone(fewest-1))
	assert.Len(t, labtest.FindingsOf(t, analyse, few).Tables[0].Rows, 2, "a test of few pairs is left out")
	var order []string
	for _, row := range f.Tables[0].Rows {
		order = append(order, row[0])
	}
	assert.Equal(t, []string{"training pairs", "near", "far"}, order)
}

func TestDisagreementIsCountedOverPairsOfMembers(t *testing.T) {
	m := shifted(4)
	d, err := disagreementsOf(&m.Conditions[0].Results[1])
	require.NoError(t, err)
	assert.InDelta(t, 4.0/6, d.single[0], 1e-15, "of six pairs of members four differ")
	assert.Zero(t, d.single[1])
	assert.Zero(t, d.wa[0])
}

func TestFewClustersAreNoSample(t *testing.T) {
	two := distantTest{Test: lab.Test{Clusters: []string{"a", "b", "a", "b", "a", "b"}}}
	assert.Nil(t, two.resampled())
	many := distantTest{Test: lab.Test{Clusters: labtest.Numbered(6)}}
	assert.Equal(t, many.Clusters, many.resampled())
}

func TestNamesOfFiles(t *testing.T) {
	assert.Equal(t, "25-swapped", fileName("25 % swapped"))
	assert.Equal(t, "a-b", fileName(" a, b! "))
}
