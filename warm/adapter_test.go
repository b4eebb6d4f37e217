package warm

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
)

// ramp is a source of one square matrix and a score head.
type ramp struct{}

const rampSize = 9

func (ramp) Names() []string { return []string{"q.weight", "score.weight"} }

func (ramp) Shape(name string) ([]int, bool) {
	return map[string][]int{"q.weight": {rampSize, rampSize}, "score.weight": {1, rampSize}}[name], true
}

func (ramp) ReadAt(dst []float32, _ string, offset int) error {
	for i := range dst {
		dst[i] = float32(math.Sin(float64(offset + i)))
	}
	return nil
}

// adapters writes a base and LoRA adapters over it whose A and B depend on the seeds, and opens them.
func adapters(t *testing.T, seeds ...float64) []*loader.Checkpoint {
	dir := t.TempDir()
	config := `{"architectures":["LlamaForSequenceClassification"],"hidden_size":9}`
	require.NoError(t, loader.Save(filepath.Join(dir, "base"), loader.Contents{Config: []byte(config), Source: ramp{}}))
	var out []*loader.Checkpoint
	for i, seed := range seeds {
		adapter := filepath.Join(dir, fmt.Sprint("adapter-", i))
		require.NoError(t, os.Mkdir(adapter, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(adapter, "adapter_config.json"), []byte(`{"peft_type":"LORA","task_type":"SEQ_CLS",
			"base_model_name_or_path":"../base","r":2,"lora_alpha":3,"target_modules":["q"]}`), 0o600))
		specs := []safetensors.Spec{
			{Name: "base_model.model.q.lora_A.weight", DType: safetensors.F32, Shape: []int{2, rampSize}},
			{Name: "base_model.model.q.lora_B.weight", DType: safetensors.F32, Shape: []int{rampSize, 2}},
		}
		fill := func(w io.Writer, s safetensors.Spec) error {
			values, b := make([]float32, 2*rampSize), make([]byte, 8*rampSize)
			for j := range values {
				values[j] = float32(math.Cos(seed*float64(j+len(s.Name)*j%7) + seed))
			}
			safetensors.EncodeF32(b, values)
			_, err := w.Write(b)
			return err
		}
		require.NoError(t, safetensors.WriteFile(filepath.Join(adapter, "adapter_model.safetensors"), specs, nil, fill))
		c, err := loader.Open(adapter)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		out = append(out, c)
	}
	return out
}

func TestAnAverageOfAdaptersIsThatOfTheMergedModels(t *testing.T) {
	var low, whole []Member
	for _, c := range adapters(t, 1, 2, 3) {
		low = append(low, Member{Checkpoint: c})
		dir := filepath.Join(t.TempDir(), "merged")
		require.NoError(t, loader.Save(dir, loader.Contents{Config: c.Config, Source: c}))
		m, err := loader.Open(dir)
		require.NoError(t, err)
		defer m.Close()
		whole = append(whole, Member{Name: c.Dir, Checkpoint: m})
	}
	a, err := NewAverage(low, Options{})
	require.NoError(t, err)
	b, err := NewAverage(whole, Options{})
	require.NoError(t, err)
	require.Equal(t, b.Names(), a.Names())
	for _, name := range a.Names() {
		shape, _ := a.Shape(name)
		x, y := make([]float32, shape[0]*shape[1]), make([]float32, shape[0]*shape[1])
		require.NoError(t, a.ReadAt(x, name, 0))
		require.NoError(t, b.ReadAt(y, name, 0))
		assert.Equal(t, y, x, name)
	}
}

func TestAdaptersOverOneBaseAreDuplicatesOnlyWhenTheyChangeItAlike(t *testing.T) {
	// The score heads are equal, so that only the products tell members apart.
	cs := adapters(t, 1, 2, 1)
	warnings := func(cs ...*loader.Checkpoint) []Warning {
		var members []Member
		for _, c := range cs {
			members = append(members, Member{Checkpoint: c})
		}
		a, err := NewAverage(members, Options{})
		require.NoError(t, err)
		return a.Warnings()
	}
	assert.Empty(t, warnings(cs[0], cs[1]))
	require.Len(t, warnings(cs[0], cs[2]), 1)
	assert.Equal(t, WarnDuplicate, warnings(cs[0], cs[2])[0].Kind)
}
