package shift

import (
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/warmserve/warmserve/trainer/data"
)

// wordsOf are the words of the answers of pairs, in lower case.
func wordsOf(pairs []data.Pair) []string {
	var out []string
	for _, p := range pairs {
		for _, t := range []data.Text{p.Chosen, p.Rejected} {
			out = append(out, strings.FieldsFunc(strings.ToLower(t.Plain),
				func(r rune) bool { return !unicode.IsLetter(r) })...)
		}
	}
	return out
}

// divergence is the Jensen–Shannon divergence of the frequencies of words, in
// bits: 0 for equal ones, 1 for texts without a common word. Texts of few words
// diverge by chance, the more the fewer they are.
// Source: Lin, Divergence measures based on the Shannon entropy, 1991.
func divergence(a, b []string) float64 {
	counts := map[string][2]float64{}
	for side, words := range [][]string{a, b} {
		for _, w := range words {
			c := counts[w]
			c[side] += 1 / float64(len(words))
			counts[w] = c
		}
	}
	sum := 0.0
	for _, w := range slices.Sorted(maps.Keys(counts)) { // sums in one order on every run
		p := counts[w]
		mean := (p[0] + p[1]) / 2
		for _, x := range p {
			if x > 0 {
				sum += x / 2 * math.Log2(x/mean)
			}
		}
	}
	return sum
}
