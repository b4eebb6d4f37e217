package model

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
)

// configs are small models of every architecture whose sizes are no multiples
// of a panel or of a row block.
var configs = map[string]string{
	"llama":      `{"architectures":["LlamaForSequenceClassification"],"hidden_size":40,"intermediate_size":75,"num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":90,"max_position_embeddings":4096,"rms_norm_eps":1e-5,"pad_token_id":0,"id2label":{"0":"LABEL_0"}}`,
	"llama32":    `{"architectures":["LlamaForSequenceClassification"],"hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":32,"vocab_size":90,"max_position_embeddings":4096,"pad_token_id":0,"id2label":{"0":"LABEL_0"}}`,
	"mistral":    `{"architectures":["MistralForSequenceClassification"],"hidden_size":48,"intermediate_size":64,"num_hidden_layers":2,"num_attention_heads":3,"num_key_value_heads":1,"vocab_size":90,"max_position_embeddings":4096,"sliding_window":37,"id2label":{"0":"LABEL_0"}}`,
	"qwen3":      `{"architectures":["Qwen3ForSequenceClassification"],"hidden_size":36,"intermediate_size":50,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":20,"vocab_size":90,"max_position_embeddings":4096,"id2label":{"0":"LABEL_0"}}`,
	"gpt_neox":   `{"architectures":["GPTNeoXForSequenceClassification"],"hidden_size":48,"intermediate_size":70,"num_hidden_layers":2,"num_attention_heads":3,"vocab_size":90,"max_position_embeddings":4096,"rotary_pct":0.25,"id2label":{"0":"LABEL_0"}}`,
	"gemma2":     `{"architectures":["Gemma2ForSequenceClassification"],"hidden_size":48,"intermediate_size":64,"num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":16,"vocab_size":90,"max_position_embeddings":4096,"sliding_window":37,"query_pre_attn_scalar":24,"attn_logit_softcapping":2,"id2label":{"0":"LABEL_0"}}`,
	"deberta":    `{"architectures":["DebertaV2ForSequenceClassification"],"hidden_size":40,"intermediate_size":70,"num_hidden_layers":3,"num_attention_heads":4,"vocab_size":90,"max_position_embeddings":512,"relative_attention":true,"pos_att_type":"p2c|c2p","share_att_key":true,"norm_rel_ebd":"layer_norm","position_buckets":12,"position_biased_input":false,"type_vocab_size":0,"conv_kernel_size":5,"id2label":{"0":"LABEL_0"}}`,
	"deberta2":   `{"architectures":["DebertaV2ForSequenceClassification"],"hidden_size":64,"intermediate_size":70,"num_hidden_layers":2,"num_attention_heads":2,"vocab_size":90,"max_position_embeddings":512,"relative_attention":true,"pos_att_type":["c2p","p2c"],"max_relative_positions":50,"type_vocab_size":2,"id2label":{"0":"LABEL_0"}}`,
	"modernbert": `{"architectures":["ModernBertForSequenceClassification"],"hidden_size":40,"intermediate_size":70,"num_hidden_layers":4,"num_attention_heads":2,"vocab_size":90,"max_position_embeddings":512,"local_attention":21,"id2label":{"0":"LABEL_0"}}`,
	"averaged":   `{"architectures":["ModernBertForSequenceClassification"],"hidden_size":64,"intermediate_size":70,"num_hidden_layers":2,"num_attention_heads":2,"vocab_size":90,"max_position_embeddings":512,"local_attention":40,"global_attn_every_n_layers":2,"classifier_pooling":"mean","norm_bias":true,"mlp_bias":true,"attention_bias":true,"classifier_bias":true,"hidden_activation":"silu","id2label":{"0":"LABEL_0"}}`,
	"bert":       `{"architectures":["BertForSequenceClassification"],"hidden_size":40,"intermediate_size":70,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":90,"max_position_embeddings":512,"id2label":{"0":"LABEL_0"}}`,
	"gpt2":       `{"architectures":["GPT2ForSequenceClassification"],"n_embd":40,"n_inner":70,"n_layer":3,"n_head":4,"vocab_size":90,"n_positions":4096,"scale_attn_by_inverse_layer_idx":true,"id2label":{"0":"LABEL_0"}}`,
	"distilbert": `{"architectures":["DistilBertForSequenceClassification"],"dim":40,"hidden_dim":70,"n_layers":2,"n_heads":4,"vocab_size":90,"max_position_embeddings":512,"activation":"relu","id2label":{"0":"LABEL_0"}}`,
	"electra":    `{"architectures":["ElectraForSequenceClassification"],"embedding_size":20,"hidden_size":40,"intermediate_size":70,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":90,"max_position_embeddings":512,"id2label":{"0":"LABEL_0"}}`,
	"albert":     `{"architectures":["AlbertForSequenceClassification"],"embedding_size":20,"hidden_size":40,"intermediate_size":70,"num_hidden_layers":5,"num_hidden_groups":2,"inner_group_num":2,"num_attention_heads":4,"vocab_size":90,"max_position_embeddings":512,"id2label":{"0":"LABEL_0"}}`,
	"roberta":    `{"architectures":["RobertaForSequenceClassification"],"hidden_size":40,"intermediate_size":70,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":90,"max_position_embeddings":514,"type_vocab_size":1,"pad_token_id":1,"id2label":{"0":"LABEL_0"}}`,
	"dynamic":    `{"architectures":["LlamaForSequenceClassification"],"hidden_size":40,"intermediate_size":75,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":90,"max_position_embeddings":25,"rope_scaling":{"type":"dynamic","factor":2},"id2label":{"0":"LABEL_0"}}`,
	"longrope":   `{"architectures":["LlamaForSequenceClassification"],"hidden_size":40,"intermediate_size":75,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":90,"max_position_embeddings":200,"original_max_position_embeddings":30,"rope_scaling":{"type":"longrope","short_factor":[1,1.1,1.2,1.3,1.4],"long_factor":[1,2,3,4,5]},"id2label":{"0":"LABEL_0"}}`,
	"gemma3":     `{"architectures":["Gemma3TextForSequenceClassification"],"hidden_size":48,"intermediate_size":64,"num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":16,"vocab_size":90,"max_position_embeddings":4096,"sliding_window":37,"sliding_window_pattern":2,"rope_scaling":{"rope_type":"linear","factor":8},"query_pre_attn_scalar":24,"id2label":{"0":"LABEL_0"}}`,
	"phi3":       `{"architectures":["Phi3ForSequenceClassification"],"hidden_size":40,"intermediate_size":75,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":90,"max_position_embeddings":200,"original_max_position_embeddings":30,"partial_rotary_factor":0.8,"sliding_window":37,"rope_scaling":{"type":"longrope","short_factor":[1,1.1,1.2,1.3],"long_factor":[1,2,3,4]},"id2label":{"0":"LABEL_0"}}`,
	"internlm":   `{"architectures":["InternLM2ForRewardModel"],"hidden_size":48,"intermediate_size":70,"num_hidden_layers":2,"num_attention_heads":6,"num_key_value_heads":2,"vocab_size":90,"max_position_embeddings":50,"rope_scaling":{"type":"dynamic","factor":2},"num_labels":1}`,
	"mixtral":    `{"architectures":["MixtralForSequenceClassification"],"hidden_size":48,"intermediate_size":70,"num_hidden_layers":3,"num_attention_heads":3,"num_key_value_heads":1,"vocab_size":90,"max_position_embeddings":4096,"sliding_window":37,"num_local_experts":5,"id2label":{"0":"LABEL_0"}}`,
	"qwen2moe":   `{"architectures":["Qwen2MoeForSequenceClassification"],"hidden_size":40,"intermediate_size":75,"num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":90,"max_position_embeddings":4096,"num_experts":7,"num_experts_per_tok":3,"moe_intermediate_size":50,"shared_expert_intermediate_size":33,"mlp_only_layers":[1],"id2label":{"0":"LABEL_0"}}`,
	"qwen3moe":   `{"architectures":["Qwen3MoeForSequenceClassification"],"hidden_size":36,"intermediate_size":50,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":20,"vocab_size":90,"max_position_embeddings":4096,"num_experts":40,"num_experts_per_tok":4,"moe_intermediate_size":20,"norm_topk_prob":true,"id2label":{"0":"LABEL_0"}}`,
	"olmo2":      `{"architectures":["Olmo2ForSequenceClassification"],"hidden_size":40,"intermediate_size":75,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":90,"max_position_embeddings":4096,"id2label":{"0":"LABEL_0"}}`,
}

