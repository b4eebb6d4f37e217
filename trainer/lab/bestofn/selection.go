package bestofn

import (
	"math"

	"github.com/warmserve/warmserve/trainer/lab/contest"
)

// selection returns for each of S samples the probability that it is chosen when
// the one with the largest reward is taken of n that are drawn from the S without
// replacement; samples of equal reward are chosen equally often. The expectation
// of any value of the chosen sample under it is the mean over all subsets of size
// n, and as such an unbiased estimate for n fresh samples.
//
//	P(k-th smallest) = C(k−1, n−1) / C(S, n)
//
// Source: Nakano et al. 2021 (arXiv 2112.09332), section 3.2, for best-of-n.
func selection(rewards []float64, n int) []float64 {
	s := len(rewards)
	smallest := make([]float64, s) // the k-th, counted from 0
	p := float64(n) / float64(s)   // of the largest
	for k := s; k >= n; k-- {
		smallest[k-1] = p
		if k > 1 {
			p *= float64(k-n) / float64(k-1)
		}
	}
	out := make([]float64, s)
	for tied := range contest.Tied(rewards) {
		sum := 0.0
		for _, p := range smallest[:len(tied)] {
			sum += p
		}
		for _, i := range tied {
			out[i] = sum / float64(len(tied))
		}
		smallest = smallest[len(tied):]
	}
	return out
}

// expected returns the expectation of values under probabilities.
func expected(p, values []float64) float64 {
	sum := 0.0
	for i, q := range p {
		sum += q * values[i]
	}
	return sum
}

// bestOfKL is the Kullback–Leibler divergence, in nats, of the best of n samples
// from a sample of the policy: exact without ties, and else an upper bound.
// Source: Stiennon et al. 2020 (arXiv 2009.01325), appendix G.3.
func bestOfKL(n int) float64 {
	return math.Log(float64(n)) - float64(n-1)/float64(n)
}
