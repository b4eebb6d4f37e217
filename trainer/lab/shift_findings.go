package lab

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/warm"
)

// disagreements are, for each pair, the shares of comparisons in which two judges
// of one kind, made of different members, prefer different answers: two members,
// the averages of two halves, the ensembles of two halves.
type disagreements struct{ single, wa, ens []float64 }

func (r *methods) disagreements() (*disagreements, error) {
	n := len(r.Members[0].Chosen)
	d := &disagreements{single: make([]float64, n), wa: make([]float64, n), ens: make([]float64, n)}
	count := 0.0
	for j := range r.Members {
		for i := range j {
			differ(d.single, r.Members[i].Margins(), r.Members[j].Margins())
			count++
		}
	}
	divide(d.single, count)
	count = 0
	for k := 1; k+1 < len(r.Averages); k += 2 {
		a, b := r.Averages[k], r.Averages[k+1]
		differ(d.wa, a.Margins.Values(), b.Margins.Values())
		x, err := ensembled(r.Members, a.Members, warm.Ensemble{})
		if err != nil {
			return nil, err
		}
		y, err := ensembled(r.Members, b.Members, warm.Ensemble{})
		if err != nil {
			return nil, err
		}
		differ(d.ens, x, y)
		count++
	}
	divide(d.wa, count)
	divide(d.ens, count)
	return d, nil
}

// differ adds 1 for each pair of which two judges prefer different answers.
func differ(sum, a, b []float64) {
	x, y := wins(a), wins(b)
	for i := range sum {
		if x[i] != y[i] {
			sum[i]++
		}
	}
}

func divide(values []float64, by float64) {
	for i := range values {
		if by > 0 {
			values[i] /= by
		}
	}
}

// fewest pairs make a test.
const fewest = 12

// noWorse judges a difference that should not be below 0: seen when the interval
// leaves no more than the tolerance, contradicted when all of it is below.
func noWorse(difference Estimate) Outcome {
	switch {
	case difference.Low >= -tolerance:
		return Seen
	case difference.High < 0:
		return Contradicted
	}
	return Unclear
}

func analyseShift(measured []byte) (*Findings, error) {
	m, err := readMeasured[shiftMeasured](measured)
	if err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("measurements: %w", err)
	}
	// Training pairs first, then by distance.
	var order []int
	for i, t := range m.Tests {
		if i == 0 || len(t.Clusters) >= fewest {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order[1:], func(a, b int) int {
		switch x, y := m.Tests[a].Distance, m.Tests[b].Distance; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	f := &Findings{Notes: []string{
		fmt.Sprintf("Tests of fewer than %d pairs are left out.", fewest),
		"Distance is the Jensen–Shannon divergence of word frequencies, in bits, between equally many words of the training pairs and of the test; a sample of the same texts is not at 0.",
		"ETHICS, HH harmless and ParaDetox ask for other things than convincingness; an accuracy below 50 % there says that the two preferences disagree (convincing arguments are long, polite sentences are short), not that a model is broken.",
		"Within one debate single pairs are resampled, though they share arguments: intervals there are too narrow.",
		"Disagreement compares judges that share no member: two members; the averages, or the ensembles, of two halves of the members.",
	}}
	for i := range m.Conditions {
		if err := m.conditionFindings(&m.Conditions[i], order, f); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Conditions[i].Name, err)
		}
	}
	return f, nil
}

func (m *shiftMeasured) check() error {
	if len(m.Tests) < 3 || len(m.Conditions) == 0 {
		return fmt.Errorf("%d tests, %d conditions", len(m.Tests), len(m.Conditions))
	}
	for _, c := range m.Conditions {
		if len(c.Results) != len(m.Tests) {
			return fmt.Errorf("%s: %d results, want %d", c.Name, len(c.Results), len(m.Tests))
		}
		for i := range c.Results {
			if err := c.Results[i].check(len(m.Tests[i].Clusters)); err != nil {
				return fmt.Errorf("%s: %s: %w", c.Name, m.Tests[i].Name, err)
			}
		}
	}
	return nil
}

// resampled are the clusters of a test, nil to resample single pairs where there are
// too few clusters for an interval: a debate has two sides.
func (t *shiftTest) resampled() []string {
	if distinct(t.Clusters) < 5 {
		return nil
	}
	return t.Clusters
}

