package eval

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Reliability is how far the probabilities of a reward model can be believed. By Bradley and Terry
// the chosen answer of a pair is better with the probability σ(m), m = chosen − rejected.
//
// A pair is read from the side that the model prefers: its confidence is σ(|m|), in [0.5, 1], and it
// is right when m > 0, wrong when m < 0 and half right at a tie. Read from both sides, as the
// probability and its complement, a pair would count twice and say the same.
type Reliability struct {
	Bins []Bin `json:"bins"` // by growing confidence, of about equally many pairs

	// ECE is the expected calibration error: the mean over pairs of the distance between a bin's
	// confidence and its observed share; in [0, 1], 0 is calibrated. Chance keeps it above 0 for any
	// model: Floor is what a calibrated model with the same confidences has on average on as many
	// pairs. An ECE near Floor says nothing against the model.
	ECE   float64 `json:"ece"`
	Floor float64 `json:"ece_floor"`

	Brier   float64 `json:"brier"`    // mean of (1 − σ(m))², in [0, 1]; 0.25 for a coin
	LogLoss float64 `json:"log_loss"` // mean of −log σ(m), at least 0; ln 2 for a coin

	// Temperature is the T > 0 whose σ(m/T) has the least log loss: above 1 for a model that is
	// too sure of itself. It is 0 when every pair is right, where any smaller one is better,
	// and +Inf when the mean margin is not above 0, where a coin is better than the model.
	Temperature float64 `json:"-"`
	Tempered    float64 `json:"-"` // the log loss at Temperature
}

// Bin holds pairs of like confidence.
type Bin struct {
	Pairs      int     `json:"pairs"`
	Low        float64 `json:"low"` // the least and the largest confidence
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"` // their mean
	Observed   float64 `json:"observed"`   // share of pairs that are right
}

// DefaultBins is how many bins [Reliable] makes of a number of pairs: ten, or fewer where a bin would
// hold fewer than twenty pairs.
func DefaultBins(pairs int) int { return max(1, min(10, pairs/20)) }

// Reliable measures margins, chosen − rejected, in bins of equal mass. The number of bins is in
// [1, pairs]; [DefaultBins] suits most. The seed is that of the draws behind Floor.
func Reliable(margins []float64, bins int, seed uint64) (*Reliability, error) {
	c, err := newConfidences(margins, bins)
	if err != nil {
		return nil, err
	}
	r := &Reliability{}
	for b := range c.bins {
		r.Bins = append(r.Bins, c.bin(b))
	}
	all := make([]int, len(margins))
	for i := range all {
		all[i] = 1
	}
	r.ECE = c.ece(all, c.right)
	r.Floor = c.floor(seed)
	n := float64(len(margins))
	for _, m := range margins {
		miss := sigmoid(-m)
		r.Brier += miss * miss / n
	}
	r.LogLoss = logLoss(margins, 1)
	beta := bestScale(margins)
	r.Temperature, r.Tempered = 1/beta, logLoss(margins, beta)
	if math.IsInf(beta, 1) {
		r.Temperature, r.Tempered = 0, 0
	}
	return r, nil
}

// ECEInterval is the bootstrap interval of the expected calibration error, with the bins made anew for
// each sample. Samples scatter more than the pairs themselves, so that both ends lie a little high.
func ECEInterval(margins []float64, bins int, o Resampling) (Estimate, error) {
	c, err := newConfidences(margins, bins)
	if err != nil {
		return Estimate{}, err
	}
	times := make([]int, len(margins))
	return Bootstrap(len(margins), func(index []int) float64 {
		clear(times)
		for _, i := range index {
			times[c.rank[i]]++
		}
		return c.ece(times, c.right)
	}, o)
}

// confidences are pairs by growing confidence.
type confidences struct {
	value []float64 // σ(|m|)
	right []float64 // 0, 0.5 or 1
	rank  []int     // of each pair as it was given
	bins  int
}

