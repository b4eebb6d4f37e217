package corruption

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

// madeUp are measurements in which members are wrong on every k-th pair, all on
// others, and the average on every wa-th; a quarter of the training labels is
// wrong and members fit them all, the average half of them when it forgets.
func madeUp(k, wa int, forgets bool) measurements {
	const n, members = 240, 3
	m := measurements{M: members, Pairs: n}
	for _, name := range []string{testTrain, testValid, testNear, testFar} {
		m.Tests = append(m.Tests, lab.Test{Name: name, Clusters: labtest.Numbered(n)})
	}
	for _, share := range []float64{0, 0.25} {
		c := condition{Name: "made up", Share: share}
		labels := make(lab.Rewards, n)
		for i := range labels {
			labels[i] = 1
			if share > 0 && i%4 == 3 {
				labels[i] = -1
				c.Wrong = append(c.Wrong, i)
			}
		}
		average := slices.Clone(labels)
		for i := range average {
			if forgets && i%8 == 3 {
				average[i] = 1
			}
		}
		for at := range m.Tests {
			r := methods.Scores{}
			for j := range members {
				margins := slices.Clone(labels)
				if at > 0 {
					for i := range margins {
						margins[i] = 1
						if i%k == 0 && (i/k)%2 == j%2 {
							margins[i] = -1
						}
					}
				}
				r.Members = append(r.Members, labtest.ScoredAs(margins))
			}
			margins := average
			if at > 0 {
				margins = labtest.JudgedPairs(n, wa, 1)
			}
			r.EMA = margins
			r.Averages = []methods.Average{{Members: []int{0, 1}, Margins: margins}, {Members: []int{0, 1, 2}, Margins: margins}}
			c.Results = append(c.Results, r)
		}
		m.Conditions = append(m.Conditions, c)
	}
	return m
}

func TestCorruptionVerdicts(t *testing.T) {
	const (
		near   = "With 25 % of the labels swapped, WA is more accurate than ENS on unseen"
		memory = "With 25 % of the labels swapped, WA memorises fewer wrong labels than ENS"
		clean  = "With clean labels, WA is about as accurate as ENS in"
	)
	t.Run("an average that is better by construction is seen to be", func(t *testing.T) {
		f := labtest.FindingsOf(t, analyse, madeUp(3, 0, true))
		assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, near))
		assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, memory))
		assert.Equal(t, lab.Contradicted, labtest.OutcomeOf(t, f, clean), "it is better there too")
	})
	t.Run("one that is worse is contradicted", func(t *testing.T) {
		f := labtest.FindingsOf(t, analyse, madeUp(8, 2, false))
		assert.Equal(t, lab.Contradicted, labtest.OutcomeOf(t, f, near))
		assert.Equal(t, lab.Unclear, labtest.OutcomeOf(t, f, memory), "it fits as many")
	})
	t.Run("the mutation of one test changes the findings", func(t *testing.T) {
		m := madeUp(3, 0, true)
		before := labtest.FindingsOf(t, analyse, m)
		m.Conditions[1].Results[2].Averages[1].Margins = labtest.JudgedPairs(240, 2, 1)
		assert.NotEqual(t, before, labtest.FindingsOf(t, analyse, m))
	})
	for _, c := range []struct {
		name   string
		damage func(*measurements)
		want   string
	}{
		{"margins of another number of pairs are an error", func(m *measurements) { m.Conditions[0].Results[1].EMA = nil }, "0 margins"},
		{"rewards of another number of pairs are an error", func(m *measurements) { m.Conditions[0].Results[1].Members[1].Chosen = nil }, "member 2"},
		{"an average of unknown members is an error", func(m *measurements) { m.Conditions[0].Results[3].Averages[0].Members = []int{7} }, "average of [7]"},
		{"a wrong label of no pair is an error", func(m *measurements) { m.Conditions[1].Wrong = []int{240} }, "240"},
		{"a missing test is an error", func(m *measurements) { m.Tests = m.Tests[:3] }, "tests"},
		{"a missing result is an error", func(m *measurements) { m.Conditions[0].Results = m.Conditions[0].Results[:2] }, "2 results"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := madeUp(3, 0, true)
			c.damage(&m)
			raw, err := json.Marshal(m)
			require.NoError(t, err)
			_, err = analyse(raw)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestOneMemberIsItsOwnAverage(t *testing.T) {
	m := madeUp(3, 0, true)
	c := &m.Conditions[1]
	require.NoError(t, c.divide(m.Tests))
	near, ok := c.part(testNear)
	require.True(t, ok)
	s, err := c.bySize(near)
	require.NoError(t, err)
	assert.Equal(t, []float64{1, 2, 3}, s.X)
	assert.Zero(t, s.Y[0])
	assert.Greater(t, s.Y[2], 0.0)
}

func TestBeginningsOfOrdersAreEachOnce(t *testing.T) {
	got := beginnings(4, 5, []int{2, 3, 4, 9})
	seen := map[string]bool{}
	for _, b := range got {
		key, err := json.Marshal(b)
		require.NoError(t, err)
		assert.False(t, seen[string(key)], "%s twice", key)
		seen[string(key)] = true
		assert.True(t, slices.IsSorted(b))
	}
	assert.Equal(t, []int{0, 1, 2, 3}, got[len(got)-1])
	assert.Equal(t, [][]int{{0}}, beginnings(1, 3, []int{2}))
}
