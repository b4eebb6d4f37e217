package cuda_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm/reward"
)

// open loads a checkpoint onto a device.
func open(t testing.TB, dir string, e model.Engine, d kernel.DType) model.Model {
	t.Helper()
	c, err := reward.Open(context.Background(), reward.Config{Members: []reward.Member{{Dir: dir}}, Engine: e, DType: d}, 1)
	require.NoError(t, err)
	return c.Average()
}

// other is a golden configuration with other values, for random weights.
func other(t testing.TB, name string, values map[string]any) string {
	t.Helper()
	text, err := os.ReadFile("../testdata/transformers/" + name + "/config.json")
	require.NoError(t, err)
	c := map[string]any{}
	require.NoError(t, json.Unmarshal(text, &c))
	maps.Copy(c, values)
	text, err = json.Marshal(c)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return reward.RandomPrefix + path
}

// large are models whose heads tensor cores multiply, with sequences that share blocks of keys. The
// interpreter takes the smallest that use every kernel.
func large(t testing.TB) map[string]string {
	heads := func(d int, more map[string]any) map[string]any {
		v := map[string]any{"hidden_size": 136, "head_dim": d, "num_attention_heads": 4, "num_key_value_heads": 2,
			"intermediate_size": 200, "max_position_embeddings": 512}
		if !cudatest.OnCard() {
			maps.Copy(v, map[string]any{"hidden_size": 2 * d, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 72})
		}
		maps.Copy(v, more)
		return v
	}
	encoder := map[string]any{"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 72, "max_position_embeddings": 512,
		"local_attention": 40}
	m := map[string]string{
		"qwen3 128": other(t, "qwen3", heads(128, nil)),
		"qwen2 64":  other(t, "qwen2", heads(64, map[string]any{"hidden_size": 128})),
		"bert 64":   other(t, "bert", encoder),
	}
	if cudatest.OnCard() {
		m["llama 64"] = other(t, "llama", heads(64, map[string]any{"hidden_size": 128}))
		m["gemma2 256"] = other(t, "gemma2", heads(256, map[string]any{"sliding_window": 70, "query_pre_attn_scalar": 200}))
		m["gemma2 128"] = other(t, "gemma2", heads(128, map[string]any{"sliding_window": 70}))
		m["mistral 128"] = other(t, "mistral", heads(128, map[string]any{"sliding_window": 90}))
		m["modernbert 64"] = other(t, "modernbert", encoder)
		m["llama deep"] = other(t, "llama", heads(128, map[string]any{"num_hidden_layers": 8, "hidden_size": 512, "num_attention_heads": 4, "intermediate_size": 1024}))
	}
	return m
}

// score returns the rewards of sequences in one batch.
func score(t testing.TB, e model.Engine, m model.Model, seqs ...model.Sequence) []float32 {
	t.Helper()
	out := make([]float32, len(seqs))
	require.NoError(t, e.Score(m, out, seqs))
	return out
}

// ids are n random tokens of a model.
func ids(r *rand.Rand, m model.Model, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = 5 + r.Int32N(int32(m.Network().Vocab-6))
	}
	return out
}

// last reads the last token of a sequence, or of an encoder the first.
func last(m model.Model, ids []int32) model.Sequence {
	at := int32(0)
	if m.Network().Causal {
		at = int32(len(ids) - 1)
	}
	return model.Sequence{IDs: ids, Read: []int32{at}}
}

// each runs a test for every architecture of the golden subset.
func each(t *testing.T, f func(t *testing.T, dir string)) {
	dirs, err := filepath.Glob("../testdata/transformers/*")
	require.NoError(t, err)
	for _, dir := range dirs {
		if s, err := os.Stat(dir); err == nil && s.IsDir() {
			t.Run(filepath.Base(dir), func(t *testing.T) { f(t, dir) })
		}
	}
}

// A card's float32 is the CPU's but for the order of sums; its bfloat16 differs by what that rounds.
func TestCardsScoreAsTheCPU(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		host := model.NewEngine(1)
		defer host.Close()
		on := open(t, dir, host, kernel.Float32)
		r := rand.New(rand.NewPCG(1, 1))
		var seqs []model.Sequence
		for _, n := range []int{1, 7, 19, 30} {
			seqs = append(seqs, last(on, ids(r, on, n)))
		}
		want := score(t, host, on, seqs...)
		for _, c := range generations {
			t.Run(fmt.Sprintf("%v on sm_%d", c.dtype, c.capability), func(t *testing.T) {
				e := cudatest.NewEngine(cudatest.NewDevice(t, c.capability))
				got := score(t, e, open(t, dir, e, c.dtype), seqs...)
				worst := 0.0
				for i := range got {
					worst = max(worst, math.Abs(float64(got[i]-want[i]))/max(1, math.Abs(float64(want[i]))))
				}
				assert.LessOrEqual(t, worst, c.most, "%v, want %v", got, want)
				t.Logf("largest difference %.2g", worst)
			})
		}
	})
}

