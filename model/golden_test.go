package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/model/cpu"
	"github.com/warmserve/warmserve/model/kernel"
)

// goldens returns the folder of reference values, or skips the test.
func goldens(t testing.TB) string {
	dir := os.Getenv("WARM_SHARED")
	if dir == "" {
		dir = "../../shared"
	}
	dir = filepath.Join(dir, "goldens")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference values at %s (set WARM_SHARED): %v", dir, err)
	}
	return dir
}

// fileSource reads the tensors of some safetensors files.
type fileSource map[string]*safetensors.Tensor

func openSource(t testing.TB, paths ...string) fileSource {
	src := fileSource{}
	for _, p := range paths {
		f, err := safetensors.Open(p)
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		for i := range f.Tensors {
			src[f.Tensors[i].Name] = &f.Tensors[i]
		}
	}
	return src
}

func (s fileSource) Names() []string {
	var names []string
	for n := range s {
		names = append(names, n)
	}
	return names
}

func (s fileSource) Shape(name string) ([]int, bool) {
	t, ok := s[name]
	if !ok {
		return nil, false
	}
	return t.Shape, true
}

func (s fileSource) ReadAt(dst []float32, name string, offset int) error {
	return s[name].ReadAt(dst, offset)
}

// golden is the part of golden.json that these tests read.
type golden struct {
	NumParameters int `json:"num_parameters"`
	Sequences     []struct {
		IDs   []int32 `json:"input_ids"`
		Types []int32 `json:"token_type_ids"`
	} `json:"sequences"`
	Scores []float64 `json:"scores_f64"`
	Hidden struct {
		Sequence int `json:"sequence"`
	} `json:"hidden"`

	config *Config
}

func (g *golden) inputs(m *cpu.Model) []Sequence {
	var out []Sequence
	for _, s := range g.Sequences {
		at := 0
		if m.Causal() {
			read, _ := PoolHF.Read(s.IDs, g.config.PadTokenID, 0)
			at = int(read[0])
		}
		out = append(out, Sequence{IDs: s.IDs, Types: s.Types, Read: []int32{int32(at)}})
	}
	return out
}

func readJSON(t testing.TB, path string, v any) {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, v))
}

func loadGolden(t testing.TB, dir, config string, d kernel.DType) (*cpu.Model, *golden) {
	data, err := os.ReadFile(filepath.Join(dir, config))
	require.NoError(t, err)
	c, err := ParseConfig(data)
	require.NoError(t, err)
	shards, err := filepath.Glob(filepath.Join(dir, "model*.safetensors"))
	require.NoError(t, err)
	m, err := Load(c, openSource(t, shards...), LoadOptions{DType: d})
	require.NoError(t, err)
	g := &golden{config: c}
	if _, err := os.Stat(filepath.Join(dir, "golden.json")); err == nil {
		readJSON(t, filepath.Join(dir, "golden.json"), g)
	}
	return m, g
}

var goldenVariants = []string{
	"llama-gqa", "llama-rope3", "llama-bf16", "llama-sharded", "mistral-full", "mistral-window",
	"qwen2-tied", "qwen2-untied", "qwen3-tied", "qwen3-untied",
	"gptneox-parallel", "gptneox-sequential", "bert-base", "bert-types", "gpt2-base", "gpt2-layerscale", "deberta-v2", "deberta-v3", "deberta-conv", "modernbert-cls", "modernbert-mean", "roberta-base", "distilbert-gelu", "distilbert-relu", "roberta-relu", "gemma2-plain", "gemma2-softcap", "gemma-gqa", "gemma-mqa",
}

// eachLevel runs the test at every level of arithmetic this machine has.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	for _, l := range kernel.Available() {
		t.Run(l.String(), func(t *testing.T) {
			defer kernel.SetLevel(l)()
			f(t)
		})
	}
}

// scoreTolerance is the goldens' own, twenty times what two float32
// implementations differ by.
const scoreTolerance = 2e-5

func TestScoresEqualTransformers(t *testing.T) {
	dir := goldens(t)
	e := NewEngine(2)
	defer e.Close()
	for _, v := range goldenVariants {
		for _, config := range []string{"config.json", "config.v4.json", "config.v5.json"} {
			if _, err := os.Stat(filepath.Join(dir, v, config)); err != nil {
				continue // each variant has its own and one other spelling, the copies one
			}
			t.Run(v+"/"+config, func(t *testing.T) {
				eachLevel(t, func(t *testing.T) {
					m, g := loadGolden(t, filepath.Join(dir, v), config, kernel.Float32)
					if g.NumParameters > 0 {
						assert.Equal(t, g.NumParameters, m.Parameters())
					}
					got := make([]float32, len(g.Sequences))
					require.NoError(t, e.Score(m, got, g.inputs(m)))
					worst := 0.0
					for i, want := range g.Scores {
						assert.InDelta(t, want, got[i], scoreTolerance, "sequence %d", i)
						worst = max(worst, math.Abs(want-float64(got[i])))
					}
					t.Logf("%s: largest difference %.1e", v, worst)
				})
			})
		}
	}
}

