package cpu

import (
	"math"

	"github.com/warmserve/warmserve/model/kernel"
)

// Categorical is the distribution of the next token: softmax(logits/temperature)
// of one row. It refers to the logits and is valid while they are.
type Categorical struct {
	// P are the probabilities. One below 2⁻¹²⁶ of the largest is 0.
	P []float32

	logits  []float32
	top     float32 // the largest logit
	scale   float32 // 1/temperature
	logMost float64 // logarithm of the largest probability
}

// NewCategorical computes the distribution of a row.
//
// Shapes: p and logits are (V). Writes p, which must not overlap logits. The
// temperature is above 0.
func NewCategorical(p, logits []float32, temperature float32) Categorical {
	c := Categorical{P: p, logits: logits, top: logits[0], scale: 1 / temperature}
	for _, v := range logits {
		if v > c.top { // twice as fast as max, which minds NaN
			c.top = v
		}
	}
	copy(p, logits)
	kernel.Softmax(p, 0, len(p), c.scale)
	// The largest weight is 1/Σ exp((x − top)/temperature), which gives the sum
	// without another pass.
	most := float32(0)
	for _, v := range p {
		if v > most {
			most = v
		}
	}
	c.logMost = math.Log(float64(most))
	return c
}

// LogProb returns the logarithm of a token's probability, finite even where P is
// 0. Error: below 1e-6 absolute (the sum behind the largest probability).
func (c *Categorical) LogProb(token int32) float64 {
	return c.logProb(c.logits[token])
}

func (c *Categorical) logProb(logit float32) float64 {
	return float64(c.scale)*float64(logit-c.top) + c.logMost
}

// Entropy returns −Σ p·log p in natural units.
func (c *Categorical) Entropy() float64 {
	sum := 0.0
	for i, p := range c.P {
		sum += float64(p) * float64(c.top-c.logits[i])
	}
	return float64(c.scale)*sum - c.logMost
}

// Backward replaces the logits by the gradient of a loss whose derivatives with
// respect to log p(token) and to the entropy H are dlogp and dentropy:
//
//	dlogits[j] = (dlogp·(1[j = token] − p[j]) − dentropy·p[j]·(log p[j] + H))/temperature
//
// The distribution is not valid afterwards.
func (c *Categorical) Backward(token int32, entropy, dlogp, dentropy float64) {
	scale := float64(c.scale)
	for j, p := range c.P {
		d := dlogp
		if dentropy != 0 {
			d += dentropy * (c.logProb(c.logits[j]) + entropy)
		}
		c.logits[j] = float32(-scale * float64(p) * d)
	}
	c.logits[token] += float32(scale * dlogp)
}
