package reward_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/warm/reward"
)

// familyCase is a way to read a directory of the reference material, with the settings that its files do not tell.
type familyCase struct {
	reward.Config
	under string // the directory in it that is opened
	key   string // of its golden.json; "" is scores_f64
	built bool   // steps are where the family's own code puts their marks, and are not found again in token ids
}

// asItIs is a directory that tells all.
var asItIs = []familyCase{{}}

func set(c reward.Config) []familyCase { return []familyCase{{Config: c}} }

// familyCases are all directories of the reference material; nil is one of conversations. Tokens that a public model's
// code names are beyond the vocabulary of these: golden.json has theirs.
var familyCases = map[string][]familyCase{
	"albert": asItIs, "electra": asItIs, "xlm-roberta": asItIs,
	"gemma2-scalar": asItIs, "gemma3-bf16": asItIs, "gemma3-linear": asItIs, "gemma3-text": asItIs,
	"internlm2": asItIs, "internlm2-bias": asItIs, "internlm2-dynamic": asItIs,
	"llama-dynamic": asItIs, "llama-linear": asItIs, "llama-llama3": asItIs, "llama-longrope": asItIs, "llama-yarn": asItIs, "llama-yarn-betas": asItIs,
	"mistral-headdim": asItIs, "mixtral": asItIs, "olmo2": asItIs, "phi3-longrope": asItIs, "phi3-partial": asItIs, "phi3-window": asItIs,
	"qwen2-moe": asItIs, "qwen2-window-on": asItIs, "qwen2-yarn": asItIs, "qwen3-moe": asItIs, "qwen3-moe-raw": asItIs, "qwen3-window-off": asItIs,

	"armorm": set(reward.Config{Pooling: "hf_legacy+pattern:190,191,17,192,33"}),
	"qrm":    set(reward.Config{Pooling: "hf_legacy+pattern:190,191,17,192,33"}),
	"urm":    asItIs, "ldl-reward": asItIs,
	"grm-linear": asItIs, "grm-sftreg": asItIs, "inform": asItIs, "qwen2-rm": asItIs, "eurus": asItIs, "ultrarm": asItIs, "starling-34b": asItIs,
	"athene":        set(reward.Config{Pooling: "append:195"}),
	"beaver-reward": {{}, {Config: reward.Config{Output: "raw"}, key: "scores_raw_f64"}},
	"beaver-cost": {{}, {Config: reward.Config{Output: "raw"}, key: "scores_raw_f64"},
		{Config: reward.Config{Output: "-0"}, key: "scores_for_ranking_f64"}},
	"oasst-pythia": asItIs, "oasst-pythia-mean": asItIs,
	"openrlhf-value-head": asItIs, "openrlhf-bf16": {{}, {Config: reward.Config{Output: "normalized"}, key: "scores_normalized_f64"}},
	"openrlhf-normalized": {{}, {Config: reward.Config{Output: "normalized"}, key: "scores_normalized_f64"}},
	"llamafactory-full":   asItIs, "llamafactory-lora": {{under: "adapter"}}, "trl-value-head": asItIs,
	"score-bias": asItIs, "token-classification": asItIs,
	"num-labels-5":  set(reward.Config{Output: "0"}), // the others are its attributes
	"nemotron-row0": set(reward.Config{Head: "lm_head[0]"}),
	"yes-no": {{Config: reward.Config{Head: "lm_head[77]-lm_head[131]"}},
		{Config: reward.Config{Head: "lm_head[77]-lm_head[131]", Output: "sigmoid"}, key: "probability_f64"},
		{Config: reward.Config{Head: "lm_head[77,131]", Output: "softmax(0)"}, key: "probability_f64"}},

	"qwen-prm":      set(reward.Config{Pooling: "every:193"}),
	"skywork-prm":   {{Config: reward.Config{Pooling: "lines:97"}, built: true}},
	"math-shepherd": set(reward.Config{Head: "lm_head[48,87]", Output: "softmax(0)", Pooling: "every:129"}),
	"rlhflow-prm":   set(reward.Config{Head: "lm_head[48,87]", Output: "softmax(0)", Pooling: "at:-3"}),

	"template-gemma2": nil, "template-hermes-tool": nil, "template-internlm2": nil, "template-llama3-1": nil, "template-qwen2-5": nil, "template-qwen3": nil,
	"v5-style-llama": nil, "v5-style-qwen3": nil,
}