func randomModel(t testing.TB, config string, d kernel.DType) *cpu.Model {
	c, err := ParseConfig([]byte(config))
	require.NoError(t, err)
	m, err := Load(c, NewRandom(c, 1), LoadOptions{DType: d, Workers: 2})
	require.NoError(t, err)
	return m
}

// dtypes are the number formats that every property must hold in.
var dtypes = []kernel.DType{kernel.Float32, kernel.BFloat16, kernel.Int8}

// sequences returns n random inputs of up to longest tokens; most of them share
// a prefix with others, some are equal.
func sequences(r *rand.Rand, m *cpu.Model, n, longest int) []Sequence {
	ids := func(n int) []int32 {
		s := make([]int32, n)
		for i := range s {
			s[i] = 1 + r.Int32N(int32(m.Net.Vocab-1))
		}
		return s
	}
	prefixes := [][]int32{nil, ids(longest / 2), ids(longest / 3), ids(9)}
	var out []Sequence
	for range n {
		if len(out) > 0 && r.IntN(6) == 0 {
			out = append(out, out[r.IntN(len(out))])
			continue
		}
		p := prefixes[r.IntN(len(prefixes))]
		s := append(append([]int32{}, p...), ids(1+r.IntN(longest-len(p)))...)
		if r.IntN(8) == 0 && p != nil {
			s = p // the prefix itself
		}
		q := Sequence{IDs: s, Read: []int32{int32(len(s) - 1)}}
		if !m.Causal() {
			q.Read[0] = 0
		}
		if types := m.Net.Types; types > 0 {
			q.Types = make([]int32, len(s))
			for i := range q.Types {
				q.Types[i] = int32(types * i / len(s))
			}
		}
		out = append(out, q)
	}
	return out
}