// Experts get their rows together, in their order; what is chosen in float32 is what the CPU chooses.
func TestMixturesOfExpertsScoreAsOnTheCPU(t *testing.T) {
	mixtral := map[string]any{"architectures": []string{"MixtralForSequenceClassification"}, "model_type": "mixtral", "num_local_experts": 5, "num_experts_per_tok": 2}
	shared := map[string]any{"architectures": []string{"Qwen2MoeForSequenceClassification"}, "model_type": "qwen2_moe", "num_experts": 6, "num_experts_per_tok": 3,
		"moe_intermediate_size": 24, "shared_expert_intermediate_size": 40, "decoder_sparse_step": 1, "norm_topk_prob": false}
	for name, dir := range map[string]string{"mixtral": other(t, "mistral", mixtral), "qwen2-moe": other(t, "qwen2", shared)} {
		t.Run(name, func(t *testing.T) {
			host := model.NewEngine(1)
			defer host.Close()
			on := open(t, dir, host, kernel.Float32)
			r := rand.New(rand.NewPCG(3, 3))
			var seqs []model.Sequence
			for _, n := range []int{1, 9, 30} {
				seqs = append(seqs, last(on, ids(r, on, n)))
			}
			want := score(t, host, on, seqs...)
			for _, c := range generations {
				e := cudatest.NewEngine(cudatest.NewDevice(t, c.capability))
				m := open(t, dir, e, c.dtype)
				got := score(t, e, m, seqs...)
				for i, s := range seqs {
					if c.dtype == kernel.Float32 { // in bfloat16 a token may go to another expert
						assert.InDelta(t, want[i], got[i], 1e-5, "sequence %d", i)
					}
					assert.Equal(t, got[i], score(t, e, m, s)[0], "sequence %d alone on sm_%d in %v", i, c.capability, c.dtype)
				}
				t.Log(c.capability, c.dtype, got, want)
			}
		})
	}
}

// Every token's reward is that of the sequence up to it, whatever else is read.
func TestEveryTokenIsReadOnCards(t *testing.T) {
	dir := "../testdata/transformers/qwen3"
	for _, c := range generations {
		e := cudatest.NewEngine(cudatest.NewDevice(t, c.capability))
		m := open(t, dir, e, c.dtype)
		all := ids(rand.New(rand.NewPCG(4, 4)), m, 12)
		s := last(m, all)
		s.Every, s.Outputs = true, make([]float32, len(all))
		one := score(t, e, m, s)
		assert.Equal(t, s.Outputs[len(all)-1], one[0])
		for i := range all {
			assert.Equal(t, s.Outputs[i], score(t, e, m, last(m, all[:i+1]))[0], "token %d", i)
		}
	}
}

// generations are how cards of several generations compute.
var generations = []struct {
	capability int
	dtype      kernel.DType
	most       float64 // difference to the CPU's float32, as a share of the larger of 1 and that
}{{80, kernel.Float32, 1e-4}, {80, kernel.BFloat16, 1}, {90, kernel.BFloat16, 1}}

// What else is in a batch, and whether a prompt is computed once for several answers, changes no bit.
func TestRewardsOfCardsAreEqualToTheBit(t *testing.T) {
	for name, dir := range large(t) {
		host := model.NewEngine(0)
		defer host.Close()
		on := open(t, dir, host, kernel.Float32)
		r := rand.New(rand.NewPCG(2, 2))
		prompt := ids(r, on, 129)
		var seqs []model.Sequence
		lengths, repeats := []int{1, 4}, 1
		if cudatest.OnCard() {
			lengths, repeats = []int{1, 4, 20, 40, 100, 127, 128, 129, 200, 300}, 6
		}
		for range repeats {
			for _, n := range lengths {
				seqs = append(seqs, last(on, append(slices.Clone(prompt), ids(r, on, n)...)))
			}
			seqs = append(seqs, last(on, ids(r, on, 5)))
		}
		seqs = append(seqs, last(on, prompt[:128]))
		if on.Network().Causal {
			seqs = append(seqs, model.Sequence{IDs: seqs[1].IDs, Read: []int32{60}})
		}
		want := score(t, host, on, seqs...)
		for _, c := range generations {
			t.Run(fmt.Sprintf("%s %v on sm_%d", name, c.dtype, c.capability), func(t *testing.T) {
				e := cudatest.NewEngine(cudatest.NewDevice(t, c.capability))
				m := open(t, dir, e, c.dtype)
				got := score(t, e, m, seqs...)
				worst, unlike := 0.0, 0
				for i, s := range seqs {
					worst = max(worst, math.Abs(float64(got[i]-want[i]))/max(1, math.Abs(float64(want[i]))))
					if !cudatest.OnCard() && i%2 == 0 {
						continue // the interpreter takes a second for each
					}
					if alone := score(t, e, m, s)[0]; alone != got[i] {
						unlike++
						t.Errorf("sequence %d of %d tokens: %v among others, %v alone", i, len(s.IDs), got[i], alone)
					}
				}
				assert.LessOrEqual(t, worst, c.most)
				t.Logf("%d sequences: largest difference %.2g, %d differ in a bit", len(seqs), worst, unlike)
			})
		}
	}
}

// What a model needs is known before it is loaded.
func TestAModelThatDoesNotFitIsRefusedBeforeItTakesMemory(t *testing.T) {
	e := cudatest.NewEngine(full{cudatest.NewDevice(t, 80)})
	_, err := reward.Open(context.Background(), reward.Config{Members: []reward.Member{{Dir: "../testdata/transformers/llama"}},
		Engine: e, DType: kernel.BFloat16}, 1)
	var small *cuda.MemoryError
	require.ErrorAs(t, err, &small)
	assert.Greater(t, small.Need(), small.Free)
}

// full is a device whose memory others have.
type full struct{ cuda.Device }

func (f full) Limits() cuda.Limits {
	l := f.Device.Limits()
	l.Free = 1 << 10
	return l
}
