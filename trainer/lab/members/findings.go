package members

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
	"github.com/warmserve/warmserve/trainer/lab/methods"
	"github.com/warmserve/warmserve/warm"
)

// place is where models are judged.
type place struct {
	name string
	test func(f *fold) *lab.Test
	of   func(r *run) *methods.Scores
}

var (
	valid = place{"same debates", func(f *fold) *lab.Test { return &f.Valid },
		func(r *run) *methods.Scores { return &r.Valid }}
	near = place{"unseen debates", func(f *fold) *lab.Test { return &f.Near },
		func(r *run) *methods.Scores { return &r.Near }}
	places = []place{valid, near}
)

// rows are the methods of the tables.
var rows = slices.DeleteFunc(slices.Clone(methods.All),
	func(m methods.Method) bool { return m.Name == methods.EMA.Name })

var analyse = lab.Analysis(func(m *measurements) (*lab.Findings, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("measurements: %w", err)
	}
	f := &lab.Findings{}
	for _, part := range []func(*measurements, *lab.Findings) error{verdicts, methodTable, lengthTable, debateTable, revisionTable, sizes} {
		if err := part(m, f); err != nil {
			return nil, err
		}
	}
	learned := ""
	for i := range m.Labels {
		n := 0
		for _, r := range m.Labels[i].Runs {
			n += r.Pairs
		}
		learned += fmt.Sprintf("; %s: %d pairs in the mean of the folds", m.Labels[i].Name, n/len(m.Folds))
	}
	f.Notes = append([]string{
		fmt.Sprintf("%d of %d debates were unseen in %d folds; intervals are bootstrapped over whole debates, differences paired by pair%s.", len(m.unseen()), len(m.Debates), len(m.Folds), learned),
		"Elsewhere, leaving one debate out, on all strict pairs: an SVM 78 % and a bidirectional LSTM 76 % (Habernal and Gurevych 2016).",
		fmt.Sprintf("“Same debates” are pairs of debates that members learned from with an argument that they did not. “About as accurate” means that the interval of the difference lies within ±%.0f percentage points; the figures say within which margin it does.", 100*lab.Tolerance),
	}, append(m.readNotes(), f.Notes...)...)
	return f, nil
})

// check reports measurements that do not fit together.
func (m *measurements) check() error {
	if len(m.Folds) == 0 || len(m.Labels) == 0 || m.M < 2 {
		return fmt.Errorf("%d folds, %d kinds of labels, %d members", len(m.Folds), len(m.Labels), m.M)
	}
	for _, l := range m.Labels {
		if len(l.Runs) != len(m.Folds) {
			return fmt.Errorf("%s: %d runs of %d folds", l.Name, len(l.Runs), len(m.Folds))
		}
		for k := range l.Runs {
			for _, p := range places {
				r := p.of(&l.Runs[k])
				if err := r.Check(len(p.test(&m.Folds[k]).Clusters)); err != nil {
					return fmt.Errorf("%s, fold %d, %s: %w", l.Name, k+1, p.name, err)
				}
				if n := len(l.Runs[k].Read); n > 0 && (!slices.IsSorted(l.Runs[k].Read) || l.Runs[k].Read[0] < 0 || l.Runs[k].Read[n-1] >= len(m.Folds[k].Valid.Clusters)) {
					return fmt.Errorf("%s, fold %d: pairs that were read: not places of %d pairs in order", l.Name, k+1, len(m.Folds[k].Valid.Clusters))
				}
				if len(r.Members) != m.M {
					return fmt.Errorf("%s, fold %d: %d members, want %d", l.Name, k+1, len(r.Members), m.M)
				}
			}
		}
	}
	for k := range m.Folds {
		f := &m.Folds[k]
		if len(f.Words) != len(f.Near.Clusters) {
			return fmt.Errorf("fold %d: %d margins of words, want %d", k+1, len(f.Words), len(f.Near.Clusters))
		}
		if n := len(f.Longer); n != len(f.Near.Clusters) && (n > 0 || m.Folds[0].Longer != nil) {
			return fmt.Errorf("fold %d: %d margins by length, want %d", k+1, n, len(f.Near.Clusters))
		}
	}
	return nil
}

