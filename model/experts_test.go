package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
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
func trained(t *testing.T, name string, workers int, d kernel.DType, recompute bool, pass Pass) (scores []float32, grads [][]float32, m *cpu.Model, seqs []Sequence) {
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
		{"qwen3moe", map[string]any{"num_experts": 1 << 40}, "at most 32768"},
		{"qwen3moe", map[string]any{"num_experts": 30000, "num_hidden_layers": 3}, "at most 32768"},
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

// TestLongListsOfLayersTakeNoTime: looking for each layer in the list would be 3·10¹⁰
// steps, which take ten seconds and more.
func TestLongListsOfLayersTakeNoTime(t *testing.T) {
	start := time.Now()
	got, err := ParseConfig(edited(t, "qwen3moe", map[string]any{"num_experts": 1, "num_experts_per_tok": 1, "num_hidden_layers": maxExperts, "mlp_only_layers": make([]int, 1_000_000)}))
	require.NoError(t, err)
	assert.Equal(t, []int{0}, got.Experts.Dense)
	assert.Less(t, time.Since(start), 6*time.Second)
}

func TestLayersHaveExpertsWhereTheConfigurationSays(t *testing.T) {
	for _, c := range []struct {
		name, base string
		set        map[string]any
		dense      []int
		says       string
	}{
		{"every layer", "qwen3moe", map[string]any{"num_hidden_layers": 4}, nil, "40 in 4 of 4 layers, a token takes 4"},
		{"every second", "qwen3moe", map[string]any{"num_hidden_layers": 5, "decoder_sparse_step": 2}, []int{0, 2, 4}, "40 in 2 of 5 layers, a token takes 4"},
		{"but those that are named, some of which do not exist", "qwen2moe", map[string]any{"num_hidden_layers": 5, "mlp_only_layers": []int{4, 1, 1, 9, -1}}, []int{1, 4}, "7 in 3 of 5 layers, a token takes 3 and one that all take"},
		{"both", "qwen2moe", map[string]any{"num_hidden_layers": 6, "decoder_sparse_step": 3, "mlp_only_layers": []int{2}}, []int{0, 1, 2, 3, 4}, "7 in 1 of 6 layers, a token takes 3 and one that all take"},
		{"Mixtral knows neither", "mixtral", map[string]any{"decoder_sparse_step": 2, "mlp_only_layers": []int{0}}, nil, "5 in 3 of 3 layers, a token takes 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseConfig(edited(t, c.base, c.set))
			require.NoError(t, err)
			assert.Equal(t, c.dense, got.Experts.Dense)
			assert.Equal(t, c.says, got.Experts.Describe(got.Layers))
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

// stackExperts returns random weights as transformers 5 holds them: the experts of a
// layer in one tensor.
func stackExperts(t *testing.T, c *Config, src Source) memorySource {
	out := memorySource{}
	read := func(name string) ([]int, []float32) {
		shape, ok := src.Shape(name)
		require.True(t, ok, name)
		p := nn.Param{Shape: shape}
		data := make([]float32, p.Len())
		require.NoError(t, src.ReadAt(data, name, 0))
		return shape, data
	}
	for _, name := range src.Names() {
		if !strings.Contains(name, ".experts.") {
			shape, data := read(name)
			out[strings.Replace(name, "block_sparse_moe", "mlp", 1)] = tensor{shape, data}
		}
	}
	for l := range c.Layers {
		if !c.Experts.of(l) {
			continue
		}
		block, gate, up, down := c.expertNames(l)
		for kind, names := range map[string][]string{"gate_up_proj": {gate, up}, "down_proj": {down}} {
			var all tensor
			for e := range c.Experts.Count {
				for _, name := range names {
					shape, data := read(fmt.Sprintf("%s.experts.%d.%s.weight", block, e, name))
					all.shape = []int{c.Experts.Count, len(names) * shape[0], shape[1]}
					all.data = append(all.data, data...)
				}
			}
			out[fmt.Sprintf("model.layers.%d.mlp.experts.%s", l, kind)] = all
		}
	}
	return out
}

// memorySource holds tensors by name, and forgets those that are released.
type memorySource map[string]tensor

type tensor struct {
	shape []int
	data  []float32
}

func (s memorySource) Names() []string { return slices.Collect(maps.Keys(s)) }

func (s memorySource) Shape(name string) ([]int, bool) {
	t, ok := s[name]
	return t.shape, ok
}

func (s memorySource) ReadAt(dst []float32, name string, offset int) error {
	if n := copy(dst, s[name].data[offset:]); n < len(dst) {
		return fmt.Errorf("%s: %d of %d elements", name, n, len(dst))
	}
	return nil
}

func (s memorySource) Release(name string) { clear(s[name].data) }

func TestExpertsInOneTensorAreThoseInMany(t *testing.T) {
	for _, name := range mixtures {
		t.Run(name, func(t *testing.T) {
			c, err := ParseConfig([]byte(configs[name]))
			require.NoError(t, err)
			want, err := Load(c, NewRandom(c, 1), LoadOptions{})
			require.NoError(t, err)
			src := stackExperts(t, c, NewRandom(c, 1))
			n, err := Count(c, src)
			require.NoError(t, err)
			assert.Equal(t, want.Parameters(), n)
			tr, err := NewTraining(c, src, 1, 0)
			require.NoError(t, err)
			defer tr.Close()
			got, err := Load(c, src, LoadOptions{})
			require.NoError(t, err)
			assert.Equal(t, want.Digest(), got.Digest(), "the same weights")
			for name, x := range src {
				assert.Zero(t, largest(x.data), "%s was released", name)
			}
			e := NewEngine(1)
			defer e.Close()
			seqs := sequences(rand.New(rand.NewPCG(1, 1)), want, 5, 40)
			scores := make([][]float32, 3)
			for i, m := range []*cpu.Model{want, got, tr.Model()} {
				scores[i] = make([]float32, len(seqs))
				require.NoError(t, e.Score(m, scores[i], seqs))
			}
			assert.Equal(t, scores[0], scores[1])
			assert.Equal(t, scores[0], scores[2])
		})
	}
}

// TestExpertsInOneTensorOfBodiesElsewhere reads them of a reward model whose body has another
// prefix, and of a language model, or its body alone, as a base.
func TestExpertsInOneTensorOfBodiesElsewhere(t *testing.T) {
	for _, name := range mixtures {
		c, err := ParseConfig([]byte(configs[name]))
		require.NoError(t, err)
		want, err := Load(c, NewRandom(c, 1), LoadOptions{})
		require.NoError(t, err)
		for _, prefix := range []string{"model.", "", "pretrained_model.model."} {
			t.Run(name+"/"+prefix, func(t *testing.T) {
				src := memorySource{}
				for n, x := range stackExperts(t, c, NewRandom(c, 1)) {
					if rest, ok := strings.CutPrefix(n, "model."); ok {
						n = prefix + rest
					}
					src[n] = x
				}
				got, _, err := Resolve([]byte(configs[name]), src, Settings{})
				require.NoError(t, err)
				n, err := Count(got, src)
				require.NoError(t, err)
				assert.Equal(t, want.Parameters(), n)
				headless := maps.Clone(src)
				delete(headless, "score.weight")
				language := strings.Replace(configs[name], "ForSequenceClassification", "ForCausalLM", 1)
				base, err := ResolveBase([]byte(language), headless, nil, "")
				require.NoError(t, err)
				assert.False(t, base.Plain())
				assert.Equal(t, []string{"score.weight"}, base.New)
				begins, err := Load(base.Config, base, LoadOptions{})
				require.NoError(t, err)
				for n, x := range headless {
					assert.Zero(t, largest(x.data), "%s was released", n)
				}
				whole, err := Load(c, zeroHead{NewRandom(c, 1)}, LoadOptions{})
				require.NoError(t, err)
				assert.Equal(t, whole.Digest(), begins.Digest())
			})
		}
	}
}

// zeroHead is a source whose score head is 0.
type zeroHead struct{ Source }

func (z zeroHead) ReadAt(dst []float32, name string, offset int) error {
	if name == "score.weight" {
		clear(dst)
		return nil
	}
	return z.Source.ReadAt(dst, name, offset)
}

func TestExpertsInOneTensorOfOtherShapesAreNamed(t *testing.T) {
	const gateUp, down = "model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj"
	for _, c := range []struct {
		name string
		edit func(s memorySource)
		want []string
	}{
		{"too few experts", func(s memorySource) { s[gateUp] = tensor{shape: []int{4, 140, 48}} }, []string{"unknown: " + gateUp, "missing: model.layers.0.block_sparse_moe.experts.0.w1.weight"}},
		{"an odd number of rows", func(s memorySource) { s[gateUp] = tensor{shape: []int{5, 141, 48}} }, []string{"unknown: " + gateUp}},
		{"other sizes", func(s memorySource) { s[gateUp] = tensor{shape: []int{5, 142, 48}} }, []string{"experts.4.w3.weight: shape [71 48], want [70 48]"}},
		{"two dimensions", func(s memorySource) { s[down] = tensor{shape: []int{240, 70}} }, []string{"unknown: " + down}},
		{"one of a layer's tensors", func(s memorySource) { delete(s, down) }, []string{"missing: model.layers.0.block_sparse_moe.experts.0.w2.weight"}},
		{"one expert beside them", func(s memorySource) {
			s["model.layers.0.block_sparse_moe.experts.0.w2.weight"] = tensor{shape: []int{48, 70}}
		}, []string{"unknown: " + down}},
		{"a router under both names", func(s memorySource) {
			s["model.layers.0.block_sparse_moe.gate.weight"] = tensor{shape: []int{5, 48}}
		}, []string{"unknown: model.layers.0.mlp.gate.weight"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := ParseConfig([]byte(configs["mixtral"]))
			require.NoError(t, err)
			src := stackExperts(t, config, NewRandom(config, 1))
			c.edit(src)
			_, err = Count(config, src)
			for _, w := range c.want {
				assert.ErrorContains(t, err, w)
			}
		})
	}
}

// TestExpertsEqualTransformersInRandomConfigurations has deploy/goldens/experts.py
// write models of random sizes and switches, and compares scores and gradients.
func TestExpertsEqualTransformersInRandomConfigurations(t *testing.T) {
	e := NewEngine(2)
	defer e.Close()
	for _, dir := range transformersModels(t, "experts.py") {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, "config.json"))
			require.NoError(t, err)
			for _, file := range []string{"model.safetensors", "stacked.safetensors"} {
				src := openSource(t, filepath.Join(dir, file))
				c, notes, err := Resolve(data, src, Settings{})
				require.NoError(t, err)
				assert.Empty(t, notes)
				m, err := Load(c, src, LoadOptions{})
				require.NoError(t, err)
				tr, err := NewTraining(c, src, 2, kernel.Float32)
				require.NoError(t, err)
				defer tr.Close()
				g := &learnGolden{golden: golden{config: c}}
				readJSON(t, filepath.Join(dir, "golden.json"), g)
				got, learned := make([]float32, len(g.Sequences)), make([]float32, len(g.Sequences))
				require.NoError(t, e.Score(m, got, g.inputs(m)))
				require.NoError(t, tr.Forward(learned, g.inputs(m), Pass{}))
				assert.Equal(t, got, learned)
				for i, want := range g.Scores {
					assert.InDelta(t, want, got[i], scoreTolerance, "sequence %d", i)
				}
				loss, d := bradleyTerry(learned, g.Pairs)
				assert.InDelta(t, g.Loss, loss, 5e-6)
				tr.Backward(d)
				compareGradients(t, tr, openSource(t, filepath.Join(dir, "grads.safetensors")))
			}
		})
	}
}

