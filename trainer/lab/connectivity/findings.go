package connectivity

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
)

// kindNames are the kinds of lines in the order of tables and figures.
var kindNames = []struct{ kind, name string }{
	{kindShared, "shared pre-training"},
	{kindRates, "rates up to several times the usual"},
	{kindStarts, "starts along a fine-tuning"},
	{kindOther, "shared pre-training, the other base"},
	{kindTwin, "itself, units renumbered"},
	{kindPermuted, "another member, units renumbered"},
	{kindUnshared, "pre-trained apart"},
}

// judged is a set's margins along a line.
type judged struct {
	clusters []string
	of       func(v *visited) lab.Rewards
	full     bool // only full paths have it
}

func (m *measurements) sets() map[string]judged {
	return map[string]judged{
		"valid": {m.Valid.Clusters, func(v *visited) lab.Rewards { return v.Valid }, false},
		"near":  {m.Near.Clusters, func(v *visited) lab.Rewards { return v.Near }, true},
		"fit":   {m.Fit.Clusters, func(v *visited) lab.Rewards { return v.Fit }, true},
	}
}

// nll is the Bradley–Terry loss of each margin, −log σ(margin), in nats.
func nll(margins []float64) []float64 {
	out := make([]float64, len(margins))
	for i, m := range margins {
		out[i] = math.Max(-m, 0) + math.Log1p(math.Exp(-math.Abs(m)))
	}
	return out
}

// check reports measurements that do not fit together.
func (m *measurements) check() error {
	fits := func(what string, v *visited, full bool) error {
		for name, j := range m.sets() {
			if n := len(j.of(v)); n != len(j.clusters) && (full || !j.full) {
				return fmt.Errorf("%s %v, %s: %d margins, want %d", what, v.At, name, n, len(j.clusters))
			}
		}
		return nil
	}
	places := map[string]int{} // of the full paths of a kind
	for i := range m.Paths {
		p := &m.Paths[i]
		n := len(p.Visited)
		if n < 3 {
			return fmt.Errorf("%s to %s: %d places, want 3 or more", p.A, p.B, n)
		}
		if p.Full {
			if places[p.Kind] = cmp.Or(places[p.Kind], n); n != places[p.Kind] {
				return fmt.Errorf("%s to %s: %d places, want %d", p.A, p.B, n, places[p.Kind])
			}
		}
		for k := range p.Visited {
			if err := fits(fmt.Sprintf("%s to %s at", p.A, p.B), &p.Visited[k], p.Full); err != nil {
				return err
			}
		}
	}
	for i := range m.Alpha {
		if err := fits("α =", &m.Alpha[i], true); err != nil {
			return err
		}
	}
	return nil
}

// above is, for each pair, how far a figure of it at a place of a path lies above
// the chord between the ends.
func (p *path) above(j judged, figure func([]float64) []float64, at int) []float64 {
	first, last := &p.Visited[0], &p.Visited[len(p.Visited)-1]
	a, b, x := figure(j.of(first).Values()), figure(j.of(last).Values()), figure(j.of(&p.Visited[at]).Values())
	lambda := p.Visited[at].At
	for i := range x {
		x[i] -= (1-lambda)*a[i] + lambda*b[i]
	}
	return x
}

// place returns the index of the visit nearest to lambda.
func (p *path) place(lambda float64) int {
	best := 0
	for i, v := range p.Visited {
		if math.Abs(v.At-lambda) < math.Abs(p.Visited[best].At-lambda) {
			best = i
		}
	}
	return best
}

// middle estimates how far a figure lies above the chord half-way, over all paths
// of a kind: values of a pair are averaged over the paths before pairs are
// resampled.
func middle(paths []path, j judged, figure func([]float64) []float64) (eval.Estimate, error) {
	var all [][]float64
	for i := range paths {
		p := &paths[i]
		if j.full && !p.Full {
			continue
		}
		all = append(all, p.above(j, figure, p.place(0.5)))
	}
	return mean(all, j)
}

// mean estimates the mean of what lines say of each pair.
func mean(all [][]float64, j judged) (eval.Estimate, error) {
	if all == nil {
		return eval.Estimate{}, errors.New("of a kind no line was walked in full")
	}
	return lab.Mean(lab.Averaged(all), j.clusters)
}

// barrier estimates max over λ of the chord's accuracy less the accuracy at λ, at
// least 0. Its interval is that of the maximum, which noise alone lifts above 0.
func (p *path) barrier(j judged) (eval.Estimate, error) {
	var all [][]float64
	for at := range p.Visited {
		all = append(all, p.above(j, lab.Wins, at))
	}
	return lab.Bootstrap(len(j.clusters), func(index []int) float64 {
		worst := 0.0
		for _, v := range all {
			sum := 0.0
			for _, i := range index {
				sum -= v[i]
			}
			worst = max(worst, sum/float64(len(index)))
		}
		return worst
	}, j.clusters)
}

// connected judges a kind of lines by how far accuracy in distribution, and on
// training pairs, lies above the chord half-way. It is seen when the interval in
// distribution leaves no more than the tolerance below the chord, and
// contradicted when all of it lies below. Where it does neither, for want of
// pairs, or the ends are no better than chance there, so that nothing can be
// lost, training pairs decide: seen as above, contradicted when all of the interval
// lies more than the tolerance below the chord.
func connected(valid, fit, ends eval.Estimate) lab.Outcome {
	if ends.Low > 0.5 {
		switch {
		case valid.Low >= -lab.Tolerance:
			return lab.Seen
		case valid.High < 0:
			return lab.Contradicted
		}
	}
	switch {
	case fit.Low >= -lab.Tolerance:
		return lab.Seen
	case fit.High < -lab.Tolerance:
		return lab.Contradicted
	}
	return lab.Unclear
}

