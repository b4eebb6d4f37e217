package rl

import "math"

// moments are count, mean and sum of squared differences of a stream.
// Source: Welford 1962.
type moments struct {
	N    int     `json:"n"`
	Mean float64 `json:"mean"`
	M2   float64 `json:"m2"`
}

func (m *moments) add(v float64) {
	m.N++
	d := v - m.Mean
	m.Mean += d / float64(m.N)
	m.M2 += d * (v - m.Mean)
}

// std is the sample's standard deviation, 0 for fewer than two numbers.
func (m *moments) std() float64 {
	if m.N < 2 {
		return 0
	}
	return math.Sqrt(m.M2 / float64(m.N-1))
}

func momentsOf(values []float64) moments {
	var m moments
	for _, v := range values {
		m.add(v)
	}
	return m
}

// shape turns raw rewards into those that are learned from. seen has all raw
// rewards so far, these included.
func (s Shaping) shape(answers []Answer, seen *moments) []float64 {
	out := make([]float64, len(answers))
	for i := range answers {
		a := &answers[i]
		r := a.Reward
		if std := seen.std(); s.Scale && std > 0 {
			r /= std
		}
		if s.Clip > 0 {
			r = max(-s.Clip, min(s.Clip, r))
		}
		r -= s.Length * float64(len(a.IDs))
		if !a.Ended {
			r -= s.Unfinished
		}
		out[i] = r
	}
	return out
}

// tiny keeps the advantages of a group of equal rewards finite; TRL's and the
// paper's implementations add the same.
const tiny = 1e-4

// advantages compares the rewards of neighbouring groups. baseline is the moving
// average of REINFORCE.
func (c *Config) advantages(rewards []float64, baseline float64) []float64 {
	out := make([]float64, len(rewards))
	for lo := 0; lo < len(rewards); lo += c.Answers {
		group := rewards[lo : lo+c.Answers]
		m := momentsOf(group)
		for i, r := range group {
			switch c.Algorithm {
			case RLOO: // (r − mean)·n/(n−1) is r less the mean of the others
				out[lo+i] = (r - m.Mean) * float64(m.N) / float64(m.N-1)
			case GRPO:
				out[lo+i] = (r - m.Mean) / (m.std() + tiny)
			default:
				out[lo+i] = r - baseline
			}
		}
	}
	if c.Whiten {
		m := momentsOf(out)
		for i := range out {
			out[i] = (out[i] - m.Mean) / (m.std() + tiny)
		}
	}
	return out
}

// objective is the loss of a batch, token by token.
type objective struct {
	ratio   float64 // clipping
	kl      float64 // weight of k3 in the loss
	entropy float64 // weight of the bonus
}

// token returns the loss of one token and its derivative with respect to the
// token's log-probability. old is the log-probability when it was drawn, ref the
// reference's; both are constants.
//
//	ρ = exp(logp − old)
//	loss = −min(ρ·A, clip(ρ, 1−ε, 1+ε)·A) + β·(exp(ref − logp) − (ref − logp) − 1)
//
// Source: Schulman et al. 2017, eq. 7; Shao et al. 2024, eq. 4 for the second term.
func (o *objective) token(logp, old, ref, advantage float64) (loss, dlogp float64, clipped bool) {
	ratio := math.Exp(logp - old)
	bound := min(max(ratio, 1-o.ratio), 1+o.ratio)
	loss, dlogp = -ratio*advantage, -ratio*advantage
	if clipped = bound*advantage < ratio*advantage; clipped {
		loss, dlogp = -bound*advantage, 0
	}
	if o.kl != 0 {
		far := math.Exp(ref - logp)
		loss += o.kl * (far - (ref - logp) - 1)
		dlogp += o.kl * (1 - far)
	}
	return loss, dlogp, clipped
}

// weights returns what a token of each answer weighs in the loss.
func (w Weighting) weights(answers []Answer) []float64 {
	out := make([]float64, len(answers))
	tokens := 0
	for i := range answers {
		tokens += len(answers[i].IDs)
	}
	for i := range answers {
		switch w {
		case PerLength:
			out[i] = 1 / float64(len(answers)*len(answers[i].IDs))
		case PerToken:
			out[i] = 1 / float64(tokens)
		default:
			out[i] = 1 / float64(len(answers))
		}
	}
	return out
}
