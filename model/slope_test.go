package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
)

// TestGradientsAreTheSlopesOfTheScores compares the gradient of each parameter of
// every architecture with the difference of scores along it.
func TestGradientsAreTheSlopesOfTheScores(t *testing.T) {
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			c, err := ParseConfig([]byte(config))
			require.NoError(t, err)
			tr, err := NewTraining(c, NewRandom(c, 1), 1, kernel.Float32)
			require.NoError(t, err)
			defer tr.Close()
			seqs := sequences(rand.New(rand.NewPCG(3, 1)), tr.Model(), 5, 60)
			d := []float32{1, -0.7, 1.3, 0.6, -1.1}
			scores := make([]float32, len(seqs))
			loss := func() (sum float64) {
				require.NoError(t, tr.Forward(scores, seqs, Pass{}))
				for i, s := range scores {
					sum += float64(d[i]) * float64(s)
				}
				return sum
			}
			loss()
			tr.Backward(d)
			for _, p := range tr.Params() {
				square := 0.0
				for _, g := range p.Grad {
					square += float64(g) * float64(g)
				}
				if square < 1e-8 { // as of keys' biases, which softmax does not see
					continue
				}
				// Wide enough that the scores' rounding, 1e-6, is small beside the
				// difference, and no wider.
				const change = 4e-3
				h := float32(change / square)
				saved := append([]float32{}, p.Data...)
				move := func(h float32) float64 {
					for i := range saved {
						p.Data[i] = saved[i] + h*p.Grad[i]
					}
					tr.Refresh()
					return loss()
				}
				slope := (move(h) - move(-h)) / (2 * float64(h)) / square
				copy(p.Data, saved)
				assert.InDelta(t, 1, slope, 0.02, "%s, |gradient| %v", p.Name, math.Sqrt(square))
			}
		})
	}
}
