package model

import (
	"encoding/json"
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
