package model

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
)

// firstOf is a readout whose reward is the first output of the first read token.
type firstOf struct{}

func (firstOf) Reward(outputs []float32, _ [][]float32) float32 { return outputs[0] }
func (firstOf) Reads() int                                      { return 0 }

// manyHeads is a head of two branches, one of them with layers of its own.
var manyHeads = &Scoring{Branches: []HeadBranch{
	{Name: "score", Outputs: 3, Bias: true},
	{Hidden: []HeadLayer{{Name: "gate.0", Out: 50, Bias: true, Activation: "relu"}, {Name: "gate.3", Out: 21, Activation: "selu", Norm: "gate.5"}, {Name: "gate.6", Out: 30, Activation: "leaky_relu"}}, Name: "gate.8", Outputs: 2},
}}

// headedModel is a random model with a head of several outputs.
func headedModel(t *testing.T, config string, d kernel.DType) *cpu.Model {
	c, err := ParseConfig([]byte(config))
	require.NoError(t, err)
	c.Scoring = manyHeads
	n := c.Network()
	n.Head.Readout = firstOf{}
	m, err := cpu.Load(n, NewRandom(c, 7), LoadOptions{DType: d})
	require.NoError(t, err)
	return m
}

// TestOutputsDependOnTheirTokenAloneToTheBit holds the outputs of several read tokens, and of every token, against those
// of each token read alone, whatever else the batch holds.
func TestOutputsDependOnTheirTokenAloneToTheBit(t *testing.T) {
	alone, team := NewEngine(1), NewEngine(3)
	defer alone.Close()
	defer team.Close()
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			eachLevel(t, func(t *testing.T) {
				for _, d := range dtypes {
					t.Run(d.String(), func(t *testing.T) { testOutputs(t, headedModel(t, config, d), alone, team) })
				}
			})
		})
	}
}

func testOutputs(t *testing.T, m *cpu.Model, alone, team CPU) {
	r := rand.New(rand.NewPCG(3, 4))
	outputs := m.Net.Head.Outputs()
	n, longest := 6, 40
	if kernel.Active() == kernel.Generic { // slow, and simple
		n, longest = 4, 24
	}
	if testing.Short() { // emulated, or under the race detector
		n, longest = 3, 16
	}
	seqs := sequences(r, m, n, longest)
	want := make([][]float32, len(seqs)) // the outputs of every token, each read alone
	for i := range seqs {
		s := &seqs[i]
		last := s.Read[0]
		if m.Net.Each != nil { // which has one mean
			s.Outputs = make([]float32, outputs)
			continue
		}
		want[i] = make([]float32, len(s.IDs)*outputs)
		for at := range s.IDs {
			one := Sequence{IDs: s.IDs, Types: s.Types, Read: []int32{int32(at)}, Outputs: want[i][at*outputs:][:outputs]}
			require.NoError(t, alone.Score(m, make([]float32, 1), []Sequence{one}))
		}
		for range r.IntN(4) { // in any order, and one of them twice
			s.Read = append(s.Read, r.Int32N(int32(len(s.IDs))))
		}
		s.Read = append(s.Read, last)
		r.Shuffle(len(s.Read), func(i, j int) { s.Read[i], s.Read[j] = s.Read[j], s.Read[i] })
		s.Every = m.Causal() && i%3 == 0
		rows := len(s.Read)
		if s.Every {
			rows = len(s.IDs)
		}
		s.Outputs = make([]float32, rows*outputs)
	}
	for e, sizes := range map[CPU][]int{alone: {len(seqs)}, team: {1, 3, len(seqs)}} {
		for _, size := range sizes {
			for part := range slices.Chunk(seqs, size) {
				got := make([]float32, len(part))
				require.NoError(t, e.Score(m, got, part))
				for i := range part {
					s, w := &part[i], want[slices.IndexFunc(seqs, func(x Sequence) bool { return &x.Outputs[0] == &part[i].Outputs[0] })]
					if w == nil {
						continue
					}
					require.Equal(t, w[int(s.Read[0])*outputs], got[i], "the reward is read where it was")
					for j := range len(s.Outputs) / outputs {
						at := j
						if !s.Every {
							at = int(s.Read[j])
						}
						require.Equal(t, w[at*outputs:][:outputs], s.Outputs[j*outputs:][:outputs], "token %d of %d", at, len(s.IDs))
					}
				}
			}
		}
	}
}

