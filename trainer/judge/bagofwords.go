package judge

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/rm"
)

// bagOfWords is the Bradley–Terry model of word counts: the reward of a text is
// Σ weight(word)·log(1 + count). It is what a reward model has to beat to have
// read more than words.
type bagOfWords struct {
	index  map[string]int
	weight []float64
}

// bagDecay is the weight of the squared norm in the mean loss.
const bagDecay = 1e-3

// bag is a text's features, by word.
type bag map[int]float64

// splitWords returns a text's words, lower case: runs of letters and digits, and
// each other mark on its own.
func splitWords(s string) []string {
	var out []string
	start := -1
	flush := func(end int) {
		if start >= 0 {
			out = append(out, strings.ToLower(s[start:end]))
			start = -1
		}
	}
	for i, r := range s {
		switch {
		case unicode.IsLetter(r) || unicode.IsNumber(r):
			if start < 0 {
				start = i
			}
		default:
			flush(i)
			if !unicode.IsSpace(r) {
				out = append(out, string(r))
			}
		}
	}
	flush(len(s))
	return out
}

// bag counts a text's words. Unknown ones are learned, or left out.
func (b *bagOfWords) bag(s string, learn bool) bag {
	out := bag{}
	for _, w := range splitWords(s) {
		i, ok := b.index[w]
		if !ok && learn {
			i, ok = len(b.index), true
			b.index[w] = i
		}
		if ok {
			out[i]++
		}
	}
	for i, n := range out {
		out[i] = math.Log1p(n)
	}
	return out
}

// feature is one entry of a difference of bags, in a fixed order.
type feature struct {
	word  int
	value float64
}

func difference(a, b bag) []feature {
	var out []feature
	for w, v := range a {
		if d := v - b[w]; d != 0 {
			out = append(out, feature{w, d})
		}
	}
	for w, v := range b {
		if _, ok := a[w]; !ok {
			out = append(out, feature{w, -v})
		}
	}
	slices.SortFunc(out, func(x, y feature) int { return x.word - y.word }) // sums have one order
	return out
}

// newBagOfWords learns from preferences.
func newBagOfWords(pairs []rm.Preference) (*bagOfWords, error) {
	b := &bagOfWords{index: map[string]int{}}
	diffs := make([][]feature, len(pairs))
	for i, p := range pairs {
		diffs[i] = difference(b.bag(rm.TextKey(p.Chosen), true), b.bag(rm.TextKey(p.Rejected), true))
	}
	if len(b.index) == 0 {
		return nil, fmt.Errorf("bag of words: no words to learn from")
	}
	n := float64(len(pairs))
	loss := func(grad, w []float64) float64 {
		sum := 0.5 * bagDecay * floats.Dot(w, w)
		if grad != nil {
			floats.ScaleTo(grad, bagDecay, w)
		}
		for i, d := range diffs {
			m := 0.0
			for _, f := range d {
				m += w[f.word] * f.value
			}
			sum += (max(-m, 0) + math.Log1p(math.Exp(-math.Abs(m))) + (1-pairs[i].Label)*m) / n
			if grad != nil {
				g := (1/(1+math.Exp(-m)) - pairs[i].Label) / n
				for _, f := range d {
					grad[f.word] += g * f.value
				}
			}
		}
		return sum
	}
	problem := optimize.Problem{
		Func: func(w []float64) float64 { return loss(nil, w) },
		Grad: func(grad, w []float64) { loss(grad, w) },
	}
	settings := &optimize.Settings{GradientThreshold: 1e-5, MajorIterations: 200}
	r, err := optimize.Minimize(problem, make([]float64, len(b.index)), settings, &optimize.LBFGS{})
	if err != nil && (r == nil || r.Status != optimize.IterationLimit) {
		return nil, fmt.Errorf("bag of words: %w", err)
	}
	b.weight = r.X
	return b, nil
}

// WordMargins are the margins of pairs by a bag of words that learned from others: what a reward
// model has to beat to have read more than words.
func WordMargins(learn []rm.Preference, pairs []data.Pair) ([]float64, error) {
	b, err := newBagOfWords(learn)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(pairs))
	for i, p := range pairs {
		out[i] = b.score(rm.TextKey(p.Chosen)) - b.score(rm.TextKey(p.Rejected))
	}
	return out, nil
}

// score is the reward of a text.
func (b *bagOfWords) score(s string) float64 {
	words := b.bag(s, false)
	sum := 0.0
	for _, f := range difference(words, nil) {
		sum += b.weight[f.word] * f.value
	}
	return sum
}
