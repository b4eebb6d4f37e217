package connectivity

import (
	"fmt"
	"math"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/drawing"
)

// matrixFindings are the barriers between all members.
func matrixFindings(m *measurements, byKind map[string][]path, f *lab.Findings) {
	paths := byKind[kindShared]
	t := lab.Table{Name: "barriers",
		Title:   "Barrier of each line, in distribution: the largest fall below the chord (percentage points)",
		Columns: []string{"kind", "from", "to", "distance", "cosine", "barrier"}}
	names := []string{}
	number := map[string]int{}
	for _, p := range paths {
		for _, n := range []string{p.A, p.B} {
			if _, ok := number[n]; !ok {
				number[n] = len(names)
				names = append(names, n)
			}
		}
	}
	cells := make([][]float64, len(names))
	for i := range cells {
		cells[i] = make([]float64, len(names))
	}
	for _, k := range kindNames {
		for i := range byKind[k.kind] {
			p := &byKind[k.kind][i]
			b := f.Estimate(p.barrier(m.sets()["valid"]))
			t.Rows = append(t.Rows, []string{k.name, p.A, p.B, fmt.Sprintf("%.3f", p.Distance),
				fmt.Sprintf("%.3f", p.Cosine), b.Points()})
			if k.kind == kindShared {
				x, y := number[p.A], number[p.B]
				cells[x][y] = math.Round(1000*b.Value) / 10 // three digits fill a cell
				cells[y][x] = cells[x][y]
			}
		}
	}
	f.Tables = append(f.Tables, t)
	if len(names) > 0 {
		f.Figures = append(f.Figures, drawing.Figure{Name: "matrix",
			Title:   "Barriers between members that share their pre-training",
			X:       drawing.Axis{Label: "member", Ticks: names},
			Y:       drawing.Axis{Label: "member", Ticks: names},
			Cells:   cells,
			Caption: fmt.Sprintf("Largest fall of accuracy below the chord, in percentage points, on %d validation pairs; M = %d, %s", len(m.Valid.Clusters), m.M, debates.Seeded)})
	}
}

// along averages a figure over the full paths of a kind, at each place, in some unit.
func along(paths []path, j judged, unit float64, value func(p *path, at int) []float64, f *lab.Findings) drawing.Series {
	s := drawing.Series{}
	var full []*path
	for i := range paths {
		if paths[i].Full {
			full = append(full, &paths[i])
		}
	}
	if len(full) == 0 {
		return s
	}
	for at := range full[0].Visited {
		sum := make([]float64, len(j.clusters))
		for _, p := range full {
			for i, v := range value(p, at) {
				sum[i] += v / float64(len(full))
			}
		}
		s.Put(full[0].Visited[at].At, f.Estimate(lab.Mean(sum, j.clusters)), unit)
	}
	return s
}

// curveFigures are the walks along λ.
func curveFigures(m *measurements, byKind map[string][]path, f *lab.Findings) {
	sets := m.sets()
	for _, d := range []struct{ name, set, title, label string }{
		{"lambda-valid", "valid", "Accuracy between two members, in distribution", "accuracy (%)"},
		{"lambda-near", "near", "Accuracy between two members, unseen debates", "accuracy (%)"},
		{"loss-fit", "fit", "Loss between two members, training pairs", "loss above the chord (nats)"},
	} {
		j := sets[d.set]
		fig := drawing.Figure{Name: d.name, Title: d.title,
			X: drawing.Axis{Label: "λ, the weight of the second model"}, Y: drawing.Axis{Label: d.label}}
		for _, k := range kindNames {
			value := func(p *path, at int) []float64 { return lab.Wins(j.of(&p.Visited[at]).Values()) }
			unit := 100.0
			if d.set == "fit" {
				value = func(p *path, at int) []float64 { return p.above(j, nll, at) }
				unit = 1
			}
			s := along(byKind[k.kind], j, unit, value, f)
			if s.X == nil {
				continue
			}
			s.Label = k.name
			if k.kind != kindShared { // one band is read, seven are not
				s.Low, s.High = nil, nil
			}
			fig.Series = append(fig.Series, s)
		}
		fig.Caption = fmt.Sprintf("%d pairs; band: 95 %% bootstrap over clusters of pairs, for the first line (the others are as wide); M = %d, %s", len(j.clusters), m.M, debates.Seeded)
		f.Figures = append(f.Figures, fig)
	}
}

// alphaFindings are the walk from the initialisation through the average and on.
func alphaFindings(m *measurements, f *lab.Findings) {
	fig := drawing.Figure{Name: "alpha",
		Title:   "From the initialisation through the average of all members and beyond",
		X:       drawing.Axis{Label: "α: 0 is the initialisation, 1 the average"},
		Y:       drawing.Axis{Label: "accuracy (%)"},
		Caption: fmt.Sprintf("Average of M = %d members; bands: 95 %% bootstrap over clusters of pairs; %s", m.M, debates.Seeded)}
	t := lab.Table{Name: "alpha", Title: "Accuracy along θ₀ + α·(average − θ₀) (%)",
		Columns: []string{"α", "in distribution", "unseen debates", "training pairs"}}
	for _, v := range m.Alpha {
		t.Rows = append(t.Rows, []string{fmt.Sprintf("%.2f", v.At)})
	}
	for _, name := range []string{"valid", "near", "fit"} {
		j := m.sets()[name]
		s := drawing.Series{Label: map[string]string{"valid": "in distribution", "near": "unseen debates",
			"fit": "training pairs"}[name]}
		for i := range m.Alpha {
			e := f.Estimate(lab.Accuracy(j.of(&m.Alpha[i]).Values(), j.clusters))
			s.Put(m.Alpha[i].At, e, 100)
			t.Rows[i] = append(t.Rows[i], e.Percent())
		}
		if s.X != nil {
			fig.Series = append(fig.Series, s)
		}
	}
	f.Tables = append(f.Tables, t)
	if len(fig.Series) > 0 {
		f.Figures = append(f.Figures, fig)
	}
}