// TestEveryTokenOfAnswersBehindOnePromptIsRead has more tokens to read than to compute:
// those of the prompt are read for each answer.
func TestEveryTokenOfAnswersBehindOnePromptIsRead(t *testing.T) {
	alone, team := NewEngine(1), NewEngine(3)
	defer alone.Close()
	defer team.Close()
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			m := headedModel(t, config, kernel.Float32)
			if !m.Causal() || m.Net.Each != nil {
				t.Skip("reads all tokens at once")
			}
			outputs := m.Net.Head.Outputs()
			r := rand.New(rand.NewPCG(5, 6))
			prompt := sequences(r, m, 1, 40)[0].IDs
			for len(prompt) < 30 {
				prompt = append(prompt, prompt...)
			}
			seqs := make([]Sequence, 12)
			want := make([][]float32, len(seqs))
			for i := range seqs {
				ids := append(slices.Clone(prompt), int32(3+i), 4, int32(3+i)) // 12 times 33 to read, 33 and 3 more for each answer to compute
				one := Sequence{IDs: ids, Read: []int32{int32(len(ids) - 1)}, Every: true,
					Outputs: make([]float32, len(ids)*outputs)}
				require.NoError(t, alone.Score(m, make([]float32, 1), []Sequence{one}))
				want[i] = slices.Clone(one.Outputs)
				clear(one.Outputs)
				seqs[i] = one
			}
			for _, e := range []CPU{alone, team} {
				require.NoError(t, e.Score(m, make([]float32, len(seqs)), seqs))
				for i := range seqs {
					require.Equal(t, want[i], seqs[i].Outputs, "answer %d", i)
					clear(seqs[i].Outputs)
				}
			}
		})
	}
}

// TestHeadsOfAnyFormatAreFloat32 reads a head over a body in int8 whose outputs would differ were its layers rounded.
func TestHeadsOfAnyFormatAreFloat32(t *testing.T) {
	for name, config := range configs {
		c, err := ParseConfig([]byte(config))
		require.NoError(t, err)
		c.Scoring = manyHeads
		for _, p := range c.Network().Params() {
			if p.Name == "gate.3.weight" {
				assert.Equal(t, []int{21, 50}, p.Shape, name)
			}
		}
	}
	bytes := func(s *Scoring, d kernel.DType) int {
		c, err := ParseConfig([]byte(configs["llama"]))
		require.NoError(t, err)
		c.Scoring = s
		n := c.Network()
		m, err := cpu.Load(n, NewRandom(c, 7), LoadOptions{DType: d})
		require.NoError(t, err)
		return m.Bytes()
	}
	for _, d := range []kernel.DType{kernel.BFloat16, kernel.Int8} {
		assert.Equal(t, bytes(manyHeads, kernel.Float32)-bytes(nil, kernel.Float32), bytes(manyHeads, d)-bytes(nil, d), fmt.Sprint(d))
	}
}

