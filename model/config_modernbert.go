package model

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/loader/jsonerr"
)

// ModernBERT is what its configuration says beside other encoders'.
type ModernBERT struct {
	Reach      []int   // of each layer's attention to either side, 0 for all
	LocalTheta float64 // of layers with a reach
	NormBias   bool
	HeadBias   bool // of the layer before the score head
	HeadAct    string
	Mean       bool // the head reads the mean of all tokens, not the first
}

// Averages says whether the head reads the mean of all tokens, and not one.
func (c *Config) Averages() bool { return c.Mean || c.ModernBERT != nil && c.ModernBERT.Mean }

// rawModernBERT has the keys of ModernBERT's config.json alone.
type rawModernBERT struct {
	NormEps     *float64 `json:"norm_eps"`
	NormBias    *bool    `json:"norm_bias"`
	GlobalTheta *float64 `json:"global_rope_theta"`
	LocalTheta  *float64 `json:"local_rope_theta"`
	Every       *int     `json:"global_attn_every_n_layers"`
	Local       *int     `json:"local_attention"` // tokens, half on either side
	HeadPooling *string  `json:"classifier_pooling"`
	HeadBias    *bool    `json:"classifier_bias"`
	HeadAct     *string  `json:"classifier_activation"`
}

// modernBERT reads what ModernBERT's configuration says beside other encoders'.
func (c *Config) modernBERT(raw *rawConfig) error {
	r := &raw.rawModernBERT
	m := &ModernBERT{NormBias: or(r.NormBias, false), HeadBias: or(r.HeadBias, false),
		HeadAct: or(r.HeadAct, "gelu")}
	c.ModernBERT = m
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch p := or(r.HeadPooling, "cls"); p {
	case "cls":
	case "mean":
		m.Mean = !c.NoPooler
	default:
		bad("classifier_pooling: %q, want cls or mean", p)
	}
	if _, ok := plainActivations[m.HeadAct]; !ok {
		bad("classifier_activation: %q is not supported for %s", m.HeadAct, c.Architecture)
	}
	every, local := or(r.Every, 3), or(r.Local, 128)
	switch {
	case every < 1 || local < 2:
		bad("global_attn_every_n_layers: %d, local_attention: %d, want 1 or more and 2 or more", every, local)
	case raw.LayerTypes != nil && len(raw.LayerTypes) != c.Layers:
		bad("layer_types: %d entries for %d layers", len(raw.LayerTypes), c.Layers)
	case c.Layers > 0 && c.Layers <= maxDim:
		m.Reach = make([]int, c.Layers)
		for i := range m.Reach {
			slides := i%every != 0
			if raw.LayerTypes != nil {
				slides = raw.LayerTypes[i] == "sliding_attention"
			}
			if slides {
				m.Reach[i] = local / 2
			}
		}
	}
	err := c.modernThetas(raw, r, m)
	if c.HeadDim%2 != 0 {
		bad("head size %d: rotary embedding needs an even one", c.HeadDim)
	}
	return errors.Join(append(errs, err)...)
}

// modernThetas reads the base of both rotary embeddings, in either spelling.
func (c *Config) modernThetas(raw *rawConfig, r *rawModernBERT, m *ModernBERT) error {
	c.RotaryShare = 1
	c.RopeTheta = or(r.GlobalTheta, 160000)
	m.LocalTheta = or(r.LocalTheta, 10000)
	if raw.RopeParameters != nil && string(raw.RopeParameters) != "null" {
		var both struct {
			Full    rawRope `json:"full_attention"`
			Sliding rawRope `json:"sliding_attention"`
		}
		if err := json.Unmarshal(raw.RopeParameters, &both); err != nil {
			return fmt.Errorf("rope_parameters: %w", jsonerr.WrongType(err))
		}
		for _, t := range []string{both.Full.Type, both.Sliding.Type} {
			if t != "" && t != "default" {
				return fmt.Errorf("rope_parameters: rope_type %q is not supported for %s, want default", t, c.Architecture)
			}
		}
		c.RopeTheta, m.LocalTheta = or(both.Full.Theta, c.RopeTheta), or(both.Sliding.Theta, m.LocalTheta)
	}
	if !(c.RopeTheta > 0) || !(m.LocalTheta > 0) {
		return fmt.Errorf("rope thetas %v and %v, want positive numbers", c.RopeTheta, m.LocalTheta)
	}
	return nil
}
