package model

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
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
	"gptneox-parallel", "gptneox-sequential", "bert-base", "bert-types", "gpt2-base", "gpt2-layerscale", "deberta-v2", "deberta-v3", "deberta-conv", "modernbert-cls", "modernbert-mean", "roberta-base", "distilbert-gelu", "distilbert-relu", "roberta-relu",
	"gemma2-plain", "gemma2-softcap", "gemma-gqa", "gemma-mqa",
}

func newGoldenTraining(t testing.TB, dir string, workers int) (*Training, *learnGolden) {
	return newGoldenTrainingIn(t, dir, workers, kernel.Float32)
}

func newGoldenTrainingIn(t testing.TB, dir string, workers int, d kernel.DType) (*Training, *learnGolden) {
	_, base := loadGolden(t, dir, "config.json", 0)
	shards, err := filepath.Glob(filepath.Join(dir, "model*.safetensors"))
	require.NoError(t, err)
	tr, err := NewTraining(base.config, openSource(t, shards...), workers, d)
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	g := &learnGolden{}
	readJSON(t, filepath.Join(dir, "golden.json"), g)
	g.config = base.config
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
				compareGradients(t, tr, openSource(t, filepath.Join(dir, v, "grads_f64.safetensors")))
			})
		})
	}
}

// compareGradients compares every gradient with the references'.
func compareGradients(t *testing.T, tr *Training, src fileSource) {
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
}