var analyse = lab.Analysis(func(m *measurements) (*lab.Findings, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	byKind := map[string][]path{}
	for _, p := range m.Paths {
		byKind[p.Kind] = append(byKind[p.Kind], p)
	}
	f := &lab.Findings{Notes: m.Skipped}
	kindsFindings(m, byKind, f)
	matrixFindings(m, byKind, f)
	curveFigures(m, byKind, f)
	alphaFindings(m, f)
	f.Notes = append(f.Notes,
		fmt.Sprintf("Connected: the interval of the accuracy half-way, in distribution, lies above −%.0f percentage points; broken: all of it is below 0. Where it is too wide for either, or the ends are no better than chance, training pairs decide: connected above −%.0f points, broken below.", 100*lab.Tolerance, 100*lab.Tolerance),
		fmt.Sprintf("Pairs of a debate's side share arguments: intervals resample %d such clusters of validation pairs and %d of unseen debates.",
			lab.Distinct(m.Valid.Clusters), lab.Distinct(m.Near.Clusters)),
		"The loss is that of training pairs: members that fit their training pairs are so sure of themselves that their loss on others exceeds that of indifference, ln 2, and any average lowers it.")
	return f, nil
})

// kindsFindings are the table of kinds and the verdicts.
func kindsFindings(m *measurements, byKind map[string][]path, f *lab.Findings) {
	t := lab.Table{Name: "kinds",
		Title: "Half-way between two members, above the chord between them (percentage points; loss in nats)",
		Columns: []string{"ends share", "lines", "distance", "ends, valid (%)", "half-way, valid",
			"half-way, near", "half-way, training pairs", "loss, training pairs", "connected"}}
	sets := m.sets()
	for _, k := range kindNames {
		paths := byKind[k.kind]
		if len(paths) == 0 {
			continue
		}
		distance := 0.0
		for _, p := range paths {
			distance += p.Distance / float64(len(paths))
		}
		accuracy, learned := f.Estimate(ends(paths, sets["valid"])), f.Estimate(ends(paths, sets["fit"]))
		valid := f.Estimate(middle(paths, sets["valid"], lab.Wins))
		near := f.Estimate(middle(paths, sets["near"], lab.Wins))
		fit := f.Estimate(middle(paths, sets["fit"], lab.Wins))
		loss := f.Estimate(middle(paths, sets["fit"], nll))
		outcome := connected(valid, fit, accuracy)
		if learned.Low <= 0.5 {
			outcome = lab.Unclear // ends that learned nothing have nothing to lose
		}
		deciding := ""
		if outcome == lab.Unclear {
			deciding = lab.Deciding(lab.NoWorse, valid, lab.Distinct(m.Valid.Clusters), "clusters in distribution")
		}
		t.Rows = append(t.Rows, []string{k.name, fmt.Sprint(len(paths)), fmt.Sprintf("%.3f", distance),
			accuracy.Percent(), valid.Points(), near.Points(), fit.Points(), loss.String(),
			map[lab.Outcome]string{lab.Seen: "yes", lab.Contradicted: "no", lab.Unclear: "unclear"}[outcome]})
		f.Verdicts = append(f.Verdicts, kindVerdict(k.kind, k.name, outcome, fmt.Sprintf(
			"half-way, against the chord: %s points in distribution, %s near out of distribution, %s on training pairs, whose loss is %s nats above it%s", valid.Points(), near.Points(), fit.Points(), loss, deciding)))
	}
	f.Tables = append(f.Tables, t)
}

// ends estimates the accuracy of the ends of paths.
func ends(paths []path, j judged) (eval.Estimate, error) {
	var all [][]float64
	for i := range paths {
		if j.full && !paths[i].Full {
			continue
		}
		for _, v := range []*visited{&paths[i].Visited[0], &paths[i].Visited[len(paths[i].Visited)-1]} {
			all = append(all, lab.Wins(j.of(v).Values()))
		}
	}
	return mean(all, j)
}

// kindVerdict says what a kind of lines was expected to show.
func kindVerdict(kind, name string, outcome lab.Outcome, figures string) lab.Verdict {
	v := lab.Verdict{Seen: outcome, Source: "Observation 1, figure 3", Figures: figures}
	switch kind {
	case kindShared:
		v.Claim = "Members that share their pre-training are linearly connected"
	case kindRates:
		v.Claim, v.Source = "Members stay connected at learning rates several times the usual", "section 3.1"
	case kindStarts:
		v.Claim, v.Source = "Members from different checkpoints of one fine-tuning are linearly connected", "section 3.1 (Baklava)"
	case kindOther:
		v.Claim = "Members of another, poorer base are linearly connected with each other"
	default: // controls: to break is what is expected
		v.Claim, v.Source = "Control: without a shared pre-training the line breaks ("+name+")",
			"Observation 1; section 3.1"
		switch outcome {
		case lab.Seen:
			v.Seen = lab.Contradicted
		case lab.Contradicted:
			v.Seen = lab.Seen
		}
	}
	return v
}
