package members

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
)

// variant is how much a member of each fold learns from.
type variant struct {
	name   string
	file   string  // of its pairs
	every  int     // of its debates only each so manieth, in their order
	pairs  float64 // share of their pairs, drawn
	passes float64 // times the epochs of members
}

// all is what the first member of experiment members does.
var all = variant{"all pairs", "", 1, 1, 1}

var variants = []variant{
	{"an eighth of the pairs", "eighth", 1, 0.125, 1},
	{"a quarter of the pairs", "quarter", 1, 0.25, 1},
	{"half of the pairs", "half", 1, 0.5, 1},
	{"all pairs of half of the debates", "debates", 2, 1, 1},
	all,
	{"all pairs, twice as many passes", "twice", 1, 1, 2},
}

// Curve asks what more pairs, debates and passes would be worth to the members of [Experiment].
func Curve() *lab.Experiment {
	return &lab.Experiment{
		Name:  "curve",
		Title: "More pairs, more debates, more passes",
		Question: "The first member of every fold on gold preferences learns again from fewer pairs, from all pairs of fewer debates, and in more passes. " +
			"What bounds its accuracy on debates that it never saw? It decides no claim.",
		Minutes:  2,
		Settings: func(s lab.Size) any { return settingsOf(s) },
		Trainings: func(l *lab.Lab) ([]lab.Training, error) {
			c, err := planCurve(l)
			if err != nil {
				return nil, err
			}
			return slices.Concat(c.trainings...), nil
		},
		Measure: func(ctx context.Context, l *lab.Lab) (any, error) { return measureCurve(ctx, l) },
		Analyse: analyseCurve,
	}
}

// curve is what was measured.
type curve struct {
	Folds  []curveFold `json:"folds"`
	Points []point     `json:"points"`
}

type curveFold struct {
	Valid lab.Test `json:"valid"`
	Near  lab.Test `json:"near"`
}

// point is a variant, fold by fold.
type point struct {
	Name string     `json:"name"`
	Runs []pointRun `json:"runs"`
}

// pointRun is a member: what it learned from, and its margins.
type pointRun struct {
	Pairs   int         `json:"pairs"`
	Debates int         `json:"debates"`
	Passes  float64     `json:"passes"`
	Valid   lab.Rewards `json:"valid"`
	Near    lab.Rewards `json:"near"`
}

// plannedCurve is the experiment before anything is trained.
type plannedCurve struct {
	*planned
	trainings [][]lab.Training // by variant and fold
	learned   [][]pointRun
}

func planCurve(l *lab.Lab) (*plannedCurve, error) {
	p, err := plan(l)
	if err != nil {
		return nil, err
	}
	s, _, _, err := settingsFor(l)
	if err != nil {
		return nil, err
	}
	c := &plannedCurve{planned: p, trainings: make([][]lab.Training, len(variants)), learned: make([][]pointRun, len(variants))}
	for i, v := range variants {
		for k := range p.folds {
			pairs, some, err := v.draw(p, k)
			if err != nil {
				return nil, err
			}
			t := p.trainings[0][k]
			if v != all {
				set, err := l.NewSet(fmt.Sprintf("fold-%d-%s-%d", k+1, v.file, len(pairs)), pairs)
				if err != nil {
					return nil, err
				}
				r := s.Recipe
				r.M, r.Epochs = 1, r.Epochs*v.passes
				if t, err = r.Training(fmt.Sprintf("fold-%d-%s", k+1, v.file), l.Base, set); err != nil {
					return nil, err
				}
			}
			c.trainings[i] = append(c.trainings[i], t)
			c.learned[i] = append(c.learned[i], pointRun{Pairs: len(pairs), Debates: some, Passes: s.Epochs * v.passes})
		}
	}
	return c, nil
}

// draw returns the pairs of a fold that a variant learns from, and of how many debates they are.
func (v variant) draw(p *planned, k int) (pairs []data.Pair, of int, err error) {
	var at []int
	for _, pair := range p.folds[k].Train {
		d, err := debates.Place(p.debates, pair)
		if err != nil {
			return nil, 0, err
		}
		at = append(at, d)
	}
	here := slices.Compact(slices.Sorted(slices.Values(at)))
	of = (len(here) + v.every - 1) / v.every
	for i, pair := range p.folds[k].Train {
		if slices.Index(here, at[i])%v.every == 0 {
			pairs = append(pairs, pair)
		}
	}
	return debates.Sample(pairs, max(1, int(v.pairs*float64(len(pairs)))), debates.SeedTrain), of, nil
}

