package soups

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
	"github.com/warmserve/warmserve/trainer/lab/methods"
	"github.com/warmserve/warmserve/warm"
)

var analyse = lab.Analysis(func(m *measurements) (*lab.Findings, error) {
	f := &lab.Findings{}
	for i := range m.Pools {
		if err := m.poolFindings(i, f); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Pools[i].Name, err)
		}
	}
	if m.Apart == nil {
		f.Notes = append(f.Notes, m.Skipped)
	} else if err := m.apartFindings(f); err != nil {
		return nil, fmt.Errorf("bases pre-trained apart: %w", err)
	}
	f.Notes = append(f.Notes,
		"A cluster is a side of a debate, whose pairs share arguments: whole ones are resampled.",
		"Members are chosen and weighed on the validation pairs and judged on unseen debates: an accuracy in distribution flatters what was chosen there.")
	return f, nil
})

// contender is something that ranks both sets.
type contender struct {
	name        string
	valid, near []float64 // margins
}

func (m *measurements) check(c contender) error {
	if len(c.valid) != len(m.Valid.Clusters) || len(c.near) != len(m.Near.Clusters) {
		return fmt.Errorf("%s: %d and %d margins, want %d and %d", c.name, len(c.valid), len(c.near),
			len(m.Valid.Clusters), len(m.Near.Clusters))
	}
	return nil
}

func (s *soup) contender(name string) contender {
	return contender{name, s.Valid.Values(), s.Near.Values()}
}

func (t *scores) contender(name string) contender {
	return contender{name, t.Valid.Margins(), t.Near.Margins()}
}

// together is the ensemble of models, each z-scored on the validation pairs.
func together(name string, models []scores) (contender, error) {
	var valid, near []lab.Scored
	for i := range models {
		t := &models[i]
		valid, near = append(valid, t.Valid), append(near, t.Near)
		if len(t.Valid.Chosen) != len(t.Valid.Rejected) || len(t.Near.Chosen) != len(t.Near.Rejected) ||
			len(t.Valid.Chosen) != len(valid[0].Chosen) || len(t.Near.Chosen) != len(near[0].Chosen) {
			return contender{}, fmt.Errorf("%s: member %d: rewards of another number of pairs", name, i+1)
		}
	}
	out := contender{name: name}
	var e warm.Ensemble
	var err error
	if e.Calibration, err = methods.Calibrate(valid); err != nil {
		return out, fmt.Errorf("%s: %w", name, err)
	}
	if out.valid, err = methods.EnsembleMargins(valid, methods.Everyone(len(models)), e); err != nil {
		return out, err
	}
	out.near, err = methods.EnsembleMargins(near, methods.Everyone(len(models)), e)
	return out, err
}

// compare makes a table and a figure of contenders, each compared with one of them.
func (m *measurements) compare(name, title string, all []contender, against int, f *lab.Findings) error {
	t := lab.Table{Name: name, Title: title + ": accuracy (%)",
		Columns: []string{"", "validation", "unseen debates", "unseen debates, − " + all[against].name}}
	fig := drawing.Figure{Name: name, Title: title, X: drawing.Axis{Label: "what is judged"},
		Y: drawing.Axis{Label: "accuracy (%)"},
		Series: []drawing.Series{{Label: "unseen debates", Style: "points"},
			{Label: "validation", Style: "points"}},
		Caption: fmt.Sprintf("M = %d members a pool on %d training pairs; bars: 95 %% bootstrap over clusters of pairs; %s", m.M, m.Pairs, debates.Seeded)}
	for i, c := range all {
		if err := m.check(c); err != nil {
			return err
		}
		valid := f.Estimate(lab.Accuracy(c.valid, m.Valid.Clusters))
		near := f.Estimate(lab.Accuracy(c.near, m.Near.Clusters))
		row := []string{c.name, valid.Percent(), near.Percent(), "–"}
		if i != against {
			row[3] = f.Estimate(lab.Difference(c.near, all[against].near, m.Near.Clusters)).Points()
		}
		t.Rows = append(t.Rows, row)
		fig.X.Ticks = append(fig.X.Ticks, c.name)
		fig.Series[0].Put(float64(i), near, 100)
		fig.Series[1].Put(float64(i), valid, 100)
	}
	f.Tables, f.Figures = append(f.Tables, t), append(f.Figures, fig)
	return nil
}

