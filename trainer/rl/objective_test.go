package rl

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/nn"
)

func TestTheLosssDerivativeIsItsSlope(t *testing.T) {
	clipped := 0
	for i := range uint64(500) {
		u := func(k uint64) float64 { return 2*nn.Uniform(nn.Mix(i, k)) - 1 }
		o := objective{ratio: 0.2, kl: 0.5 * (1 + u(0))}
		logp, old, ref, advantage := 0.5*u(1)-1, 0.5*u(2)-1, u(3)-1, 3*u(4)
		const h = 1e-6
		_, d, was := o.token(logp, old, ref, advantage)
		above, _, a := o.token(logp+h, old, ref, advantage)
		below, _, b := o.token(logp-h, old, ref, advantage)
		if a != b {
			continue // a kink between the two
		}
		if was {
			clipped++
		}
		assert.InDelta(t, (above-below)/(2*h), d, 1e-7)
	}
	assert.Greater(t, clipped, 50)
}

func TestAPenaltyInTheLossIsZeroAtTheReference(t *testing.T) {
	o := objective{ratio: 0.2, kl: 1}
	loss, d, _ := o.token(-1, -1, -1, 0)
	assert.Zero(t, loss)
	assert.Zero(t, d)
	loss, d, _ = o.token(-0.5, -0.5, -1, 0)
	assert.InDelta(t, math.Exp(-0.5)+0.5-1, loss, 1e-12)
	assert.Positive(t, d, "a token more likely than in the reference becomes less likely")
}

func TestAdvantagesOfEachAlgorithm(t *testing.T) {
	rewards := []float64{1, 2, 6, 4, 4, 4}
	c := Config{Algorithm: RLOO, Answers: 3}
	assert.InDeltaSlice(t, []float64{1 - 4, 2 - 3.5, 6 - 1.5, 0, 0, 0}, c.advantages(rewards, 99), 1e-12)
	c.Algorithm = GRPO
	std := math.Sqrt(7) // of 1, 2, 6 about 3: (4+1+9)/2
	assert.InDeltaSlice(t, []float64{-2 / std, -1 / std, 3 / std, 0, 0, 0}, c.advantages(rewards, 99), 1e-4)
	c.Algorithm = Reinforce
	assert.Equal(t, []float64{-1, 0, 4, 2, 2, 2}, c.advantages(rewards, 2))
	c.Whiten = true
	m := momentsOf(c.advantages(rewards, 2))
	assert.InDelta(t, 0, m.Mean, 1e-12)
	assert.InDelta(t, 1, m.std(), 1e-3)
}

func TestRewardsAreShapedInOrder(t *testing.T) {
	answers := []Answer{{Reward: 8, IDs: make([]int32, 3), Ended: true}, {Reward: -1, IDs: make([]int32, 5)}}
	seen := momentsOf([]float64{0, 4, 8}) // deviation 4
	got := Shaping{Scale: true, Clip: 1.5, Length: 0.1, Unfinished: 2}.shape(answers, &seen)
	assert.InDeltaSlice(t, []float64{1.5 - 0.3, -0.25 - 0.5 - 2}, got, 1e-12)
	got = Shaping{}.shape(answers, &seen)
	assert.Equal(t, []float64{8, -1}, got)
	assert.Equal(t, []float64{1. / 2, 1. / 2}, PerAnswer.weights(answers))
	assert.Equal(t, []float64{1. / 6, 1. / 10}, PerLength.weights(answers))
	assert.Equal(t, []float64{1. / 8, 1. / 8}, PerToken.weights(answers))
}

func TestDrawsFollowTheDistribution(t *testing.T) {
	p := make([]float32, 1000)
	for i := range p {
		p[i] = 1e-5
	}
	p[7], p[3], p[900] = 0.6, 0.3, 0.09003
	count := func(s Sampling) map[int32]int {
		n := map[int32]int{}
		for i := range uint64(20000) {
			n[s.draw(p, nn.Uniform(nn.Mix(5, i)))]++
		}
		return n
	}
	n := count(Sampling{Temperature: 1})
	assert.InDelta(t, 12000, n[7], 280) // four standard deviations
	assert.InDelta(t, 6000, n[3], 260)
	assert.Greater(t, len(n), 50, "the unlikely are drawn too")
	n = count(Sampling{Temperature: 1, TopK: 2})
	assert.Len(t, n, 2)
	assert.InDelta(t, 20000*2/3., n[7], 270)
	assert.Len(t, count(Sampling{Temperature: 1, TopP: 0.85}), 2)
	assert.Len(t, count(Sampling{Temperature: 1, TopP: 0.95}), 3)
	assert.Len(t, count(Sampling{Temperature: 1, TopK: 2, TopP: 0.6}), 1, "top-p counts of what top-k keeps")
	assert.Equal(t, map[int32]int{7: 20000}, count(Sampling{}))
	assert.Error(t, Sampling{Temperature: -1, TopP: 2, TopK: -1}.Validate())
}

func TestANucleusEqualsTheOneOfASortedDistribution(t *testing.T) {
	for seed := range uint64(50) {
		p := make([]float32, 300)
		sum := 0.0
		for i := range p {
			p[i] = float32(math.Exp(12 * nn.Uniform(nn.Mix(seed, uint64(i)))))
			sum += float64(p[i])
		}
		for _, s := range []Sampling{{TopP: 0.5}, {TopP: 0.999}, {TopK: 17}, {TopK: 299, TopP: 0.9}, {TopK: 1000}} {
			kept, total := s.nucleus(p)
			got := 0.0
			for i, id := range kept {
				got += float64(p[id])
				if i > 0 {
					require.GreaterOrEqual(t, p[kept[i-1]], p[id])
				}
			}
			assert.InDelta(t, got, total, 1e-6*sum)
			least, outside := p[kept[len(kept)-1]], 0
			for _, v := range p {
				if v > least {
					outside++
				}
			}
			assert.Equal(t, len(kept)-1, outside, "all that is likelier is kept")
			if s.TopK == 0 {
				assert.GreaterOrEqual(t, got, s.TopP*sum)
				assert.Less(t, got-float64(least), s.TopP*sum, "and no more than needed")
			} else if s.TopP == 0 {
				assert.Len(t, kept, min(s.TopK, len(p)))
			}
		}
	}
}
