package drawing

import (
	"bytes"
	"image/png"
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFigureIsDrawn(t *testing.T) {
	f := Figure{Title: "t", X: Axis{Label: "x (1)", Log: true}, Y: Axis{Label: "y"}, Series: []Series{
		{Label: "a", X: []float64{1, 10, 100}, Y: []float64{1, 2, 3}, Low: []float64{0, 1, 2}, High: []float64{2, 3, 4}},
		{Label: "b", X: []float64{1, 10}, Y: []float64{1, 1}, Low: []float64{0, 1}, High: []float64{2, 3}, Style: "points"},
	}}
	image, err := f.Draw("png")
	require.NoError(t, err)
	_, err = png.Decode(bytes.NewReader(image))
	require.NoError(t, err)
	again, err := f.Draw("svg")
	require.NoError(t, err)
	assert.Contains(t, string(again), "<svg")
	f.Series[0].Y[1] = math.NaN()
	_, err = f.Draw("png")
	assert.ErrorContains(t, err, `series "a"`)
}

func TestFigureThatCannotBeDrawnIsAnError(t *testing.T) {
	one := func(s Series) Figure { return Figure{Series: []Series{s}} }
	for name, f := range map[string]Figure{
		"no series":                  {},
		"more places than values":    one(Series{X: []float64{1, 2}, Y: []float64{1}}),
		"an infinite place":          one(Series{X: []float64{math.Inf(1)}, Y: []float64{1}}),
		"one end of an interval":     one(Series{X: []float64{1}, Y: []float64{1}, Low: []float64{0}}),
		"zero on a logarithmic axis": {X: Axis{Log: true}, Series: []Series{{X: []float64{0}, Y: []float64{1}}}},
		"a row without its name":     {X: Axis{Ticks: []string{"a"}}, Cells: [][]float64{{1}}},
		"a cell too many":            {X: Axis{Ticks: []string{"a"}}, Y: Axis{Ticks: []string{"b"}}, Cells: [][]float64{{1, 2}}},
		"a cell that is no number":   {X: Axis{Ticks: []string{"a"}}, Y: Axis{Ticks: []string{"b"}}, Cells: [][]float64{{math.NaN()}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.Draw("svg")
			assert.Error(t, err)
		})
	}
}

func TestTicksAreRoundNumbersWithinTheAxis(t *testing.T) {
	for _, c := range []struct{ low, high float64 }{{0, 1}, {-0.31, 0.17}, {0.6012, 0.6031}, {3, 4200}, {-7e-5, 2e-5}} {
		ticks := linearTicks{}.Ticks(c.low, c.high)
		assert.GreaterOrEqual(t, len(ticks), 3, "%v", c)
		assert.LessOrEqual(t, len(ticks), 11, "%v", c)
		seen := map[string]bool{}
		for _, k := range ticks {
			assert.False(t, seen[k.Label], "%v: %s twice", c, k.Label)
			seen[k.Label] = true
			v, err := strconv.ParseFloat(k.Label, 64)
			require.NoError(t, err)
			assert.InDelta(t, k.Value, v, 1e-9*(c.high-c.low), "the label is the value")
			assert.True(t, v >= c.low-1e-12 && v <= c.high+1e-12, "%v: %v", c, v)
		}
	}
}

func TestMatrixIsDrawnWithItsValues(t *testing.T) {
	f := Figure{X: Axis{Ticks: []string{"a", "b"}}, Y: Axis{Ticks: []string{"c"}}, Cells: [][]float64{{0.25, -12.5}}, Caption: "two cells"}
	image, err := f.Draw("svg")
	require.NoError(t, err)
	for _, want := range []string{"0.25", "-12.5", "two cells"} {
		assert.Contains(t, string(image), want)
	}
}
