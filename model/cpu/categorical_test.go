package cpu

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/model/nn"
)

// categorical is log p(token) and the entropy in float64.
func categorical(logits []float64, token int, temperature float64) (logp, entropy float64) {
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(v / temperature)
	}
	for _, v := range logits {
		lp := v/temperature - math.Log(sum)
		entropy -= math.Exp(lp) * lp
	}
	return logits[token]/temperature - math.Log(sum), entropy
}

func TestACategoricalDistributionEqualsItsFormulas(t *testing.T) {
	for _, temperature := range []float64{0.5, 1, 2} {
		logits := make([]float32, 77)
		wide := make([]float64, len(logits))
		for i := range logits {
			logits[i] = 6*float32(nn.Mix(3, uint64(i))>>40)/(1<<24) - 2
			wide[i] = float64(logits[i])
		}
		const token = 19
		c := NewCategorical(make([]float32, len(logits)), logits, float32(temperature))
		logp, entropy := categorical(wide, token, temperature)
		assert.InDelta(t, logp, c.LogProb(token), 1e-6)
		assert.InDelta(t, entropy, c.Entropy(), 4e-6) // float32 weights sum to 1 within 1e-6, times differences up to 4/0.5
		const dlogp, dentropy = 0.7, -1.3
		c.Backward(token, c.Entropy(), dlogp, dentropy)
		for j := range wide {
			const h = 1e-5
			loss := func(d float64) float64 {
				wide[j] += d
				lp, e := categorical(wide, token, temperature)
				wide[j] -= d
				return dlogp*lp + dentropy*e
			}
			assert.InDelta(t, (loss(h)-loss(-h))/(2*h), logits[j], 2e-6, "logit %d", j) // float32 weights, and h²
		}
	}
}

func TestAnImpossibleTokenHasAFiniteLogarithm(t *testing.T) {
	c := NewCategorical(make([]float32, 2), []float32{0, -300}, 1)
	assert.Zero(t, c.P[1])
	assert.InDelta(t, -300, c.LogProb(1), 1e-9)
	assert.InDelta(t, 0, c.Entropy(), 1e-9)
}

func BenchmarkCategorical(b *testing.B) {
	logits, p := make([]float32, 4096), make([]float32, 4096)
	for i := range logits {
		logits[i] = float32(nn.Mix(3, uint64(i))>>40) / (1 << 22)
	}
	for b.Loop() {
		c := NewCategorical(p, logits, 1)
		c.Entropy()
	}
}