func largest(x []float32) float64 {
	m := 0.0
	for _, v := range x {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}

func TestGradientsHaveTheSameBitsForAnyNumberOfWorkers(t *testing.T) {
	dir := goldens(t)
	for _, v := range []string{"llama-gqa", "qwen3-tied", "gptneox-parallel", "bert-types", "gpt2-base", "deberta-v3", "deberta-conv", "modernbert-mean"} {
		t.Run(v, func(t *testing.T) {
			pass := Pass{Regularization: Regularization{Attention: 0.1, Hidden: 0.2, Embedding: 0.1}, Seed: 3, Step: 9}
			run := func(workers int) ([]float32, [][]float32) {
				tr, g := newGoldenTraining(t, filepath.Join(dir, v), workers)
				// Enough rows for several pieces, in several blocks of sums.
				seqs := g.inputs(tr.Model())
				for range 3 {
					seqs = append(seqs, seqs...)
				}
				scores := make([]float32, len(seqs))
				require.NoError(t, tr.Forward(scores, seqs, pass))
				d := make([]float32, len(seqs))
				for i := range d {
					d[i] = float32(i%5) - 2
				}
				tr.Backward(d)
				var grads [][]float32
				for _, p := range tr.Params() {
					grads = append(grads, p.Grad)
				}
				return scores, grads
			}
			scores, grads := run(1)
			for _, workers := range []int{2, 3} {
				s, g := run(workers)
				require.Equal(t, scores, s)
				require.Equal(t, grads, g)
			}
		})
	}
}

func TestDropoutDependsOnTheStepAndNotOnHowItIsDivided(t *testing.T) {
	tr, g := newGoldenTraining(t, filepath.Join(goldens(t), "llama-gqa"), 2)
	seqs := g.inputs(tr.Model())
	score := func(p Pass, seqs []Sequence) []float32 {
		out := make([]float32, len(seqs))
		require.NoError(t, tr.Forward(out, seqs, p))
		return out
	}
	drop := Regularization{Attention: 0.2, Hidden: 0.2, Embedding: 0.2}
	whole := score(Pass{Regularization: drop, Seed: 1, Step: 1}, seqs)
	parts := append(score(Pass{Regularization: drop, Seed: 1, Step: 1}, seqs[:2]),
		score(Pass{Regularization: drop, Seed: 1, Step: 1, First: 2}, seqs[2:])...)
	assert.Equal(t, whole, parts, "a step in two parts drops the same")
	assert.NotEqual(t, whole, score(Pass{Regularization: drop, Seed: 1, Step: 2}, seqs), "another step")
	assert.NotEqual(t, whole, score(Pass{Regularization: drop, Seed: 2, Step: 1}, seqs), "another run")
	assert.NotEqual(t, whole, score(Pass{}, seqs), "no dropout")
}

func TestTrainingScoresAsItServes(t *testing.T) {
	dir := goldens(t)
	for _, v := range learnVariants {
		t.Run(v, func(t *testing.T) {
			tr, g := newGoldenTraining(t, filepath.Join(dir, v), 2)
			seqs := g.inputs(tr.Model())
			learned, served := make([]float32, len(seqs)), make([]float32, len(seqs))
			require.NoError(t, tr.Forward(learned, seqs, Pass{}))
			e := NewEngine(2)
			defer e.Close()
			require.NoError(t, e.Score(tr.Model(), served, seqs))
			assert.Equal(t, served, learned, "one set of layers, one set of bits")
		})
	}
}

func TestTrainingRefusesWhatItCannotScore(t *testing.T) {
	tr, _ := newGoldenTraining(t, filepath.Join(goldens(t), "llama-gqa"), 1)
	err := tr.Forward(make([]float32, 2), []Sequence{{IDs: []int32{1}, Read: []int32{0}}, {IDs: []int32{9999}, Read: []int32{0}}}, Pass{})
	require.ErrorContains(t, err, "sequence 1")
}

func TestRecomputingLayersChangesNoBit(t *testing.T) {
	dir := goldens(t)
	for _, v := range learnVariants {
		t.Run(v, func(t *testing.T) {
			run := func(recompute bool) ([]float32, [][]float32) {
				tr, g := newGoldenTraining(t, filepath.Join(dir, v), 2)
				tr.Recompute = recompute
				seqs := g.inputs(tr.Model())
				scores, d := make([]float32, len(seqs)), []float32{1, -1, 0.5, 2, -3, 0.25}
				for _, n := range []int{2, len(seqs)} { // memory of a smaller batch is used again
					require.NoError(t, tr.Forward(scores[:n], seqs[:n], Pass{Regularization: Regularization{Attention: 0.1, Hidden: 0.1}, Seed: 2}))
					tr.Backward(d[:n])
				}
				var grads [][]float32
				for _, p := range tr.Params() {
					grads = append(grads, p.Grad)
				}
				return scores, grads
			}
			scores, grads := run(false)
			again, same := run(true)
			assert.Equal(t, scores, again)
			require.Equal(t, grads, same)
		})
	}
}

func TestGradientsOfBFloat16ProductsAreClose(t *testing.T) {
	dir := goldens(t)
	for _, v := range []string{"llama-gqa", "qwen3-untied", "gptneox-parallel", "bert-base", "gpt2-base", "deberta-v3", "deberta-conv", "modernbert-mean"} {
		t.Run(v, func(t *testing.T) {
			run := func(d kernel.DType, workers int) ([]float32, [][]float32) {
				tr, g := newGoldenTrainingIn(t, filepath.Join(dir, v), workers, d)
				scores := make([]float32, len(g.Sequences))
				require.NoError(t, tr.Forward(scores, g.inputs(tr.Model()), Pass{}))
				tr.Backward([]float32{1, -1, 0.5, 2, -3, 0.25})
				var grads [][]float32
				for _, p := range tr.Params() {
					grads = append(grads, p.Grad)
				}
				return scores, grads
			}
			_, want := run(kernel.Float32, 2)
			scores, got := run(kernel.BFloat16, 2)
			along, off, whole := 0.0, 0.0, 0.0
			for i := range want {
				for j, w := range want[i] {
					d := float64(got[i][j] - w)
					off += d * d
					along += float64(w) * float64(got[i][j])
					whole += float64(w) * float64(w)
				}
			}
			// Eight bits of mantissa on either side of each product: 2⁻⁸ each, some
			// twenty products deep.
			assert.Less(t, math.Sqrt(off/whole), 0.05, "relative error of all gradients together")
			assert.Greater(t, off, 0.0, "bfloat16 was used")
			assert.InDelta(t, 1, along/whole, 0.05)
			again, same := run(kernel.BFloat16, 3)
			assert.Equal(t, scores, again)
			assert.Equal(t, got, same, "the same bits for any number of workers")
		})
	}
	_, g := newGoldenTraining(t, filepath.Join(dir, "llama-gqa"), 1)
	_, err := NewTraining(g.config, NewRandom(g.config, 1), 1, kernel.Int8)
	assert.ErrorContains(t, err, "int8")
}
