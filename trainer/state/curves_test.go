package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARunDrawsItsCurvesTheSameHoweverOftenItIsInterrupted(t *testing.T) {
	var pictures []string
	for _, breaks := range []bool{false, true} {
		out := filepath.Join(t.TempDir(), "out")
		c := newCount(out)
		c.Curves = Curves{Label: "steps", Columns: []string{"step", "absent"}}
		if breaks {
			c.at[5] = func() error { return errors.New("broken") }
			_, err := c.train(t.Context())
			require.Error(t, err)
			curves := c.Curves
			c = newCount(out)
			c.Curves = curves
		}
		_, err := c.train(t.Context())
		require.NoError(t, err)
		data, err := os.ReadFile(filepath.Join(out, CurvesFile))
		require.NoError(t, err)
		pictures = append(pictures, string(data))
	}
	assert.Equal(t, pictures[0], pictures[1])
	assert.Contains(t, pictures[0], "<svg")
	assert.Contains(t, pictures[0], ">steps<")
	assert.NotContains(t, pictures[0], "absent")
}

func TestACurveOfManyStepsIsOfMeans(t *testing.T) {
	lines := []byte(strings.Repeat("{\"step\":1,\"loss\":2}\n{\"step\":3,\"loss\":4,\"test\":{\"accuracy\":0.5}}\n", mostPoints))
	data, err := Curves{Label: "loss", Columns: []string{"loss", "test.accuracy"}}.draw(lines)
	require.NoError(t, err)
	assert.Contains(t, string(data), "loss, means of 2")
	assert.Equal(t, []float64{1.5, 3.5, 5}, means([]float64{1, 2, 3, 4, 5}, 2))

	data, err = Curves{Columns: []string{"reward"}}.draw(lines)
	require.NoError(t, err)
	assert.Nil(t, data, "there is nothing to draw")
	_, err = Curves{}.draw([]byte("{"))
	assert.Error(t, err)
}

// The events themselves are tested where they are written.
func TestARunTellsEventFilesAndBeginsOneEachTimeItGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	out := filepath.Join(t.TempDir(), "out")
	sizes := func() (n []int64) {
		files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
		require.NoError(t, err)
		for _, f := range files {
			info, err := os.Stat(f)
			require.NoError(t, err)
			n = append(n, info.Size())
		}
		return n
	}
	c := newCount(out)
	c.Events = dir
	var begun []int64
	c.at[0] = func() error { begun = sizes(); return nil }
	c.at[4] = func() error {
		assert.Len(t, sizes(), 1)
		assert.Greater(t, sizes()[0], begun[0], "four steps are told while the run goes on")
		return errors.New("broken")
	}
	_, err := c.train(t.Context())
	require.Error(t, err)
	c = newCount(out)
	c.Events = dir
	_, err = c.train(t.Context())
	require.NoError(t, err)
	assert.Len(t, sizes(), 2)
	assert.NoDirExists(t, filepath.Join(out, "events"))

	before := newCount(filepath.Join(t.TempDir(), "out"))
	before.Events = string([]byte{0})
	_, err = before.train(t.Context())
	assert.Error(t, err, "a directory that cannot be is not passed over")
}
