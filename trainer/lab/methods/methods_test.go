package methods

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/warm"
)

func TestEnsembleOfSomeMembers(t *testing.T) {
	members := []lab.Scored{labtest.ScoredAs(lab.Rewards{1, -2}), labtest.ScoredAs(lab.Rewards{100, 100}), labtest.ScoredAs(lab.Rewards{-3, 4})}
	got, err := EnsembleMargins(members, []int{2, 0}, warm.Ensemble{})
	require.NoError(t, err)
	assert.Equal(t, []float64{-1, 1}, got)
	// Twice as spread a member counts for half.
	calibration := []warm.Calibration{{Std: 1}, {Std: 50}, {Std: 2}}
	got, err = EnsembleMargins(members, []int{0, 2}, warm.Ensemble{Calibration: calibration})
	require.NoError(t, err)
	assert.Equal(t, []float64{-0.25, 0}, got)
}
