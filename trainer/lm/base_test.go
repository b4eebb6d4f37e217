package lm

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOutputLayersAreTiedAsTheClassHasIt holds what transformers takes an absent
// tie_word_embeddings for.
func TestOutputLayersAreTiedAsTheClassHasIt(t *testing.T) {
	const gpt2 = `"architectures":["GPT2LMHeadModel"],"model_type":"gpt2","n_embd":8,"n_layer":1,"n_head":2,"n_positions":16,"vocab_size":9`
	const llama = `"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":16,"vocab_size":9`
	for _, c := range []struct {
		config string
		tied   bool
	}{
		{`{` + gpt2 + `}`, true},
		{`{` + gpt2 + `,"tie_word_embeddings":false}`, false},
		{`{` + llama + `}`, false},
		{`{` + llama + `,"tie_word_embeddings":true}`, true},
	} {
		_, tied, err := parseConfig([]byte(c.config))
		require.NoError(t, err)
		assert.Equal(t, c.tied, tied, c.config)
	}
	_, _, err := parseConfig([]byte(`{"architectures":["GPT2Model"]}`))
	assert.ErrorContains(t, err, "GPT2Model")
}