// TestHeadsWithLayersLearn compares the gradients of a head with layers, with or without a bias, with differences of the
// loss: 1e-3 of a weight, of which float32 keeps three digits.
func TestHeadsWithLayersLearn(t *testing.T) {
	for name, scoring := range map[string]*Scoring{
		"one hidden layer": {Branches: []HeadBranch{{Hidden: []HeadLayer{{Name: "score.0", Out: 50, Bias: true, Activation: "relu"}}, Name: "score.2", Outputs: 1, Bias: true}}},
		"three of them": {Branches: []HeadBranch{{Hidden: []HeadLayer{{Name: "score.0", Out: 50, Activation: "leaky_relu"}, {Name: "score.2", Out: 20, Bias: true, Activation: "selu"},
			{Name: "score.4", Out: 70, Bias: true, Activation: "relu"}}, Name: "score.6", Outputs: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseConfig([]byte(configs["llama"]))
			require.NoError(t, err)
			c.Scoring = scoring
			tr, err := NewTraining(c, NewRandom(c, 3), 2, kernel.Float32)
			require.NoError(t, err)
			defer tr.Close()
			var seqs []Sequence
			for i := range 5 {
				ids := []int32{7, 3, int32(20 + i), 11, int32(40 - i)}[:3+i%3]
				seqs = append(seqs, Sequence{IDs: ids, Read: []int32{int32(len(ids) - 1)}})
			}
			scores, d := make([]float32, len(seqs)), []float32{1, -0.5, 0.25, -2, 0.75}
			require.NoError(t, tr.Forward(scores, seqs, Pass{}))
			engine := NewEngine(2)
			defer engine.Close()
			served := make([]float32, len(seqs))
			require.NoError(t, engine.Score(tr.Model(), served, seqs))
			assert.Equal(t, served, scores, "one set of layers, one set of bits")
			tr.Backward(d)
			loss := func() float64 {
				tr.Refresh()
				require.NoError(t, tr.Forward(scores, seqs, Pass{}))
				sum := 0.0
				for i, s := range scores {
					sum += float64(d[i]) * float64(s)
				}
				return sum
			}
			for _, p := range tr.Params() {
				if !slices.Contains([]string{"score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias", "score.4.weight", "score.6.weight", "model.layers.0.mlp.down_proj.weight", "model.norm.weight"}, p.Name) {
					continue
				}
				grad := slices.Clone(p.Grad)
				most := float64(largest(grad))
				require.Positive(t, most, p.Name)
				for i := 0; i < len(grad); i += max(1, len(grad)/13) {
					at, h := p.Data[i], float32(1e-3)
					p.Data[i] = at + h
					up := loss()
					p.Data[i] = at - h
					down := loss()
					p.Data[i] = at
					assert.InDelta(t, (up-down)/(2*float64(h)), grad[i], 0.02*most, "%s: element %d", p.Name, i)
				}
			}
		})
	}
}

func TestTrainingRefusesHeadsThatItDoesNotLearn(t *testing.T) {
	c, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	for want, scoring := range map[string]*Scoring{
		"made of 5 outputs": {Branches: []HeadBranch{{Name: "score", Outputs: 3}, {Name: "gate", Outputs: 2}}},
		"batch norm, score.1": {Branches: []HeadBranch{{Hidden: []HeadLayer{{Name: "score.0", Out: 50, Activation: "relu", Norm: "score.1"}},
			Name: "score.3", Outputs: 1}}},
	} {
		c.Scoring = scoring
		_, err = NewTraining(c, NewRandom(c, 1), 1, kernel.Float32)
		assert.ErrorContains(t, err, want)
	}
}

// TestStepsOfBuiltInputsScoreAsTheirOwnCode reads Skywork's process reward model where its own code has put the marks,
// which it does not find again by searching.
func TestStepsOfBuiltInputsScoreAsTheirOwnCode(t *testing.T) {
	dir := filepath.Join(goldens(t), "..", "goldens-families", "skywork-prm")
	var g struct {
		Sequences []struct {
			IDs []int32 `json:"input_ids"`
		} `json:"sequences"`
		Steps  [][]int32   `json:"step_positions"`
		Scores [][]float64 `json:"scores_f64"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Skipf("no reference values: %v", err)
	}
	readJSON(t, filepath.Join(dir, "golden.json"), &g)
	src := openSource(t, filepath.Join(dir, "model.safetensors"))
	c, _, err := Resolve(data, src, Settings{})
	require.NoError(t, err)
	assert.True(t, c.Stepwise())
	m, err := Load(c, src, LoadOptions{})
	require.NoError(t, err)
	e := NewEngine(1)
	defer e.Close()
	require.NotEmpty(t, g.Sequences)
	for i, s := range g.Sequences {
		x := Sequence{IDs: s.IDs, Read: g.Steps[i], Outputs: make([]float32, len(g.Steps[i]))}
		got := make([]float32, 1)
		require.NoError(t, e.Score(m, got, []Sequence{x}))
		steps := Rewards(m, x.Outputs, 0)
		require.Len(t, steps, len(g.Scores[i]))
		for j, want := range g.Scores[i] {
			assert.InDelta(t, want, steps[j], 2e-5)
		}
		assert.InDelta(t, slices.Min(g.Scores[i]), got[0], 2e-5, "the least")
	}
}

func TestStepsBecomeOneReward(t *testing.T) {
	steps := []float64{0.5, 0.25, 0.75}
	for how, want := range map[Steps]float64{StepsMin: 0.25, StepsMean: 0.5, StepsLast: 0.75, StepsProduct: 0.09375} {
		assert.InDelta(t, want, how.reward(steps), 1e-15, how)
	}
}

// TestPublicModelsAreKnownByName finds what files of language models do not tell by the last part of the path, also as the
// hub's cache has it.
func TestPublicModelsAreKnownByName(t *testing.T) {
	for path, want := range map[string]string{
		"/models/nvidia/Llama-3.1-Nemotron-70B-Reward-HF":                     "lm_head[0]",
		"/c/hub/models--peiyi9979--math-shepherd-mistral-7b-prm/snapshots/ab": "lm_head[648,387]",
		"nvidia/Llama-3.1-Nemotron-70B-Reward-HF-mine":                        "",
		"": "",
	} {
		got, _ := publicModel(path)
		assert.Equal(t, want, got.Head, path)
	}
	c, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	src := NewRandom(c, 1)
	src.names[slices.Index(src.names, "score.weight")] = "lm_head.weight"
	src.shapes["lm_head.weight"] = []int{c.VocabSize, c.Hidden}
	delete(src.shapes, "score.weight")
	config := strings.Replace(strings.TrimSuffix(configs["llama"], "}")+`,"model_type":"llama"}`, "LlamaForSequenceClassification", "LlamaForCausalLM", 1)
	got, notes, err := Resolve([]byte(config), src, Settings{Path: "x/Llama-3.1-Nemotron-70B-Reward-HF"})
	require.NoError(t, err)
	assert.Equal(t, []string{"lm_head.weight"}, got.HeadTensors())
	assert.Equal(t, PoolLast, got.Reading.Pooling)
	assert.Contains(t, strings.Join(notes, "\n"), "head lm_head[0]")
	m, err := Load(got, src, LoadOptions{})
	require.NoError(t, err)
	assert.Equal(t, 1, m.Net.Head.Outputs())
	_, _, err = Resolve([]byte(config), src, Settings{})
	assert.ErrorContains(t, err, "a base for training")
	own, _, err := Resolve([]byte(strings.TrimSuffix(config, "}")+`,"warmserve":{"head":"lm_head[3]-lm_head[2]"}}`), src, Settings{})
	require.NoError(t, err, "as it was set for the checkpoint")
	assert.Equal(t, []float64{1, -1}, own.Scoring.Readout.Weights)
}
