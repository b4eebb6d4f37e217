package boards

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// styles is how many answers of each kind a question of RM-Bench has: concise, detailed, and detailed
// in Markdown.
const styles = 3

// rmBench: the domains are those of the board's total file, where both kinds of safety are one.
func rmBench(items []Item) ([]Figure, error) {
	domain := func(i *Item) string {
		d, _, _ := strings.Cut(i.Subset, "-")
		return d
	}
	domains := []string{"chat", "math", "code", "safety"}
	if err := known(items, domain, domains); err != nil {
		return nil, err
	}
	for i := range items {
		if x := &items[i]; x.Correct != styles || len(x.Scores) != 2*styles {
			return nil, fmt.Errorf("%w: %s has %d right answers of %d, want %d of %d", ErrItem, x.ID,
				x.Correct, len(x.Scores), styles, 2*styles)
		}
	}
	of := bySubset(items, domain)
	figure := func(name string, in func(right, wrong int) bool) Figure {
		worth := func(i *Item) float64 { return matrix(i, in) }
		var parts []Figure
		for _, d := range domains {
			f := share(d, of[d], worth)
			subsets := bySubset(of[d], subset)
			for _, s := range slices.Sorted(maps.Keys(subsets)) {
				if s != d {
					f.Parts = append(f.Parts, share(s, subsets[s], worth))
				}
			}
			parts = append(parts, weighted(f, 1))
		}
		return mean(name, parts...)
	}
	return []Figure{
		figure("overall", func(int, int) bool { return true }),
		figure("easy", func(right, wrong int) bool { return right > wrong }),
		figure("normal", func(right, wrong int) bool { return right == wrong }),
		figure("hard", func(right, wrong int) bool { return right < wrong }),
	}, nil
}

// matrix is the share of the comparisons taken in which the right answer scores strictly higher.
func matrix(i *Item, in func(right, wrong int) bool) float64 {
	wins, n := 0.0, 0.0
	for right, a := range i.Scores[:styles] {
		for wrong, b := range i.Scores[styles:] {
			if in(right, wrong) {
				n++
				wins += truth(a > b)
			}
		}
	}
	return wins / n
}

// rmb: a subset is a path such as Pairwise_set/Helpfulness/Chat/Discussion.
func rmb(items []Item) ([]Figure, error) {
	var parts []Figure
	var names []string
	all := []struct{ name, path string }{
		{"helpfulness, best of N", "BoN_set/Helpfulness"},
		{"helpfulness, pairs", "Pairwise_set/Helpfulness"},
		{"harmlessness, best of N", "BoN_set/Harmlessness"},
		{"harmlessness, pairs", "Pairwise_set/Harmlessness"},
	}
	for _, a := range all {
		names = append(names, a.path)
	}
	if err := known(items, func(i *Item) string { return level(i.Subset, 2) }, names); err != nil {
		return nil, err
	}
	for _, a := range all {
		parts = append(parts, weighted(tree(a.name, a.path, items), 1))
	}
	return []Figure{mean("overall", parts...)}, nil
}

// level is the first n steps of a path, or all it has.
func level(path string, n int) string {
	steps := strings.Split(path, "/")
	return strings.Join(steps[:min(n, len(steps))], "/")
}

// tree is the share of the items whose subset is a path or lies under it, with those of what lies
// directly under it as its parts.
func tree(name, path string, items []Item) Figure {
	var in []Item
	for _, i := range items {
		if i.Subset == path || strings.HasPrefix(i.Subset, path+"/") {
			in = append(in, i)
		}
	}
	f := share(name, in, best)
	depth := strings.Count(path, "/") + 2
	under := bySubset(in, func(i *Item) string { return level(i.Subset, depth) })
	for _, p := range slices.Sorted(maps.Keys(under)) {
		if p != path {
			f.Parts = append(f.Parts, tree(p[len(path)+1:], p, under[p]))
		}
	}
	return f
}

// judgeBench: a subset is a source, told by how it begins.
func judgeBench(items []Item) ([]Figure, error) {
	f := share("overall", items, best)
	for _, s := range []struct{ name, begin string }{
		{"knowledge (MMLU-Pro)", "mmlu-pro"}, {"reasoning (LiveBench)", "livebench-reasoning"},
		{"math (LiveBench)", "livebench-math"}, {"coding (LiveCodeBench)", "livecodebench"},
	} {
		var in []Item
		for _, i := range items {
			if strings.HasPrefix(i.Subset, s.begin) {
				in = append(in, i)
			}
		}
		if len(in) == 0 {
			f.Missing = append(f.Missing, s.name)
			continue
		}
		f.Parts = append(f.Parts, share(s.name, in, best))
	}
	return []Figure{f}, nil
}
