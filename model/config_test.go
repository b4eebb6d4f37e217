package model

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClassesHaveTheirOwnDefaults(t *testing.T) {
	const sizes = `"hidden_size":48,"intermediate_size":64,"num_hidden_layers":7,"num_attention_heads":4,"vocab_size":90,"max_position_embeddings":128,"id2label":{"0":"LABEL_0"}`
	read := func(class, more string) (*Config, error) {
		return ParseConfig([]byte(`{"architectures":["` + class + `"],` + sizes + more + `}`))
	}
	get := func(class, more string) *Config {
		c, err := read(class, more)
		require.NoError(t, err)
		return c
	}
	phi := get("Phi3ForSequenceClassification", "")
	assert.Equal(t, []any{1e-5, int32(32000), 4, false}, []any{phi.NormEps, *phi.PadTokenID, phi.KVHeads, phi.AttentionBias})
	assert.Nil(t, phi.Windows, "a window is none of Phi-3's defaults")
	assert.Equal(t, 9, get("Phi3ForSequenceClassification", `,"sliding_window":9`).Window(6))
	short := `,"rope_scaling":{"type":"su","short_factor":[1,1,1,1,1,1],"long_factor":[2,2,2,2,2,2]}`
	assert.Equal(t, 4096, get("Phi3ForSequenceClassification", short).LongRope.Original)
	assert.Equal(t, 64, get("Phi3ForSequenceClassification", short+`,"original_max_position_embeddings":64`).LongRope.Original)

	intern := get("InternLM2ForRewardModel", "")
	assert.Equal(t, []any{1e-6, true}, []any{intern.NormEps, intern.AttentionBias})
	assert.False(t, get("InternLM2ForRewardModel", `,"bias":false`).AttentionBias)

	olmo := get("Olmo2ForSequenceClassification", "")
	assert.Equal(t, []any{1e-5, false}, []any{olmo.NormEps, olmo.AttentionBias})

	gemma := get("Gemma3TextForSequenceClassification", "")
	assert.Equal(t, []int{4096, 4096, 4096, 4096, 4096, 0, 4096}, gemma.Windows)
	assert.Equal(t, []any{1e6, 1e4, 256, 4, 256.0, 0.0}, []any{gemma.RopeTheta, gemma.LocalTheta, gemma.HeadDim, gemma.KVHeads, gemma.QueryScalar, gemma.SoftCap})
	assert.Equal(t, []int{0, 0, 0, 0, 0, 0, 8}, get("Gemma3TextForSequenceClassification",
		`,"sliding_window":8,"layer_types":["full_attention","full_attention","full_attention","full_attention","full_attention","full_attention","sliding_attention"]`).Windows)
	for more, want := range map[string]string{
		`,"sliding_window":null`:      "sliding_window: null",
		`,"sliding_window_pattern":0`: "sliding_window_pattern: 0",
		`,"rope_local_base_freq":-1`:  "rope_local_base_freq: -1",
		`,"rope_parameters":{"full_attention":{"rope_type":"default"},"sliding_attention":{"rope_type":"yarn"}}`: `sliding_attention: rope_type "yarn"`,
		`,"rope_parameters":{"full_attention":{"rope_type":"yarn","factor":0.5}}`:                                "yarn scaling",
	} {
		_, err := read("Gemma3TextForSequenceClassification", more)
		assert.ErrorContains(t, err, want)
	}
}
