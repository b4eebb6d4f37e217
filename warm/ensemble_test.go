package warm

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAggregatesByHand(t *testing.T) {
	// 1, 2, 3, 6: mean 3, variance (4+1+0+9)/4 = 3.5 with divisor M.
	scores := []float32{3, 1, 6, 2}
	std := math.Sqrt(3.5)
	tests := []struct {
		ensemble Ensemble
		want     float64
	}{
		{Ensemble{}, 3},
		{Ensemble{Aggregate: Min}, 1},
		{Ensemble{Aggregate: Median}, 2.5},
		{Ensemble{Aggregate: MeanMinusStd, Lambda: 0.5}, 3 - 0.5*std},
		{Ensemble{Aggregate: MeanMinusVar, Lambda: 0.1}, 3 - 0.1*3.5},
		{Ensemble{Aggregate: MeanMinusVar}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.ensemble.Aggregate.String(), func(t *testing.T) {
			require.NoError(t, tt.ensemble.Validate(4))
			reward, gotStd, err := tt.ensemble.Reward(scores)
			require.NoError(t, err)
			// The figures are short sums of small numbers: some roundings of float64.
			assert.InDelta(t, tt.want, reward, 1e-15)
			assert.InDelta(t, std, gotStd, 1e-15)
		})
	}
	t.Run("median of an odd number", func(t *testing.T) {
		reward, _, err := Ensemble{Aggregate: Median}.Reward([]float32{9, 1, 2})
		require.NoError(t, err)
		assert.Equal(t, 2.0, reward)
	})
	t.Run("one member is itself, without spread", func(t *testing.T) {
		for a := range aggregateNames {
			reward, std, err := Ensemble{Aggregate: Aggregate(a), Lambda: 3}.Reward([]float32{-1.25})
			require.NoError(t, err)
			assert.Equal(t, -1.25, reward)
			assert.Zero(t, std)
		}
	})
}

func TestMembersAreZScoredBeforeTheyAreAggregated(t *testing.T) {
	e := Ensemble{Aggregate: Min, Calibration: []Calibration{{Mean: 100, Std: 10}, {Mean: -1, Std: 0.5}}}
	require.NoError(t, e.Validate(2))
	reward, std, err := e.Reward([]float32{110, -2}) // z-scores 1 and −2
	require.NoError(t, err)
	assert.Equal(t, -2.0, reward)
	assert.Equal(t, 1.5, std)
	// The scale and shift of a member do not matter then.
	scaled := Ensemble{Calibration: []Calibration{{Mean: 200, Std: 20}, {Mean: -1, Std: 0.5}}}
	same, _, err := scaled.Reward([]float32{220, -2})
	require.NoError(t, err)
	assert.Equal(t, -0.5, same)
}

func TestTheOrderOfMembersChangesNoBitOfAReward(t *testing.T) {
	scores := []float32{1e8, 1, -1e8, 0.1, 3e-8, 7.7}
	for a := range aggregateNames {
		e := Ensemble{Aggregate: Aggregate(a)}
		want, wantStd, err := e.Reward(scores)
		require.NoError(t, err)
		for shift := range scores {
			p := append(append([]float32(nil), scores[shift:]...), scores[:shift]...)
			got, std, err := e.Reward(p)
			require.NoError(t, err)
			assert.Equal(t, math.Float64bits(want), math.Float64bits(got))
			assert.Equal(t, math.Float64bits(wantStd), math.Float64bits(std))
		}
	}
}

func TestRewardsThatAreNoNumbersNameTheirMember(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		_, _, err := Ensemble{}.Reward([]float32{1, 2, bad})
		var e *NonFiniteError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 2, e.Member)
	}
	_, _, err := Ensemble{Calibration: []Calibration{{Std: 5e-324}}}.Reward([]float32{1e30})
	var e *NonFiniteError
	assert.ErrorAs(t, err, &e, "a z-score that overflows")
}

func TestEnsembleConfigurationsAreValidated(t *testing.T) {
	tests := []struct {
		name string
		e    Ensemble
		want []error
	}{
		{"an unknown aggregate", Ensemble{Aggregate: 9}, []error{ErrAggregate}},
		{"a negative lambda", Ensemble{Aggregate: MeanMinusStd, Lambda: -1}, []error{ErrLambda}},
		{"a NaN lambda", Ensemble{Aggregate: MeanMinusStd, Lambda: math.NaN()}, []error{ErrLambda}},
		{"a lambda without effect", Ensemble{Aggregate: Min, Lambda: 1}, []error{ErrLambda}},
		{"too few calibrations", Ensemble{Calibration: []Calibration{{Std: 1}}}, []error{ErrCalibration}},
		{"a calibration without spread", Ensemble{Calibration: []Calibration{{Std: 1}, {Std: 0}}}, []error{ErrCalibration}},
		{"everything at once", Ensemble{Aggregate: -1, Lambda: -1, Calibration: []Calibration{{}}}, []error{ErrAggregate, ErrLambda, ErrCalibration}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.e.Validate(2)
			for _, want := range tt.want {
				assert.ErrorIs(t, err, want)
			}
		})
	}
	assert.ErrorIs(t, Ensemble{}.Validate(0), ErrScores)
	_, _, err := Ensemble{}.Reward(nil)
	assert.ErrorIs(t, err, ErrScores)
	_, _, err = Ensemble{Aggregate: 9}.Reward([]float32{1})
	assert.ErrorIs(t, err, ErrAggregate)
	_, _, err = Ensemble{Calibration: []Calibration{}}.Reward([]float32{1})
	assert.ErrorIs(t, err, ErrScores)
}

func TestAggregatesHaveTheirNamesOnTheWire(t *testing.T) {
	for _, name := range []string{"mean", "min", "median", "mean_minus_std", "mean_minus_var"} {
		a, err := ParseAggregate(name)
		require.NoError(t, err)
		assert.Equal(t, name, a.String())
	}
	_, err := ParseAggregate("Mean")
	assert.ErrorIs(t, err, ErrAggregate)
	assert.Equal(t, "Aggregate(9)", Aggregate(9).String())
}

func TestCalibrate(t *testing.T) {
	c, err := Calibrate([]float32{1, 2, 3, 6})
	require.NoError(t, err)
	assert.Equal(t, Calibration{Mean: 3, Std: math.Sqrt(3.5)}, c)
	for _, bad := range [][]float32{nil, {1}, {2, 2, 2}, {1, float32(math.NaN())}} {
		_, err := Calibrate(bad)
		assert.ErrorIs(t, err, ErrCalibration)
	}
}

func TestRewardAllocatesNothing(t *testing.T) {
	e := Ensemble{Aggregate: Median}
	scores := make([]float32, stackScores)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _, _ = e.Reward(scores) }))
}
