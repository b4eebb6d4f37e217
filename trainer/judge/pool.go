package judge

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Pool puts the reports of a cross-validation together: each fold's models were trained
// without the pairs that they were judged on, and every pair counts once. The reports must
// judge the same models by name, such as member-1, which are others in each fold. What needs
// single rewards, such as reliability, stays with the folds. Reports without groups count as
// one group each.
func Pool(reports []*Report) (*Report, error) {
	if len(reports) < 2 {
		return nil, errors.New("pool: want the reports of two folds at least")
	}
	out := &Report{Folds: len(reports), GroupPairs: map[string]int{}, MatchedPairs: map[string]int{}}
	folds := make([]*Report, len(reports))
	for i, r := range reports {
		var err error
		if folds[i], err = grouped(r, fmt.Sprintf("fold %d", i+1)); err != nil {
			return nil, fmt.Errorf("pool: report %d: %w", i+1, err)
		}
		if err := sameModels(reports[0], r); err != nil {
			return nil, fmt.Errorf("pool: report %d: %w", i+1, err)
		}
		out.Pairs += r.Pairs
		out.Dropped += r.Dropped
		for g, n := range folds[i].GroupPairs {
			out.GroupPairs[g] += n
			out.MatchedPairs[g] += folds[i].MatchedPairs[g]
		}
	}
	var groups, matched []string
	for _, r := range folds {
		for _, g := range slices.Sorted(maps.Keys(r.GroupPairs)) {
			groups = append(groups, slices.Repeat([]string{g}, r.GroupPairs[g])...)
			matched = append(matched, slices.Repeat([]string{g}, r.MatchedPairs[g])...)
		}
	}
	out.Interval = fmt.Sprintf("bootstrap over the %d groups of %d folds", len(out.GroupPairs), len(folds))
	pool := func(pick func(*Report) *Judged) (*Judged, error) {
		if pick(folds[0]) == nil {
			return nil, nil
		}
		return poolOne(folds, out, groups, pick)
	}
	var err error
	for i := range reports[0].Members {
		one, err := pool(func(r *Report) *Judged { return &r.Members[i] })
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, *one)
	}
	for _, x := range []struct {
		to   **Judged
		pick func(*Report) *Judged
	}{
		{&out.WA, func(r *Report) *Judged { return r.WA }},
		{&out.Ens, func(r *Report) *Judged { return r.Ens }},
		{&out.Longer, func(r *Report) *Judged { return r.Longer }},
		{&out.Words, func(r *Report) *Judged { return r.Words }},
	} {
		if *x.to, err = pool(x.pick); err != nil {
			return nil, err
		}
	}
	return out, out.compare(groups, matched)
}

// poolOne adds up what one model won in each fold.
func poolOne(folds []*Report, all *Report, groups []string, pick func(*Report) *Judged) (*Judged, error) {
	out := &Judged{Name: pick(folds[0]).Name, Groups: map[string]float64{},
		MatchedGroups: map[string]float64{}}
	matched := &rm.Score{}
	for _, r := range folds {
		j := pick(r)
		out.Add(&j.Score)
		if j.Matched != nil {
			matched.Add(j.Matched)
		}
		for _, g := range slices.Sorted(maps.Keys(r.GroupPairs)) {
			won := outcomes(j.Groups[g], r.GroupPairs[g])
			out.won = append(out.won, won...)
			out.Groups[g] += floats.Sum(won) / float64(all.GroupPairs[g])
			if won = outcomes(j.MatchedGroups[g], r.MatchedPairs[g]); len(won) > 0 {
				out.matchedWon = append(out.matchedWon, won...)
				out.MatchedGroups[g] += floats.Sum(won) / float64(all.MatchedPairs[g])
			}
		}
	}
	if wins := int(floats.Sum(out.won)); len(out.won) != out.Pairs || wins != out.Wins {
		return nil, fmt.Errorf("pool: %s wins %d of %d pairs, and its groups %d of %d", out.Name,
			out.Wins, out.Pairs, wins, len(out.won))
	}
	if wins := int(floats.Sum(out.matchedWon)); len(out.matchedWon) != matched.Pairs || wins != matched.Wins {
		return nil, fmt.Errorf("pool: %s wins %d of %d length-matched pairs, and its groups %d of %d",
			out.Name, matched.Wins, matched.Pairs, wins, len(out.matchedWon))
	}
	out.Settle()
	if out.Wins > 0 && out.Wins < out.Pairs { // else Wilson's stays, as in a fold
		lost := make([]float64, len(out.won))
		for i, w := range out.won {
			lost[i] = 1 - w
		}
		in, err := eval.StrictInterval(out.won, lost, eval.Resampling{Seed: seedResampling, Clusters: groups})
		if err != nil {
			return nil, err
		}
		out.Low, out.High = in.Low, in.High
	}
	if matched.Pairs > 0 {
		matched.Settle()
		out.Matched = matched
	}
	return out, nil
}

// outcomes are n pairs of which a share is won.
func outcomes(share float64, n int) []float64 {
	out := make([]float64, n)
	for i := range min(n, max(0, int(math.Round(share*float64(n))))) {
		out[i] = 1
	}
	return out
}

// grouped returns a report with groups: one of its own, if it has none.
func grouped(r *Report, name string) (*Report, error) {
	if r.Pairs < 1 || r.Longer == nil {
		return nil, errors.New("not a report of warm eval --json")
	}
	for _, j := range r.All() {
		for _, s := range []*rm.Score{&j.Score, j.Matched} {
			if s != nil && (s.Pairs < 1 || s.Wins < 0 || s.Wins > s.Pairs) {
				return nil, fmt.Errorf("%s wins %d of %d pairs", j.Name, s.Wins, s.Pairs)
			}
		}
	}
	left := r.Pairs
	for g, n := range r.GroupPairs {
		if m := r.MatchedPairs[g]; n < 1 || n > left || m < 0 || m > n {
			return nil, fmt.Errorf("group %q of %d pairs, %d length-matched, of %d", g, n, m, r.Pairs)
		}
		left -= n
	}
	if len(r.GroupPairs) > 0 {
		return r, nil
	}
	one := *r
	one.GroupPairs, one.MatchedPairs = map[string]int{name: r.Pairs}, map[string]int{}
	if m := r.Longer.Matched; m != nil {
		one.MatchedPairs[name] = m.Pairs
	}
	alone := func(j *Judged) *Judged {
		if j == nil {
			return nil
		}
		x := *j
		x.Groups = map[string]float64{name: j.Accuracy}
		if j.Matched != nil {
			x.MatchedGroups = map[string]float64{name: j.Matched.Accuracy}
		}
		return &x
	}
	one.Members = slices.Clone(r.Members)
	for i := range one.Members {
		one.Members[i] = *alone(&r.Members[i])
	}
	one.WA, one.Ens, one.Words, one.Longer = alone(r.WA), alone(r.Ens), alone(r.Words), alone(r.Longer)
	return &one, nil
}

// sameModels reports what one fold has judged and another has not.
func sameModels(a, b *Report) error {
	names := func(r *Report) (out []string) {
		for _, j := range r.All() {
			out = append(out, j.Name)
		}
		return out
	}
	if x, y := names(a), names(b); !slices.Equal(x, y) {
		return fmt.Errorf("it judges %q, and the first one %q", y, x)
	}
	return nil
}
