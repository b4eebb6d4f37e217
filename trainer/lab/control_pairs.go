package lab

import (
	"slices"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/data"
)

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

// swap exchanges the answers of a share of pairs, drawn by a seed. A larger share
// includes a smaller one's pairs.
func swap(pairs []data.Pair, share float64, seed uint64) []data.Pair {
	out := slices.Clone(pairs)
	for i := range out {
		if float64(nn.Mix(seed, uint64(i))>>11)/(1<<53) < share {
			out[i].Chosen, out[i].Rejected = out[i].Rejected, out[i].Chosen
		}
	}
	return out
}

// byArguments splits pairs by their arguments, as UKP divides the debates of Train and
// Valid: pairs with none of the arguments that are held out, and pairs of such
// arguments alone.
func byArguments(pairs []data.Pair) (learned, held []data.Pair) {
	for _, p := range pairs {
		switch a, b := validText(p.Chosen.Plain), validText(p.Rejected.Plain); {
		case a && b:
			held = append(held, p)
		case !a && !b:
			learned = append(learned, p)
		}
	}
	return learned, held
}
