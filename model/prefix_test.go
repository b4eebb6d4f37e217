package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// TestGradientsOfSharedPrefixesEqualTransformers has every sequence twice, each with half of the
// loss: all but the last token of the two is one prefix, and the gradients are the references'.
func TestGradientsOfSharedPrefixesEqualTransformers(t *testing.T) {
	dir := goldens(t)
	for _, v := range learnVariants {
		t.Run(v, func(t *testing.T) {
			tr, g := newGoldenTraining(t, filepath.Join(dir, v), 2)
			seqs := slices.Concat(g.inputs(tr.Model()), g.inputs(tr.Model()))
			scores := make([]float32, len(seqs))
			require.NoError(t, tr.Forward(scores, seqs, Pass{}))
			n := len(g.Sequences)
			assert.Equal(t, scores[:n], scores[n:])
			_, d := bradleyTerry(scores[:n], g.Pairs)
			for i := range d {
				d[i] /= 2
			}
			tr.Backward(slices.Concat(d, d))
			compareGradients(t, tr, openSource(t, filepath.Join(dir, v, "grads_f64.safetensors")))
		})
	}
}

// grads returns copies of gradients.
func grads(params []nn.Param) (out [][]float32) {
	for _, p := range params {
		out = append(out, slices.Clone(p.Grad))
	}
	return out
}

// checkClose compares gradients with those of the same loss summed in another order, each element
// beside its tensor's largest.
func checkClose(t *testing.T, params []nn.Param, want, got [][]float32, limit float64) {
	t.Helper()
	whole := 0.0
	for i := range want {
		whole = max(whole, largest(want[i]))
	}
	require.Greater(t, whole, 0.0)
	for i, p := range params {
		most := limit*largest(want[i]) + 1e-7*whole
		for j, w := range want[i] {
			require.LessOrEqual(t, math.Abs(float64(w)-float64(got[i][j])), most, "%s: element %d is %v, want %v", p.Name, j, got[i][j], w)
		}
	}
}

// answers are sequences of which several begin as others do, over several levels: a system prompt,
// prompts behind it and answers to them, and one that shares nothing.
func answers(vocab int) (seqs []Sequence) {
	r := rand.New(rand.NewPCG(11, 1))
	ids := func(n int) (out []int32) {
		for range n {
			out = append(out, 1+r.Int32N(int32(vocab-1)))
		}
		return out
	}
	system := ids(14)
	prompts := [][]int32{slices.Concat(system, ids(21)), slices.Concat(system, ids(9))}
	texts := [][]int32{ids(33)}
	for i := range 5 { // answers to the two prompts in turn
		texts = append(texts, slices.Concat(prompts[i%2], ids(1+4*i)))
	}
	texts = append(texts, texts[2], prompts[0]) // an equal one, and a prompt without an answer
	for _, x := range texts {
		seqs = append(seqs, Sequence{IDs: x, Read: []int32{int32(len(x) - 1)}})
	}
	return seqs
}

var someDropout = Regularization{Attention: 0.2, Hidden: 0.1, Embedding: 0.1}

