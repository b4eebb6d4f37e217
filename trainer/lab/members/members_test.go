package members

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

// madeUp are measurements of two folds, of seven debates each, in which a member is wrong on
// every k-th pair, another third of them for each of three members, and every average on each
// wa-th pair.
func madeUp(k, wa int) measurements {
	const n, each = 210, 7
	m := measurements{M: 3}
	for i := range 2 * each {
		m.Debates = append(m.Debates, fmt.Sprint("debate ", i))
	}
	for at := range 2 {
		f := fold{Valid: lab.Test{Name: "valid"}, Near: lab.Test{Name: "near"}, Words: labtest.JudgedPairs(n, 2, 1)}
		for d := range each {
			f.Unseen = append(f.Unseen, at+2*d)
		}
		for i := range n {
			f.Near.Clusters = append(f.Near.Clusters, fmt.Sprint(at+2*(i%each)))
			f.Valid.Clusters = append(f.Valid.Clusters, fmt.Sprint(1-at+2*(i%each)))
			f.Longer = append(f.Longer, madeLonger[i%len(madeLonger)])
		}
		m.Folds = append(m.Folds, f)
	}
	for _, name := range []string{gold, crowd} {
		l := labelled{Name: name}
		for range m.Folds {
			var s methods.Scores
			for j := range m.M {
				margins := make(lab.Rewards, n)
				for i := range margins {
					margins[i] = 1
					if i%k == 0 && (i/k)%3 == j {
						margins[i] = -1
					}
				}
				s.Members = append(s.Members, labtest.ScoredAs(margins))
			}
			for _, places := range groups(m.M) {
				s.Averages = append(s.Averages, methods.Average{Members: places, Margins: labtest.JudgedPairs(n, wa, 1)})
			}
			l.Runs = append(l.Runs, run{Pairs: n, Valid: s, Near: s})
		}
		m.Labels = append(m.Labels, l)
	}
	return m
}

// madeLonger are margins by length: two pairs in three have the longer argument chosen, one has the
// shorter; of about equal length are three of twelve.
var madeLonger = lab.Rewards{2, 0.05, -2, 1, 3, -1, 0.1, 2, -0.1, 1, 1, -1}

// TestLengthAloneIsShownForWhatItIs has the rule at two thirds of all pairs, none of which says more than length.
func TestLengthAloneIsShownForWhatItIs(t *testing.T) {
	f := labtest.FindingsOf(t, analyse, madeUp(3, 0))
	table := f.Tables[1]
	require.Equal(t, "length", table.Name)
	assert.Equal(t, []string{"labels", "method", "all (420 pairs)", "about equally long (104 pairs)", "the longer one is chosen (280 pairs)",
		"the shorter one is chosen (140 pairs)", "mean of the last two"}, table.Columns)
	rule := table.Rows[0]
	assert.Equal(t, []string{"none", "the longer one"}, rule[:2])
	assert.True(t, strings.HasPrefix(rule[2], "66.7 ["), rule[2])
	assert.Equal(t, []string{"100.0 [100.0, 100.0]", "0.0 [0.0, 0.0]", "50.0 [50.0, 50.0]"}, rule[4:])
	var names []string
	for _, r := range table.Rows {
		names = append(names, r[0]+": "+r[1])
	}
	assert.Equal(t, []string{"none: the longer one", "gold preferences: bag of words", "gold preferences: member alone, mean", "gold preferences: WA",
		"gold preferences: ENS mean", "votes as they are: member alone, mean", "votes as they are: WA", "votes as they are: ENS mean"}, names)
	assert.Equal(t, "100.0 [100.0, 100.0]", table.Rows[3][6], "an average that is right about all")

	m := madeUp(3, 0)
	for k := range m.Folds {
		m.Folds[k].Longer = nil
	}
	assert.Len(t, labtest.FindingsOf(t, analyse, m).Tables, 2, "older results have no lengths")
}

func TestAboutEqualLengthIsATenthOfTheLonger(t *testing.T) {
	of := func(chosen, rejected int) bool {
		text := func(n int) data.Text { return data.Text{Plain: strings.Repeat("é", n)} }
		return about(float64(longer(data.Pair{Chosen: text(chosen), Rejected: text(rejected)})))
	}
	for _, both := range [][2]int{{100, 90}, {90, 100}, {10, 9}, {1000, 900}, {7, 7}} {
		assert.True(t, of(both[0], both[1]), "%v", both)
	}
	for _, both := range [][2]int{{100, 89}, {89, 100}, {1000, 899}, {9, 8}} {
		assert.False(t, of(both[0], both[1]), "%v", both)
	}
}

func TestVerdictsOnMembers(t *testing.T) {
	const (
		lmc    = "Labels: gold preferences: half-way between two members is no less accurate than they are, unseen"
		ens    = "Labels: gold preferences: WA is about as accurate as ENS, unseen"
		single = "Labels: votes as they are: WA is more accurate than a member alone, same"
		words  = "Labels: votes as they are: WA has read more than words"
	)
	for name, c := range map[string]struct {
		k, wa                   int
		lmc, ens, single, words lab.Outcome
	}{
		"an average that is right where members are not": {3, 0, lab.Seen, lab.Seen, lab.Seen, lab.Seen},
		"an average that is wrong on every third pair":   {4, 3, lab.Contradicted, lab.Contradicted, lab.Contradicted, lab.Seen},
		"an average that is wrong on every pair":         {4, 1, lab.Contradicted, lab.Contradicted, lab.Contradicted, lab.Contradicted},
	} {
		t.Run(name, func(t *testing.T) {
			f := labtest.FindingsOf(t, analyse, madeUp(c.k, c.wa))
			assert.Len(t, f.Verdicts, 14)
			assert.Equal(t, c.lmc, labtest.OutcomeOf(t, f, lmc))
			assert.Equal(t, c.ens, labtest.OutcomeOf(t, f, ens))
			assert.Equal(t, c.single, labtest.OutcomeOf(t, f, single))
			assert.Equal(t, c.words, labtest.OutcomeOf(t, f, words))
			for _, v := range f.Verdicts {
				assert.Contains(t, v.Figures, " debates, M = 3")
				assert.Equal(t, strings.Contains(v.Claim, "about as accurate"), strings.Contains(v.Figures, "; equal within ±"), v.Claim)
			}
			require.Len(t, f.Tables, 3)
			assert.Len(t, f.Tables[2].Rows, 14, "a row for each debate")
		})
	}
}

