package eval

import (
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// ErrConstant is returned when all scores of one side are the same, so that no correlation exists.
var ErrConstant = errors.New("eval: all scores are the same")

// checkAgreement demands two slices of one length, of finite numbers that are not all the same.
func checkAgreement(x, y []float64) error {
	if err := check(x, y); err != nil {
		return err
	}
	for _, s := range [][]float64{x, y} {
		if slices.Min(s) == slices.Max(s) {
			return ErrConstant
		}
	}
	return nil
}

// Pearson is the linear correlation of two score vectors, in [-1, 1]. It is unchanged when either
// side is scaled by a positive factor or shifted. It follows outliers; [Spearman] does not.
func Pearson(x, y []float64) (float64, error) {
	if err := checkAgreement(x, y); err != nil {
		return 0, err
	}
	return pearson(x, y)
}

// pearson scales both sides to [-1, 1] first, so that squares neither overflow nor vanish.
func pearson(x, y []float64) (float64, error) {
	r := stat.Correlation(unit(x), unit(y), nil)
	if math.IsNaN(r) {
		return 0, ErrConstant // they differ by less than the precision of their mean
	}
	return math.Max(-1, math.Min(1, r)), nil
}

// unit shifts and scales scores to [-1, 1].
func unit(x []float64) []float64 {
	low, high := slices.Min(x), slices.Max(x)
	mid, half := low/2+high/2, high/2-low/2
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = (v - mid) / half
	}
	return out
}

// Spearman is the correlation of the ranks of two score vectors, in [-1, 1]; equal scores share the
// mean of their ranks. It is unchanged under any strictly increasing function of either side.
func Spearman(x, y []float64) (float64, error) {
	if err := checkAgreement(x, y); err != nil {
		return 0, err
	}
	return pearson(ranks(x), ranks(y))
}

// ranks are the ranks of scores from 1 on, ties with the mean of theirs.
func ranks(x []float64) []float64 {
	order := sortedOrder(x, x)
	out := make([]float64, len(x))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && x[order[j]] == x[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			out[k] = float64(i+1+j) / 2
		}
		i = j
	}
	return out
}

// sortedOrder is the order of indices by x, then by y.
func sortedOrder(x, y []float64) []int {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case x[a] != x[b]:
			return sign(x[a] - x[b])
		case y[a] != y[b]:
			return sign(y[a] - y[b])
		}
		return a - b
	})
	return order
}

func sign(v float64) int {
	if v < 0 {
		return -1
	}
	return 1
}

// Kendall is Kendall's τ-b of two score vectors, in [-1, 1]: the pairs of items that both sides order
// alike less those they order oppositely, over the geometric mean of the pairs that each side does
// not tie. It takes O(n log n) time; gonum's Kendall is τ-a, which ties weaken, in O(n²).
func Kendall(x, y []float64) (float64, error) {
	if err := checkAgreement(x, y); err != nil {
		return 0, err
	}
	order := sortedOrder(x, y)
	sorted := make([]float64, len(y))
	for i, k := range order {
		sorted[i] = y[k]
	}
	n := len(x)
	total := float64(n) * float64(n-1) / 2
	tiedX := tied(order, func(a, b int) bool { return x[a] == x[b] })
	tiedBoth := tied(order, func(a, b int) bool { return x[a] == x[b] && y[a] == y[b] })
	swaps := inversions(sorted) // sorts
	tiedY := 0.0
	for i := 0; i < n; {
		j := i
		for j < n && sorted[j] == sorted[i] {
			j++
		}
		tiedY += float64(j-i) * float64(j-i-1) / 2
		i = j
	}
	// Every pair that neither side ties is concordant or discordant, and the discordant are the swaps.
	difference := total - tiedX - tiedY + tiedBoth - 2*swaps
	return math.Max(-1, math.Min(1, difference/math.Sqrt(total-tiedX)/math.Sqrt(total-tiedY))), nil
}

// tied counts the pairs of items in runs of equal neighbours.
func tied(order []int, same func(a, b int) bool) float64 {
	pairs, run := 0.0, 0
	for i := range order {
		if i > 0 && same(order[i-1], order[i]) {
			run++
			pairs += float64(run)
		} else {
			run = 0
		}
	}
	return pairs
}

// inversions sorts v and returns how many pairs were strictly out of order.
func inversions(v []float64) float64 {
	buf := make([]float64, len(v))
	count := 0.0
	for width := 1; width < len(v); width *= 2 {
		for lo := 0; lo+width < len(v); lo += 2 * width {
			mid, hi := lo+width, min(lo+2*width, len(v))
			i, j := lo, mid
			for k := lo; k < hi; k++ {
				if j == hi || (i < mid && v[i] <= v[j]) {
					buf[k] = v[i]
					i++
				} else {
					buf[k] = v[j]
					j++
					count += float64(mid - i)
				}
			}
			copy(v[lo:hi], buf[lo:hi])
		}
	}
	return count
}