// unseen are the debates that some fold does not learn from.
func (m *measurements) unseen() (out []int) {
	for k := range m.Folds {
		out = append(out, m.Folds[k].Unseen...)
	}
	slices.Sort(out)
	return out
}

// readNotes say how many pairs of Valid are left out for having been read.
func (m *measurements) readNotes() (out []string) {
	for i := range m.Labels {
		l := &m.Labels[i]
		if l.Name != crowd {
			continue
		}
		all, left, known := 0, 0, true
		for k := range l.Runs {
			known = known && l.Runs[k].Read != nil
			all, left = all+len(m.Folds[k].Valid.Clusters), left+len(l.Runs[k].Read)
		}
		say := fmt.Sprintf("Labels: %s: %d of %d pairs of the same debates are left out, both arguments of which members read: the file of votes breaks lines differently, and arguments were held out by their text.", l.Name, left, all)
		if !known {
			say = fmt.Sprintf("Labels: %s: some pairs of the same debates may have been learned from: the file of votes breaks lines differently, arguments were held out by their text, and these pairs were not told apart when this was measured.", l.Name)
		}
		out = append(out, say)
	}
	return out
}

// judgedOn leaves out what the members of a run read.
func judgedOn[T any](r *run, p place, all []T) (out []T) {
	if p.name != valid.name {
		return all
	}
	for i, v := range all {
		if _, read := slices.BinarySearch(r.Read, i); !read {
			out = append(out, v)
		}
	}
	return out
}

// clusters are those of all folds.
func (m *measurements) clusters(l *labelled, p place) (out []string) {
	for k := range m.Folds {
		out = append(out, judgedOn(&l.Runs[k], p, p.test(&m.Folds[k]).Clusters)...)
	}
	return out
}

// values are how far a method is right on each pair of all folds.
func (m *measurements) values(l *labelled, p place, k methods.Method) ([]float64, error) {
	var out []float64
	for i := range m.Folds {
		r := &l.Runs[i]
		calibration, err := methods.Calibrate(r.Valid.Members)
		if err != nil {
			return nil, fmt.Errorf("%s, fold %d: %w", l.Name, i+1, err)
		}
		v, err := k.Values(p.of(r), methods.Part{Name: p.name, Clusters: p.test(&m.Folds[i]).Clusters,
			Calibration: calibration})
		if err != nil {
			return nil, fmt.Errorf("%s, fold %d: %w", l.Name, i+1, err)
		}
		out = append(out, judgedOn(r, p, v)...)
	}
	return out, nil
}

// words are where the bag of words is right on unseen debates.
func (m *measurements) words() (out []float64) {
	for k := range m.Folds {
		out = append(out, lab.Wins(m.Folds[k].Words.Values())...)
	}
	return out
}

// between is how much more right the average of two members is than the two in the mean.
func between(r *methods.Scores, _ methods.Part) ([]float64, error) {
	var all [][]float64
	for _, a := range r.Averages {
		if len(a.Members) == 2 {
			ends := [][]float64{lab.Wins(r.Members[a.Members[0]].Margins()), lab.Wins(r.Members[a.Members[1]].Margins())}
			all = append(all, lab.Minus(lab.Wins(a.Margins.Values()), lab.Averaged(ends)))
		}
	}
	if all == nil {
		return nil, errors.New("no average of two members")
	}
	return lab.Averaged(all), nil
}

// claim is a difference and how it is judged.
type claim struct {
	text, source, what string
	place              place
	a, b               *methods.Method // equal where a is a difference already; nil b is the bag of words
	judge              func(eval.Estimate) lab.Outcome
	equal              bool // the margin of the equality is said
}

var halfway = methods.Method{Name: "half-way", Values: between}

