package optim

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/model"
)

// fiveSteps is what golden.json says of a short training run.
type fiveSteps struct {
	Sequences []struct {
		IDs   []int32 `json:"input_ids"`
		Types []int32 `json:"token_type_ids"`
	} `json:"sequences"`
	Pairs [][2]int `json:"pairs"`
	AdamW struct {
		LR     float64    `json:"lr"`
		Betas  [2]float64 `json:"betas"`
		Eps    float64    `json:"eps"`
		Decay  float64    `json:"weight_decay"`
		Steps  int        `json:"steps"`
		Losses []float64  `json:"losses_f64"`
		Scores []float64  `json:"scores_after_f64"`
	} `json:"adamw"`
}

func TestFiveStepsEqualTransformers(t *testing.T) {
	dir := shared(t, "goldens")
	for _, v := range []string{
		"llama-gqa", "llama-rope3", "mistral-full", "mistral-window", "qwen2-tied", "qwen2-untied",
		"qwen3-tied", "qwen3-untied", "gptneox-parallel", "gptneox-sequential", "bert-base", "bert-types",
	} {
		t.Run(v, func(t *testing.T) { checkFiveSteps(t, filepath.Join(dir, v)) })
	}
}

func checkFiveSteps(t *testing.T, dir string) {
	ckpt, err := loader.Open(dir)
	require.NoError(t, err)
	defer ckpt.Close()
	c, err := model.ParseConfig(ckpt.Config)
	require.NoError(t, err)
	tr, err := model.NewTraining(c, ckpt, 2, 0)
	require.NoError(t, err)
	defer tr.Close()
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(t, err)
	var g fiveSteps
	require.NoError(t, json.Unmarshal(data, &g))
	var seqs []model.Sequence
	for _, s := range g.Sequences {
		at := 0
		if c.Causal() {
			read, _ := model.PoolHF.Read(s.IDs, c.PadTokenID, 0)
			at = int(read[0])
		}
		seqs = append(seqs, model.Sequence{IDs: s.IDs, Types: s.Types, Read: []int32{int32(at)}})
	}
	o := NewAdamW(AdamWConfig{Beta1: g.AdamW.Betas[0], Beta2: g.AdamW.Betas[1], Eps: g.AdamW.Eps, Decay: g.AdamW.Decay, DecayVectors: true}, tr.Params())
	scores := make([]float32, len(seqs))
	require.Len(t, g.AdamW.Losses, g.AdamW.Steps+1)
	for step, want := range g.AdamW.Losses {
		require.NoError(t, tr.Forward(scores, seqs, model.Pass{}))
		loss, d := 0.0, make([]float32, len(seqs))
		for _, p := range g.Pairs {
			margin := float64(scores[p[0]]) - float64(scores[p[1]])
			loss += math.Log1p(math.Exp(-margin)) / float64(len(g.Pairs))
			slope := float32(-1 / (1 + math.Exp(margin)) / float64(len(g.Pairs)))
			d[p[0]] += slope
			d[p[1]] -= slope
		}
		assert.InDelta(t, want, loss, 5e-5, "loss before step %d", step) // the references' own tolerance
		if step == g.AdamW.Steps {
			break
		}
		tr.ZeroGrads()
		tr.Backward(d)
		o.Step(tr.Work(), g.AdamW.LR)
		tr.Refresh()
	}
	checkWeights(t, dir, tr)
}

// checkWeights compares the final weights where the update is well conditioned:
// where the reference's own float32 and float64 runs agree within 1e-6, with one
// exception in a thousand. Elsewhere rounding decides the sign of a whole step.
func checkWeights(t *testing.T, dir string, tr *model.Training) {
	read := func(file string) map[string][]float32 {
		f, err := safetensors.Open(filepath.Join(dir, file))
		require.NoError(t, err)
		defer f.Close()
		out := map[string][]float32{}
		for i := range f.Tensors {
			x := &f.Tensors[i]
			n := 1
			for _, d := range x.Shape {
				n *= d
			}
			out[x.Name] = make([]float32, n)
			require.NoError(t, x.ReadAt(out[x.Name], 0))
		}
		return out
	}
	want, rounded := read("adamw_final_f64.safetensors"), read("adamw_final.safetensors")
	regular, off := 0, 0
	for _, p := range tr.Params() {
		for i, w := range want[p.Name] {
			if math.Abs(float64(w-rounded[p.Name][i])) > 1e-6 || strings.HasSuffix(p.Name, "query_key_value.bias") {
				continue
			}
			regular++
			if math.Abs(float64(w-p.Data[i])) > 1e-5 {
				off++
			}
		}
	}
	require.Greater(t, regular, 1000)
	assert.LessOrEqual(t, off, regular/1000, "weights that differ, of %d", regular)
}