func TestRewardDependsOnItsSequenceAloneToTheBit(t *testing.T) {
	alone, team := NewEngine(1), NewEngine(3)
	defer alone.Close()
	defer team.Close()
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				for _, d := range dtypes {
					t.Run(d.String(), func(t *testing.T) {
						testInvariance(t, randomModel(t, config, d), alone, team)
					})
				}
			})
		})
	}
}

func testInvariance(t *testing.T, m *cpu.Model, alone, team CPU) {
	r := rand.New(rand.NewPCG(1, 2))
	n, longest := 12, 170
	if kernel.Active() == kernel.Generic { // slow, and simple
		n, longest = 6, 60
	}
	if testing.Short() { // emulated, or under the race detector
		n, longest = 6, 50
	}
	seqs := sequences(r, m, n, longest)
	want := make([]float32, len(seqs))
	for i := range seqs { // each alone, by one worker
		require.NoError(t, alone.Score(m, want[i:i+1], seqs[i:i+1]))
	}
	for e, sizes := range map[CPU][]int{alone: {len(seqs)}, team: {1, len(seqs) / 3, len(seqs)}} {
		for _, size := range sizes {
			order := r.Perm(len(seqs))
			for at := 0; at < len(seqs); at += size {
				part := order[at:min(at+size, len(seqs))]
				batch := make([]Sequence, len(part))
				got := make([]float32, len(part))
				for i, j := range part {
					batch[i] = seqs[j]
				}
				require.NoError(t, e.Score(m, got, batch))
				for i, j := range part {
					require.Equal(t, math.Float32bits(want[j]), math.Float32bits(got[i]),
						"sequence %d: %v alone, %v in a batch of %d by %d workers", j, want[j], got[i], size, e.Workers())
				}
			}
		}
	}
}

