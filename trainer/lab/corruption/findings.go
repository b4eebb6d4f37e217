package corruption

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

var analyse = lab.Analysis(func(m *measurements) (*lab.Findings, error) {
	names := []string{}
	for _, t := range m.Tests {
		names = append(names, t.Name)
	}
	if !slices.Equal(names, []string{testTrain, testValid, testNear, testFar}) || m.focus() == nil {
		return nil, fmt.Errorf("measurements: tests %v of %d conditions", names, len(m.Conditions))
	}
	for i := range m.Conditions {
		if err := m.Conditions[i].divide(m.Tests); err != nil {
			return nil, err
		}
	}
	f := &lab.Findings{}
	if err := verdicts(m, f); err != nil {
		return nil, err
	}
	tables(m, f)
	if err := cmp.Or(conditionFigures(m, f), sizeFigures(m, f)); err != nil {
		return nil, err
	}
	for _, c := range m.Conditions {
		if len(c.Wrong) > 0 {
			f.Notes = append(f.Notes, fmt.Sprintf("%s: %d of %d labels are not gold's.", c.Name,
				len(c.Wrong), m.Pairs))
		}
	}
	f.Notes = append(f.Notes,
		fmt.Sprintf("All members of a condition learn the same labels; they differ in learning rate, dropout and order of pairs. “About as accurate” means that the interval of the difference lies within ±%.0f percentage points.", 100*lab.Tolerance),
		"A cluster is a side of a debate, whose pairs share arguments: whole ones are resampled.",
		"ETHICS asks for the more pleasant of two scenarios, which convincingness does not teach: what counts there is that methods differ, not how high they are.")
	return f, nil
})

// claim is a comparison of two methods on a part of a condition.
type claim struct {
	text, source string
	condition    *condition
	part         string
	a, b         methods.Method
	judge        func(eval.Estimate) lab.Outcome
}

// caption says what intervals are, for figures of all conditions.
func (m *measurements) caption(n int) string {
	return fmt.Sprintf("M = %d members on %d training pairs, judged on %d; 95 %% bootstrap over clusters of pairs, paired; %s", m.M, m.Pairs, n, debates.Seeded)
}

func verdicts(m *measurements, f *lab.Findings) error {
	var clean *condition
	var noisy []*condition
	for i := range m.Conditions {
		switch c := &m.Conditions[i]; {
		case len(c.Wrong) == 0:
			clean = c
		case c.Share < 0.5: // with half of them swapped, labels say nothing
			noisy = append(noisy, c)
		}
	}
	more := lab.Judge
	var claims []claim
	if clean != nil {
		claims = append(claims,
			claim{"With clean labels, WA is about as accurate as ENS in distribution", "Observation 2",
				clean, testValid, methods.WA, methods.ENS, lab.About},
			claim{"With clean labels, WA is about as accurate as ENS on unseen debates", "Observation 2",
				clean, testNear, methods.WA, methods.ENS, lab.About},
			claim{"With clean labels, WA is more accurate than a member alone on unseen debates",
				"section 4", clean, testNear, methods.WA, methods.Single, more})
	}
	for _, c := range noisy {
		with := "With " + c.Name
		if c.Share > 0 {
			with = fmt.Sprintf("With %.0f %% of the labels swapped", 100*c.Share)
		}
		claims = append(claims,
			claim{with + ", WA is more accurate than ENS on unseen debates", "Observation 3, figure 4", c,
				testNear, methods.WA, methods.ENS, more},
			claim{with + ", WA is more accurate than ENS in distribution", "figure 4", c, testValid,
				methods.WA, methods.ENS, more},
			claim{with + ", WA memorises fewer wrong labels than ENS", "Observation 3, figure 4", c,
				partWrong, methods.ENS, methods.WA, more},
			claim{with + ", WA memorises fewer wrong labels than a member alone", "Observation 3", c,
				partWrong, methods.Single, methods.WA, more},
			claim{with + ", WA is more accurate than a member alone on unseen debates", "section 4", c,
				testNear, methods.WA, methods.Single, more})
	}
	for _, k := range claims {
		p, ok := k.condition.part(k.part)
		if !ok {
			continue
		}
		e, err := k.condition.against(p, k.a, k.b)
		if err != nil {
			return err
		}
		f.Judge(lab.Verdict{Claim: k.text, Source: k.source,
			Figures: fmt.Sprintf("%s − %s: %s points on %s, M = %d", k.a.Name, k.b.Name, e.Points(),
				lab.Clustered(p.Clusters), m.M)}, k.judge, e, lab.Distinct(p.Clusters), "clusters")
	}
	return nil
}

