package connectivity

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/warm"
)

// settings are those of a size.
type settings struct {
	debates.Recipe
	debates.Starts
	// Curves is how many pairs of members that share all are walked in Steps steps;
	// all pairs are visited at Coarse.
	Curves int       `json:"curves"`
	Steps  int       `json:"steps"`
	Coarse []float64 `json:"coarse"`
	// Alphas scale the distance of the average of all members from where they began.
	Alphas []float64 `json:"alphas"`
}

func settingsOf(size lab.Size) settings {
	s := settings{Recipe: debates.Recipes[size], Curves: 2, Steps: 10, Coarse: []float64{0.25, 0.5, 0.75},
		Alphas: []float64{0, 0.25, 0.5, 0.75, 1, 1.25, 1.5}, Starts: debates.StartsOf(size)}
	if size == lab.Tiny {
		s.Steps, s.Coarse, s.Alphas, s.Curves = 4, []float64{0.5}, []float64{0, 1, 1.5}, 1
	}
	return s
}

// Experiment asks whether members may be averaged at all: whether accuracy
// holds up along the line between them, and what breaks it.
func Experiment() *lab.Experiment {
	return &lab.Experiment{
		Name:  "connectivity",
		Title: "Linear mode connectivity",
		Question: "Is a reward model between two members at least as accurate as the members, weighed as the weights are? " +
			"Members share their pre-training, or, in the controls that must break, do not.",
		Minutes:   8,
		Settings:  func(s lab.Size) any { return settingsOf(s) },
		Trainings: debates.Trainings(trainings),
		Measure:   func(ctx context.Context, l *lab.Lab) (any, error) { return measure(ctx, l) },
		Analyse:   analyse,
	}
}

// Kinds of lines, by what their ends share.
const (
	kindShared   = "shared"   // pre-training, head and recipe; order of pairs, dropout and rate differ
	kindRates    = "rates"    // learning rates several times the usual
	kindStarts   = "starts"   // starts along one fine-tuning ("Baklava")
	kindTwin     = "twin"     // a member and itself with its units renumbered
	kindPermuted = "permuted" // a member and another with its units renumbered
	kindUnshared = "unshared" // members of two bases, pre-trained apart
	kindOther    = "other"    // members of the second base
)

// measurements is what was measured.
type measurements struct {
	Valid lab.Test  `json:"valid"`
	Near  lab.Test  `json:"near"`
	Fit   lab.Test  `json:"fit"` // some of the training pairs
	M     int       `json:"m"`
	Pairs int       `json:"train_pairs"`
	Paths []path    `json:"paths"`
	Alpha []visited `json:"alpha"`
	// Skipped says why a kind of line is missing.
	Skipped []string `json:"skipped,omitempty"`
}

// path is a line between two models, (1−λ)·A + λ·B.
type path struct {
	Kind string `json:"kind"`
	A    string `json:"a"`
	B    string `json:"b"`
	// Distance is ‖A−B‖ / ‖A‖ and Cosine that of A and B, of samples of their largest
	// matrices.
	Distance float64 `json:"distance"`
	Cosine   float64 `json:"cosine"`
	// Full paths were walked in all steps.
	Full    bool      `json:"full"`
	Visited []visited `json:"visited"`
}

// visited are the margins at a place of a line.
type visited struct {
	At    float64     `json:"at"` // λ or α
	Valid lab.Rewards `json:"valid"`
	Near  lab.Rewards `json:"near,omitempty"`
	Fit   lab.Rewards `json:"fit,omitempty"`
}

func trainings(l *lab.Lab, c *debates.Corpus) ([]lab.Training, error) {
	clean, err := debates.Clean(l, c)
	if err != nil {
		return nil, err
	}
	rates, err := debates.Fast(l, c, settingsOf(l.Size).FastRates)
	return []lab.Training{clean, rates}, err
}

// segment is a path to walk.
type segment struct {
	kind, nameA, nameB string
	a, b               string // directories
	full               bool
}

func measure(ctx context.Context, l *lab.Lab) (*measurements, error) {
	c, err := debates.Read(l)
	if err != nil {
		return nil, err
	}
	s := settingsOf(l.Size)
	m := &measurements{Valid: lab.NewTest("valid", c.Valid), Near: lab.NewTest("near", c.Near),
		Fit: lab.NewTest("fit", c.Fit), M: c.M, Pairs: len(c.Train.Pairs)}
	trainings, err := trainings(l, c)
	if err != nil {
		return nil, err
	}
	shared, err := l.Members(ctx, trainings[0].Name, trainings[0].Plan)
	if err != nil {
		return nil, err
	}
	fast, err := l.Members(ctx, trainings[1].Name, trainings[1].Plan)
	if err != nil {
		return nil, err
	}
	lines := pairsOf(kindShared, "member", shared, s.Curves)
	lines = append(lines, pairsOf(kindRates, "rate", fast, 1)...)
	more, err := otherLines(ctx, l, c, s, shared, m)
	if err != nil {
		return nil, err
	}
	lines = append(lines, more...)
	for _, one := range lab.Through(l, "walking between members", lines) {
		p, err := walk(ctx, l, one, s, c)
		if err != nil {
			return nil, fmt.Errorf("%s, %s to %s: %w", one.kind, one.nameA, one.nameB, err)
		}
		m.Paths = append(m.Paths, *p)
	}
	begin, err := l.Init(trainings[0].Name, trainings[0].Plan)
	if err != nil {
		return nil, err
	}
	for _, alpha := range s.Alphas {
		average := lab.Model{Members: shared, Base: begin, Alpha: &alpha}
		if alpha == 1 {
			average.Base, average.Alpha = "", nil
		}
		v, err := visit(ctx, l, alpha, average, c, true)
		if err != nil {
			return nil, err
		}
		m.Alpha = append(m.Alpha, *v)
	}
	return m, nil
}

