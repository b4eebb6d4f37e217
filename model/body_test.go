package model

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// movedSource is a Source whose tensors have other names.
type movedSource struct {
	*Random
	own map[string]string // the source's name by the new one
}

// moved gives the tensors of a source other names.
func moved(r *Random, to func(name string) string) *movedSource {
	out := &movedSource{Random: r, own: map[string]string{}}
	for _, n := range r.Names() {
		out.own[to(n)] = n
	}
	return out
}

func (r *movedSource) Names() []string {
	return slices.Sorted(maps.Keys(r.own))
}

func (r *movedSource) Shape(name string) ([]int, bool) {
	return r.Random.Shape(r.own[name])
}

func (r *movedSource) ReadAt(dst []float32, name string, offset int) error {
	return r.Random.ReadAt(dst, r.own[name], offset)
}

// TestABodyIsTheSameUnderEveryPrefix reads each architecture with another prefix in front of its body.
func TestABodyIsTheSameUnderEveryPrefix(t *testing.T) {
	for name, config := range configs {
		c, err := ParseConfig([]byte(config))
		require.NoError(t, err)
		src := NewRandom(c, 1)
		want, err := Load(c, src, LoadOptions{})
		require.NoError(t, err)
		own := architectures[c.Architecture].ownPrefix()
		for _, prefix := range []string{"", "base_model.", "transformer.", "language_model.model.", "model.language_model."} {
			t.Run(name+"/"+prefix, func(t *testing.T) {
				other := moved(src, func(n string) string {
					if rest, ok := strings.CutPrefix(n, own); ok {
						return prefix + rest
					}
					return n
				})
				got, notes, err := Resolve([]byte(config), other, Settings{})
				require.NoError(t, err)
				if prefix != own {
					assert.Contains(t, strings.Join(notes, "\n"), "the body's tensors have ")
				}
				m, err := Load(got, other, LoadOptions{})
				require.NoError(t, err)
				assert.Equal(t, want.Digest(), m.Digest())
			})
		}
	}
}

// TestAnOutputLayerInsideOfAWrapperIsLeftOut is what DeepSpeed leaves of TRL's model with a value head.
func TestAnOutputLayerInsideOfAWrapperIsLeftOut(t *testing.T) {
	c, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	src := moved(NewRandom(c, 1), func(n string) string {
		if n == "score.weight" {
			return "v_head.summary.weight"
		}
		return "pretrained_model." + n
	})
	src.own["pretrained_model.lm_head.weight"] = "model.embed_tokens.weight"
	got, notes, err := Resolve([]byte(configs["llama"]), src, Settings{})
	require.NoError(t, err)
	_, err = Count(got, src)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(notes, "\n"), "pretrained_model.lm_head.weight is left out")
}

func TestAPrefixThatCannotBeToldIsNotGuessed(t *testing.T) {
	c, err := ParseConfig([]byte(configs["llama"]))
	require.NoError(t, err)
	src := moved(NewRandom(c, 1), func(n string) string { return strings.Replace(n, "model.", "a.", 1) })
	src.own["b.embed_tokens.weight"] = "model.embed_tokens.weight"
	got, _, err := Resolve([]byte(configs["llama"]), src, Settings{})
	require.NoError(t, err)
	_, err = Count(got, src)
	assert.ErrorContains(t, err, "model.embed_tokens.weight")
}

func TestAModelThatSeesIsReadAsItsText(t *testing.T) {
	text := `{"model_type":"gemma3_text","hidden_size":48,"intermediate_size":64,"num_hidden_layers":3,"sliding_window":37,"head_dim":16,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":90}`
	whole := func(class string, more string) string {
		return `{"architectures":["` + class + `"],"model_type":"gemma3","num_labels":1,"pad_token_id":3,"text_config":` + text + more + `}`
	}
	c, err := ParseConfig([]byte(strings.TrimSuffix(text, "}") + `,"architectures":["Gemma3TextForSequenceClassification"],"num_labels":1,"pad_token_id":3,"max_position_embeddings":131072}`))
	require.NoError(t, err)
	src := moved(NewRandom(c, 1), func(n string) string {
		if n == "score.weight" {
			return n
		}
		return "language_model." + n
	})
	src.own["vision_tower.x.weight"] = "score.weight"
	src.own["multi_modal_projector.mm_soft_emb_norm.weight"] = "score.weight"
	src.own["language_model.lm_head.weight"] = "score.weight"
	for _, class := range []string{"Gemma3ForConditionalGeneration", "Gemma3ForSequenceClassification"} {
		got, notes, err := Resolve([]byte(whole(class, "")), src, Settings{})
		require.NoError(t, err)
		assert.Contains(t, strings.Join(notes, "\n"), "the part that reads text")
		_, err = Count(got, src)
		require.NoError(t, err)
		assert.EqualValues(t, 3, *got.PadTokenID)
		got.Prefix, got.Inside = nil, false
		a, err := json.Marshal(c)
		require.NoError(t, err)
		b, err := json.Marshal(got)
		require.NoError(t, err)
		assert.Equal(t, string(a), string(b))
	}
	_, _, err = Resolve([]byte(whole("Gemma3ForConditionalGeneration", `,"warmserve":{"head":"lm_head[90]"}`)), src, Settings{})
	assert.ErrorContains(t, err, "head lm_head[90]", "what a user sets beside text_config counts")
	for name, config := range map[string]string{
		"a text_config that is a list":       `{"architectures":["X"],"model_type":"x","text_config":[]}`,
		"a text_config of an unknown model":  `{"architectures":["X"],"model_type":"x","text_config":{"model_type":"y"}}`,
		"a text_config that holds a string":  `{"architectures":["X"],"model_type":"x","text_config":{"model_type":"llama","hidden_size":"a"}}`,
		"a text_config of a model with none": strings.Replace(whole("X", ""), `"text_config":`+text, `"text_config":null`, 1),
	} {
		_, _, err := Resolve([]byte(config), src, Settings{})
		assert.Error(t, err, name)
	}
	// A leftover of another tool beside a text model's own configuration changes nothing.
	_, _, err = Resolve([]byte(strings.TrimSuffix(configs["llama"], "}")+`,"model_type":"llama","text_config":`+text+`}`), NewRandom(c, 1), Settings{})
	require.NoError(t, err)
}