func TestExpertsHiddenStatesEqualTransformers(t *testing.T) {
	for _, name := range []string{"mixtral", "qwen2-moe", "qwen3-moe", "qwen3-moe-raw"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(goldens(t), "..", "goldens-families", name)
			if _, err := os.Stat(dir); err != nil {
				t.Skipf("no reference values: %v", err)
			}
			eachLevel(t, func(t *testing.T) {
				m, g := loadGolden(t, dir, "config.json", kernel.Float32)
				src := openSource(t, filepath.Join(dir, "hidden.safetensors"))
				ids, c := g.Sequences[g.Hidden.Sequence].IDs, m.Net.Hidden
				compared := 0
				m.States(ids, nil, func(layer int, x []float32, ld int) {
					name := fmt.Sprintf("hidden_states.%d", layer+1) // that of 0 is the embedding
					switch last := len(m.Net.Blocks) - 1; {
					case layer == last: // the references' last one is behind the norm
						return
					case layer > last:
						name = "last_hidden_state_f64"
					}
					want := make([]float32, len(ids)*c)
					require.NoError(t, src.ReadAt(want, name, 0))
					compared++
					for i := range ids {
						for j, w := range want[i*c:][:c] {
							require.InDelta(t, w, x[i*ld+j], scoreTolerance, "%s, token %d, element %d", name, i, j)
						}
					}
				})
				assert.Equal(t, len(m.Net.Blocks), compared)
			})
		})
	}
}