func TestCPULevelsAgree(t *testing.T) {
	e := NewEngine(1)
	defer e.Close()
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			m := randomModel(t, config, kernel.Float32)
			seqs := sequences(rand.New(rand.NewPCG(3, 4)), m, 12, 100)
			var want []float32
			for _, l := range kernel.Available() {
				restore := kernel.SetLevel(l)
				got := make([]float32, len(seqs))
				require.NoError(t, e.Score(m, got, seqs))
				restore()
				if want == nil {
					want = got
				}
				for i := range got {
					// Two orders of summation of numbers of order one.
					assert.InDelta(t, want[i], got[i], 1e-5*max(1, math.Abs(float64(want[i]))), "%v, sequence %d", l, i)
				}
			}
		})
	}
}

func TestScoringAllocatesNothing(t *testing.T) {
	runs := 20
	if testing.Short() {
		runs = 6
	}
	e := NewEngine(2)
	defer e.Close()
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			m := randomModel(t, config, kernel.Float32)
			seqs := sequences(rand.New(rand.NewPCG(5, 6)), m, 30, 150)
			dst := make([]float32, len(seqs))
			n := testing.AllocsPerRun(runs, func() {
				if err := e.Score(m, dst, seqs); err != nil {
					t.Fatal(err)
				}
			})
			assert.Zero(t, n)
		})
	}
}

