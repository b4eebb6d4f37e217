package shift

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

// fewest pairs make a test.
const fewest = 12

var analyse = lab.Analysis(func(m *measurements) (*lab.Findings, error) {
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
		return cmp.Compare(m.Tests[a].Distance, m.Tests[b].Distance)
	})
	f := &lab.Findings{Notes: []string{
		fmt.Sprintf("Tests of fewer than %d pairs are left out.", fewest),
		"Distance is the Jensen–Shannon divergence of word frequencies, in bits, between equally many words of the training pairs and of the test; a sample of the same texts is not at 0.",
		"ETHICS, HH harmless and ParaDetox ask for other things than convincingness; an accuracy below 50 % there says that the two preferences disagree (convincing arguments are long, polite sentences are short), not that a model is broken.",
		"Within one debate single pairs are resampled, though they share arguments: intervals there are too narrow.",
		"Over all that was not trained on, a cluster is a side of a debate, or a pair of another data set.",
		"Disagreement compares judges that share no member: two members; the averages, or the ensembles, of two halves of the members.",
	}}
	for i := range m.Conditions {
		if err := m.conditionFindings(&m.Conditions[i], order, f); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Conditions[i].Name, err)
		}
	}
	return f, nil
})

func (m *measurements) check() error {
	if len(m.Tests) < 3 || len(m.Conditions) == 0 {
		return fmt.Errorf("%d tests, %d conditions", len(m.Tests), len(m.Conditions))
	}
	for _, c := range m.Conditions {
		if len(c.Results) != len(m.Tests) {
			return fmt.Errorf("%s: %d results, want %d", c.Name, len(c.Results), len(m.Tests))
		}
		for i := range c.Results {
			if err := c.Results[i].Check(len(m.Tests[i].Clusters)); err != nil {
				return fmt.Errorf("%s: %s: %w", c.Name, m.Tests[i].Name, err)
			}
		}
	}
	return nil
}

// resampled are the clusters of a test, nil to resample single pairs where there are
// too few clusters for an interval: a debate has two sides.
func (t *distantTest) resampled() []string {
	if lab.Distinct(t.Clusters) < 5 {
		return nil
	}
	return t.Clusters
}

// conditionFindings are a condition's table, figures and verdicts.
func (m *measurements) conditionFindings(c *condition, order []int, f *lab.Findings) error {
	t := lab.Table{Name: fileName(c.Name), Title: "Labels: " + c.Name + ". Accuracy and disagreement (%)",
		Columns: []string{"test", "distance", "pairs", "member alone", "WA", "ENS", "WA − ENS",
			"members disagree", "half-WAs disagree", "half-ENS disagree"}}
	var ticks []string
	accuracy := []drawing.Series{{Label: methods.Single.Name, Style: "points"},
		{Label: "WA", Style: "points"}, {Label: "ENS mean", Style: "points"}}
	disagree := []drawing.Series{{Label: "two members", Style: "points"},
		{Label: "WA of two halves", Style: "points"}, {Label: "ENS of two halves", Style: "points"}}
	var pooled pool
	for x, at := range order {
		test, r := m.Tests[at], &c.Results[at]
		p := methods.Part{Clusters: test.Clusters}
		row := []string{test.Name, fmt.Sprintf("%.3f", test.Distance), fmt.Sprint(len(test.Clusters))}
		var values [3][]float64
		for k, one := range []methods.Method{methods.Single, methods.WA, methods.ENS} {
			var err error
			if values[k], err = one.Values(r, p); err != nil {
				return err
			}
			e := f.Estimate(lab.Mean(values[k], test.resampled()))
			accuracy[k].Put(float64(x), e, 100)
			row = append(row, e.Percent())
		}
		row = append(row, f.Estimate(lab.Mean(lab.Minus(values[1], values[2]), test.resampled())).Points())
		d, err := disagreementsOf(r)
		if err != nil {
			return err
		}
		for k, v := range [][]float64{d.single, d.wa, d.ens} {
			e := f.Estimate(lab.Mean(v, test.resampled()))
			disagree[k].Put(float64(x), e, 100)
			row = append(row, e.Percent())
		}
		t.Rows, ticks = append(t.Rows, row), append(ticks, test.Name)
		if at > 0 {
			pooled.add(test, d)
		}
	}
	f.Tables = append(f.Tables, t)
	caption := fmt.Sprintf("M = %d members on %d training pairs, labels: %s; tests in the order of their distance; bars: 95 %% bootstrap; %s", m.M, m.Pairs, c.Name, debates.Seeded)
	axis := drawing.Axis{Label: "test, further and further from the training pairs", Ticks: ticks}
	f.Figures = append(f.Figures,
		drawing.Figure{Name: "accuracy-" + fileName(c.Name),
			Title: "Accuracy further and further away, " + c.Name, X: axis,
			Y: drawing.Axis{Label: "accuracy (%)"}, Series: accuracy, Caption: caption},
		drawing.Figure{Name: "disagreement-" + fileName(c.Name),
			Title: "Disagreement further and further away, " + c.Name, X: axis,
			Y: drawing.Axis{Label: "prefer different answers (%)"}, Series: disagree, Caption: caption})
	pooled.verdicts(m, c, f)
	return nil
}

// fileName makes a name of a file of words: letters and digits, joined by dashes.
func fileName(words string) string {
	return strings.Join(strings.FieldsFunc(words, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}), "-")
}
