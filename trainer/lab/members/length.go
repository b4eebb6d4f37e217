package members

import (
	"fmt"
	"math"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/methods"
)

// even is how far lengths that count as about equal may differ, as a share of the longer one's.
const even = 0.1

// lengths are the margins by length of all folds' pairs of unseen debates; none where they were
// not measured.
func (m *measurements) lengths() (out []float64) {
	for k := range m.Folds {
		out = append(out, m.Folds[k].Longer.Values()...)
	}
	return out
}

// byLength is a part of the pairs, of those whose lengths say something of themselves.
type byLength struct {
	name string
	of   func(margin float64) bool
}

// about says whether both arguments are about equally long.
func about(margin float64) bool { return math.Exp(-math.Abs(margin)) >= 1-even-1e-6 } // margins are float32

var byLengths = []byLength{
	{"all", func(float64) bool { return true }},
	{"about equally long", about},
	{"the longer one is chosen", func(m float64) bool { return m > 0 }},
	{"the shorter one is chosen", func(m float64) bool { return m < 0 }},
}

// lengthTable is how right methods are on unseen debates where length tells nothing, where it
// tells what people chose, and where it tells the opposite. A method that reads length alone is
// right in one half of the mean of the latter two.
func lengthTable(m *measurements, f *lab.Findings) error {
	lengths := m.lengths()
	if lengths == nil {
		return nil
	}
	t := lab.Table{Name: "length", Title: "Accuracy on unseen debates by length (%)", Columns: []string{"labels", "method"}}
	clusters := m.clusters(&m.Labels[0], near)
	for _, part := range byLengths {
		n := 0
		for _, v := range lengths {
			if part.of(v) {
				n++
			}
		}
		t.Columns = append(t.Columns, fmt.Sprintf("%s (%d pairs)", part.name, n))
	}
	t.Columns = append(t.Columns, "mean of the last two")
	row := func(labels, name string, right []float64) {
		cells := []string{labels, name}
		for _, part := range byLengths {
			var values []float64
			var of []string
			for i, v := range lengths {
				if part.of(v) {
					values, of = append(values, right[i]), append(of, clusters[i])
				}
			}
			cell := "–" // of no pair
			if len(values) > 0 {
				cell = f.Estimate(lab.Mean(values, of)).Percent()
			}
			cells = append(cells, cell)
		}
		t.Rows = append(t.Rows, append(cells, balancedOf(right, lengths, clusters, f)))
	}
	row("none", "the longer one", lab.Wins(lengths))
	row(m.Labels[0].Name, "bag of words", m.words())
	for i := range m.Labels {
		for _, k := range []methods.Method{methods.Single, methods.WA, methods.ENS} {
			v, err := m.values(&m.Labels[i], near, k)
			if err != nil {
				return err
			}
			row(m.Labels[i].Name, k.Name, v)
		}
	}
	f.Tables = append(f.Tables, t)
	f.Notes = append(f.Notes, fmt.Sprintf("“About equally long”: the lengths in characters differ by at most %.0f %% of the longer. “The longer one” is the rule that knows nothing else; it decides no verdict.", 100*even))
	return nil
}

// balancedOf is the mean of the accuracies where the longer and where the shorter argument is the
// chosen one, with its interval over debates; "–" where there is no pair of a kind.
func balancedOf(right, lengths []float64, clusters []string, f *lab.Findings) string {
	of := func(index []int, sign float64) float64 {
		sum, n := 0.0, 0
		for _, i := range index {
			if sign*lengths[i] > 0 {
				sum += right[i]
				n++
			}
		}
		return sum / float64(n) // NaN of none
	}
	lacking := false
	both := func(index []int) float64 { return (of(index, 1) + of(index, -1)) / 2 }
	all := make([]int, len(lengths))
	for i := range all {
		all[i] = i
	}
	if math.IsNaN(both(all)) {
		return "–"
	}
	e := f.Estimate(lab.Bootstrap(len(right), func(index []int) float64 {
		if v := both(index); !math.IsNaN(v) {
			return v
		}
		lacking = true
		return 0
	}, clusters))
	if lacking { // with debates so few that some samples have no pair of a kind
		return fmt.Sprintf("%.1f", 100*e.Value)
	}
	return e.Percent()
}
