package model

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// renamed is a source whose tensors have other names.
type renamed struct {
	Source
	from, to string
}

func (r renamed) Names() []string {
	var out []string
	for _, n := range r.Source.Names() {
		out = append(out, strings.Replace(n, r.from, r.to, 1))
	}
	return out
}

func (r renamed) Shape(name string) ([]int, bool) {
	return r.Source.Shape(strings.Replace(name, r.to, r.from, 1))
}

func (r renamed) ReadAt(dst []float32, name string, offset int) error {
	return r.Source.ReadAt(dst, strings.Replace(name, r.to, r.from, 1), offset)
}

// TestTheMeanOfACausalModelIsTheFamilysOwn scores all sequences at once, several
// times each and behind each other's beginnings: what is shared must not be lost of
// the mean.
func TestTheMeanOfACausalModelIsTheFamilysOwn(t *testing.T) {
	dir := filepath.Join(goldens(t), "..", "goldens-families", "oasst-pythia-mean")
	var golden struct {
		Sequences []struct {
			IDs []int32 `json:"input_ids"`
		} `json:"sequences"`
		Scores []float64 `json:"scores_f64"`
	}
	readJSON(t, filepath.Join(dir, "golden.json"), &golden)
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	config = []byte(strings.NewReplacer("GPTNeoXRewardModel", "GPTNeoXForSequenceClassification", "gpt_neox_reward_model", "gpt_neox").Replace(string(config)))
	src := renamed{openSource(t, filepath.Join(dir, "model.safetensors")), "out_proj.", "score."}
	c, _, err := Resolve(config, src, Settings{})
	require.NoError(t, err)
	assert.False(t, c.Averages(), "the key is of the class GPTNeoXRewardModel alone")
	require.NoError(t, c.Read(Reading{Pooling: PoolMean}))
	require.True(t, c.Averages())
	eachLevel(t, func(t *testing.T) {
		m, err := Load(c, src, LoadOptions{})
		require.NoError(t, err)
		engine := NewEngine(2)
		defer engine.Close()
		var seqs []Sequence
		for _, s := range golden.Sequences {
			seqs = append(seqs, Sequence{IDs: s.IDs, Read: []int32{int32(len(s.IDs) - 1)}}, Sequence{IDs: s.IDs, Read: []int32{int32(len(s.IDs) - 1)}})
			for n := 9; n < len(s.IDs); n += 7 { // beginnings
				seqs = append(seqs, Sequence{IDs: s.IDs[:n], Read: []int32{int32(n - 1)}})
			}
		}
		got, alone := make([]float32, len(seqs)), make([]float32, 1)
		require.NoError(t, engine.Score(m, got, seqs))
		for i, s := range seqs {
			require.NoError(t, engine.Score(m, alone, []Sequence{s}))
			assert.Equal(t, alone[0], got[i], "sequence %d", i)
			for j, g := range golden.Sequences {
				if slices.Equal(s.IDs, g.IDs) {
					assert.InDelta(t, golden.Scores[j], got[i], scoreTolerance)
				}
			}
		}
	})
}

// TestTheMeanIsOfWhatTheHeadReads compares with the states of single tokens, for
// bodies of every kind.
func TestTheMeanIsOfWhatTheHeadReads(t *testing.T) {
	engine := NewEngine(2)
	defer engine.Close()
	r := rand.New(rand.NewPCG(3, 4))
	for name, text := range configs {
		c, err := ParseConfig([]byte(text))
		require.NoError(t, err, name)
		if !c.Causal() {
			continue
		}
		require.NoError(t, c.Read(Reading{Pooling: PoolMean}))
		m, err := Load(c, NewRandom(c, 5), LoadOptions{})
		require.NoError(t, err)
		ids := make([]int32, 40)
		for i := range ids {
			ids[i] = int32(r.IntN(c.VocabSize))
		}
		src := NewRandom(c, 5)
		w := make([]float32, c.Hidden)
		require.NoError(t, src.ReadAt(w, c.HeadTensors()[0], 0))
		want := 0.0
		m.States(ids, nil, func(layer int, x []float32, ld int) {
			if layer < c.Layers {
				return
			}
			for i := range ids {
				for j := range w {
					want += float64(x[i*ld+j]) * float64(w[j]) / float64(len(ids))
				}
			}
		})
		got := make([]float32, 1)
		require.NoError(t, engine.Score(m, got, []Sequence{{IDs: ids, Read: []int32{int32(len(ids) - 1)}}}))
		assert.InDelta(t, want, got[0], 1e-4, name)
	}
}

