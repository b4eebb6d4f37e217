package boards

import (
	"cmp"
	"maps"
	"slices"
)

// HumanPreference is the subset of PPE's questions that people decided; others are of the sets of
// [PPESets], whose answers are right or wrong.
const HumanPreference = "human preference"

// PPESets are the sets of PPE's correctness.
var PPESets = []string{"MMLU-Pro", "MATH", "GPQA", "MBPP-Plus", "IFEval"}

// ppe: people's preferences first; then, of the sets of correctness, the sampled pairs, the answers
// as a classifier sees them, and what the curve of best of K says.
func ppe(items []Item) ([]Figure, error) {
	if err := known(items, subset, append([]string{HumanPreference}, PPESets...)); err != nil {
		return nil, err
	}
	of := bySubset(items, subset)
	var out []Figure
	if human := of[HumanPreference]; len(human) > 0 {
		f := share(HumanPreference, human, best)
		tagged := map[string][]Item{}
		for _, i := range human {
			for _, t := range i.Tags {
				tagged[t] = append(tagged[t], i)
			}
		}
		for _, t := range slices.Sorted(maps.Keys(tagged)) {
			f.Parts = append(f.Parts, share(t, tagged[t], best))
		}
		out = append(out, f)
	}
	if len(of[HumanPreference]) == len(items) {
		return out, nil
	}
	figure := func(name string, part func(set string) Figure) {
		var parts []Figure
		for _, set := range PPESets {
			parts = append(parts, weighted(part(set), 1))
		}
		out = append(out, mean(name, parts...))
	}
	figure("correctness", func(set string) Figure { return sampledPairs(set, of[set]) })
	figure("area under the ROC curve", func(set string) Figure { return classified(set, of[set]) })
	curves := map[string]Figure{}
	for _, set := range PPESets {
		curves[set] = curved(set, of[set])
	}
	figure("best of K, highest", func(set string) Figure {
		return curves[set].valued(func(reached, _ []float64) float64 { return slices.Max(reached) })
	})
	figure("best of K, end", func(set string) Figure {
		return curves[set].valued(func(reached, _ []float64) float64 { return reached[len(reached)-1] })
	})
	figure("best of K, loss", func(set string) Figure {
		return curves[set].valued(func(reached, possible []float64) (loss float64) {
			for k := range reached {
				loss += (possible[k] - reached[k]) / float64(len(reached))
			}
			return loss
		})
	})
	return out, nil
}

// valued gives a figure the value that its curves have, where there are any.
func (f Figure) valued(value func(reached, possible []float64) float64) Figure {
	if len(f.Curve) > 0 {
		v := value(f.Curve, f.Possible)
		f.Value = &v
	}
	return f
}

// sampledPairs is the share of the board's pairs whose right answer scores strictly higher.
func sampledPairs(name string, items []Item) Figure {
	var pairs []Item
	for i := range items {
		for _, p := range items[i].Pairs {
			pairs = append(pairs, Item{Correct: 1, Scores: []float64{items[i].Scores[p[0]], items[i].Scores[p[1]]}})
		}
	}
	return share(name, pairs, best)
}

// classified is the chance that a right answer of a set scores higher than a wrong one, a tie worth a
// half, once the scores of each question are stretched to [0, 1], so that those of different questions
// compare; 1/2 where all are alike.
func classified(name string, items []Item) Figure {
	type scored struct {
		score float64
		right bool
	}
	var all []scored
	f := counted(name, items)
	for _, i := range items {
		low, high := slices.Min(i.Scores), slices.Max(i.Scores)
		for k, s := range i.Scores {
			at := 0.5
			if high > low {
				at = (s - low) / (high - low)
			}
			all = append(all, scored{at, k < i.Correct})
		}
	}
	slices.SortFunc(all, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	won, wrong := 0.0, 0.0 // wrong: wrong answers that score less than those at hand
	for n := 0; n < len(all); {
		alike, right := n, 0.0
		for ; n < len(all) && all[n].score == all[alike].score; n++ {
			right += truth(all[n].right)
		}
		ties := float64(n-alike) - right
		won += right * (wrong + ties/2)
		wrong += ties
	}
	if pairs := wrong * (float64(len(all)) - wrong); pairs > 0 {
		v := won / pairs
		f.Value = &v
	}
	return f
}

// curved is a figure without a value, with the curve of best of K over K from 1 to the fewest answers
// that a question has.
func curved(name string, items []Item) Figure {
	f := counted(name, items)
	if len(items) == 0 {
		return f
	}
	fewest := len(items[0].Scores)
	for i := range items {
		fewest = min(fewest, len(items[i].Scores))
	}
	f.Curve, f.Possible = make([]float64, fewest), make([]float64, fewest)
	for i := range items {
		x := &items[i]
		for k, p := range chosen(x, fewest) {
			f.Curve[k] += p / float64(len(items))
			f.Possible[k] += (1 - without(len(x.Scores), x.Correct, k+1)) / float64(len(items))
		}
	}
	return f
}

// chosen is the chance that the answer which scores highest among k is right, over all choices of k
// answers, for k from 1 to most; of several that score highest each is as likely.
func chosen(i *Item, most int) []float64 {
	order := make([]int, len(i.Scores))
	for n := range order {
		order[n] = n
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(i.Scores[b], i.Scores[a]) })
	out := make([]float64, most)
	for n := 0; n < len(order); {
		better, right := n, 0.0
		for ; n < len(order) && i.Scores[order[n]] == i.Scores[order[better]]; n++ {
			right += truth(order[n] < i.Correct)
		}
		for k := range out { // that one of these is among them, and none that is better
			p := without(len(order), better, k+1) - without(len(order), n, k+1)
			out[k] += p * right / float64(n-better)
		}
	}
	return out
}

// without is the chance that none of m answers is among k, chosen of n.
func without(n, m, k int) float64 {
	p := 1.0
	for j := range k {
		p *= float64(max(0, n-m-j)) / float64(n-j)
	}
	return p
}
