package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/jsonerr"
)

// rawConfig has config.json's keys. Pointers tell an absent or null key, for
// which the class's default holds, from a zero.
type rawConfig struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`

	VocabSize    *int `json:"vocab_size"`
	Hidden       *int `json:"hidden_size"`
	Intermediate *int `json:"intermediate_size"`
	Layers       *int `json:"num_hidden_layers"`
	Heads        *int `json:"num_attention_heads"`
	KVHeads      *int `json:"num_key_value_heads"`
	HeadDim      *int `json:"head_dim"`
	MaxPositions *int `json:"max_position_embeddings"`
	TypeVocab    *int `json:"type_vocab_size"`

	rawDeberta
	rawModernBERT
	rawExperts

	Embedding *int `json:"embedding_size"`
	Groups    *int `json:"num_hidden_groups"`
	InGroup   *int `json:"inner_group_num"`

	// GPT-2's names of the sizes, and DistilBERT's.
	NEmbd        *int     `json:"n_embd"`
	NInner       *int     `json:"n_inner"`
	NLayer       *int     `json:"n_layer"`
	NHead        *int     `json:"n_head"`
	NPositions   *int     `json:"n_positions"`
	GPT2Eps      *float64 `json:"layer_norm_epsilon"`
	GPT2Act      *string  `json:"activation_function"`
	ScaleWeights *bool    `json:"scale_attn_weights"`
	ScaleByLayer *bool    `json:"scale_attn_by_inverse_layer_idx"`

	Dim       *int    `json:"dim"`
	HiddenDim *int    `json:"hidden_dim"`
	NLayers   *int    `json:"n_layers"`
	NHeads    *int    `json:"n_heads"`
	DistilAct *string `json:"activation"`

	RMSNormEps    *float64 `json:"rms_norm_eps"`
	LayerNormEps  *float64 `json:"layer_norm_eps"`
	Activation    *string  `json:"hidden_act"`
	GemmaAct      *string  `json:"hidden_activation"`
	AttentionBias *bool    `json:"attention_bias"`
	Bias          *bool    `json:"bias"`
	MLPBias       *bool    `json:"mlp_bias"`
	Parallel      *bool    `json:"use_parallel_residual"`
	PositionType  *string  `json:"position_embedding_type"`
	Bidirectional *bool    `json:"use_bidirectional_attention"`

	QueryScalar *float64        `json:"query_pre_attn_scalar"`
	SoftCap     json.RawMessage `json:"attn_logit_softcapping"` // absent and null differ
	OutputCap   json.RawMessage `json:"final_logit_softcapping"`

	SlidingWindow    json.RawMessage `json:"sliding_window"` // absent and null differ
	UseSlidingWindow *bool           `json:"use_sliding_window"`
	MaxWindowLayers  *int            `json:"max_window_layers"`
	LayerTypes       []string        `json:"layer_types"`
	Pattern          *int            `json:"sliding_window_pattern"`
	PrivatePattern   *int            `json:"_sliding_window_pattern"`

	RopeTheta      *float64        `json:"rope_theta"`
	RotaryBase     *float64        `json:"rotary_emb_base"`
	LocalTheta     *float64        `json:"rope_local_base_freq"`
	RotaryShare    *float64        `json:"rotary_pct"`
	Original       *float64        `json:"original_max_position_embeddings"`
	PartialRotary  *float64        `json:"partial_rotary_factor"`
	RopeScaling    json.RawMessage `json:"rope_scaling"`
	RopeParameters json.RawMessage `json:"rope_parameters"`

	PadTokenID  *int32            `json:"pad_token_id"`
	RewardToken *int32            `json:"reward_token_id"` // InternLM2's code ends every text with it
	Pooling     *string           `json:"pooling"`         // Open-Assistant's
	NumLabels   *int              `json:"num_labels"`
	ID2Label    map[string]string `json:"id2label"`

	HeadPrefix string `json:"value_head_prefix"` // OpenRLHF's name of the head
	NameOrPath string `json:"_name_or_path"`

	GatingTemperature *float64 `json:"gating_temperature"` // ArmoRM's and QRM's
	Quantiles         *int     `json:"num_quantiles"`      // QRM's
	SoftGate          *bool    `json:"softmax"`            // LDL-Reward's
	DoNormalize       *bool    `json:"do_normalize"`       // beaver's
	ScoreType         string   `json:"score_type"`         // beaver's: reward or cost

	Mean json.RawMessage `json:"mean"` // OpenRLHF's normalisation, which is not applied
	Std  json.RawMessage `json:"std"`

	Own        rawOwn          `json:"warmserve"`
	TextConfig json.RawMessage `json:"text_config"` // of a model that reads more than text
	inside     bool            // this is such a text_config
}

func decodeConfig(data []byte) (*rawConfig, error) {
	var raw rawConfig
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("config.json: %w", jsonerr.WrongType(err))
	}
	if own, ok := otherTypes[raw.ModelType]; ok {
		raw.ModelType = own
	}
	return raw.textOf()
}

// otherTypes are model types of other code for a body that is known.
var otherTypes = map[string]string{"gpt_neox_reward_model": "gpt_neox"} // Open-Assistant's

// unsupported is the error for a class that is not known.
func (raw *rawConfig) unsupported() error {
	return fmt.Errorf("config.json: %w: architectures %q, model_type %q; supported are %s",
		ErrArchitecture, raw.Architectures, raw.ModelType, architectureNames())
}

// config reads the configuration as one of a supported class.
func (raw *rawConfig) config(class string) (*Config, error) {
	a := architectures[class]
	c := &Config{Architecture: class, ModelType: raw.ModelType, Label: raw.ID2Label["0"], Inside: raw.inside}
	if c.ModelType != "" && c.ModelType != a.modelType {
		return nil, fmt.Errorf("config.json: model_type: %q, want %q for %s", c.ModelType,
			a.modelType, c.Architecture)
	}
	c.common(raw, a)
	c.own(raw, a)
	err := errors.Join(c.rope(raw, a), c.windows(raw, a), c.experts(raw, a), c.caps(raw, a),
		c.validate(raw, a))
	if a.disentangled {
		err = errors.Join(err, c.deberta(raw))
	}
	if a.modern {
		err = errors.Join(err, c.modernBERT(raw))
	}
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return c, nil
}

func architectureNames() string {
	return strings.Join(slices.Sorted(maps.Keys(architectures)), ", ")
}

// or returns *p, or def when the key is absent.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// caps reads the bounds of scores and logits of classes that have some.
func (c *Config) caps(raw *rawConfig, a architecture) error {
	read := func(key string, value json.RawMessage, known bool, def float64, to *float64) error {
		if *to = def; !known || value == nil {
			return nil
		}
		if *to = 0; string(value) == "null" {
			return nil
		}
		if err := json.Unmarshal(value, to); err != nil || !(*to > 0) {
			return fmt.Errorf("%s: %s, want null or a positive number", key, value)
		}
		return nil
	}
	return errors.Join(
		read("attn_logit_softcapping", raw.SoftCap, a.defaults.softCap > 0, a.defaults.softCap, &c.SoftCap),
		read("final_logit_softcapping", raw.OutputCap, a.defaults.queryScalar > 0,
			a.defaults.outputCap, &c.OutputCap))
}

// windows reads which layers attend to a sliding window only.
func (c *Config) windows(raw *rawConfig, a architecture) error {
	if a.window == noWindow || c.Layers <= 0 || c.Layers > maxDim {
		return nil
	}
	w, used := 0, or(raw.UseSlidingWindow, false)
	switch {
	case !used && (a.window == allWhenUsed || a.window == halfWhenUsed): // whatever sliding_window is
	case raw.SlidingWindow == nil && a.window != whenUsed && a.window != whenGiven:
		w = 4096 // the default of MistralConfig, Gemma2Config and Qwen2MoeConfig for an absent key
	case raw.SlidingWindow == nil || string(raw.SlidingWindow) == "null":
	default:
		if err := json.Unmarshal(raw.SlidingWindow, &w); err != nil || w < 1 {
			return fmt.Errorf("sliding_window: %s, want null or a positive number", raw.SlidingWindow)
		}
	}
	if a.window == whenUsed && !used {
		w = 0
	}
	pattern := or(cmp.Or(raw.Pattern, raw.PrivatePattern), 6)
	if a.window == patterned && (w == 0 || pattern < 1) {
		return fmt.Errorf("sliding_window: null or sliding_window_pattern: %d, want positive numbers",
			pattern)
	}
	if w == 0 {
		return nil
	}
	if raw.LayerTypes != nil && len(raw.LayerTypes) != c.Layers {
		return fmt.Errorf("layer_types: %d entries for %d layers", len(raw.LayerTypes), c.Layers)
	}
	c.Windows = make([]int, c.Layers)
	for l := range c.Windows {
		slides := a.window == always || a.window == whenGiven || a.window == allWhenUsed
		switch a.window {
		case whenUsed:
			slides = l >= or(raw.MaxWindowLayers, 28)
		case halfWhenUsed:
			slides = l%2 == 0 && l < or(raw.MaxWindowLayers, 28)
		case patterned:
			slides = (l+1)%pattern != 0
		case alternating:
			slides = l%2 == 0
		}
		if raw.LayerTypes != nil {
			slides = raw.LayerTypes[l] == "sliding_attention"
		}
		if slides {
			c.Windows[l] = w
		}
	}
	return nil
}
