package model

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/nn"
)

func TestDistancesFallIntoTransformersBuckets(t *testing.T) {
	var g struct {
		Tables []struct {
			Buckets int   `json:"position_buckets"`
			Longest int   `json:"max_position"`
			First   int   `json:"first_relative_position"`
			Of      []int `json:"buckets"`
		} `json:"tables"`
	}
	readJSON(t, filepath.Join(goldens(t), "deberta-buckets.json"), &g)
	require.NotEmpty(t, g.Tables)
	for _, table := range g.Tables {
		r := nn.Relative{Span: table.Buckets, Buckets: table.Buckets, Longest: table.Longest}
		for i, want := range table.Of {
			row := min(max(table.Buckets+want, 0), 2*table.Buckets-1)
			require.Equal(t, row, r.Row(table.First+i), "distance %d of %d buckets", table.First+i, table.Buckets)
		}
	}
}

func TestConfigurationsThatEncodersDoNotComputeAreRefused(t *testing.T) {
	for _, c := range []struct {
		base string
		set  map[string]any
		want string
	}{
		{"deberta", map[string]any{"conv_kernel_size": 4}, "conv_kernel_size: 4"},
		{"deberta", map[string]any{"conv_groups": 2}, "conv_groups: 2"},
		{"deberta", map[string]any{"embedding_size": 20}, "embedding_size: 20"},
		{"deberta", map[string]any{"pooler_hidden_act": "swish"}, "pooler_hidden_act"},
		{"deberta", map[string]any{"pos_att_type": 3}, "pos_att_type"},
		{"deberta", map[string]any{"position_buckets": 12, "max_relative_positions": 5}, "position_buckets: 12"},
		{"modernbert", map[string]any{"classifier_pooling": "max"}, "classifier_pooling"},
		{"modernbert", map[string]any{"local_attention": 0}, "local_attention: 0"},
		{"modernbert", map[string]any{"layer_types": []string{"full_attention"}}, "layer_types: 1 entries for 4 layers"},
		{"modernbert", map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{"rope_type": "yarn"}}}, "yarn"},
		{"modernbert", map[string]any{"local_rope_theta": -1}, "rope thetas"},
		{"albert", map[string]any{"num_hidden_groups": 6}, "num_hidden_groups: 6"},
		{"electra", map[string]any{"embedding_size": 0}, "embedding_size: 0"},
	} {
		t.Run(c.want, func(t *testing.T) {
			var config map[string]any
			require.NoError(t, json.Unmarshal([]byte(configs[c.base]), &config))
			for k, v := range c.set {
				config[k] = v
			}
			data, err := json.Marshal(config)
			require.NoError(t, err)
			_, err = ParseConfig(data)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestPoolersThatRobertaDoesNotReadAreLeftOut(t *testing.T) {
	c, err := ParseConfig([]byte(configs["roberta"]))
	require.NoError(t, err)
	src := NewRandom(c, 1)
	for name, shape := range map[string][]int{"roberta.pooler.dense.weight": {40, 40}, "roberta.pooler.dense.bias": {40}} {
		src.names, src.shapes[name] = append(src.names, name), shape
	}
	got, notes, err := Resolve([]byte(configs["roberta"]), src, Settings{})
	require.NoError(t, err)
	assert.Len(t, notes, 2)
	assert.Contains(t, notes[0], "roberta.pooler.dense.weight is left out")
	_, err = Count(got, src)
	assert.NoError(t, err)
}

func TestCausalMasksOfGPT2AreLeftOut(t *testing.T) {
	c, err := ParseConfig([]byte(configs["gpt2"]))
	require.NoError(t, err)
	src := NewRandom(c, 1)
	for name, shape := range map[string][]int{"transformer.h.0.attn.bias": {1, 1, 8, 8}, "transformer.h.0.attn.masked_bias": {}} {
		src.names, src.shapes[name] = append(src.names, name), shape
	}
	_, err = Count(c, src)
	assert.NoError(t, err)
}

// transformersModels has a script of deploy/goldens write models of random sizes and
// switches, and returns their directories.
func transformersModels(t *testing.T, script string) []string {
	python := os.Getenv("WARM_TRANSFORMERS_PYTHON")
	if python == "" {
		t.Skip("WARM_TRANSFORMERS_PYTHON names no Python that has transformers and torch")
	}
	dir := t.TempDir()
	cmd := exec.Command(python, "../deploy/goldens/"+script, dir, cmp.Or(os.Getenv("WARM_SEED"), "1"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	models, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, models)
	return models
}

func TestScoresEqualTransformersOfRandomConfigurations(t *testing.T) {
	scoresEqualTransformers(t, transformersModels(t, "encoders.py"))
}

// TestScoresEqualThoseOfTransformersInTheRepository compares wherever the tests run.
func TestScoresEqualThoseOfTransformersInTheRepository(t *testing.T) {
	configs, err := filepath.Glob("testdata/transformers/*/config.json")
	require.NoError(t, err)
	require.Len(t, configs, 12)
	var dirs []string
	for _, c := range configs {
		dirs = append(dirs, filepath.Dir(c))
	}
	scoresEqualTransformers(t, dirs)
}

// scoresEqualTransformers scores the sequences in the golden.json of each directory.
func scoresEqualTransformers(t *testing.T, dirs []string) {
	e := NewEngine(2)
	defer e.Close()
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, "config.json"))
			require.NoError(t, err)
			src := openSource(t, filepath.Join(dir, "model.safetensors"))
			c, notes, err := Resolve(data, src, Settings{})
			require.NoError(t, err)
			assert.Empty(t, notes)
			m, err := Load(c, src, LoadOptions{})
			require.NoError(t, err)
			g := &golden{config: c}
			readJSON(t, filepath.Join(dir, "golden.json"), g)
			require.NotEmpty(t, g.Scores)
			got := make([]float32, len(g.Sequences))
			require.NoError(t, e.Score(m, got, g.inputs(m)))
			for i, want := range g.Scores {
				assert.InDelta(t, want, got[i], scoreTolerance, "sequence %d", i)
			}
		})
	}
}

func TestNormsOfModernBERTHaveTheirOwnEpsilon(t *testing.T) {
	var config map[string]any
	require.NoError(t, json.Unmarshal([]byte(configs["modernbert"]), &config))
	config["norm_eps"], config["layer_norm_eps"] = 1e-3, 1e-5
	data, err := json.Marshal(config)
	require.NoError(t, err)
	c, err := ParseConfig(data)
	require.NoError(t, err)
	assert.Equal(t, 1e-3, c.NormEps)
}