func measureCurve(ctx context.Context, l *lab.Lab) (*curve, error) {
	p, err := planCurve(l)
	if err != nil {
		return nil, err
	}
	out := &curve{}
	for k := range p.folds {
		f, err := p.fold(k)
		if err != nil {
			return nil, fmt.Errorf("fold %d: %w", k+1, err)
		}
		out.Folds = append(out.Folds, curveFold{f.Valid, f.Near})
	}
	for i, v := range variants {
		one := point{Name: v.name}
		for k, t := range p.trainings[i] {
			dirs, err := l.Members(ctx, t.Name, t.Plan)
			if err != nil {
				return nil, err
			}
			margins, err := l.Margins(ctx, lab.Model{Members: dirs[:1]}, p.valid[k], p.near[k])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
			r := p.learned[i][k]
			r.Valid, r.Near = margins[0], margins[1]
			one.Runs = append(one.Runs, r)
		}
		out.Points = append(out.Points, one)
	}
	return out, nil
}

// check reports measurements that do not fit together.
func (c *curve) check() error {
	if len(c.Folds) == 0 || len(c.Points) == 0 {
		return errors.New("nothing was measured")
	}
	known := false
	for _, p := range c.Points {
		known = known || p.Name == all.name
		if len(p.Runs) != len(c.Folds) {
			return fmt.Errorf("%s: %d runs of %d folds", p.Name, len(p.Runs), len(c.Folds))
		}
		for k, r := range p.Runs {
			if len(r.Valid) != len(c.Folds[k].Valid.Clusters) || len(r.Near) != len(c.Folds[k].Near.Clusters) {
				return fmt.Errorf("%s, fold %d: %d and %d margins, want %d and %d", p.Name, k+1, len(r.Valid), len(r.Near),
					len(c.Folds[k].Valid.Clusters), len(c.Folds[k].Near.Clusters))
			}
		}
	}
	if !known {
		return fmt.Errorf("no point %q", all.name)
	}
	return nil
}

// judged are where the members of a point are right, on unseen debates or on the same, and the
// debates of these pairs.
func (c *curve) judged(p *point, unseen bool) (right []float64, clusters []string) {
	for k := range p.Runs {
		if unseen {
			right, clusters = append(right, lab.Wins(p.Runs[k].Near.Values())...), append(clusters, c.Folds[k].Near.Clusters...)
			continue
		}
		right, clusters = append(right, lab.Wins(p.Runs[k].Valid.Values())...), append(clusters, c.Folds[k].Valid.Clusters...)
	}
	return right, clusters
}

var analyseCurve = lab.Analysis(func(c *curve) (*lab.Findings, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("measurements: %w", err)
	}
	f := &lab.Findings{}
	t := lab.Table{Name: "curve", Title: "Accuracy (%) of one member", Columns: []string{"it learned from", "pairs", "debates", "passes",
		"same debates", "unseen debates", "unseen debates − all pairs (points)"}}
	fig := drawing.Figure{Name: "pairs", Title: "Unseen debates, over the pairs that were learned from",
		X: drawing.Axis{Label: "pairs", Log: true}, Y: drawing.Axis{Label: "accuracy − all pairs (points)"}}
	line := drawing.Series{Label: "of all debates"}
	reference := &c.Points[slices.IndexFunc(c.Points, func(p point) bool { return p.Name == all.name })]
	base, clusters := c.judged(reference, true)
	for i := range c.Points {
		p := &c.Points[i]
		pairs, of := 0.0, 0.0
		for _, r := range p.Runs {
			pairs, of = pairs+float64(r.Pairs)/float64(len(p.Runs)), of+float64(r.Debates)/float64(len(p.Runs))
		}
		same, sameClusters := c.judged(p, false)
		unseen, _ := c.judged(p, true)
		gain := f.Estimate(lab.Mean(lab.Minus(unseen, base), clusters))
		t.Rows = append(t.Rows, []string{p.Name, fmt.Sprintf("%.0f", pairs), fmt.Sprintf("%.1f", of), fmt.Sprint(p.Runs[0].Passes),
			f.Estimate(lab.Mean(same, sameClusters)).Percent(), f.Estimate(lab.Mean(unseen, clusters)).Percent(), gain.Points()})
		if p.Runs[0].Debates < reference.Runs[0].Debates || p.Runs[0].Passes > reference.Runs[0].Passes {
			other := drawing.Series{Label: p.Name, Style: "points"}
			other.Put(pairs, gain, 100)
			fig.Series = append(fig.Series, other)
			continue
		}
		line.Put(pairs, gain, 100)
	}
	fig.Series = append([]drawing.Series{line}, fig.Series...)
	fig.Caption = fmt.Sprintf("%d folds, %d pairs; bars and band: 95 %% bootstrap over debates, paired; the first of the members, seed 310.", len(c.Folds), len(base))
	f.Tables, f.Figures = append(f.Tables, t), append(f.Figures, fig)
	f.Notes = []string{fmt.Sprintf("%d pairs of unseen debates in %d folds; the member is the first of experiment members, of the same seed. Figures of one member a fold: what another seed gives is not in the intervals.", len(base), len(c.Folds))}
	return f, nil
})