// TestSharedPrefixesChangeNothingButTheOrderOfSums compares a pass over sequences that share with
// one over each: bits of scores, and gradients.
func TestSharedPrefixesChangeNothingButTheOrderOfSums(t *testing.T) {
	d := []float32{1, -0.7, 1.3, 0.6, -1.1, 0.4, -0.9, 0.8}
	for name, config := range configs {
		c, err := ParseConfig([]byte(config))
		require.NoError(t, err)
		if !c.Causal() {
			continue
		}
		for _, x := range []struct {
			name  string
			drop  Regularization
			dtype kernel.DType
			limit float64
		}{
			{"float32", Regularization{}, kernel.Float32, 1e-5}, // some hundred sums of float32
			{"dropout", someDropout, kernel.Float32, 1e-5},
			{"bfloat16", Regularization{}, kernel.BFloat16, 0.03}, // a shared gradient is rounded once, not each part of it
		} {
			t.Run(name+" "+x.name, func(t *testing.T) {
				if testing.Short() && x.drop == (Regularization{}) {
					t.Skip("-short: dropout alone, whose masks depend on most")
				}
				tr, err := NewTraining(c, NewRandom(c, 1), 2, x.dtype)
				require.NoError(t, err)
				defer tr.Close()
				seqs, pass := answers(90), Pass{Regularization: x.drop, Seed: 3, Step: 4}
				apart, scores := make([]float32, len(seqs)), make([]float32, len(seqs))
				for i := range seqs {
					one := pass
					one.First = i
					require.NoError(t, tr.Forward(apart[i:i+1], seqs[i:i+1], one))
					tr.Backward(d[i : i+1])
				}
				want := grads(tr.Params())
				tr.ZeroGrads()
				require.NoError(t, tr.Forward(scores, seqs, pass))
				assert.Equal(t, apart, scores, "one set of bits, and of masks")
				tr.Backward(d)
				got := grads(tr.Params())
				checkClose(t, tr.Params(), want, got, x.limit)

				tr.Recompute = true
				tr.ZeroGrads()
				require.NoError(t, tr.Forward(scores, seqs, pass))
				tr.Backward(d)
				assert.Equal(t, got, grads(tr.Params()), "recomputed")
			})
		}
	}
}

func TestGradientsOfSharedPrefixesHaveTheSameBitsForAnyNumberOfWorkers(t *testing.T) {
	for _, name := range []string{"llama", "gemma2", "mixtral"} {
		c, err := ParseConfig([]byte(configs[name]))
		require.NoError(t, err)
		var want [][]float32
		for _, workers := range []int{1, 2, 3} {
			tr, err := NewTraining(c, NewRandom(c, 1), workers, kernel.Float32)
			require.NoError(t, err)
			defer tr.Close()
			seqs := answers(90)
			require.NoError(t, tr.Forward(make([]float32, len(seqs)), seqs, Pass{Regularization: someDropout}))
			tr.Backward([]float32{1, -2, 3, -4, 5, -6, 7, -8})
			if workers == 1 {
				want = grads(tr.Params())
			}
			require.Equal(t, want, grads(tr.Params()), "%s with %d workers", name, workers)
		}
	}
}

func TestLowRankChangesLearnFromSharedPrefixes(t *testing.T) {
	c, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	tr, err := NewTraining(c, NewRandom(c, 1), 2, kernel.Float32)
	require.NoError(t, err)
	defer tr.Close()
	l, err := NewLoRA(tr, LoRAConfig{Rank: 3, Alpha: 6, Targets: []string{"q_proj", "v_proj", "down_proj"}}, 1)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(4, 1))
	for _, p := range l.Params() {
		for i := range p.Data {
			p.Data[i] = 0.1 * float32(r.NormFloat64())
		}
	}
	l.Refresh()
	seqs := answers(90)
	l.ZeroGrads()
	for i := range seqs {
		require.NoError(t, tr.Forward(make([]float32, 1), seqs[i:i+1], Pass{}))
		tr.Backward([]float32{float32(i) - 3})
	}
	l.Project()
	want := grads(l.Params())
	l.ZeroGrads()
	require.NoError(t, tr.Forward(make([]float32, len(seqs)), seqs, Pass{}))
	tr.Backward([]float32{-3, -2, -1, 0, 1, 2, 3, 4})
	l.Project()
	checkClose(t, l.Params(), want, grads(l.Params()), 1e-5)
	for _, p := range tr.Params() { // keys lie beside values, norms cost nothing
		if strings.Contains(p.Name, "o_proj") || strings.Contains(p.Name, "gate_proj") || strings.Contains(p.Name, "embed") {
			assert.Zero(t, largest(p.Grad), "%s stays", p.Name)
		}
	}
}

