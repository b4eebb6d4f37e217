package debates

import (
	"github.com/warmserve/warmserve/trainer/data"
)

// Arguments returns pairs that have each answer to each prompt once as the chosen
// one, which is what package lm learns of a pair.
func Arguments(pairs []data.Pair) []data.Pair {
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

// ByArguments splits pairs by their arguments, as UKP divides the debates of Train and
// Valid: pairs with none of the arguments that are held out, and pairs of such
// arguments alone.
func ByArguments(pairs []data.Pair) (free, held []data.Pair) {
	for _, p := range pairs {
		switch a, b := ValidText(p.Chosen.Plain), ValidText(p.Rejected.Plain); {
		case a && b:
			held = append(held, p)
		case !a && !b:
			free = append(free, p)
		}
	}
	return free, held
}