// TestExpertsDecodeWithTheBitsOfTraining continues texts, one token of each a step,
// with experts that see other rows than those of a whole text.
func TestExpertsDecodeWithTheBitsOfTraining(t *testing.T) {
	for _, name := range mixtures {
		t.Run(name, func(t *testing.T) {
			c, err := ParseConfig([]byte(configs[name]))
			require.NoError(t, err)
			src := NewRandom(c, 1)
			delete(src.shapes, "score.weight")
			src.names = slices.DeleteFunc(src.names, func(n string) bool { return n == "score.weight" })
			l, err := NewLanguage(c, src, true, 2, 0)
			require.NoError(t, err)
			defer l.Close()
			d, err := l.Decoder()
			require.NoError(t, err)
			defer d.Close()
			d.Slots = 3
			prompts, answers := [][]int32{{5}, {7, 8, 9, 10}}, make([][]int32, 6)
			logps := make([][]float64, len(answers))
			require.NoError(t, d.Decode(t.Context(), prompts, 3, 8, func(i int, logits []float32) (int32, bool) {
				p := cpu.NewCategorical(make([]float32, len(logits)), logits, 0.7)
				token := int32(nn.Mix(uint64(i), uint64(len(answers[i]))) % uint64(len(logits)))
				answers[i], logps[i] = append(answers[i], token), append(logps[i], p.LogProb(token))
				return token, len(answers[i]) == 2+i
			}))
			for i, a := range answers {
				assert.Equal(t, likelihoods(t, l, prompts[i/3], a, 0.7), logps[i], "answer %d", i)
			}
		})
	}
}