// TestAPolicyLearnsALowRankChange compares the gradients of a change with those of all weights, the
// output layer apart or of the embedding.
func TestAPolicyLearnsALowRankChange(t *testing.T) {
	for _, v := range []string{"qwen2-tied", "qwen2-untied", "gptneox-parallel"} {
		t.Run(v, func(t *testing.T) {
			targets := []string{"q_proj", "down_proj"}
			if v == "gptneox-parallel" {
				targets = []string{"query_key_value"}
			}
			run := func(low bool) ([]nn.Param, [][]float32) {
				l, ids := causalGolden(t, v, 2)
				all := l.Params()
				if low {
					_, err := NewLoRA(l, LoRAConfig{Rank: 2, Alpha: 4, Targets: targets}, 1)
					require.NoError(t, err)
				}
				l.ZeroGrads()
				_, err := l.Step([]Text{{IDs: ids}, {IDs: slices.Concat(ids, ids)}}, 1, Pass{})
				require.NoError(t, err)
				return all, grads(all)
			}
			params, want := run(false)
			_, got := run(true)
			learned := 0
			for i, p := range params {
				if slices.ContainsFunc(targets, func(s string) bool { return strings.HasSuffix(p.Name, s+".weight") }) {
					assert.Equal(t, want[i], got[i], "%s learns", p.Name)
					learned++
				} else if strings.Contains(p.Name, "embed") || strings.Contains(p.Name, "lm_head") {
					assert.Zero(t, largest(got[i]), "%s stays", p.Name)
				}
			}
			assert.Positive(t, learned)
		})
	}
}

// TestTextsLearnFromSharedPrefixes has answers to prompts, with targets of the answers alone and of
// whole texts, in which a token of a prompt has a target of each text.
func TestTextsLearnFromSharedPrefixes(t *testing.T) {
	for _, v := range []string{"llama-gqa", "mistral-window", "qwen2-tied", "qwen3-untied", "gptneox-parallel", "gpt2-base"} {
		t.Run(v, func(t *testing.T) {
			l, _ := causalGolden(t, v, 2)
			var texts []Text
			for i, s := range answers(l.Net().Vocab) {
				x := Text{IDs: s.IDs}
				if i%3 > 0 {
					x.Targets = someTargets(s.IDs)
				}
				texts = append(texts, x)
			}
			texts = append(texts, Text{IDs: texts[1].IDs, Targets: slices.Repeat([]int32{NoTarget}, len(texts[1].IDs))}) // nothing
			pass := Pass{Regularization: someDropout, Seed: 8}
			type at struct{ text, token int }
			run := func(parts ...[]Text) (map[at]string, [][]float32) {
				l.ZeroGrads()
				said, first := map[at]string{}, 0
				for _, part := range parts {
					told := make([][]string, len(part))
					for i := range part {
						told[i] = make([]string, len(part[i].IDs))
					}
					require.NoError(t, l.Likelihood(part, 0.7, pass, func(text, token int, logp, entropy float64) (float64, float64) {
						told[text][token] = fmt.Sprint(logp, entropy)
						return float64(first+text) - 3.3, 0.1 * float64(token)
					}))
					for i := range told {
						for j, s := range told[i] {
							said[at{first + i, j}] = s
						}
					}
					first += len(part)
				}
				return said, grads(l.Params())
			}
			var apart [][]Text
			for i := range texts {
				apart = append(apart, texts[i:i+1])
			}
			wantSaid, want := run(apart...)
			said, got := run(texts)
			assert.Equal(t, wantSaid, said, "likelihoods have the same bits")
			checkClose(t, l.Params(), want, got, 1e-5)

			loss := 0.0
			for _, one := range apart {
				part, err := l.Step(one, 0, pass)
				require.NoError(t, err)
				loss += part
			}
			whole, err := l.Step(texts, 0, pass)
			require.NoError(t, err)
			assert.InEpsilon(t, loss, whole, 1e-12)
		})
	}
}