// poolFindings compare the soups of a pool with its best member and its ensemble.
func (m *measurements) poolFindings(i int, f *lab.Findings) error {
	p := &m.Pools[i]
	if len(p.Members) == 0 || len(p.Soups) != 3 || p.Soups[0].Kind != soupUniform ||
		p.Soups[1].Kind != soupGreedy {
		return fmt.Errorf("%d members, %d soups", len(p.Members), len(p.Soups))
	}
	var valid []float64
	for k := range p.Members {
		valid = append(valid, accuracy(p.Members[k].Valid.Margins()))
	}
	best := ranked(valid)[0]
	ens, err := together("ENS", p.Members)
	if err != nil {
		return err
	}
	uniform, greedy, weighted := p.Soups[0].contender("uniform"),
		p.Soups[1].contender(fmt.Sprintf("greedy (%d of %d)", len(p.Soups[1].Members), len(p.Members))),
		p.Soups[2].contender("weighted")
	all := []contender{p.Members[best].contender("best member"), uniform, greedy, weighted, ens}
	if err := m.compare(fmt.Sprintf("pool-%d", i+1), "Soups: "+p.Name, all, 1, f); err != nil {
		return err
	}
	for _, c := range []struct {
		what string
		one  contender
	}{{"A greedy soup is more accurate on unseen debates than the average of all members", greedy},
		{"An average weighted by accuracy is more accurate on unseen debates than the plain one", weighted}} {
		m.better(c.one, uniform, lab.Verdict{Claim: c.what + " (" + p.Name + ")",
			Source: "section 3.1, weighing; model soups (2203.05482)"}, f)
	}
	return nil
}

// better adds a verdict on how much more accurate a is than b on unseen debates.
func (m *measurements) better(a, b contender, v lab.Verdict, f *lab.Findings) {
	d := f.Estimate(lab.Difference(a.near, b.near, m.Near.Clusters))
	v.Figures = fmt.Sprintf("%s − %s: %s points on %s", a.name, b.name, d.Points(), lab.Clustered(m.Near.Clusters))
	f.Judge(v, lab.Judge, d, lab.Distinct(m.Near.Clusters), "clusters")
}

// apartFindings compare what an average and an ensemble make of two pre-trainings.
func (m *measurements) apartFindings(f *lab.Findings) error {
	a := m.Apart
	n := len(a.Theirs)
	if n == 0 || len(a.Ours) != 2*n {
		return fmt.Errorf("%d members of one base, %d of the other", len(a.Ours), n)
	}
	same, err := together(fmt.Sprintf("ENS %d+0", 2*n), a.Ours)
	if err != nil {
		return err
	}
	both, err := together(fmt.Sprintf("ENS %d+%d", n, n), slices.Concat(a.Ours[:n], a.Theirs))
	if err != nil {
		return err
	}
	theirs, err := together(fmt.Sprintf("ENS 0+%d", n), a.Theirs)
	if err != nil {
		return err
	}
	wa := a.WA.contender(fmt.Sprintf("WA %d+0", 2*n))
	mixed := a.Mixed.contender(fmt.Sprintf("WA %d+%d", n, n))
	if err := m.compare("apart",
		fmt.Sprintf("Members of one base and of one pre-trained apart (%d+%d: of the first and of the other)", n, n), []contender{wa, same, both, theirs, mixed}, 0, f); err != nil {
		return err
	}
	for _, c := range []struct {
		claim       string
		first, then contender
	}{
		{"An ensemble of members pre-trained apart is more accurate on unseen debates than the weight average of as many of one base", both, wa},
		{"A weight average across pre-trainings is less accurate on unseen debates than one within",
			wa, mixed},
	} {
		m.better(c.first, c.then, lab.Verdict{Claim: c.claim, Source: "section 6, limitations"}, f)
	}
	return nil
}
