package model

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
)

// mixtures are the configurations that have experts.
var mixtures = []string{"mixtral", "qwen2moe", "qwen3moe"}

// edited returns a configuration of configs with other values; nil removes a key.
func edited(t *testing.T, base string, set map[string]any) []byte {
	var config map[string]any
	require.NoError(t, json.Unmarshal([]byte(configs[base]), &config))
	for k, v := range set {
		if config[k] = v; v == nil {
			delete(config, k)
		}
	}
	data, err := json.Marshal(config)
	require.NoError(t, err)
	return data
}

// trained is what a pass of a random model gives.
func trained(t *testing.T, name string, workers int, d kernel.DType, recompute bool, pass Pass) (scores []float32, grads [][]float32, m *Model, seqs []Sequence) {
	c, err := ParseConfig([]byte(configs[name]))
	require.NoError(t, err)
	tr, err := NewTraining(c, NewRandom(c, 1), workers, d)
	require.NoError(t, err)
	defer tr.Close()
	tr.Recompute = recompute
	seqs = sequences(rand.New(rand.NewPCG(3, 1)), tr.Model(), 9, 150)
	scores = make([]float32, len(seqs))
	dscores := make([]float32, len(seqs))
	for i := range dscores {
		dscores[i] = float32(i%5) - 2
	}
	for _, n := range []int{2, len(seqs)} { // memory of a smaller batch is used again
		require.NoError(t, tr.Forward(scores[:n], seqs[:n], pass))
		tr.Backward(dscores[:n])
	}
	for _, p := range tr.Params() {
		grads = append(grads, p.Grad)
	}
	return scores, grads, tr.Model(), seqs
}

func TestExpertsLearnWithTheSameBitsHoweverTheyAreDivided(t *testing.T) {
	for _, name := range mixtures {
		t.Run(name, func(t *testing.T) {
			for _, d := range []kernel.DType{kernel.Float32, kernel.BFloat16} {
				pass := Pass{Regularization: Regularization{Attention: 0.1, Hidden: 0.2, Embedding: 0.1}, Seed: 3, Step: 9}
				scores, grads, _, _ := trained(t, name, 1, d, false, pass)
				for _, workers := range []int{2, 3} {
					s, g, _, _ := trained(t, name, workers, d, workers == 3, pass)
					require.Equal(t, scores, s)
					require.Equal(t, grads, g)
				}
			}
		})
	}
}

func TestExpertsScoreInTrainingAsTheyServe(t *testing.T) {
	e := NewEngine(2)
	defer e.Close()
	for _, name := range mixtures {
		t.Run(name, func(t *testing.T) {
			for _, d := range []kernel.DType{kernel.Float32, kernel.BFloat16} {
				learned, _, m, seqs := trained(t, name, 2, d, false, Pass{})
				served := make([]float32, len(seqs))
				require.NoError(t, e.Score(m, served, seqs))
				assert.Equal(t, served, learned)
			}
		})
	}
}

func TestConfigurationsOfExpertsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		base string
		set  map[string]any
		want string
	}{
		{"mixtral", map[string]any{"num_local_experts": 0}, "num_experts: 0"},
		{"mixtral", map[string]any{"num_experts_per_tok": 6}, "num_experts_per_tok: 6 of 5 experts"},
		{"mixtral", map[string]any{"num_experts": 6}, "num_experts: 6, but num_local_experts: 5"},
		{"qwen3moe", map[string]any{"num_experts": 1 << 40}, "at most 65536"},
		{"qwen3moe", map[string]any{"num_experts": 30000, "num_hidden_layers": 3}, "at most 65536"},
		{"qwen3moe", map[string]any{"moe_intermediate_size": -1}, "moe_intermediate_size: -1"},
		{"qwen3moe", map[string]any{"decoder_sparse_step": 0}, "decoder_sparse_step: 0"},
		{"qwen3moe", map[string]any{"num_experts_per_tok": 0}, "num_experts_per_tok: 0"},
		{"qwen2moe", map[string]any{"shared_expert_intermediate_size": 0}, "shared_expert_intermediate_size: 0"},
	} {
		t.Run(c.want, func(t *testing.T) {
			_, err := ParseConfig(edited(t, c.base, c.set))
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestLayersHaveExpertsWhereTheConfigurationSays(t *testing.T) {
	for _, c := range []struct {
		name, base string
		set        map[string]any
		dense      []int
	}{
		{"every layer", "qwen3moe", map[string]any{"num_hidden_layers": 4}, nil},
		{"every second", "qwen3moe", map[string]any{"num_hidden_layers": 5, "decoder_sparse_step": 2}, []int{0, 2, 4}},
		{"but those that are named, some of which do not exist", "qwen2moe", map[string]any{"num_hidden_layers": 5, "mlp_only_layers": []int{4, 1, 1, 9, -1}}, []int{1, 4}},
		{"both", "qwen2moe", map[string]any{"num_hidden_layers": 6, "decoder_sparse_step": 3, "mlp_only_layers": []int{2}}, []int{0, 1, 2, 3, 4}},
		{"Mixtral knows neither", "mixtral", map[string]any{"decoder_sparse_step": 2, "mlp_only_layers": []int{0}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseConfig(edited(t, c.base, c.set))
			require.NoError(t, err)
			assert.Equal(t, c.dense, got.Experts.Dense)
			m, err := Load(got, NewRandom(got, 1), LoadOptions{})
			require.NoError(t, err)
			assert.Positive(t, m.Parameters())
		})
	}
}

func TestWindowsOfExpertsHoldWhereTransformersHasThem(t *testing.T) {
	for _, c := range []struct {
		name, base string
		set        map[string]any
		want       []int
	}{
		{"Qwen2-MoE without them", "qwen2moe", map[string]any{"sliding_window": 0, "use_sliding_window": false}, nil},
		{"Qwen2-MoE in every second layer", "qwen2moe", map[string]any{"sliding_window": 7, "use_sliding_window": true}, []int{7, 0, 7}},
		{"Qwen2-MoE up to a layer", "qwen2moe", map[string]any{"sliding_window": 7, "use_sliding_window": true, "max_window_layers": 2}, []int{7, 0, 0}},
		{"Qwen2-MoE by its list", "qwen2moe", map[string]any{"sliding_window": 7, "use_sliding_window": true, "layer_types": []string{"full_attention", "sliding_attention", "full_attention"}}, []int{0, 7, 0}},
		{"Qwen3-MoE without them", "qwen3moe", map[string]any{"sliding_window": 7}, nil},
		{"Qwen3-MoE in all layers", "qwen3moe", map[string]any{"sliding_window": 7, "use_sliding_window": true}, []int{7, 7}},
		{"Qwen3-MoE by default", "qwen3moe", map[string]any{"use_sliding_window": true}, []int{4096, 4096}},
		{"Mixtral without them", "mixtral", map[string]any{"sliding_window": nil}, nil},
		{"Mixtral in all layers", "mixtral", nil, []int{37, 37, 37}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseConfig(edited(t, c.base, c.set))
			require.NoError(t, err)
			assert.Equal(t, c.want, got.Windows)
		})
	}
}
