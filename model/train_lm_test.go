package model

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// loadLanguage opens the language model of a reference directory.
func loadLanguage(t *testing.T, dir string, tied bool, workers int) *Language {
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	data = bytes.Replace(bytes.Replace(data, []byte("LMHeadModel"), []byte("ForCausalLM"), 1), []byte("ForCausalLM"), []byte("ForSequenceClassification"), 1)
	data = bytes.Replace(data, []byte("{"), []byte(`{"num_labels": 1, "id2label": {"0": "LABEL_0"},`), 1)
	c, err := ParseConfig(data)
	require.NoError(t, err)
	l, err := NewLanguage(c, openSource(t, filepath.Join(dir, "model.safetensors")), tied, workers, 0)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

func TestLanguageModelsEqualTransformers(t *testing.T) {
	dir := goldens(t)
	for _, v := range []string{"llama-gqa", "mistral-window", "qwen2-tied", "qwen2-untied", "qwen3-tied", "gptneox-parallel", "gptneox-sequential", "gpt2-base", "gpt2-layerscale"} {
		t.Run(v, func(t *testing.T) {
			var g struct {
				golden
				Causal struct {
					Sequence int     `json:"sequence"`
					Tied     bool    `json:"tied"`
					Loss     float64 `json:"loss_f64"`
				} `json:"causal_lm"`
			}
			readJSON(t, filepath.Join(dir, v, "golden.json"), &g)
			l := loadLanguage(t, filepath.Join(dir, v, "causal_lm"), g.Causal.Tied, 2)
			x := Text{IDs: g.Sequences[g.Causal.Sequence].IDs}
			loss, err := l.Step([]Text{x}, 0, Pass{})
			require.NoError(t, err)
			assert.InDelta(t, g.Causal.Loss, loss/float64(x.Count()), 5e-6) // the references' tolerance of losses
			checkDirection(t, l, []Text{x, {IDs: g.Sequences[1].IDs, Targets: someTargets(g.Sequences[1].IDs)}})
		})
	}
}

// someTargets are the next tokens of the second half of a sequence, as a prompt's
// are left out.
func someTargets(ids []int32) []int32 {
	out := make([]int32, len(ids))
	for i := range out {
		out[i] = NoTarget
		if i >= len(ids)/2 && i+1 < len(ids) {
			out[i] = ids[i+1]
		}
	}
	return out
}

// checkDirection compares the gradient's length with the slope of the loss along
// it, for each parameter alone: a wrong sign or factor anywhere shows.
func checkDirection(t *testing.T, l *Language, texts []Text) {
	l.ZeroGrads()
	_, err := l.Step(texts, 1, Pass{})
	require.NoError(t, err)
	var grads [][]float32
	for _, p := range l.Params() {
		grads = append(grads, p.Grad)
	}
	checkSlopes(t, l, grads, func() float64 {
		loss, err := l.Step(texts, 0, Pass{})
		require.NoError(t, err)
		return loss
	})
}

// checkSlopes compares the length of each parameter's gradient with the slope of
// the loss along it.
func checkSlopes(t *testing.T, l *Language, grads [][]float32, loss func() float64) {
	for k, p := range l.Params() {
		grad := grads[k]
		norm := 0.0
		for _, g := range grad {
			norm += float64(g) * float64(g)
		}
		norm = math.Sqrt(norm)
		require.Greater(t, norm, 0.0, p.Name)
		at := append([]float32(nil), p.Data...)
		h := min(0.02, 0.2/norm) // a change of the loss far above its rounding
		move := func(h float64) float64 {
			for i, g := range grad {
				p.Data[i] = at[i] + float32(h*float64(g)/norm)
			}
			l.Refresh()
			return loss()
		}
		slope := (move(h) - move(-h)) / (2 * h)
		copy(p.Data, at)
		if norm < 1e-3 {
			continue // a bias of keys, which softmax does not see
		}
		// The third derivative at this step, and the loss's rounding of 1e-5.
		assert.InEpsilon(t, norm, slope, 0.02+1e-3/norm, p.Name)
	}
	l.Refresh()
}

func TestLanguageGradientsHaveTheSameBitsForAnyNumberOfWorkers(t *testing.T) {
	dir := filepath.Join(goldens(t), "qwen2-tied")
	g := &golden{}
	readJSON(t, filepath.Join(dir, "golden.json"), g)
	var texts []Text
	for range 8 {
		for _, s := range g.Sequences {
			texts = append(texts, Text{IDs: s.IDs})
		}
	}
	var want [][]float32
	var wantLoss float64
	for workers := range 3 {
		l := loadLanguage(t, filepath.Join(dir, "causal_lm"), true, workers+1)
		loss, err := l.Step(texts, 0.5, Pass{Regularization: Regularization{Attention: 0.1, Hidden: 0.1}, Seed: 1})
		require.NoError(t, err)
		var grads [][]float32
		for _, p := range l.Params() {
			grads = append(grads, p.Grad)
		}
		if want == nil {
			want, wantLoss = grads, loss
			continue
		}
		assert.Equal(t, wantLoss, loss)
		require.Equal(t, want, grads)
	}
}

func TestLanguageRefusesWhatItCannotRead(t *testing.T) {
	dir := filepath.Join(goldens(t), "llama-gqa")
	l := loadLanguage(t, filepath.Join(dir, "causal_lm"), false, 1)
	_, err := l.Step([]Text{{IDs: []int32{1, 2}, Targets: []int32{999, NoTarget}}}, 0, Pass{})
	assert.ErrorContains(t, err, "target 999")
	_, err = l.Step([]Text{{IDs: []int32{1, 2}, Targets: []int32{1}}}, 0, Pass{})
	assert.ErrorContains(t, err, "1 targets for 2 tokens")
	_, err = l.Step([]Text{{IDs: nil}}, 0, Pass{})
	assert.ErrorContains(t, err, "no token")
	_, g := loadGolden(t, dir, "config.json", 0)
	_, err = NewLanguage(g.config, openSource(t, filepath.Join(dir, "model.safetensors")), false, 1, 0)
	assert.ErrorContains(t, err, "lm_head.weight")
}
