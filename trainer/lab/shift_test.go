package lab

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
func shifted(k int) shiftMeasured {
	const n = 200
	m := shiftMeasured{M: 4, Pairs: 100}
	c := shiftCondition{Name: "made up"}
	for i, name := range []string{"training pairs", "far", "near"} {
		m.Tests = append(m.Tests, shiftTest{test{Name: name, Clusters: numbered(n)}, []float64{0.1, 0.9, 0.5}[i]})
		r := methods{}
		for j := range 4 {
			margins := judgedPairs(n, 0, 1)
			for p := range margins {
				if p%k == 0 && j%2 == 0 {
					margins[p] *= -1
				}
			}
			r.Members = append(r.Members, scoredAs(margins))
		}
		good := judgedPairs(n, 0, 1)
		r.Averages = []averaged{{[]int{0, 1, 2, 3}, good}, {[]int{0, 1}, good}, {[]int{2, 3}, good}}
		c.Results = append(c.Results, r)
	}
	m.Conditions = []shiftCondition{c}
	return m
}

func TestShiftVerdicts(t *testing.T) {
	f := findingsOf(t, analyseShift, shifted(4))
	assert.Equal(t, Seen, outcome(t, f, "Averages of different members disagree less than the members"))
	assert.Equal(t, Seen, outcome(t, f, "Averages of different members disagree no more than ensembles"), "neither disagrees")
	few := shifted(4)
	few.Tests[1].Clusters = few.Tests[1].Clusters[:fewest-1]
	few.Conditions[0].Results[1] = few.Conditions[0].Results[1].part(everyone(fewest - 1))
	assert.Len(t, findingsOf(t, analyseShift, few).Tables[0].Rows, 2, "a test of few pairs is left out")
	var order []string
	for _, row := range f.Tables[0].Rows {
		order = append(order, row[0])
	}
	assert.Equal(t, []string{"training pairs", "near", "far"}, order)
}

func TestDisagreementIsCountedOverPairsOfMembers(t *testing.T) {
	m := shifted(4)
	d, err := m.Conditions[0].Results[1].disagreements()
	require.NoError(t, err)
	assert.InDelta(t, 4.0/6, d.single[0], 1e-15, "of six pairs of members four differ")
	assert.Zero(t, d.single[1])
	assert.Zero(t, d.wa[0])
}

func TestFewClustersAreNoSample(t *testing.T) {
	two := shiftTest{test: test{Clusters: []string{"a", "b", "a", "b", "a", "b"}}}
	assert.Nil(t, two.resampled())
	many := shiftTest{test: test{Clusters: numbered(6)}}
	assert.Equal(t, many.Clusters, many.resampled())
}

func TestNamesOfFiles(t *testing.T) {
	assert.Equal(t, "25-swapped", fileName("25 % swapped"))
	assert.Equal(t, "a-b", fileName(" a, b! "))
}
