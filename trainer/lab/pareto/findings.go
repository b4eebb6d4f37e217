package pareto

import (
	"errors"
	"fmt"
	"math"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
)

// spread is the standard deviation of a member's rewards over both tests.
func (b *both) spread() float64 {
	var values []float64
	for _, s := range []*lab.Scored{&b.Debates, &b.Other} {
		values = append(append(values, s.Chosen.Values()...), s.Rejected.Values()...)
	}
	mean, sum := 0.0, 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return math.Sqrt(sum / float64(len(values)))
}

// mixed are the margins of the ensemble in which the second kind's members weigh
// lambda together. Members are divided by the spread of their rewards first, since
// members of different preferences have different scales.
func (f *front) mixed(lambda float64) (debates, other []float64, err error) {
	debates, other = make([]float64, len(f.First[0].Debates.Chosen)),
		make([]float64, len(f.First[0].Other.Chosen))
	for side, members := range [][]both{f.First, f.Second} {
		weight := 1 - lambda
		if side == 1 {
			weight = lambda
		}
		for i := range members {
			b := &members[i]
			spread := b.spread()
			if spread == 0 {
				return nil, nil, errors.New("a member gives everything the same reward")
			}
			for k, v := range b.Debates.Margins() {
				debates[k] += weight * v / spread / float64(len(members))
			}
			for k, v := range b.Other.Margins() {
				other[k] += weight * v / spread / float64(len(members))
			}
		}
	}
	return debates, other, nil
}

func (f *front) check(debates int) error {
	other := len(f.Other.Clusters)
	if len(f.First) == 0 || len(f.Second) == 0 || len(f.Walk) < 3 {
		return fmt.Errorf("%d and %d members, %d places", len(f.First), len(f.Second), len(f.Walk))
	}
	for _, side := range [][]both{f.First, f.Second} {
		for _, b := range side {
			if len(b.Debates.Chosen) != debates || len(b.Debates.Rejected) != debates ||
				len(b.Other.Chosen) != other || len(b.Other.Rejected) != other {
				return errors.New("rewards of another number of pairs")
			}
		}
	}
	all := []kinds{f.Union}
	for _, w := range f.Walk {
		all = append(all, w.kinds)
	}
	for _, k := range all {
		if len(k.Debates) != debates || len(k.Other) != other {
			return fmt.Errorf("%d and %d margins, want %d and %d", len(k.Debates), len(k.Other),
				debates, other)
		}
	}
	return nil
}

var analyse = lab.Analysis(func(m *measurements) (*lab.Findings, error) {
	f := &lab.Findings{Notes: []string{
		"The first head, probed on debates, is the head of all; members of an ensemble are divided by the spread of their rewards.",
		"A cluster is a side of a debate, or a pair of the other kind: whole ones are resampled.",
		"Members that learned both kinds saw twice as many pairs, and took twice as many steps.",
	}}
	for i := range m.Fronts {
		fr := &m.Fronts[i]
		if err := fr.check(len(m.Debates.Clusters)); err != nil {
			return nil, fmt.Errorf("measurements: %s: %w", fr.Name, err)
		}
		if err := m.frontFindings(fr, f); err != nil {
			return nil, fmt.Errorf("%s: %w", fr.Name, err)
		}
	}
	return f, nil
})

