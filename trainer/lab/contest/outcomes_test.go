package contest

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDuelCountsEveryPair(t *testing.T) {
	values := []float64{1, 0, 1, 3, 2}
	p, q := []float64{0.1, 0.2, 0.3, 0.3, 0.1}, []float64{0, 0.5, 0.25, 0.25, 0}
	var want Outcomes
	for i, a := range values {
		for j, b := range values {
			switch w := p[i] * q[j]; {
			case a > b:
				want.Win += w
			case a < b:
				want.Loss += w
			default:
				want.Tie += w
			}
		}
	}
	got := Duel(p, q, values)
	assert.InDelta(t, want.Win, got.Win, 1e-12)
	assert.InDelta(t, want.Tie, got.Tie, 1e-12)
	assert.InDelta(t, want.Loss, got.Loss, 1e-12)
	back := Duel(q, p, values)
	assert.InDelta(t, got.Half(), 1-back.Half(), 1e-12, "whoever is named first")
}
