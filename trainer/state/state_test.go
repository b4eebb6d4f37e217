package state

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model/nn"
)

func TestAStateIsReadAsItWasSaved(t *testing.T) {
	dir := t.TempDir()
	var head Head
	saved, err := Find(dir, "run", &head, &head)
	require.NoError(t, err)
	assert.Nil(t, saved, "there is none")
	assert.False(t, Begun(filepath.Join(dir, "run")))

	values := map[string][]float32{"a": {1, 2, 3, 4}, "b": {-0.5}}
	tensors := func(v map[string][]float32, names ...string) Tensors {
		return func(f func(string, []int, []float32) error) error {
			for _, n := range names {
				if err := f(n, []int{len(v[n])}, v[n]); err != nil {
					return err
				}
			}
			return nil
		}
	}
	require.NoError(t, Save(dir, Head{Run: "run", Step: 7}, tensors(values, "a", "b")))
	saved, err = Find(dir, "run", &head, &head)
	require.NoError(t, err)
	defer saved.Close()
	assert.Equal(t, 7, head.Step)
	_, err = Find(dir, "another", &head, &head)
	assert.ErrorIs(t, err, ErrOtherRun)
	got := map[string][]float32{"a": make([]float32, 4), "b": make([]float32, 1), "c": make([]float32, 1)}
	require.NoError(t, saved.Fill(tensors(got, "a", "b")))
	assert.Equal(t, values["a"], got["a"])
	assert.Equal(t, values["b"], got["b"])
	assert.ErrorIs(t, saved.Fill(tensors(got, "c")), loader.ErrNoTensor)
	broken := errors.New("broken")
	assert.ErrorIs(t, Save(dir, nil, func(func(string, []int, []float32) error) error { return broken }), broken)
	again, err := open(dir)
	require.NoError(t, err, "a failed save leaves the old state")
	require.NoError(t, again.Close())

	require.NoError(t, os.WriteFile(filepath.Join(dir, File), []byte("cut"), 0o644))
	_, err = open(dir)
	assert.Error(t, err)
}

func TestMetricsAreCutToTheSavedSize(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run.train")
	var m Metrics
	require.NoError(t, m.Create(filepath.Join(dir, MetricsFile), 0))
	require.NoError(t, m.Add(1))
	size, err := m.Sync()
	require.NoError(t, err)
	require.NoError(t, m.Add("lost in a crash"))
	m.Close()
	m.Close()

	var again Metrics
	require.NoError(t, again.Create(filepath.Join(dir, MetricsFile), size))
	require.NoError(t, again.Add(2))
	text, err := again.Read()
	require.NoError(t, err)
	assert.Equal(t, "1\n2\n", string(text))
	var short Metrics
	assert.ErrorContains(t, short.Create(filepath.Join(dir, MetricsFile), 100), "shorter")
}

func TestWeightsAreASource(t *testing.T) {
	w := NewWeights([]nn.Param{{Name: "w", Shape: []int{3}, Data: []float32{1, 2, 3}}})
	assert.Equal(t, []string{"w"}, w.Names())
	part := make([]float32, 2)
	require.NoError(t, w.ReadAt(part, "w", 1))
	assert.Equal(t, []float32{2, 3}, part)
	assert.ErrorIs(t, w.ReadAt(part, "x", 0), loader.ErrNoTensor)
	_, ok := w.Shape("x")
	assert.False(t, ok)
}

func TestMetricsBecomeATable(t *testing.T) {
	got, err := CSV([]byte("{\"step\":0,\"test\":{\"wins\":3}}\n{\"step\":1,\"loss\":0.5,\"lr\":1e-3}\n"))
	require.NoError(t, err)
	assert.Equal(t, "step,loss,lr,test.wins\n0,,,3\n1,0.5,1e-3,\n", string(got))
	_, err = CSV([]byte("{"))
	assert.Error(t, err)
}

func TestADirectoryIsHeldByOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out.train")
	release, err := Lock(dir)
	require.NoError(t, err)
	_, err = Lock(dir)
	require.ErrorIs(t, err, ErrBusy)
	assert.ErrorContains(t, err, dir)
	release()
	release, err = Lock(dir)
	require.NoError(t, err, "it is free again")
	release()
}
