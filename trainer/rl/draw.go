package rl

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/lm"
)

// Sampling says how answers are drawn.
type Sampling struct {
	// N is the number of answers to each prompt; 0 is 1.
	N int
	// Temperature divides the logits; 0 takes the likeliest token.
	Temperature float64
	// TopP keeps the most probable tokens that together have this probability, in
	// (0, 1]; 0 is 1.
	TopP float64
	// TopK keeps that many tokens; 0 for all.
	TopK int
	// Tokens is the longest answer, the token that ends it included; 0 is 64.
	Tokens int
	// Seed decides the draws, together with the numbers of prompt, answer and token.
	Seed    uint64
	Workers int // 0 is one a processor; changes no bit
	// Reference is the directory of the model that [Answer].KL refers to, which reads tokens
	// as the policy does; "" measures none.
	Reference string
}

func (s Sampling) withDefaults() Sampling {
	s.N = cmp.Or(s.N, 1)
	s.Tokens = cmp.Or(s.Tokens, 64)
	return s
}

// Validate reports every setting that cannot be.
func (s Sampling) Validate() error {
	err := lm.Sampling{Temperature: s.Temperature, TopP: s.TopP, TopK: s.TopK, Tokens: s.Tokens}.Validate()
	if s.N < 0 {
		err = errors.Join(err, fmt.Errorf("answers: %d, want 0 or more", s.N))
	}
	return err
}

// temperature is that of the likelihoods: those of a greedy draw are the model's own.
func (s Sampling) temperature() float32 {
	if s.Temperature == 0 {
		return 1
	}
	return float32(s.Temperature)
}

// draw chooses a token of a distribution by a number u in [0, 1).
// Source: Holtzman et al. 2020 (arXiv 1904.09751) for TopP.
func (s Sampling) draw(p []float32, u float64) int32 {
	if s.Temperature == 0 {
		best := 0
		for i, v := range p {
			if v > p[best] {
				best = i
			}
		}
		return int32(best)
	}
	if s.TopK == 0 && (s.TopP == 0 || s.TopP == 1) {
		sum := 0.0
		for _, v := range p {
			sum += float64(v)
		}
		return pick(len(p), func(i int) float64 { return float64(p[i]) }, u*sum)
	}
	kept, sum := s.nucleus(p)
	return kept[pick(len(kept), func(i int) float64 { return float64(p[kept[i]]) }, u*sum)]
}

// pick returns the first of n weights whose sum with those before it exceeds at.
func pick(n int, weight func(i int) float64, at float64) int32 {
	last := 0
	for i := range n {
		w := weight(i)
		if w == 0 {
			continue
		}
		last = i
		if at -= w; at < 0 {
			return int32(i)
		}
	}
	return int32(last) // what rounding left over
}

// nucleus returns the tokens that TopK and then TopP keep, the most probable
// first, and the sum of their probabilities. Only tokens above a bound are sorted,
// which falls until all that is kept lies above it.
func (s Sampling) nucleus(p []float32) (kept []int32, sum float64) {
	bound := float32(0)
	total := 0.0
	for _, v := range p {
		bound = max(bound, v)
		total += float64(v)
	}
	for k := s.TopK; ; {
		bound /= 8
		kept, sum = kept[:0], 0
		for i, v := range p {
			if v >= bound {
				kept = append(kept, int32(i))
				sum += float64(v)
			}
		}
		if len(kept) == len(p) || k > 0 && len(kept) >= k || k == 0 && sum >= s.TopP*total {
			break
		}
	}
	slices.SortFunc(kept, func(a, b int32) int { return cmp.Or(cmp.Compare(p[b], p[a]), cmp.Compare(a, b)) })
	if s.TopK > 0 {
		kept = kept[:min(s.TopK, len(kept))]
		total = 0
		for _, id := range kept {
			total += float64(p[id])
		}
	}
	sum = 0
	for i, id := range kept {
		if sum += float64(p[id]); s.TopP > 0 && s.TopP < 1 && sum >= s.TopP*total {
			return kept[:i+1], sum
		}
	}
	return kept, sum
}

// key is where the random numbers of an answer come from.
func key(seed, prompt, answer uint64) uint64 {
	return nn.Mix(nn.Mix(seed, prompt), answer)
}
