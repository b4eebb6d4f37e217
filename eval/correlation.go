package eval

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Pearson returns the linear correlation of x and y, with Fisher's interval for
// a sample of n. ok is false where there is none: one of them is constant.
func Pearson(x, y []float64, n int) (r Estimate, ok bool) {
	sameLength(x, y)
	return fisher(stat.Correlation(x, y, nil), 1/(float64(n)-3))
}

// Spearman returns the correlation of the ranks of x and y, equal values
// sharing their mean rank. n and ok are as in Pearson.
func Spearman(x, y []float64, n int) (r Estimate, ok bool) {
	sameLength(x, y)
	return fisher(stat.Correlation(ranks(x), ranks(y), nil), 1.06/(float64(n)-3))
}

// Kendall returns Kendall's tau-b of x and y. n and ok are as in Pearson.
func Kendall(x, y []float64, n int) (r Estimate, ok bool) {
	sameLength(x, y)
	return fisher(tauB(x, y), 0.437/(float64(n)-4))
}

// fisher puts an interval about a correlation r: normal, of the variance
// given, on the scale of artanh r. A sample too small for one has the whole
// scale.
func fisher(r, variance float64) (Estimate, bool) {
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return Estimate{}, false
	}
	r = max(-1, min(1, r)) // rounding alone goes beyond
	if !(variance > 0) || math.IsInf(variance, 0) {
		return Estimate{Value: r, Low: -1, High: 1}, true
	}
	z, half := math.Atanh(r), z95*math.Sqrt(variance)
	return Estimate{Value: r, Low: min(r, math.Tanh(z-half)), High: max(r, math.Tanh(z+half))}, true
}

// ranks returns the rank of each value, from 1, equal values sharing their mean.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	out := make([]float64, len(x))
	for lo := 0; lo < len(order); {
		hi := lo
		for hi < len(order) && x[order[hi]] == x[order[lo]] {
			hi++
		}
		for _, i := range order[lo:hi] {
			out[i] = float64(lo+1+hi) / 2
		}
		lo = hi
	}
	return out
}

// tauB is Kendall's tau-b in n log n: after a sort by x, the discordant pairs
// are the exchanges that a merge sort by y makes. gonum's stat.Kendall is
// quadratic and leaves ties in the denominator.
func tauB(x, y []float64) float64 {
	type point struct{ x, y float64 }
	points := make([]point, len(x))
	for i := range x {
		points[i] = point{x[i], y[i]}
	}
	slices.SortFunc(points, func(a,
		b point) int {
		return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y))
	})
	tiedX := tied(points, func(a, b point) bool { return a.x == b.x })
	tiedBoth := tied(points, func(a, b point) bool { return a == b })
	ys := make([]float64, len(points))
	for i, p := range points {
		ys[i] = p.y
	}
	exchanges := sortCounting(ys, make([]float64, len(ys)))
	tiedY := tied(ys, func(a, b float64) bool { return a == b })
	all := float64(len(x)) * float64(len(x)-1) / 2
	return (all - tiedX - tiedY + tiedBoth - 2*exchanges) / math.Sqrt((all-tiedX)*(all-tiedY))
}

// tied counts the pairs among equal neighbours.
func tied[T any](v []T, equal func(a, b T) bool) float64 {
	pairs := 0.0
	for lo := 0; lo < len(v); {
		hi := lo + 1
		for hi < len(v) && equal(v[lo], v[hi]) {
			hi++
		}
		pairs += float64(hi-lo) * float64(hi-lo-1) / 2
		lo = hi
	}
	return pairs
}

// sortCounting sorts v by merging, with the memory of tmp, and returns how many
// pairs of it stood in the wrong order.
func sortCounting(v, tmp []float64) float64 {
	if len(v) < 2 {
		return 0
	}
	mid := len(v) / 2
	wrong := sortCounting(v[:mid], tmp[:mid]) + sortCounting(v[mid:], tmp[mid:])
	copy(tmp, v)
	left, right := tmp[:mid], tmp[mid:len(v)]
	for i := range v {
		if len(right) == 0 || len(left) > 0 && left[0] <= right[0] {
			v[i], left = left[0], left[1:]
			continue
		}
		v[i], right = right[0], right[1:]
		wrong += float64(len(left))
	}
	return wrong
}

// MeanAbsolute is the mean of |x[i] − y[i]|.
func MeanAbsolute(x, y []float64) float64 {
	sameLength(x, y)
	sum := 0.0
	for i := range x {
		sum += math.Abs(x[i] - y[i])
	}
	return sum / float64(len(x))
}
