package loss

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestLossAtATieIsLogTwo(t *testing.T) {
	d := make([]float32, 2)
	r := BradleyTerry{}.Gradient(d, []float32{3, 3}, []Pair{{0, 1, 0, 1}}, 1)
	assert.InDelta(t, math.Ln2, r.Loss, 1e-12)
	assert.Equal(t, []float32{-0.5, 0.5}, d)
	assert.Equal(t, Result{Loss: r.Loss, Ties: 1, Bad: -1}, r)
}

func TestGradientEqualsDifferences(t *testing.T) {
	scores := []float32{0.5, -1.25, 2, 0.75}
	pairs := []Pair{{0, 1, 0, 1}, {2, 3, 1.5, 1}, {1, 2, 0, 0.3}, {0, 3, -0.5, 0.9}}
	l := BradleyTerry{Center: 0.1}
	d := make([]float32, len(scores))
	l.Gradient(d, scores, pairs, 0.25)
	for i := range scores {
		const h = 1.0 / 1024 // exact in float32, so that only the third derivative remains
		at := scores[i]
		tmp := make([]float32, len(scores))
		scores[i] = at + h
		up := l.Gradient(tmp, scores, pairs, 1).Loss
		scores[i] = at - h
		down := l.Gradient(tmp, scores, pairs, 1).Loss
		scores[i] = at
		assert.InDelta(t, 0.25*(up-down)/(2*h), d[i], 1e-6, "score %d", i)
	}
}

func TestLossOfFarScoresIsFinite(t *testing.T) {
	d := make([]float32, 2)
	r := BradleyTerry{}.Gradient(d, []float32{-1e30, 1e30}, []Pair{{0, 1, 0, 1}}, 1)
	assert.InEpsilon(t, 2e30, r.Loss, 1e-6)
	assert.Equal(t, []float32{-1, 1}, d)
	r = BradleyTerry{}.Gradient(d, []float32{1e30, -1e30}, []Pair{{0, 1, 0, 1}}, 1)
	assert.Zero(t, r.Loss)
	assert.Equal(t, 1, r.Correct)
}

func TestScoresThatAreNotFiniteAreNamed(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	d := make([]float32, 4)
	r := BradleyTerry{}.Gradient(d, []float32{1, 0, nan, inf}, []Pair{{0, 1, 0, 1}, {0, 2, 0, 1}, {3, 3, 0, 1}}, 1)
	assert.Equal(t, 1, r.Bad)
	assert.Zero(t, d[2])
}