// conditionFindings are a condition's table, figures and verdicts.
func (m *shiftMeasured) conditionFindings(c *shiftCondition, order []int, f *Findings) error {
	t := Table{Name: fileName(c.Name), Title: "Labels: " + c.Name + ". Accuracy and disagreement (%)",
		Columns: []string{"test", "distance", "pairs", "member alone", "WA", "ENS", "WA less ENS", "members disagree", "half-WAs disagree", "half-ENS disagree"}}
	var ticks []string
	accuracy := []Series{{Label: methodSingle.name, Style: "points"}, {Label: "WA", Style: "points"}, {Label: "ENS mean", Style: "points"}}
	disagree := []Series{{Label: "two members", Style: "points"}, {Label: "WA of two halves", Style: "points"}, {Label: "ENS of two halves", Style: "points"}}
	pooled := newPool()
	for x, at := range order {
		test, r := m.Tests[at], &c.Results[at]
		p := part{clusters: test.Clusters}
		row := []string{test.Name, fmt.Sprintf("%.3f", test.Distance), fmt.Sprint(len(test.Clusters))}
		var values [3][]float64
		for k, one := range []method{methodSingle, methodWA, methodENS} {
			var err error
			if values[k], err = one.values(r, p); err != nil {
				return err
			}
			e, err := Mean(values[k], test.resampled())
			if err != nil {
				return err
			}
			accuracy[k].put(float64(x), e, 100)
			row = append(row, e.Percent())
		}
		e, err := Mean(less(values[1], values[2]), test.resampled())
		if err != nil {
			return err
		}
		row = append(row, e.Points())
		d, err := r.disagreements()
		if err != nil {
			return err
		}
		for k, v := range [][]float64{d.single, d.wa, d.ens} {
			e, err := Mean(v, test.resampled())
			if err != nil {
				return err
			}
			disagree[k].put(float64(x), e, 100)
			row = append(row, e.Percent())
		}
		t.Rows, ticks = append(t.Rows, row), append(ticks, test.Name)
		if at > 0 {
			pooled.add(test, d)
		}
	}
	f.Tables = append(f.Tables, t)
	caption := fmt.Sprintf("M = %d members on %d training pairs, labels: %s; tests in the order of their distance; bars: 95 %% bootstrap; %s", m.M, m.Pairs, c.Name, seeded)
	axis := Axis{Label: "test, further and further from the training pairs", Ticks: ticks}
	f.Figures = append(f.Figures,
		Figure{Name: "accuracy-" + fileName(c.Name), Title: "Accuracy further and further away, " + c.Name, X: axis, Y: Axis{Label: "accuracy (%)"}, Series: accuracy, Caption: caption},
		Figure{Name: "disagreement-" + fileName(c.Name), Title: "Disagreement further and further away, " + c.Name, X: axis, Y: Axis{Label: "prefer different answers (%)"}, Series: disagree, Caption: caption})
	return pooled.verdicts(m, c, f)
}

// pool are the disagreements on all tests but the training pairs.
type pool struct {
	all      disagreements
	clusters []string
}

func newPool() *pool { return &pool{} }

func (p *pool) add(t shiftTest, d *disagreements) {
	p.all.single, p.all.wa, p.all.ens = append(p.all.single, d.single...), append(p.all.wa, d.wa...), append(p.all.ens, d.ens...)
	for _, c := range t.Clusters {
		p.clusters = append(p.clusters, t.Name+"/"+c)
	}
}

func (p *pool) verdicts(m *shiftMeasured, c *shiftCondition, f *Findings) error {
	for _, k := range []struct {
		claim, source string
		less, more    []float64
		judge         func(Estimate) Outcome
	}{
		{"Averages of different members disagree less than the members", "section 4, variance", p.all.wa, p.all.single, Estimate.Judge},
		{"Averages of different members disagree no more than ensembles of the same ones", "ours: an average stands for an ensemble", p.all.wa, p.all.ens, noWorse},
	} {
		e, err := Mean(less(k.more, k.less), p.clusters)
		if err != nil {
			return err
		}
		f.Verdicts = append(f.Verdicts, Verdict{Claim: k.claim + ", labels: " + c.Name, Source: k.source, Seen: k.judge(e),
			Figures: fmt.Sprintf("%s points less over %d pairs that were not trained on, M = %d", e.Points(), len(p.clusters), m.M)})
	}
	return nil
}

// less is a − b, pair by pair.
func less(a, b []float64) []float64 {
	out := slices.Clone(a)
	for i := range out {
		out[i] -= b[i]
	}
	return out
}

// put appends an estimate at a place, in some unit.
func (s *Series) put(x float64, e Estimate, unit float64) {
	s.X, s.Y = append(s.X, x), append(s.Y, unit*e.Value)
	s.Low, s.High = append(s.Low, unit*e.Low), append(s.High, unit*e.High)
}

// fileName makes a name of a file of words: letters and digits, joined by dashes.
func fileName(words string) string {
	var out []rune
	for _, r := range words {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			out = append(out, r)
		case len(out) > 0 && out[len(out)-1] != '-':
			out = append(out, '-')
		}
	}
	for len(out) > 0 && out[len(out)-1] == '-' {
		out = out[:len(out)-1]
	}
	return string(out)
}
