package loss

import "math"

// Pair is one preference between two scores of a batch.
type Pair struct {
	Chosen, Rejected int // indices of the scores
	// Margin is by how much the chosen score should at least be larger.
	Margin float64
	// Label is the probability that the chosen answer is the better one, in
	// [0, 1]: 1 for a plain preference, less where judges disagree.
	Label float64
}

// BradleyTerry is −log σ(r_c − r_r − margin), the negative log-likelihood of a
// preference under Bradley and Terry's model, with TRL's optional centring.
// Source: Bradley and Terry 1952; Ouyang et al. 2022 (arXiv 2203.02155), eq. 1;
// the margin: Touvron et al. 2023 (arXiv 2307.09288), eq. 2; the centring:
// Eisenstein et al. 2023 (arXiv 2312.09244), and TRL's RewardTrainer.
type BradleyTerry struct {
	// Center is the weight of (r_c + r_r)², which draws the mean reward to 0;
	// the loss does not see it otherwise.
	Center float64
}

// Result is what a batch of pairs amounts to.
type Result struct {
	Loss    float64 // sum over the pairs
	Correct int     // pairs whose chosen score is larger
	Ties    int     // pairs of equal scores
	Bad     int     // index of the first pair with a score that is not finite, else -1
}

// Gradient adds up the loss of pairs and writes scale times its gradient for
// each score, which is zero for scores in no pair.
func (l BradleyTerry) Gradient(d, scores []float32, pairs []Pair, scale float64) Result {
	clear(d)
	r := Result{Bad: -1}
	for i, p := range pairs {
		c, j := float64(scores[p.Chosen]), float64(scores[p.Rejected])
		if !finite(c) || !finite(j) {
			if r.Bad < 0 {
				r.Bad = i
			}
			continue
		}
		switch {
		case c > j:
			r.Correct++
		case c == j:
			r.Ties++
		}
		m := c - j - p.Margin
		r.Loss += p.Label*softplus(-m) + (1-p.Label)*softplus(m)
		slope := (1-p.Label)*sigmoid(m) - p.Label*sigmoid(-m)
		center := 0.0
		if l.Center != 0 {
			r.Loss += l.Center * (c + j) * (c + j)
			center = 2 * l.Center * (c + j)
		}
		d[p.Chosen] += float32(scale * (slope + center))
		d[p.Rejected] += float32(scale * (center - slope))
	}
	return r
}

// finite says whether x is a number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// softplus is log(1 + eˣ) without overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// sigmoid is 1/(1 + e⁻ˣ).
func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}
