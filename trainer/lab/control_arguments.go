package lab

import "github.com/warmserve/warmserve/trainer/data"

// arguments returns pairs that have each answer to each prompt once as the chosen
// one, which is what package lm learns of a pair.
func arguments(pairs []data.Pair) []data.Pair {
	type text struct{ prompt, answer string }
	seen := map[text]bool{}
	var out []data.Pair
	for _, p := range pairs {
		for range 2 {
			if t := (text{p.Prompt.Plain, p.Chosen.Plain}); !seen[t] {
				seen[t] = true
				out = append(out, p)
			}
			p.Chosen, p.Rejected = p.Rejected, p.Chosen
		}
	}
	return out
}