// familyGolden is what a family's own code makes of token ids.
type familyGolden struct {
	Sequences []struct {
		IDs   []int32 `json:"input_ids"`
		Types []int32 `json:"token_type_ids"`
	} `json:"sequences"`
	Scores     []json.RawMessage `json:"scores_f64"` // a number, or a list of steps or outputs
	At         []int32           `json:"scored_positions"`
	Gate       []int32           `json:"gating_positions"`
	Steps      [][]int32         `json:"step_positions"`
	Rewards    [][]float64       `json:"rewards_f64"`
	Every      []float64         `json:"score_at_every_position_f64"`
	AllTokens  []json.RawMessage `json:"all_tokens_f64"` // a number where there is one token
	Padded     []json.RawMessage `json:"scores_padded_batch_f64"`
	LeftPadded []json.RawMessage `json:"scores_left_padded_batch_f64"`
	Same       *bool             `json:"padded_equals_single"` // nil is true
	Hidden     struct {
		Sequence int `json:"sequence"`
	} `json:"hidden"`
	Inside *struct {
		IDs   []int32   `json:"input_ids"`
		At    int32     `json:"scored_position"`
		Score []float64 `json:"score_f64"`
	} `json:"pad_id_inside"`
	F32 struct {
		Scores float64 `json:"scores_max_abs"`
	} `json:"f32_vs_f64"`
}

// TestEveryFamilyScoresAsItsOwnCode goes over every directory of the reference material: from it, and from token ids or
// conversations, to the rewards, attributes, steps and trajectories of the family's own code, alone and packed with texts of
// other lengths, against that code's padded batches too. With WARM_TEST_CARD the CUDA engine scores, on a card or in the
// interpreter of its kernels. The tolerance is the goldens' for float32, or ten times what two float32
// runs differ by. With -v it prints the largest difference of each.
func TestEveryFamilyScoresAsItsOwnCode(t *testing.T) {
	var any struct{}
	entries, err := os.ReadDir(filepath.Dir(family(t, "albert", &any)))
	require.NoError(t, err)
	engine := model.Engine(model.NewEngine(2))
	if os.Getenv(cudatest.CardVariable) != "" { // float32 as every card computes it
		engine = cudatest.NewEngine(cudatest.NewDevice(t, 80))
	}
	defer engine.Close()
	seen := 0
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		seen++
		t.Run(entry.Name(), func(t *testing.T) {
			cases, ok := familyCases[entry.Name()]
			require.True(t, ok, "no case: say in familyCases how it is read")
			var worst float64
			switch name := entry.Name(); {
			case strings.HasPrefix(name, "template-"):
				worst = conversationsAsPipelines(t, engine, name)
			case strings.HasPrefix(name, "v5-style-"):
				worst = conversationsOfBothVersions(t, engine, name)
			default:
				require.NotEmpty(t, cases)
				for _, c := range cases {
					f := openFamily(t, engine, name, c)
					f.check()
					worst = max(worst, f.worst)
				}
			}
			t.Logf("%-22s largest difference %.1e", entry.Name(), worst)
		})
	}
	assert.Len(t, familyCases, seen, "cases whose directory is gone")
}

// openedFamily is a case that is compared.
type openedFamily struct {
	*testing.T
	familyCase
	familyGolden
	engine model.Engine
	d      *reward.Deployment
	within float64
	worst  float64
}

func openFamily(t *testing.T, engine model.Engine, name string, c familyCase) *openedFamily {
	f := &openedFamily{T: t, familyCase: c, engine: engine}
	dir := family(t, name, &f.familyGolden)
	if c.key != "" {
		var keys map[string]json.RawMessage
		family(t, name, &keys)
		f.Padded, f.LeftPadded = nil, nil
		require.NoError(t, json.Unmarshal(keys[c.key], &f.Scores), c.key)
	}
	c.Members, c.Engine = []reward.Member{{Dir: filepath.Join(dir, c.under)}}, engine
	var err error
	f.d, err = reward.Open(t.Context(), c.Config, 2)
	require.NoError(t, err)
	f.within = max(2e-5, 10*f.F32.Scores)
	return f
}

// near compares a number with its golden.
func (f *openedFamily) near(want float64, got float32, what string, args ...any) {
	assert.InDelta(f, want, got, f.within, append([]any{what}, args...)...)
	f.worst = max(f.worst, math.Abs(want-float64(got)))
}