// tables are the accuracies of all methods under all conditions, one
// table for each part.
func tables(m *measurements, f *lab.Findings) {
	for _, name := range []string{partRight, partWrong, testValid, testNear, testFar} {
		t := lab.Table{Name: name, Columns: []string{"method"}}
		for _, k := range methods.All {
			t.Rows = append(t.Rows, []string{k.Name})
		}
		for i := range m.Conditions {
			c := &m.Conditions[i]
			p, ok := c.part(name)
			if !ok {
				continue
			}
			t.Title = p.Title + " (%)"
			t.Columns = append(t.Columns, c.Name)
			for j, k := range methods.All {
				e := f.Estimate(c.mean(p, k))
				t.Rows[j] = append(t.Rows[j], e.Percent())
			}
		}
		if len(t.Columns) > 1 {
			f.Tables = append(f.Tables, t)
		}
	}
}

// conditionFigures show methods side by side under all conditions.
func conditionFigures(m *measurements, f *lab.Findings) error {
	for _, d := range []struct{ name, part, title, label string }{
		{"memorised", partWrong, "Wrong labels that were memorised",
			"training pairs ranked as wrongly labelled (%)"},
		{"near", testNear, "Accuracy on unseen debates", "accuracy (%)"},
		{"valid", testValid, "Accuracy in distribution", "accuracy (%)"},
	} {
		fig := drawing.Figure{Name: d.name, Title: d.title,
			X: drawing.Axis{Label: "labels that members learn from"}, Y: drawing.Axis{Label: d.label}}
		for _, k := range []methods.Method{methods.Single, methods.EMA, methods.WA, methods.ENS} {
			fig.Series = append(fig.Series, drawing.Series{Label: k.Name, Style: "points"})
		}
		for i := range m.Conditions {
			c := &m.Conditions[i]
			p, ok := c.part(d.part)
			if !ok {
				continue
			}
			at := float64(len(fig.X.Ticks))
			fig.X.Ticks = append(fig.X.Ticks, c.Name)
			fig.Caption = m.caption(len(m.Tests[p.Test].Clusters))
			for j, k := range []methods.Method{methods.Single, methods.EMA, methods.WA, methods.ENS} {
				fig.Series[j].Put(at, f.Estimate(c.mean(p, k)), 100)
			}
		}
		if fig.X.Ticks == nil {
			return errors.New("no condition to draw")
		}
		f.Figures = append(f.Figures, fig)
	}
	return nil
}

// sizeFigures show WA − ENS over the number of members, as figure 4 of the paper
// does.
func sizeFigures(m *measurements, f *lab.Findings) error {
	focus := m.focus()
	for _, d := range []struct{ name, part, title string }{
		{"wa-ens-wrong", partWrong, "WA − ENS: wrong labels that were memorised"},
		{"wa-ens-right", partRight, "WA − ENS: training pairs with right labels"},
		{"wa-ens-valid", testValid, "WA − ENS: in distribution"},
		{"wa-ens-near", testNear, "WA − ENS: unseen debates"},
	} {
		fig := drawing.Figure{Name: d.name, Title: d.title, X: drawing.Axis{Label: "number of members M"},
			Y: drawing.Axis{Label: "WA − ENS (percentage points)"}}
		for i := range m.Conditions {
			c := &m.Conditions[i]
			p, ok := c.part(d.part)
			if !ok {
				continue
			}
			s, err := c.bySize(p)
			if err != nil {
				return err
			}
			if c != focus {
				s.Low, s.High = nil, nil
			}
			fig.Series = append(fig.Series, s)
			fig.Caption = m.caption(len(m.Tests[p.Test].Clusters)) +
				" Averaged over random sets of M members; band: for " + focus.Name + "."
		}
		last := fig.Series[0].X
		fig.Series = append(fig.Series, drawing.Series{Label: "no difference", Style: "dashes",
			X: []float64{1, last[len(last)-1]}, Y: []float64{0, 0}})
		f.Figures = append(f.Figures, fig)
	}
	return nil
}
