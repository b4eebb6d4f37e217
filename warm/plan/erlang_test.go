package plan_test

import "math"

// erlang returns the q-quantile of the time in an M/D/1 queue at a load, in service times:
// Erlang's P(wait ≤ t) = (1-ρ) Σ (ρ(k-t))^k/k! e^(-ρ(k-t)), k = 0 … ⌊t⌋.
func erlang(load, q float64) float64 {
	within := func(t float64) float64 {
		sum := 0.0
		for k := 0.0; k <= math.Floor(t); k++ {
			x := load * (k - t)
			lg, _ := math.Lgamma(k + 1)
			term := math.Exp(-x - lg)
			sum += term * math.Pow(x, k)
		}
		return (1 - load) * sum
	}
	low, high := 0.0, 30.0
	for range 60 {
		if mid := (low + high) / 2; within(mid) < q {
			low = mid
		} else {
			high = mid
		}
	}
	return low + 1
}