func newConfidences(margins []float64, bins int) (*confidences, error) {
	if err := check(margins, margins); err != nil {
		return nil, err
	}
	n := len(margins)
	if bins < 1 || bins > n {
		return nil, fmt.Errorf("eval: %d bins for %d pairs, want 1 to as many as pairs", bins, n)
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(math.Abs(margins[a]), math.Abs(margins[b]))
	})
	c := &confidences{value: make([]float64, n), right: make([]float64, n), rank: make([]int, n), bins: bins}
	for k, i := range order {
		m := margins[i]
		c.value[k], c.rank[i] = sigmoid(math.Abs(m)), k
		switch {
		case m > 0:
			c.right[k] = 1
		case m == 0:
			c.right[k] = 0.5
		}
	}
	return c, nil
}

// edge is where bin b begins among n pairs.
func (c *confidences) edge(b, n int) int { return b * n / c.bins }

func (c *confidences) bin(b int) Bin {
	lo, hi := c.edge(b, len(c.value)), c.edge(b+1, len(c.value))
	out := Bin{Pairs: hi - lo, Low: c.value[lo], High: c.value[hi-1]}
	for k := lo; k < hi; k++ {
		out.Confidence += c.value[k] / float64(hi-lo)
		out.Observed += c.right[k] / float64(hi-lo)
	}
	return out
}

// ece is the error of a sample in which the k-th pair occurs times[k] times and is right[k].
func (c *confidences) ece(times []int, right []float64) float64 {
	n := 0
	for _, t := range times {
		n += t
	}
	sum, gap, seen, b := 0.0, 0.0, 0, 1
	for k, t := range times {
		for t > 0 {
			take := min(t, c.edge(b, n)-seen)
			gap += float64(take) * (c.value[k] - right[k])
			seen, t = seen+take, t-take
			for b <= c.bins && seen == c.edge(b, n) {
				sum, gap, b = sum+math.Abs(gap), 0, b+1
			}
		}
	}
	return sum / float64(n)
}

// floorDraws is how many calibrated models Floor is the mean of: enough for two digits.
const floorDraws = 200

// floor is the mean error of a model whose pairs are right with just their confidence.
func (c *confidences) floor(seed uint64) float64 {
	r := rand.New(rand.NewPCG(seed, 0xd1342543de82ef95)) // the second word only has to be fixed
	times, right := make([]int, len(c.value)), make([]float64, len(c.value))
	sum := 0.0
	for range floorDraws {
		for k, v := range c.value {
			times[k], right[k] = 1, 0
			if r.Float64() < v {
				right[k] = 1
			}
		}
		sum += c.ece(times, right) / floorDraws
	}
	return sum
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// logLoss is the mean of log(1 + exp(−βm)), which does not overflow.
func logLoss(margins []float64, beta float64) float64 {
	sum := 0.0
	for _, m := range margins {
		m *= beta
		sum += max(-m, 0) + math.Log1p(math.Exp(-math.Abs(m)))
	}
	return sum / float64(len(margins))
}

// bestScale is the β ≥ 0 of the least log loss of βm. The loss is convex in β, so that its slope
// −Σ m·σ(−βm) has one root: none below 0 means 0, none at all +Inf.
func bestScale(margins []float64) float64 {
	slope := func(beta float64) float64 {
		sum := 0.0
		for _, m := range margins {
			sum -= m * sigmoid(-beta*m)
		}
		return sum
	}
	if slices.Min(margins) >= 0 {
		if slices.Max(margins) == 0 {
			return 0 // nothing but ties
		}
		return math.Inf(1)
	}
	if slope(0) >= 0 {
		return 0
	}
	low, high := 0.0, 1.0
	for slope(high) < 0 {
		low, high = high, 2*high
	}
	for range 100 { // halving ends at neighbouring numbers
		mid := low + (high-low)/2
		if slope(mid) < 0 {
			low = mid
		} else {
			high = mid
		}
	}
	return low + (high-low)/2
}