func TestClassesAndTensorsSayHowTextIsRead(t *testing.T) {
	base := `"model_type":"llama"`
	for _, c := range []struct {
		name, config string
		tensors      []string
		want         Reading
		err          string
	}{
		{name: "of transformers", config: `"architectures":["LlamaForSequenceClassification"],` + base},
		{name: "OpenRLHF", config: `"architectures":["RewardModel"],` + base, want: Reading{PoolLast, EndOpenRLHF, false}},
		{name: "TRL's value head", config: `"architectures":["Qwen2ForCausalLM"]`, want: Reading{Pooling: PoolLast}},
		{name: "GPT-2's", config: `"architectures":["GPT2LMHeadModel"]`, want: Reading{Pooling: PoolLast}},
		{name: "of a model that sees", config: `"architectures":["Qwen2_5_VLForConditionalGeneration"]`, want: Reading{Pooling: PoolLast}},
		{name: "a head for tokens", config: `"architectures":["LlamaForTokenClassification"]`, want: Reading{Pooling: PoolLast}},
		{name: "InternLM2", config: `"architectures":["InternLM2ForRewardModel"],"reward_token_id":92527`, want: Reading{Pooling: "append:92527"}},
		{name: "InternLM2 without its token", config: `"architectures":["InternLM2ForRewardModel"]`},
		{name: "InternLM2 with none", config: `"architectures":["InternLM2ForRewardModel"],"reward_token_id":-1`, err: "reward_token_id: -1"},
		{name: "Athene", config: `"architectures":["CustomAutoModelForSequenceClassification"],` + base, want: Reading{Pooling: "append:128003", DoubleBOS: true}},
		{name: "Starling", config: `"architectures":["LlamaForSequenceClassification"],` + base, tensors: []string{"transformer.embed_tokens.weight", "v_head.weight"}, want: Reading{Pooling: "before:0"}},
		{name: "another v_head", config: `"architectures":["LlamaForSequenceClassification"],` + base, tensors: []string{"model.embed_tokens.weight", "v_head.weight"}},
		{name: "ArmoRM", config: `"architectures":["LlamaForRewardModelWithGating"],` + base, want: Reading{Pooling: "hf_legacy+pattern:128009,128006,78191,128007,271"}},
		{name: "URM", config: `"architectures":["LlamaForSequenceClassification"],` + base, tensors: []string{"weights.fc.0.weight"}, want: Reading{Pooling: PoolHFLegacy}},
		{name: "Open-Assistant", config: `"architectures":["GPTNeoXRewardModel"],"pooling":"last"`, want: Reading{Pooling: PoolLast}},
		{name: "Open-Assistant's mean", config: `"architectures":["GPTNeoXRewardModel"],"pooling":"mean"`, want: Reading{Pooling: PoolMean}},
		{name: "Open-Assistant's other", config: `"architectures":["GPTNeoXRewardModel"],"pooling":"max"`, err: `pooling: "max", want last or mean`},
		{name: "no class", config: base},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := decodeConfig([]byte("{" + c.config + "}"))
			require.NoError(t, err)
			src := &Random{shapes: map[string][]int{}}
			for _, n := range c.tensors {
				src.shapes[n] = []int{1, 1}
			}
			got, err := raw.reading(src)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestWhatTextIsReadAsIsCheckedAgainstTheModel(t *testing.T) {
	llama, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	bert, err := ParseConfig([]byte(configs["bert"]))
	require.NoError(t, err)
	for _, c := range []struct {
		config *Config
		set    Reading
		err    string
	}{
		{llama, Reading{Pooling: "append:99999999"}, "pooling append:99999999: the model has the token ids 0 to"},
		{llama, Reading{Pooling: "before:3", Ending: EndEOS}, ""},
		{llama, Reading{Pooling: "at:-99999999"}, ""},
		{bert, Reading{Pooling: PoolMean}, "scores its first token"},
		{bert, Reading{Pooling: PoolFirst}, ""},
		{bert, Reading{Ending: EndOpenRLHF}, "end as its tokenizer has it"},
	} {
		own := *c.config
		err := own.Read(c.set)
		if c.err == "" {
			assert.NoError(t, err)
			continue
		}
		assert.ErrorContains(t, err, c.err)
	}
	before, err := json.Marshal(llama)
	require.NoError(t, err)
	own := *llama
	require.NoError(t, own.Read(Reading{Pooling: "before:3", Ending: EndEOS, DoubleBOS: true}))
	after, err := json.Marshal(&own)
	require.NoError(t, err)
	assert.Equal(t, before, after, "what weights do not know is no part of the function")
}

// TestRulesReadTheTokensThatTheFamiliesOwnCodeReads holds positions alone, which no
// head has a part in.
func TestRulesReadTheTokensThatTheFamiliesOwnCodeReads(t *testing.T) {
	for name, rule := range map[string]Pooling{
		"armorm": "hf_legacy+pattern:190,191,17,192,33", "qrm": "hf_legacy+pattern:190,191,17,192,33", "athene": "append:195", "starling-34b": "before:0",
		"inform": PoolHFLegacy, "urm": PoolHFLegacy, "ldl-reward": PoolHFLegacy, "eurus": PoolLast, "qwen2-rm": PoolLast, "oasst-pythia": PoolLast,
		"rlhflow-prm": "at:-3", "qwen-prm": "every:193", "math-shepherd": "every:129",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(goldens(t), "..", "goldens-families", name)
			var golden struct {
				Sequences []struct {
					IDs []int32 `json:"input_ids"`
				} `json:"sequences"`
				At     []int32   `json:"scored_positions"`
				Gate   []int32   `json:"gating_positions"`
				Steps  [][]int32 `json:"step_positions"`
				Inside *struct {
					IDs []int32 `json:"input_ids"`
					At  int32   `json:"scored_position"`
				} `json:"pad_id_inside"`
			}
			readJSON(t, filepath.Join(dir, "golden.json"), &golden)
			data, err := os.ReadFile(filepath.Join(dir, "config.json"))
			require.NoError(t, err)
			raw, err := decodeConfig(data)
			require.NoError(t, err)
			require.True(t, golden.At != nil || golden.Steps != nil)
			for i, s := range golden.Sequences {
				var want []int32
				if golden.At != nil {
					want = append(want, golden.At[i])
				}
				if golden.Gate != nil {
					want = append(want, golden.Gate[i])
				}
				if golden.Steps != nil {
					want = append(want, golden.Steps[i]...)
				}
				read, missing := rule.Read(s.IDs, raw.PadTokenID, 0)
				assert.Equal(t, want, read, "sequence %d", i)
				assert.Equal(t, len(want) == 0, missing != "", "sequence %d", i)
			}
			if in := golden.Inside; in != nil {
				read, _ := rule.Read(in.IDs, raw.PadTokenID, 0)
				require.NotEmpty(t, read)
				assert.Equal(t, in.At, read[0])
			}
		})
	}
}

// TestTurnsOfAConversationAreReadInOnePass holds that the rule for RLHFlow's process
// reward models finds in the whole conversation what their code finds at the third
// token from the end of each of its beginnings.
func TestTurnsOfAConversationAreReadInOnePass(t *testing.T) {
	var golden struct {
		Sequences []struct {
			IDs []int32 `json:"input_ids"`
		} `json:"sequences"`
		At []int32 `json:"scored_positions"`
	}
	readJSON(t, filepath.Join(goldens(t), "..", "goldens-families", "rlhflow-prm", "golden.json"), &golden)
	last := golden.Sequences[len(golden.Sequences)-1].IDs
	read, _ := Pooling("every:33,48,190").Read(last, nil, 0)
	assert.Equal(t, golden.At, read)
	assert.Equal(t, "every:33,48,190: each with the id 33 in front of 48 190", Pooling("every:33,48,190").Words())
}