// frontFindings are a front's table, figure and verdicts.
func (m *measurements) frontFindings(fr *front, f *lab.Findings) error {
	t := lab.Table{Name: fr.Name, Title: "Debates and " + fr.Name + ": accuracy (%)",
		Columns: []string{"weight of " + fr.Name, "WA, debates", "WA, " + fr.Name, "ENS, debates",
			"ENS, " + fr.Name}}
	wa, ens := drawing.Series{Label: "WA, from debates to " + fr.Name},
		drawing.Series{Label: "ENS, from debates to " + fr.Name}
	for _, w := range fr.Walk {
		x, y, err := fr.mixed(w.Lambda)
		if err != nil {
			return err
		}
		row := []string{fmt.Sprintf("%.3f", w.Lambda)}
		for _, s := range []struct {
			debates, other []float64
			to             *drawing.Series
		}{{w.Debates.Values(), w.Other.Values(), &wa}, {x, y, &ens}} {
			a := f.Estimate(lab.Accuracy(s.debates, m.Debates.Clusters))
			b := f.Estimate(lab.Accuracy(s.other, fr.Other.Clusters))
			s.to.Put(100*a.Value, b, 100)
			s.to.Low, s.to.High = nil, nil
			row = append(row, a.Percent(), b.Percent())
		}
		t.Rows = append(t.Rows, row)
	}
	a := f.Estimate(lab.Accuracy(fr.Union.Debates.Values(), m.Debates.Clusters))
	b := f.Estimate(lab.Accuracy(fr.Union.Other.Values(), fr.Other.Clusters))
	t.Rows = append(t.Rows, []string{"learned both", a.Percent(), b.Percent(), "–", "–"})
	union := drawing.Series{Label: fmt.Sprintf("learned both, WA of %d", m.K), Style: "points"}
	union.Put(100*a.Value, b, 100)
	f.Tables = append(f.Tables, t)
	f.Figures = append(f.Figures, drawing.Figure{Name: fr.Name,
		Title:   "One average for debates and " + fr.Name,
		X:       drawing.Axis{Label: "accuracy on debates, in distribution (%)"},
		Y:       drawing.Axis{Label: "accuracy on " + fr.Name + " (%)"},
		Series:  []drawing.Series{wa, ens, union},
		Caption: fmt.Sprintf("Members of each kind: %d; %d training pairs of each; %d and %d pairs to judge on; bar: 95 %% bootstrap; %s", m.K, m.Pairs, len(m.Debates.Clusters), len(fr.Other.Clusters), debates.Seeded)})
	return m.frontVerdicts(fr, f)
}

// frontVerdicts judge the middle of the front by the mean of both accuracies.
func (m *measurements) frontVerdicts(fr *front, f *lab.Findings) error {
	middle := fr.Walk[len(fr.Walk)/2]
	x, y, err := fr.mixed(middle.Lambda)
	if err != nil {
		return err
	}
	first, last := fr.Walk[0], fr.Walk[len(fr.Walk)-1]
	chord := func(a, b lab.Rewards) []float64 {
		out := lab.Wins(a.Values())
		for i, w := range lab.Wins(b.Values()) {
			out[i] = (1-middle.Lambda)*out[i] + middle.Lambda*w
		}
		return out
	}
	wa := [2][]float64{lab.Wins(middle.Debates.Values()), lab.Wins(middle.Other.Values())}
	for _, c := range []struct {
		claim, than string
		against     [2][]float64
	}{
		{"The average half-way is above the line between both kinds of members", "line",
			[2][]float64{chord(first.Debates, last.Debates), chord(first.Other, last.Other)}},
		{"The average half-way is more accurate than the ensemble half-way", "ensemble",
			[2][]float64{lab.Wins(x), lab.Wins(y)}},
		{"The average half-way is more accurate than members that learned both", "members of both",
			[2][]float64{lab.Wins(fr.Union.Debates.Values()), lab.Wins(fr.Union.Other.Values())}},
	} {
		values, clusters := m.bothKinds(fr, lab.Minus(wa[0], c.against[0]), lab.Minus(wa[1], c.against[1]))
		e := f.Estimate(lab.Mean(values, clusters))
		f.Judge(lab.Verdict{Claim: c.claim + " (debates and " + fr.Name + ")",
			Source: "rewarded soups (2306.04488); section 6",
			Figures: fmt.Sprintf("mean of both accuracies, average − %s: %s points on %s, weight %.2f", c.than,
				e.Points(), lab.Clustered(clusters), middle.Lambda)}, lab.Judge, e, lab.Distinct(clusters), "clusters")
	}
	return nil
}

// bothKinds are the values on debates and on the other test, with their clusters, each value
// scaled so that the mean over all of them is the mean of both means.
func (m *measurements) bothKinds(fr *front, debates, other []float64) (values []float64, clusters []string) {
	n := float64(len(debates) + len(other))
	for i, v := range debates {
		values, clusters = append(values, v*n/float64(2*len(debates))),
			append(clusters, "debates/"+m.Debates.Clusters[i])
	}
	for i, v := range other {
		values, clusters = append(values, v*n/float64(2*len(other))),
			append(clusters, "other/"+fr.Other.Clusters[i])
	}
	return values, clusters
}