func TestHiddenStatesEqualTransformers(t *testing.T) {
	dir := goldens(t)
	for _, v := range goldenVariants {
		path := filepath.Join(dir, v, "hidden.safetensors")
		if _, err := os.Stat(path); err != nil {
			continue // llama-sharded has llama-gqa's weights
		}
		t.Run(v, func(t *testing.T) {
			m, g := loadGolden(t, filepath.Join(dir, v), "config.json", kernel.Float32)
			src := openSource(t, path)
			s := g.inputs(m)[g.Hidden.Sequence]
			c := m.Net.Hidden
			m.States(s.IDs, s.Types, func(layer int, x []float32, ld int) {
				name := "hidden_states." + string(rune('1'+layer))
				averages := m.Net.Each != nil
				behindNorm := m.Causal() || averages || v == "modernbert-cls" // as the references' last one is
				switch last := len(m.Net.Blocks) - 1; {
				case behindNorm && layer == last:
					return
				case layer == last, (m.Causal() || averages) && layer > last:
					name = "last_hidden_state_f64"
				case layer > last: // what a pooler made of it
					return
				}
				if _, ok := src[name]; !ok {
					return // llama-bf16 has the last one only
				}
				want := make([]float32, len(s.IDs)*c)
				require.NoError(t, src.ReadAt(want, name, 0))
				for i := range s.IDs {
					for j, w := range want[i*c:][:c] {
						require.InDelta(t, w, x[i*ld+j], scoreTolerance, "%s, token %d, element %d", name, i, j)
					}
				}
			})
		})
	}
}

func TestPoolingRulesEqualBothVersionsOfTransformers(t *testing.T) {
	dir := goldens(t)
	var g struct {
		Pad int32     `json:"pad_token_id"`
		IDs [][]int32 `json:"input_ids"`
		V4  struct {
			Position []int     `json:"position"`
			Score    []float64 `json:"score_f64"`
		} `json:"v4"`
		V5 struct {
			Position []int     `json:"position"`
			Score    []float64 `json:"score_f64"`
		} `json:"v5"`
	}
	readJSON(t, filepath.Join(dir, "pad-rule.json"), &g)
	m, _ := loadGolden(t, filepath.Join(dir, "llama-gqa"), "config.json", kernel.Float32)
	e := NewEngine(1)
	defer e.Close()
	for _, rule := range []struct {
		Pooling
		position []int
		score    []float64
	}{{PoolHFLegacy, g.V4.Position, g.V4.Score}, {PoolHF, g.V5.Position, g.V5.Score}} {
		t.Run(string(rule.Pooling), func(t *testing.T) {
			var seqs []Sequence
			for i, ids := range g.IDs {
				at := readOne(t, rule.Pooling, ids, &g.Pad, 0)
				assert.Equal(t, rule.position[i], at, "sequence %d", i)
				seqs = append(seqs, Sequence{IDs: ids, Read: []int32{int32(at)}})
			}
			got := make([]float32, len(seqs))
			require.NoError(t, e.Score(m, got, seqs))
			for i, want := range rule.score {
				assert.InDelta(t, want, got[i], scoreTolerance, "sequence %d", i)
			}
		})
	}
}

func TestPoolingRulesInCornerCases(t *testing.T) {
	pad := int32(0)
	for _, c := range []struct {
		name   string
		rule   Pooling
		ids    []int32
		pad    *int32
		prompt int
		want   int
	}{
		{"hf without a padding token takes the last", PoolHF, []int32{1, 0, 0}, nil, 0, 2},
		{"hf of nothing but padding takes the first", PoolHF, []int32{0, 0}, &pad, 0, 0},
		{"last takes padding too", PoolLast, []int32{1, 0}, &pad, 0, 1},
		{"legacy with padding first takes the last", PoolHFLegacy, []int32{0, 5, 6}, &pad, 0, 2},
		{"legacy without padding takes the last", PoolHFLegacy, []int32{4, 5, 6}, &pad, 0, 2},
		{"first pad after prompt skips padding in the prompt", PoolPrompt, []int32{1, 0, 5, 6, 0, 0}, &pad, 3, 3},
		{"first pad after prompt without padding takes the last", PoolPrompt, []int32{1, 0, 5, 6}, &pad, 3, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, readOne(t, c.rule, c.ids, c.pad, c.prompt))
		})
	}
}

func TestRewardIsARawLogit(t *testing.T) {
	m, g := loadGolden(t, filepath.Join(goldens(t), "llama-gqa"), "config.json", kernel.Float32)
	e := NewEngine(1)
	defer e.Close()
	got := make([]float32, len(g.Sequences))
	require.NoError(t, e.Score(m, got, g.inputs(m)))
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, r := range got {
		lo, hi = min(lo, float64(r)), max(hi, float64(r))
	}
	assert.Less(t, lo, 0.0)
	assert.Greater(t, hi, 1.0, "a sigmoid would stay below 1")
}

