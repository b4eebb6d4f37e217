package connectivity

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
)

// randomReward saves a random reward model of the Llama family, with groups of
// heads, and opens it.
func randomReward(t *testing.T, config string) (*loader.Checkpoint, *model.Config) {
	parsed, err := model.ParseConfig([]byte(config))
	require.NoError(t, err)
	dir := t.TempDir() + "/model"
	require.NoError(t, loader.Save(dir, loader.Contents{Config: []byte(config), Source: model.NewRandom(parsed, 5)}))
	c, err := loader.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c, parsed
}

const llamaReward = `{"architectures":["LlamaForSequenceClassification"],"model_type":"llama","num_labels":1,"id2label":{"0":"LABEL_0"},
"hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"vocab_size":40,
"max_position_embeddings":64,"rms_norm_eps":1e-5,"rope_theta":10000,"hidden_act":"silu","pad_token_id":0}`

const bertReward = `{"architectures":["BertForSequenceClassification"],"model_type":"bert","num_labels":1,"id2label":{"0":"LABEL_0"},
"hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":40,"type_vocab_size":2,
"max_position_embeddings":64,"layer_norm_eps":1e-12,"hidden_act":"gelu","pad_token_id":0}`

// scores are those of texts whose reward is read at the last token, or at the first of an encoder.
func scores(t *testing.T, c *model.Config, src model.Source) []float32 {
	m, err := model.Load(c, src, model.LoadOptions{Workers: 1})
	require.NoError(t, err)
	e := model.NewEngine(1)
	defer e.Close()
	var seqs []model.Sequence
	for i := range 6 {
		var tokens []int32
		for j := range 5 + 3*i {
			tokens = append(tokens, int32((7*i+11*j*j)%40))
		}
		read := int32(len(tokens) - 1)
		if !c.Causal() {
			read = 0
		}
		seqs = append(seqs, model.Sequence{IDs: tokens, Read: []int32{read}})
	}
	out := make([]float32, len(seqs))
	require.NoError(t, e.Score(m, out, seqs))
	return out
}

// half is a Source half-way between two.
type half struct{ a, b loader.Source }

func (h half) Names() []string { return h.a.Names() }

func (h half) Shape(name string) (s []int, ok bool) { return h.a.Shape(name) }

func (h half) ReadAt(dst []float32, name string, offset int) error {
	other := make([]float32, len(dst))
	if err := h.b.ReadAt(other, name, offset); err != nil {
		return err
	}
	err := h.a.ReadAt(dst, name, offset)
	for i := range dst {
		dst[i] = (dst[i] + other[i]) / 2
	}
	return err
}

func TestRenumberedUnitsComputeTheSameFunctionElsewhere(t *testing.T) {
	for name, one := range map[string]struct{ config, square string }{
		"llama": {llamaReward, "model.layers.1.self_attn.q_proj.weight"},
		"bert":  {bertReward, "bert.encoder.layer.1.attention.self.query.weight"},
	} {
		t.Run(name, func(t *testing.T) {
			c, config := randomReward(t, one.config)
			p, err := permute(c, 9)
			require.NoError(t, err)
			want := scores(t, config, c)
			// Sums run in another order: a few units in the last place of float32.
			assert.InDeltaSlice(t, want, scores(t, config, p), 1e-5)
			assert.NotEqual(t, want[0], want[1], "the model tells texts apart")

			a, b := make([]float32, 32*32), make([]float32, 32*32)
			require.NoError(t, c.ReadAt(a, one.square, 0))
			require.NoError(t, p.ReadAt(b, one.square, 0))
			assert.NotEqual(t, a, b)
			assert.ElementsMatch(t, a, b, "nothing is lost")
			tail := make([]float32, 7)
			require.NoError(t, p.ReadAt(tail, one.square, 100))
			assert.Equal(t, b[100:107], tail, "reads of pieces agree")

			far := 0.0
			for i, v := range scores(t, config, half{c, p}) {
				far = max(far, float64((v-want[i])*(v-want[i])))
			}
			assert.Greater(t, far, 1e-4, "half-way lies another function")
		})
	}
}

func TestUnitsOfAnotherArchitectureAreNotRenumbered(t *testing.T) {
	c, _ := randomReward(t, `{"architectures":["GPTNeoXForSequenceClassification"],"model_type":"gpt_neox","num_labels":1,"id2label":{"0":"LABEL_0"},
"hidden_size":32,"intermediate_size":48,"num_hidden_layers":1,"num_attention_heads":4,"vocab_size":40,"max_position_embeddings":64,
"layer_norm_eps":1e-5,"rotary_pct":0.25,"hidden_act":"gelu","pad_token_id":0}`)
	_, err := permute(c, 9)
	assert.ErrorContains(t, err, "not of a Llama or a BERT")
}