// pairsOf are the lines between all members, of which the first, and the one
// between the first member and the last, and so on, are walked in full.
func pairsOf(kind, name string, dirs []string, full int) []segment {
	var out []segment
	for j := 1; j < len(dirs); j++ {
		for i := range j {
			out = append(out, segment{kind, fmt.Sprintf("%s %d", name, i+1), fmt.Sprintf("%s %d", name, j+1),
				dirs[i], dirs[j], false})
		}
	}
	for k := range min(full, len(out)) {
		at := len(out) - len(dirs) + 1 // the first with the last
		if k > 0 {
			at = k - 1
		}
		out[at].full = true
	}
	return out
}

// otherLines are those of other starts, and the controls.
func otherLines(ctx context.Context, l *lab.Lab, c *debates.Corpus, s settings, shared []string,
	m *measurements) ([]segment, error) {
	trajectory, err := debates.Trajectory(ctx, l, s.Starts, c.Train)
	if err != nil {
		return nil, err
	}
	r := c.Recipe
	r.M = len(trajectory)
	starting, err := r.Training("starts", l.Base, c.Train)
	if err != nil {
		return nil, err
	}
	starting.Plan.Run.Base, starting.Plan.Bases = "", trajectory
	dirs, err := l.Members(ctx, starting.Name, starting.Plan)
	if err != nil {
		return nil, err
	}
	lines := pairsOf(kindStarts, "start", dirs, 1)
	var twins [2]string
	for i := range twins {
		if twins[i], err = Twin(l, shared[i], debates.SeedOther); err != nil {
			m.Skipped = append(m.Skipped, fmt.Sprintf("no member with renumbered units: %v", err))
			break
		}
	}
	if twins[1] != "" {
		lines = append(lines,
			segment{kindTwin, "member 1", "member 1 renumbered", shared[0], twins[0], true},
			segment{kindPermuted, "member 1", "member 2 renumbered", shared[0], twins[1], true})
	}
	if s.Others == 0 {
		m.Skipped = append(m.Skipped, "no base that was pre-trained apart: this size makes none")
		return lines, nil
	}
	others, err := debates.Others(ctx, l, c, s.Starts)
	if errors.Is(err, debates.ErrNoOther) {
		m.Skipped = append(m.Skipped, fmt.Sprintf("no base that was pre-trained apart: %v", err))
		return lines, nil
	}
	if err != nil {
		return nil, err
	}
	lines = append(lines, segment{kindUnshared, "member 1", "other 1", shared[0], others[0], true})
	return append(lines, pairsOf(kindOther, "other", others, 1)...), nil
}

// walk scores a line.
func walk(ctx context.Context, l *lab.Lab, one segment, s settings, c *debates.Corpus) (*path, error) {
	p := &path{Kind: one.kind, A: one.nameA, B: one.nameB, Full: one.full}
	if err := p.diagnose(one); err != nil {
		return nil, err
	}
	places := slices.Concat([]float64{0}, s.Coarse, []float64{1})
	if one.full {
		places = nil
		for i := range s.Steps + 1 {
			places = append(places, float64(i)/float64(s.Steps))
		}
	}
	for _, at := range places {
		between := lab.Model{Members: []string{one.a, one.b}, Weights: []float64{1 - at, at}}
		switch at { // the ends are members to the bit, and scored once
		case 0:
			between = lab.Model{Members: []string{one.a}}
		case 1:
			between = lab.Model{Members: []string{one.b}}
		}
		v, err := visit(ctx, l, at, between, c, one.full)
		if err != nil {
			return nil, err
		}
		p.Visited = append(p.Visited, *v)
	}
	return p, nil
}

func visit(ctx context.Context, l *lab.Lab, at float64, m lab.Model, c *debates.Corpus,
	all bool) (*visited, error) {
	sets := []*lab.Set{c.Valid}
	if all {
		sets = append(sets, c.Near, c.Fit)
	}
	scored, err := l.Margins(ctx, m, sets...)
	if err != nil {
		return nil, err
	}
	v := &visited{At: at, Valid: scored[0]}
	if all {
		v.Near, v.Fit = scored[1], scored[2]
	}
	return v, nil
}

// diagnose measures how far the ends are from each other.
func (p *path) diagnose(one segment) error {
	var members []warm.Member
	for _, dir := range []string{one.a, one.b} {
		c, err := loader.Open(dir)
		if err != nil {
			return err
		}
		defer c.Close()
		members = append(members, warm.Member{Name: dir, Checkpoint: c})
	}
	d, err := warm.Diagnose(members)
	if err != nil {
		return err
	}
	p.Distance, p.Cosine = d.Pairs[0].Distance, d.Pairs[0].Cosine
	return nil
}
