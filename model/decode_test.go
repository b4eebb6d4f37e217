package model

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/nn"
)

// causalGolden opens a reference language model for training, and some tokens.
func causalGolden(t *testing.T, variant string, workers int) (*Language, []int32) {
	dir := filepath.Join(goldens(t), variant)
	var g struct {
		Causal struct {
			Tied bool `json:"tied"`
		} `json:"causal_lm"`
	}
	readJSON(t, filepath.Join(dir, "golden.json"), &g)
	l := loadLanguage(t, filepath.Join(dir, "causal_lm"), g.Causal.Tied, workers)
	ids := make([]int32, 8)
	for i := range ids {
		ids[i] = int32(nn.Mix(7, uint64(i)) % uint64(l.Net().Vocab))
	}
	return l, ids
}

// likelihoods are the log-probabilities of a training pass.
func likelihoods(t *testing.T, l *Language, prompt, answer []int32, temperature float32) []float64 {
	x := Text{IDs: slices.Concat(prompt, answer[:len(answer)-1])}
	x.Targets = make([]int32, len(x.IDs))
	for i := range x.Targets {
		x.Targets[i] = NoTarget
	}
	copy(x.Targets[len(prompt)-1:], answer)
	out := make([]float64, len(answer))
	l.ZeroGrads()
	require.NoError(t, l.Likelihood([]Text{x}, temperature, Pass{}, func(text, token int, logp, _ float64) (float64, float64) {
		out[token-len(prompt)+1] = logp
		return 0, 0
	}))
	return out
}

func TestDecodedLogitsHaveTheBitsOfTraining(t *testing.T) {
	for _, v := range []string{"llama-gqa", "mistral-window", "qwen2-untied", "qwen3-tied", "gptneox-parallel"} {
		t.Run(v, func(t *testing.T) {
			l, ids := causalGolden(t, v, 2)
			const temperature, group, most = 0.7, 3, 9
			prompts := [][]int32{ids[:1], ids[2:6], ids[:5]}
			var answers [][]int32
			var logps [][]float64
			for _, n := range []int{64, 2} { // regions: all at once, and two at a time
				d, err := l.Decoder()
				require.NoError(t, err)
				defer d.Close()
				d.Slots = n
				answers = make([][]int32, len(prompts)*group)
				logps = make([][]float64, len(answers))
				require.NoError(t, d.Decode(t.Context(), prompts, group, most, func(i int, logits []float32) (int32, bool) {
					c := cpu.NewCategorical(make([]float32, len(logits)), logits, temperature)
					token := int32(nn.Mix(uint64(i), uint64(len(answers[i]))) % uint64(len(logits)))
					answers[i] = append(answers[i], token)
					logps[i] = append(logps[i], c.LogProb(token))
					return token, len(answers[i]) == 2+i
				}))
				for i, a := range answers {
					require.Len(t, a, min(2+i, most))
					assert.Equal(t, likelihoods(t, l, prompts[i/group], a, temperature), logps[i], "answer %d", i)
				}
				scored, err := d.LogProbs(t.Context(), prompts, answers, temperature)
				require.NoError(t, err)
				assert.Equal(t, logps, scored)
			}
		})
	}
}

func TestADecoderFollowsTheWeights(t *testing.T) {
	l, ids := causalGolden(t, "llama-gqa", 1)
	d, err := l.Decoder()
	require.NoError(t, err)
	defer d.Close()
	prompt, answer := ids[:3], ids[3:5]
	score := func() []float64 {
		out, err := d.LogProbs(t.Context(), [][]int32{prompt}, [][]int32{answer}, 1)
		require.NoError(t, err)
		return out[0]
	}
	before := score()
	for _, p := range l.Params() {
		for i := range p.Data {
			p.Data[i] *= 1.1
		}
	}
	l.Refresh()
	assert.NotEqual(t, before, score())
	assert.Equal(t, likelihoods(t, l, prompt, answer, 1), score())
}

func TestADecoderRefusesWhatItCannotContinue(t *testing.T) {
	l, _ := causalGolden(t, "llama-gqa", 1)
	d, err := l.Decoder()
	require.NoError(t, err)
	defer d.Close()
	never := func(int, []float32) (int32, bool) { return 0, false }
	for _, c := range []struct {
		name    string
		prompts [][]int32
		most    int
		choose  cpu.Choose
		want    string
	}{
		{"no token", [][]int32{{1}, {}}, 1, never, "prompt 1: model: no token"},
		{"an unknown token", [][]int32{{9999}}, 1, never, "token id 9999"},
		{"a text over the context", [][]int32{{1}}, l.Net().Positions + 1, never, "the context holds"},
		{"no room", [][]int32{{1}}, 0, never, "1 answers of 0 tokens"},
		{"a choice that is no token", [][]int32{{1}}, 1, func(int, []float32) (int32, bool) { return -1, false }, "token -1 was chosen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.ErrorContains(t, d.Decode(t.Context(), c.prompts, 1, c.most, c.choose), c.want)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, d.Decode(ctx, [][]int32{{1}}, 1, 1, never), context.Canceled)
	_, err = d.LogProbs(t.Context(), [][]int32{{1}, {2}}, [][]int32{{1}}, 1)
	assert.ErrorContains(t, err, "1 answers to 2 prompts")
}

// TestPolicyGradientsAreTheSlopesOfTheirLoss compares, for each parameter, the
// gradient's length with the slope of Σ weight·log π + Σ bonus·entropy along it.
func TestPolicyGradientsAreTheSlopesOfTheirLoss(t *testing.T) {
	l, ids := causalGolden(t, "llama-gqa", 2)
	const temperature = 0.8
	texts := []Text{{IDs: ids}, {IDs: ids, Targets: someTargets(ids)}}
	weight := func(text, token int) (float64, float64) {
		return float64(text+1) * (float64(token%3) - 0.7), 0.3 * float64(token%2)
	}
	pass := Pass{First: 5}
	var mu sync.Mutex
	loss := func() float64 {
		type key struct{ text, token int }
		terms := map[key]float64{}
		require.NoError(t, l.Likelihood(texts, temperature, pass, func(text, token int, logp, entropy float64) (float64, float64) {
			w, e := weight(text, token)
			mu.Lock()
			terms[key{text, token}] = w*logp + e*entropy
			mu.Unlock()
			return w, e
		}))
		require.Len(t, terms, texts[0].Count()+texts[1].Count())
		sum := 0.0
		for i := range texts {
			for j := range ids {
				sum += terms[key{i, j}]
			}
		}
		return sum
	}
	l.ZeroGrads()
	loss()
	var grads [][]float32
	for _, p := range l.Params() {
		grads = append(grads, slices.Clone(p.Grad))
	}
	checkSlopes(t, l, grads, loss)
	assert.ErrorContains(t, l.Likelihood(texts, 0, pass, nil), "temperature 0")
}

func TestAWeightOfMinusOneIsTheCrossEntropy(t *testing.T) {
	l, ids := causalGolden(t, "llama-gqa", 1)
	texts := []Text{{IDs: ids}}
	l.ZeroGrads()
	_, err := l.Step(texts, 1, Pass{})
	require.NoError(t, err)
	var want [][]float32
	for _, p := range l.Params() {
		want = append(want, slices.Clone(p.Grad))
	}
	l.ZeroGrads()
	require.NoError(t, l.Likelihood(texts, 1, Pass{}, func(int, int, float64, float64) (float64, float64) { return -1, 0 }))
	for i, p := range l.Params() {
		assert.InDeltaSlice(t, want[i], p.Grad, 1e-5, p.Name) // float32 gradients of order 1
	}
}