func (f *openedFamily) encode(i int) (reward.Encoded, error) {
	x, err := f.d.Encode(reward.Input{IDs: f.Sequences[i].IDs}, reward.EncodeOptions{})
	if f.built {
		x.Read = f.Steps[i]
	}
	if err == nil && f.Sequences[i].Types != nil {
		x.Types = f.Sequences[i].Types
	}
	return x, err
}

func (f *openedFamily) check() {
	lengths := map[int]bool{}
	var packed []model.Sequence
	var alone []float32
	var of []int
	for i, s := range f.Sequences {
		lengths[len(s.IDs)] = true
		x, err := f.encode(i)
		if string(f.Scores[i]) == "[]" { // no mark of a step
			require.ErrorIs(f, err, reward.ErrInput)
			continue
		}
		require.NoError(f, err)
		alone = append(alone, f.checkAlone(i, &x))
		x.Every, x.Outputs = false, nil
		packed, of = append(packed, x.Sequence), append(of, i)
	}
	assert.GreaterOrEqual(f, len(lengths), 3, "lengths")
	got := make([]float32, len(packed))
	require.NoError(f, f.engine.Score(f.d.Average(), got, packed))
	assert.Equal(f, alone, got, "packed")
	for _, batch := range [][]json.RawMessage{f.Padded, f.LeftPadded} {
		if batch == nil || f.Same != nil && !*f.Same {
			continue
		}
		for j, i := range of {
			if want, ok := number(batch[i]); ok {
				f.near(want, got[j], "as padded by its own code, sequence %d", i)
			}
		}
	}
	if in := f.Inside; in != nil {
		x, err := f.d.Encode(reward.Input{IDs: in.IDs}, reward.EncodeOptions{})
		require.NoError(f, err)
		assert.Equal(f, in.At, x.Read[0])
		f.near(in.Score[0], scored(f.T, f.engine, f.d, &x), "a padding token inside")
	}
}

func number(data json.RawMessage) (v float64, ok bool) {
	ok = json.Unmarshal(data, &v) == nil
	return v, ok
}

// checkAlone compares all that is known of a sequence, and returns its reward.
func (f *openedFamily) checkAlone(i int, x *reward.Encoded) float32 {
	switch {
	case f.Gate != nil:
		assert.Equal(f, []int32{f.At[i], f.Gate[i]}, x.Read)
	case f.Steps != nil:
		assert.Equal(f, f.Steps[i], x.Read)
	case f.At != nil && len(x.Read) > 0:
		assert.Equal(f, f.At[i:i+1], x.Read)
	}
	c := f.d.Config()
	w := reward.Want{Attributes: len(c.AttributeNames()) > 0, Steps: c.Stepwise(), Trajectory: c.Causal() && !c.Averages()}
	plain := scored(f.T, f.engine, f.d, x)
	require.NoError(f, f.d.Offers(w))
	f.d.Ask(x, w)
	got := scored(f.T, f.engine, f.d, x)
	assert.Equal(f, plain, got, "whatever else is wanted")
	details := f.d.Details(f.d.Average(), x, w)
	trajectory := make([]float32, len(details.Trajectory))
	for j, v := range details.Trajectory {
		if trajectory[j] = float32(math.NaN()); v != nil {
			trajectory[j] = *v
		}
	}
	list := func(want []float64, got []float32, what string) {
		require.Len(f, got, len(want), what)
		for j, v := range want {
			f.near(v, got[j], "sequence %d, %s %d", i, what, j)
		}
	}
	var several []float64
	if want, ok := number(f.Scores[i]); ok {
		f.near(want, got, "sequence %d", i)
	} else {
		require.NoError(f, json.Unmarshal(f.Scores[i], &several))
		if c.Stepwise() {
			list(several, details.Steps, "step")
			f.near(slices.Min(several), got, "sequence %d, the least", i)
		} else {
			list(several, details.Attributes, "output")
			f.near(several[0], got, "sequence %d", i)
		}
	}
	if f.Rewards != nil {
		list(f.Rewards[i], details.Attributes, "attribute")
	}
	if f.AllTokens != nil {
		one, ok := number(f.AllTokens[i])
		if several = []float64{one}; !ok {
			require.NoError(f, json.Unmarshal(f.AllTokens[i], &several))
		}
		list(several, trajectory, "token")
	}
	if f.Every != nil && i == f.Hidden.Sequence && w.Trajectory {
		list(f.Every, trajectory, "token")
	}
	if w.Trajectory && !w.Steps {
		require.Len(f, trajectory, len(x.IDs))
		assert.Equal(f, got, trajectory[x.Read[0]], "at the scored token")
	}
	return got
}