// readOne is the token that a rule of one token reads, -1 where it is missing.
func readOne(t *testing.T, p Pooling, ids []int32, pad *int32, prompt int) int {
	read, missing := p.Read(ids, pad, prompt)
	if missing != "" {
		require.Empty(t, read)
		return -1
	}
	require.Len(t, read, 1)
	return int(read[0])
}

func TestPoolingRulesWithTokensOfTheirOwn(t *testing.T) {
	pad := int32(0)
	ids := []int32{5, 7, 0, 7, 9}
	for rule, want := range map[Pooling][]int32{
		"first": {0}, "mean": {4}, "token:7": {3}, "token:5": {0}, "token:8": nil, "append:7": {3}, "append:8": nil, "before:7": {0}, "before:0": {1},
		"before:5": {4}, "before:8": {4}, "at:-1": {4}, "at:-3": {2}, "at:-5": {0}, "at:-6": nil, "at:-2147483648": nil, "token:2147483647": nil,
		"every:7": {1, 3}, "every:9": {4}, "every:8": nil, "every:7,0": {1}, "every:7,9": {3}, "every:9,9": nil, "every:5,7,0,7,9,9": nil, "pattern:7": {3}, "pattern:7,0": {1}, "pattern:7,9": {3}, "pattern:5,7,0,7,9": {0}, "pattern:7,7": nil,
		"pattern:5,7,0,7,9,9": nil, "last+pattern:7,0": {4, 1}, "pattern:7,0+token:5+at:-2": {1, 0, 3}, "last+token:8": nil,
	} {
		t.Run(string(rule), func(t *testing.T) {
			parsed, err := ParsePooling(string(rule))
			require.NoError(t, err)
			assert.Equal(t, rule, parsed)
			for _, padding := range []*int32{&pad, nil} { // which is nothing to it
				read, missing := parsed.Read(ids, padding, 1)
				assert.Equal(t, want, read)
				assert.Equal(t, want == nil, missing != "")
				assert.Contains(t, string(rule), string(missing))
			}
			assert.True(t, strings.HasPrefix(parsed.Words(), string(rule)+": "), parsed.Words())
			assert.NotContains(t, parsed.Words(), ": ;")
		})
	}
	assert.Equal(t, [][2]int{{1, 3}, {4, 5}}, Pooling("pattern:7,0+append:9+every:7+before:7").Kept(ids))
	assert.Equal(t, []int32{7, 0, 9, 1}, Pooling("pattern:7,0+append:9+hf+before:1").IDs())
}

func TestPoolingRulesThatAreNoneSayWhatIsWanted(t *testing.T) {
	for rule, want := range map[string]string{
		"middle": "want hf, last,", "token": "want hf, last,", "token:": "want a token id, such as token:128003", "token:x": "want a token id", "append:-1": "want a token id",
		"before:2147483648": "want a token id", "at:3": "want a place from the end", "at:-0": "want a place from the end", "at:": "want a place from the end",
		"hf:1": "want hf, last,", "token:1:2": "want a token id", "token: 1": "want a token id", "token:1,2": "want a token id", "pattern:": "want up to 64 token ids",
		"every:1,": "want up to 64 token ids", "lines:1,2": "want a token id", "pattern:1,,2": "want up to 64 token ids", "pattern:" + strings.Repeat("1,", 64) + "1": "want up to 64 token ids", "+": "want hf, last,", "last+": "want hf, last,",
		"last+mean": "mean stands alone", "every:3+last": "every stands alone",
	} {
		_, err := ParsePooling(rule)
		assert.ErrorContains(t, err, want, rule)
	}
	for given, canonical := range map[string]Pooling{"": PoolHF, "token:007": "token:7", "at:-03": "at:-3", "last+pattern:01,2": "last+pattern:1,2"} {
		p, err := ParsePooling(given)
		require.NoError(t, err, given)
		assert.Equal(t, canonical, p)
	}
}

func FuzzPooling(f *testing.F) {
	for _, s := range []string{"hf", "last", "mean", "token:3", "append:200", "before:0", "at:-3", "at:-9999999999", "every:3", "last+pattern:3,3", ":"} {
		f.Add(s, []byte{0, 1, 2, 3, 3, 0}, uint8(0), uint8(2))
	}
	f.Fuzz(func(t *testing.T, rule string, tokens []byte, pad, prompt uint8) {
		p, err := ParsePooling(rule)
		if err != nil || len(tokens) == 0 {
			return
		}
		again, err := ParsePooling(string(p))
		require.NoError(t, err)
		require.Equal(t, p, again)
		var ids []int32
		for _, b := range tokens {
			ids = append(ids, int32(b))
		}
		padding := int32(pad)
		read, missing := p.Read(ids, &padding, int(prompt)%(len(ids)+1))
		require.Equal(t, missing == "", len(read) > 0)
		for _, at := range read {
			require.True(t, at >= 0 && int(at) < len(ids), "%s of %v: %d", p, ids, at)
		}
		for _, r := range p.Kept(ids) {
			require.True(t, r[0] >= 0 && r[0] < r[1] && r[1] <= len(ids))
		}
	})
}