func TestSequencesThatCannotBeScored(t *testing.T) {
	e := NewEngine(1)
	defer e.Close()
	m, b := randomModel(t, configs["llama"], kernel.Float32), randomModel(t, configs["bert"], kernel.Float32)
	for _, c := range []struct {
		name string
		m    *cpu.Model
		s    Sequence
		want string
	}{
		{"no token", m, Sequence{}, "no token"},
		{"too long", m, Sequence{IDs: make([]int32, 5000), Read: []int32{0}}, "5000 tokens, the context holds 4096"},
		{"id beyond the vocabulary", m, Sequence{IDs: []int32{1, 90}, Read: []int32{0}}, "token id 90 at position 1"},
		{"negative id", m, Sequence{IDs: []int32{-1}, Read: []int32{0}}, "token id -1 at position 0"},
		{"scored token outside", m, Sequence{IDs: []int32{1}, Read: []int32{1}}, "scored token 1 of 1"},
		{"no read token", m, Sequence{IDs: []int32{1}}, "no token is read"},
		{"two read tokens of one output", m, Sequence{IDs: []int32{1, 2}, Read: []int32{0, 1}}, "2 tokens are read"},
		{"every token of an encoder", b, Sequence{IDs: []int32{1, 2}, Read: []int32{0}, Every: true}, "see those behind them"},
		{"types for a decoder", m, Sequence{IDs: []int32{1}, Types: []int32{0}, Read: []int32{0}}, "token types"},
		{"types of another length", b, Sequence{IDs: []int32{1, 2}, Types: []int32{0}, Read: []int32{0}}, "1 token types for 2 tokens"},
		{"unknown type", b, Sequence{IDs: []int32{1}, Types: []int32{2}, Read: []int32{0}}, "token type 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := e.Score(c.m, make([]float32, 2), []Sequence{{IDs: []int32{1}, Read: []int32{0}}, c.s})
			require.ErrorContains(t, err, "sequence 1: ")
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestBindingNamesEveryTensorThatDiffers(t *testing.T) {
	c, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	src := NewRandom(c, 1)
	delete(src.shapes, "score.weight")
	delete(src.shapes, "model.layers.1.mlp.up_proj.weight")
	src.names = append(src.names, "lm_head.weight", "model.extra.weight", "model.layers.0.self_attn.rotary_emb.inv_freq")
	src.shapes["model.norm.weight"] = []int{41}
	_, err = Load(c, src, LoadOptions{})
	var e *BindingError
	require.ErrorAs(t, err, &e)
	assert.ElementsMatch(t, []string{"score.weight", "model.layers.1.mlp.up_proj.weight"}, e.Missing)
	assert.Equal(t, []string{"model.extra.weight"}, e.Unknown, "rotary tables are no weights, and an output layer is left out")
	assert.Equal(t, []string{"model.norm.weight: shape [41], want [40]"}, e.Shapes)
	assert.ErrorContains(t, err, "without its score head")
}

// brokenSource has one value that is not a number.
type brokenSource struct{ *Random }

func (b brokenSource) ReadAt(dst []float32, name string, offset int) error {
	err := b.Random.ReadAt(dst, name, offset)
	if name == "model.layers.2.mlp.down_proj.weight" {
		dst[7] = float32(math.NaN())
	}
	return err
}

func TestLoadRefusesWeightsThatAreNotFinite(t *testing.T) {
	c, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	_, err = Load(c, brokenSource{NewRandom(c, 1)}, LoadOptions{Workers: 4})
	require.ErrorIs(t, err, ErrNotFinite)
	assert.ErrorContains(t, err, `tensor "model.layers.2.mlp.down_proj.weight": element 7 is NaN`)
}

func TestDigestNamesTheWeightsWhateverTheReadingOrder(t *testing.T) {
	c, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	load := func(seed uint64, workers int) string {
		m, err := Load(c, NewRandom(c, seed), LoadOptions{Workers: workers})
		require.NoError(t, err)
		return m.Digest()
	}
	assert.NotEqual(t, load(1, 1), load(2, 1))
	for _, l := range kernel.Available() {
		restore := kernel.SetLevel(l)
		for _, workers := range []int{1, 2, 7, 64} { // which pieces are hashed together is different in each
			assert.Equal(t, "sha256:ed5f9280736c81f9e107fc1b197db61cbc16c95f983e7a11a0ac3fba9e4d5373", load(1, workers), "%v, %d workers", l, workers)
		}
		restore()
	}
}

func TestConfigProblemsAreReportedTogether(t *testing.T) {
	edit := func(changes map[string]any) []byte {
		var c map[string]any
		require.NoError(t, json.Unmarshal([]byte(configs["llama"]), &c))
		for k, v := range changes {
			if v == nil {
				delete(c, k)
			} else {
				c[k] = v
			}
		}
		data, err := json.Marshal(c)
		require.NoError(t, err)
		return data
	}
	for _, c := range []struct {
		name    string
		changes map[string]any
		want    []string
	}{
		{"unknown architecture", map[string]any{"architectures": []string{"T5Model"}}, []string{`"T5Model"`, "LlamaForSequenceClassification"}},
		{"language model", map[string]any{"architectures": []string{"LlamaForCausalLM"}}, []string{`"LlamaForCausalLM"`}},
		{"model type of another class", map[string]any{"model_type": "qwen2"}, []string{`model_type: "qwen2", want "llama"`}},
		{"missing sizes", map[string]any{"hidden_size": nil, "vocab_size": 0}, []string{"hidden_size: 0", "vocab_size: 0"}},
		{"absurd size", map[string]any{"intermediate_size": 1 << 40}, []string{"intermediate_size: 1099511627776"}},
		{"two labels", map[string]any{"id2label": map[string]string{"0": "a", "1": "b"}, "hidden_act": "mish"}, []string{"num_labels: 2", `hidden_act: "mish"`}},
		{"no labels", map[string]any{"id2label": nil}, []string{"num_labels: 2"}},
		{"heads that do not divide", map[string]any{"num_key_value_heads": 3}, []string{"no multiple of num_key_value_heads 3"}},
		{"unknown rope", map[string]any{"rope_scaling": map[string]any{"rope_type": "spiral"}}, []string{`rope_type "spiral" is not supported`}},
		{"dynamic rope without a factor", map[string]any{"rope_scaling": map[string]any{"rope_type": "dynamic"}}, []string{"factor: 0, want at least 1"}},
		{"yarn whose betas cross", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4, "beta_fast": 1, "beta_slow": 2}}, []string{"0 < beta_slow < beta_fast"}},
		{"yarn of a magnitude of zero", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4, "attention_factor": 0}}, []string{"attention_factor: 0"}},
		{"longrope of too few factors", map[string]any{"rope_scaling": map[string]any{"rope_type": "longrope", "short_factor": []int{1}}}, []string{"short_factor: 1 numbers for 5 rotated pairs"}},
		{"longrope of a negative factor", map[string]any{"rope_scaling": map[string]any{"rope_type": "su", "short_factor": []int{1, 1, 1, 1, 1}, "long_factor": []int{1, 1, -1, 1, 1}}}, []string{"long_factor: -1"}},
		{"broken llama3 rope", map[string]any{"rope_parameters": map[string]any{"rope_type": "llama3", "factor": 8}}, []string{"llama3 scaling"}},
		{"negative epsilon", map[string]any{"rms_norm_eps": -1}, []string{"norm epsilon"}},
		{"zero theta", map[string]any{"rope_theta": 0}, []string{"rope_theta"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseConfig(edit(c.changes))
			for _, w := range c.want {
				assert.ErrorContains(t, err, w)
			}
		})
	}
	_, err := ParseConfig([]byte("{"))
	assert.ErrorContains(t, err, "config.json: ")
}

