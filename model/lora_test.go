package model

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLoRAEqualsPEFT(t *testing.T) {
	dir := filepath.Join(goldens(t), "lora")
	m, base := loadGolden(t, filepath.Join(dir, "base"), "config.json", 0)
	tr, err := NewTraining(base.config, openSource(t, filepath.Join(dir, "base", "model.safetensors")), 2, 0)
	require.NoError(t, err)
	defer tr.Close()
	var g struct {
		golden
		Pairs  [][2]int  `json:"pairs"`
		Base   []float64 `json:"base_scores_f64"`
		Scores []float64 `json:"scores_f64_unmerged"`
		Loss   float64   `json:"bt_loss_f64_unmerged"`
		R      int       `json:"r"`
		Alpha  float64   `json:"lora_alpha"`
	}
	readJSON(t, filepath.Join(dir, "golden.json"), &g)
	g.config = base.config
	l, err := NewLoRA(tr, LoRAConfig{Rank: g.R, Alpha: g.Alpha, Targets: []string{"q_proj", "v_proj"}}, 1)
	require.NoError(t, err)
	scores, seqs := make([]float32, len(g.Sequences)), g.inputs(m)
	check := func(want []float64) {
		l.Refresh()
		require.NoError(t, tr.Forward(scores, seqs, Pass{}))
		for i, w := range want {
			assert.InDelta(t, w, scores[i], scoreTolerance)
		}
	}
	check(g.Base) // a new change is none

	adapter := openSource(t, filepath.Join(dir, "adapter", "adapter_model.safetensors"))
	require.Len(t, l.Params(), len(adapter), "the names are PEFT's")
	for _, p := range l.Params() {
		require.NoError(t, adapter.ReadAt(p.Data, p.Name, 0), p.Name)
	}
	check(g.Scores)
	loss, d := bradleyTerry(scores, g.Pairs)
	assert.InDelta(t, g.Loss, loss, 5e-6)
	l.ZeroGrads()
	tr.Backward(d)
	l.Project()
	grads := openSource(t, filepath.Join(dir, "adapter_grads.safetensors"))
	whole := 0.0
	for _, p := range l.Params() {
		whole = max(whole, largest(p.Grad))
	}
	for _, p := range l.Params() {
		want := make([]float32, p.Len())
		require.NoError(t, grads.ReadAt(want, p.Name, 0))
		for i, w := range want {
			// The references' tolerance of gradients.
			require.LessOrEqual(t, math.Abs(float64(w-p.Grad[i])), 3e-5*largest(want)+1e-7*whole, "%s: element %d", p.Name, i)
		}
	}
}

func TestLoRARefusesWhatIsNotThere(t *testing.T) {
	tr, _ := newGoldenTraining(t, filepath.Join(goldens(t), "llama-gqa"), 1)
	_, err := NewLoRA(tr, LoRAConfig{Rank: 2, Alpha: 4, Targets: []string{"q_proj", "query"}}, 0)
	assert.ErrorContains(t, err, `"query"`)
	_, err = NewLoRA(tr, LoRAConfig{Alpha: 4, Targets: []string{"q_proj"}}, 0)
	assert.ErrorContains(t, err, "rank 0")
}