func claims() []claim {
	lmc, wa, ens, single := &halfway, &methods.WA, &methods.ENS, &methods.Single
	return []claim{
		{"half-way between two members is no less accurate than they are, same debates", "Observation 1, figure 3",
			"half-way − mean of both ends", valid, lmc, lmc, lab.NoWorse, false},
		{"half-way between two members is no less accurate than they are, unseen debates", "Observation 1, figure 3",
			"half-way − mean of both ends", near, lmc, lmc, lab.NoWorse, false},
		{"WA is about as accurate as ENS, same debates", "Observation 2", "WA − ENS", valid, wa, ens, lab.About, true},
		{"WA is about as accurate as ENS, unseen debates", "Observation 2", "WA − ENS", near, wa, ens, lab.About, true},
		{"WA is more accurate than a member alone, same debates", "section 4", "WA − member", valid, wa, single, lab.Judge, false},
		{"WA is more accurate than a member alone, unseen debates", "section 4", "WA − member", near, wa, single, lab.Judge, false},
		{"WA has read more than words, unseen debates", "ours", "WA − bag of words", near, wa, nil, lab.Judge, false},
	}
}

func verdicts(m *measurements, f *lab.Findings) error {
	for i := range m.Labels {
		l := &m.Labels[i]
		for _, c := range claims() {
			x, err := m.values(l, c.place, *c.a)
			if err != nil {
				return err
			}
			switch {
			case c.b == nil:
				x = lab.Minus(x, m.words())
			case c.b != c.a:
				y, err := m.values(l, c.place, *c.b)
				if err != nil {
					return err
				}
				x = lab.Minus(x, y)
			}
			clusters := m.clusters(l, c.place)
			e, of := f.Estimate(lab.Mean(x, clusters)), lab.Distinct(clusters)
			f.Judge(lab.Verdict{Claim: "Labels: " + l.Name + ": " + c.text, Source: c.source,
				Figures: fmt.Sprintf("%s: %s points on %d pairs of %d debates, M = %d", c.what, e.Points(), len(x), of, m.M)},
				c.judge, e, of, "debates")
			if c.equal {
				f.Verdicts[len(f.Verdicts)-1].Figures += fmt.Sprintf("; equal within ±%.1f points",
					100*max(math.Abs(e.Low), math.Abs(e.High)))
			}
		}
	}
	return nil
}

// methodTable are the accuracies of all methods.
func methodTable(m *measurements, f *lab.Findings) error {
	t := lab.Table{Name: "methods", Title: "Accuracy (%)", Columns: []string{"method"}}
	for _, k := range rows {
		t.Rows = append(t.Rows, []string{k.Name})
	}
	words := []string{"bag of words"}
	for i := range m.Labels {
		for _, p := range places {
			t.Columns = append(t.Columns, m.Labels[i].Name+": "+p.name)
			for j, k := range rows {
				v, err := m.values(&m.Labels[i], p, k)
				if err != nil {
					return err
				}
				t.Rows[j] = append(t.Rows[j], f.Estimate(lab.Mean(v, m.clusters(&m.Labels[i], p))).Percent())
			}
			cell := "–"
			if i == 0 && p.name == near.name { // it learns from gold preferences alone
				cell = f.Estimate(lab.Mean(m.words(), m.clusters(&m.Labels[i], p))).Percent()
			}
			words = append(words, cell)
		}
	}
	t.Rows = append(t.Rows, words)
	f.Tables = append(f.Tables, t)
	return nil
}

// revisionTable names the averages as a server does.
func revisionTable(m *measurements, f *lab.Findings) error {
	t := lab.Table{Name: "revisions", Title: "The average of all members, as `warm serve` names it",
		Columns: []string{"labels", "fold", "revision"}}
	for _, l := range m.Labels {
		for k, r := range l.Runs {
			if r.Revision != "" {
				t.Rows = append(t.Rows, []string{l.Name, fmt.Sprint(k + 1), r.Revision})
			}
		}
	}
	if t.Rows != nil {
		f.Tables = append(f.Tables, t)
	}
	return nil
}