// BenchmarkScore reports tokens a second at the best level here and at the next.
func BenchmarkScore(b *testing.B) {
	levels := kernel.Available()
	for _, c := range []struct {
		name, config string
	}{
		{"minilm6x384", `{"architectures":["BertForSequenceClassification"],"hidden_size":384,"intermediate_size":1536,"num_hidden_layers":6,"num_attention_heads":12,"vocab_size":1000,"max_position_embeddings":512,"id2label":{"0":"LABEL_0"}}`},
		{"dec12x768", `{"architectures":["LlamaForSequenceClassification"],"hidden_size":768,"intermediate_size":2048,"num_hidden_layers":12,"num_attention_heads":12,"vocab_size":1000,"max_position_embeddings":4096,"id2label":{"0":"LABEL_0"}}`},
	} {
		for _, d := range dtypes {
			b.Run(c.name+"/"+d.String(), func(b *testing.B) {
				m := randomModel(b, c.config, d)
				for _, l := range levels[max(0, len(levels)-2):] {
					b.Run(l.String(), func(b *testing.B) {
						defer kernel.SetLevel(l)()
						benchmarkScore(b, m)
					})
				}
			})
		}
	}
}

func benchmarkScore(b *testing.B, m *cpu.Model) {
	for _, threads := range []int{1, 2} {
		for _, shape := range [][2]int{{32, 128}, {8, 512}, {1, 128}} {
			b.Run(fmt.Sprintf("threads=%d/%dx%d", threads, shape[0], shape[1]), func(b *testing.B) {
				e := NewEngine(threads)
				defer e.Close()
				r := rand.New(rand.NewPCG(7, 8))
				seqs := make([]Sequence, shape[0])
				for i := range seqs {
					seqs[i].IDs = make([]int32, shape[1])
					for j := range seqs[i].IDs {
						seqs[i].IDs[j] = r.Int32N(1000)
					}
					seqs[i].Read = []int32{0}
					if m.Causal() {
						seqs[i].Read[0] = int32(shape[1] - 1)
					}
				}
				dst := make([]float32, len(seqs))
				for b.Loop() {
					if err := e.Score(m, dst, seqs); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*shape[0]*shape[1])/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}