// TestPairsThatWereReadAreNotJudgedOn has an average that is right about nothing but the pairs that
// members on votes read.
func TestPairsThatWereReadAreNotJudgedOn(t *testing.T) {
	m := madeUp(3, 3)
	for k := range m.Folds {
		r := &m.Labels[1].Runs[k]
		r.Read = []int{}
		for i := range 210 {
			if i%3 > 0 {
				r.Read = append(r.Read, i)
			}
		}
	}
	f := labtest.FindingsOf(t, analyse, m)
	for _, v := range f.Verdicts {
		want := " 420 pairs of 14 debates"
		if strings.HasPrefix(v.Claim, "Labels: "+crowd) && strings.HasSuffix(v.Claim, "same debates") {
			want = " 140 pairs of 14 debates"
		}
		assert.Contains(t, v.Figures, want, v.Claim)
	}
	table := f.Tables[0]
	for _, row := range table.Rows {
		if row[0] == methods.WA.Name {
			assert.Equal(t, "0.0 [0.0, 0.0]", row[3], table.Columns[3])
			assert.Regexp(t, "^66.7 ", row[1], table.Columns[1])
		}
	}
	assert.Contains(t, strings.Join(f.Notes, "\n"), "280 of 420 pairs of the same debates are left out")
	assert.Contains(t, strings.Join(labtest.FindingsOf(t, analyse, madeUp(3, 3)).Notes, "\n"), "may have been learned from")
}

// TestAveragesAreSaidWithTheirMargin holds the margin of an equality to the interval's farther end.
func TestAveragesAreSaidWithTheirMargin(t *testing.T) {
	f := labtest.FindingsOf(t, analyse, madeUp(3, 0))
	for _, v := range f.Verdicts {
		if strings.Contains(v.Claim, "about as accurate") {
			// The ensemble of three is right where two of them are: as often as the average.
			assert.Contains(t, v.Figures, "+0.00 [+0.00, +0.00] points on 420 pairs of 14 debates, M = 3; equal within ±0.0 points")
		}
	}
}

func TestMeasurementsThatDoNotFitAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(m *measurements)
		says  string
	}{
		"no folds":                {func(m *measurements) { m.Folds = nil }, "0 folds"},
		"a run too few":           {func(m *measurements) { m.Labels[1].Runs = m.Labels[1].Runs[1:] }, "1 runs of 2 folds"},
		"a member too few":        {func(m *measurements) { m.M = 4 }, "3 members, want 4"},
		"rewards of other pairs":  {func(m *measurements) { m.Folds[0].Near.Clusters = m.Folds[0].Near.Clusters[1:] }, "want 209"},
		"words of other pairs":    {func(m *measurements) { m.Folds[1].Words = nil }, "0 margins of words"},
		"lengths of one fold":     {func(m *measurements) { m.Folds[1].Longer = nil }, "0 margins by length"},
		"a debate that is not":    {func(m *measurements) { m.Debates = m.Debates[:5] }, "of 5"},
		"a read pair that is not": {func(m *measurements) { m.Labels[1].Runs[0].Read = []int{3, 210} }, "not places of 210 pairs"},
		"read pairs in no order":  {func(m *measurements) { m.Labels[1].Runs[0].Read = []int{3, 2} }, "not places of 210 pairs"},
		"no average of two":       {func(m *measurements) { m.Labels[0].Runs[0].Near.Averages = m.Labels[0].Runs[0].Near.Averages[3:] }, "no average of two"},
	} {
		t.Run(name, func(t *testing.T) {
			m := madeUp(3, 0)
			c.spoil(&m)
			text, err := json.Marshal(m)
			require.NoError(t, err)
			_, err = analyse(text)
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestGroupsHoldEveryMember(t *testing.T) {
	assert.Equal(t, [][]int{{0, 1}}, groups(2))
	assert.Equal(t, [][]int{{0, 1}, {1, 2}, {0, 2}, {0, 1, 2}}, groups(3))
	for m := 2; m < 12; m++ {
		for size := 2; size <= m; size++ {
			in := map[int]bool{}
			for _, g := range groups(m) {
				if len(g) == size {
					for _, at := range g {
						in[at] = true
					}
				}
			}
			assert.Len(t, in, m, "%d of %d", size, m)
		}
	}
}

func TestAveragesAreNamedAsServersNameThem(t *testing.T) {
	m := madeUp(3, 0)
	m.Labels[1].Runs[1].Revision = "sha256:ab"
	f := labtest.FindingsOf(t, analyse, m)
	for _, table := range f.Tables {
		if table.Name == "revisions" {
			assert.Equal(t, [][]string{{crowd, "2", "sha256:ab"}}, table.Rows)
			return
		}
	}
	t.Fatal("no table of revisions")
}
