package model

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// learnGolden is the part of golden.json that training is compared with.
type learnGolden struct {
	golden
	Pairs [][2]int `json:"pairs"`
	Loss  float64  `json:"bt_loss_f64"`
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

var learnVariants = []string{
	"llama-gqa", "llama-rope3", "mistral-full", "mistral-window",
	"qwen2-tied", "qwen2-untied", "qwen3-tied", "qwen3-untied",
	"gptneox-parallel", "gptneox-sequential", "bert-base", "bert-types",
}

func newGoldenTraining(t testing.TB, dir string, workers int) (*Training, *learnGolden) {
	m, _ := loadGolden(t, dir, "config.json", 0)
	shards, err := filepath.Glob(filepath.Join(dir, "model*.safetensors"))
	require.NoError(t, err)
	tr, err := NewTraining(m.Config, openSource(t, shards...), workers)
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	g := &learnGolden{}
	readJSON(t, filepath.Join(dir, "golden.json"), g)
	return tr, g
}

// bradleyTerry returns the mean of −log σ(chosen − rejected) and its gradient for
// each score.
func bradleyTerry(scores []float32, pairs [][2]int) (loss float64, d []float32) {
	d = make([]float32, len(scores))
	n := float64(len(pairs))
	for _, p := range pairs {
		margin := float64(scores[p[0]]) - float64(scores[p[1]])
		loss += math.Log1p(math.Exp(-margin)) / n
		g := -1 / (1 + math.Exp(margin)) / n
		d[p[0]] += float32(g)
		d[p[1]] -= float32(g)
	}
	return loss, d
}

func TestGradientsEqualTransformers(t *testing.T) {
	dir := goldens(t)
	for _, v := range learnVariants {
		t.Run(v, func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				tr, g := newGoldenTraining(t, filepath.Join(dir, v), 2)
				scores := make([]float32, len(g.Sequences))
				require.NoError(t, tr.Forward(scores, g.inputs(tr.Model()), Pass{}))
				for i, want := range g.Scores {
					assert.InDelta(t, want, scores[i], scoreTolerance, "score %d", i)
				}
				loss, d := bradleyTerry(scores, g.Pairs)
				assert.InDelta(t, g.Loss, loss, 5e-6)
				tr.Backward(d)
				src := openSource(t, filepath.Join(dir, v, "grads_f64.safetensors"))
				require.Len(t, tr.Params(), len(src), "every parameter has a gradient")
				want := map[string][]float32{}
				whole := 0.0 // the largest gradient of the model
				for _, p := range tr.Params() {
					w := make([]float32, p.Len())
					require.NoError(t, src.ReadAt(w, p.Name, 0))
					want[p.Name] = w
					whole = max(whole, largest(w))
				}
				for _, p := range tr.Params() {
					// The goldens' own tolerance: what float32 needs three times over.
					limit := 3e-5*largest(want[p.Name]) + 1e-7*whole
					worst, at := 0.0, 0
					for i, w := range want[p.Name] {
						if e := math.Abs(float64(w) - float64(p.Grad[i])); !(e <= worst) {
							worst, at = e, i
						}
					}
					assert.LessOrEqual(t, worst, limit, "%s: element %d is %v, want %v", p.Name, at, p.Grad[at], want[p.Name][at])
				}
			})
		})
	}
}

func largest(x []float32) float64 {
	m := 0.0
	for _, v := range x {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}