// debateTable are the accuracies on each unseen debate, without intervals.
func debateTable(m *measurements, f *lab.Findings) error {
	t := lab.Table{Name: "debates", Title: "Accuracy on each debate, unseen (%)", Columns: []string{"debate", "pairs", "bag of words"}}
	columns := [][]float64{m.words()}
	for i := range m.Labels {
		for _, k := range []methods.Method{methods.Single, methods.WA, methods.ENS} {
			v, err := m.values(&m.Labels[i], near, k)
			if err != nil {
				return err
			}
			columns = append(columns, v)
			t.Columns = append(t.Columns, m.Labels[i].Name+": "+k.Name)
		}
	}
	clusters := m.clusters(&m.Labels[0], near)
	for _, d := range m.unseen() {
		if d < 0 || d >= len(m.Debates) {
			return fmt.Errorf("debate %d of %d", d, len(m.Debates))
		}
		n := 0
		for _, c := range clusters {
			if c == fmt.Sprint(d) {
				n++
			}
		}
		row := []string{m.Debates[d], fmt.Sprint(n)}
		for _, v := range columns {
			sum := 0.0
			for i, c := range clusters {
				if c == fmt.Sprint(d) {
					sum += v[i]
				}
			}
			row = append(row, fmt.Sprintf("%.1f", 100*sum/float64(n)))
		}
		t.Rows = append(t.Rows, row)
	}
	f.Tables = append(f.Tables, t)
	return nil
}

// sizes show WA and ENS over the number of members.
func sizes(m *measurements, f *lab.Findings) error {
	var ticks []string
	for size := range m.M {
		ticks = append(ticks, fmt.Sprint(size+1))
	}
	for _, p := range []struct {
		place
		name, title string
	}{{near, "near", "Unseen debates: gain over a member alone"}, {valid, "valid", "Same debates: gain over a member alone"}} {
		fig := drawing.Figure{Name: p.name, Title: p.title, X: drawing.Axis{Label: "number of members M", Ticks: ticks},
			Y: drawing.Axis{Label: "accuracy − a member alone (points)"},
			Caption: fmt.Sprintf("%d folds, %d pairs; the mean over groups of M members; bars: 95 %% bootstrap over debates, paired; %s", len(m.Folds),
				len(m.clusters(&m.Labels[0], p.place)), debates.Seeded)}
		for i := range m.Labels {
			for _, k := range []struct {
				name string
				of   func(r *methods.Scores, a methods.Average) ([]float64, error)
			}{{"WA", func(_ *methods.Scores, a methods.Average) ([]float64, error) { return a.Margins.Values(), nil }},
				{"ENS", func(r *methods.Scores, a methods.Average) ([]float64, error) {
					return methods.EnsembleMargins(r.Members, a.Members, warm.Ensemble{})
				}}} {
				s := drawing.Series{Label: k.name + ", " + m.Labels[i].Name, Style: "points"}
				for size := 1; size <= m.M; size++ {
					v, err := m.ofSize(&m.Labels[i], p.place, size, k.of)
					if err != nil {
						return err
					}
					alone, err := m.ofSize(&m.Labels[i], p.place, 1, k.of)
					if err != nil {
						return err
					}
					for j := range v {
						v[j] -= alone[j]
					}
					s.Put(float64(size-1), f.Estimate(lab.Mean(v, m.clusters(&m.Labels[i], p.place))), 100)
				}
				fig.Series = append(fig.Series, s)
			}
		}
		f.Figures = append(f.Figures, fig)
	}
	return nil
}

// ofSize is how far groups of so many members are right, in the mean.
func (m *measurements) ofSize(l *labelled, p place, size int,
	margins func(*methods.Scores, methods.Average) ([]float64, error)) ([]float64, error) {
	if size == 1 {
		return m.values(l, p, methods.Single)
	}
	return m.values(l, p, methods.Method{Values: func(r *methods.Scores, _ methods.Part) ([]float64, error) {
		var all [][]float64
		for _, a := range r.Averages {
			if len(a.Members) != size {
				continue
			}
			v, err := margins(r, a)
			if err != nil {
				return nil, err
			}
			all = append(all, lab.Wins(v))
		}
		if all == nil {
			return nil, fmt.Errorf("no average of %d members", size)
		}
		return lab.Averaged(all), nil
	}})
}
