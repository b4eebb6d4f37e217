package model

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/warmserve/warmserve/loader/jsonerr"
	"github.com/warmserve/warmserve/model/nn"
)

// Llama3Scaling is the rope_type "llama3".
type Llama3Scaling struct {
	Factor   float64 `json:"factor"`
	Low      float64 `json:"low_freq_factor"`
	High     float64 `json:"high_freq_factor"`
	Original float64 `json:"original_max_position_embeddings"`
}

// YarnScaling is the rope_type "yarn".
type YarnScaling struct {
	nn.Yarn
	Magnitude float64 // cos and sin are multiplied by it
}

// LongRopeScaling is the rope_type "longrope": sequences of up to Original tokens
// have each wave longer by Short, longer ones by Long.
// Source: Ding et al. 2024 (arXiv 2402.13753); transformers
// modeling_rope_utils._compute_longrope_parameters.
type LongRopeScaling struct {
	Short, Long []float64
	Original    int
	Magnitude   float64 // cos and sin are multiplied by it
}

// DynamicScaling is the rope_type "dynamic": theta grows with the length of
// sequences of more than Original tokens.
type DynamicScaling struct {
	Factor   float64
	Original int
}

// dynamicReach is how many times its trained context a model with dynamic scaling
// is given, which itself names no longest sequence.
const dynamicReach = 8

// rawRope is rope_scaling (transformers 4) or rope_parameters (5).
type rawRope struct {
	Type    string   `json:"rope_type"`
	OldType string   `json:"type"`
	Theta   *float64 `json:"rope_theta"`
	Partial *float64 `json:"partial_rotary_factor"`

	Factor   *float64 `json:"factor"`
	Original *float64 `json:"original_max_position_embeddings"`
	Low      float64  `json:"low_freq_factor"`
	High     float64  `json:"high_freq_factor"`

	BetaFast   *float64  `json:"beta_fast"`
	BetaSlow   *float64  `json:"beta_slow"`
	Scale      float64   `json:"mscale"`
	ScaleAll   float64   `json:"mscale_all_dim"`
	Truncate   *bool     `json:"truncate"`
	Magnitude  *float64  `json:"attention_factor"`
	Full       *rawRope  `json:"full_attention"` // Gemma 3: of each kind of layer
	Sliding    *rawRope  `json:"sliding_attention"`
	Short      []float64 `json:"short_factor"`
	LongFactor []float64 `json:"long_factor"`
}

// rope reads the rotary embedding in either spelling.
func (c *Config) rope(raw *rawConfig, a architecture) error {
	if a.defaults.ropeTheta == 0 {
		return nil
	}
	c.RopeTheta = or(raw.RopeTheta, or(raw.RotaryBase, a.defaults.ropeTheta))
	if a.defaults.localTheta > 0 {
		c.LocalTheta = or(raw.LocalTheta, a.defaults.localTheta)
	}
	c.RotaryShare = 1
	if a.defaults.rotaryShare != 0 {
		c.RotaryShare = or(raw.PartialRotary, or(raw.RotaryShare, a.defaults.rotaryShare))
	}
	data := raw.RopeParameters
	if data == nil || string(data) == "null" {
		data = raw.RopeScaling
	}
	if data == nil || string(data) == "null" {
		return nil
	}
	var r rawRope
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("rope_parameters: %w", jsonerr.WrongType(err))
	}
	if a.defaults.localTheta > 0 && r.Full != nil {
		if s := r.Sliding; s != nil {
			if s.Type != "" && s.Type != "default" {
				return fmt.Errorf("rope_parameters: sliding_attention: rope_type %q is not supported, want default", s.Type)
			}
			c.LocalTheta = or(s.Theta, c.LocalTheta)
		}
		r = *r.Full
	}
	c.RopeTheta = or(r.Theta, c.RopeTheta)
	if a.defaults.rotaryShare != 0 {
		c.RotaryShare = or(r.Partial, c.RotaryShare)
	}
	if r.Type == "" {
		r.Type = r.OldType
	}
	if a.defaults.original > 0 && raw.Original == nil {
		raw.Original = r.Original
		if raw.Original == nil {
			raw.Original = &a.defaults.original
		}
	}
	if err := c.stretch(&r, raw); err != nil {
		return fmt.Errorf("rope_parameters: %w", err)
	}
	return nil
}

// stretch reads how positions beyond those of the first training are rotated.
func (c *Config) stretch(r *rawRope, raw *rawConfig) error {
	factor := or(r.Factor, 0)
	switch r.Type {
	case "", "default":
		return nil
	case "linear":
		c.Linear = factor
	case "llama3":
		l := Llama3Scaling{Factor: factor, Low: r.Low, High: r.High, Original: or(r.Original, 0)}
		if !(l.Factor >= 1) || !(l.Low > 0) || !(l.High > l.Low) || !(l.Original > 0) {
			return fmt.Errorf("llama3 scaling %+v: want factor ≥ 1, 0 < low_freq_factor < high_freq_factor, original_max_position_embeddings > 0", l)
		}
		c.Llama3 = &l
	case "yarn":
		return c.yarn(r)
	case "longrope", "su":
		return c.longRope(r, raw)
	case "dynamic":
		c.Dynamic = &DynamicScaling{Factor: factor, Original: c.MaxPositions}
		if c.MaxPositions <= maxDim { // else it is refused as it is
			c.MaxPositions = min(dynamicReach*c.MaxPositions, maxDim)
		}
		if c.RotaryDim() <= 2 {
			return fmt.Errorf("dynamic scaling of %d rotated elements, want at least 4", c.RotaryDim())
		}
	default:
		return fmt.Errorf("rope_type %q is not supported, want default, linear, llama3, yarn, longrope or dynamic", r.Type)
	}
	if !(factor >= 1) {
		return fmt.Errorf("factor: %v, want at least 1", factor)
	}
	return nil
}

func (c *Config) yarn(r *rawRope) error {
	y := &YarnScaling{Yarn: nn.Yarn{
		Factor: or(r.Factor, 0), Original: or(r.Original, float64(c.MaxPositions)),
		BetaFast: or(r.BetaFast, 32), BetaSlow: or(r.BetaSlow, 1), Exact: !or(r.Truncate, true),
	}}
	if !(y.Factor >= 1) || !(y.Original >= 1 && y.Original*y.Factor <= maxDim) || !(y.BetaSlow > 0) ||
		!(y.BetaFast > y.BetaSlow) || !(c.RopeTheta > 1) {
		return fmt.Errorf("yarn scaling %+v of theta %v: want factor ≥ 1, original_max_position_embeddings ≥ 1, %d positions at most, 0 < beta_slow < beta_fast, theta > 1",
			y.Yarn, c.RopeTheta, maxDim)
	}
	of := func(weight float64) float64 { return 0.1*weight*math.Log(y.Factor) + 1 }
	y.Magnitude = of(1)
	if r.Scale != 0 && r.ScaleAll != 0 {
		y.Magnitude = of(r.Scale) / of(r.ScaleAll)
	}
	c.Yarn, c.MaxPositions = y, max(c.MaxPositions, int(y.Original*y.Factor))
	return magnitude(&y.Magnitude, r)
}

func (c *Config) longRope(r *rawRope, raw *rawConfig) error {
	original := or(raw.Original, or(r.Original, float64(c.MaxPositions)))
	l := &LongRopeScaling{Short: r.Short, Long: r.LongFactor, Original: int(original)}
	factor := or(r.Factor, float64(c.MaxPositions)/original)
	if !(original > 1 && original <= maxDim) || !(factor > 0) {
		return fmt.Errorf("longrope scaling by %v from %v positions, want a factor above 0 and original_max_position_embeddings from 2 to %d", factor, original, maxDim)
	}
	for _, list := range []struct {
		key    string
		values []float64
	}{{"short_factor", l.Short}, {"long_factor", l.Long}} {
		if n := c.RotaryDim() / 2; len(list.values) != n {
			return fmt.Errorf("%s: %d numbers for %d rotated pairs", list.key, len(list.values), n)
		}
		for _, f := range list.values {
			if !(f > 0) {
				return fmt.Errorf("%s: %v, want positive numbers", list.key, f)
			}
		}
	}
	l.Magnitude = 1
	if factor > 1 {
		l.Magnitude = math.Sqrt(1 + math.Log(factor)/math.Log(original))
	}
	c.LongRope = l
	return magnitude(&l.Magnitude, r)
}

// magnitude puts the factor of cos and sin that the file names in place of the
// one that follows from other numbers.
func magnitude(to *float64, r *rawRope) error {
	if *to = or(r.Magnitude, *to); !(*to > 0) || math.IsInf(*to, 0) {
		return fmt.Errorf("attention_factor: %v, want a positive number", *to)
	}
	return nil
}

// Stretch says in words how positions beyond those of the first training are
// rotated, "" where nothing is said of it.
func (c *Config) Stretch() string {
	switch {
	case c.Llama3 != nil:
		return fmt.Sprintf("llama3 scaling by %g from %g", c.Llama3.Factor, c.Llama3.Original)
	case c.Linear > 1:
		return fmt.Sprintf("linear scaling by %g", c.Linear)
	case c.Yarn != nil:
		return fmt.Sprintf("yarn scaling by %g from %g", c.Yarn.Factor, c.Yarn.Original)
	case c.LongRope != nil:
		return fmt.Sprintf("longrope scaling over %d", c.LongRope.Original)
	case c.Dynamic != nil:
		return fmt.Sprintf("dynamic scaling by %g over %d", c.Dynamic.Factor, c.Dynamic.Original)
	}
	return ""
}

// newRope returns the rotary embedding of a configuration.
func newRope(c *Config) *nn.Rope {
	d := c.RotaryDim()
	r := &nn.Rope{InvFreq: nn.InvFreq(c.RopeTheta, d), MaxPositions: c.MaxPositions}
	switch {
	case c.Llama3 != nil:
		l := c.Llama3
		nn.Llama3Frequencies(r.InvFreq, l.Factor, l.Low, l.High, l.Original)
	case c.Linear > 1:
		for i, f := range r.InvFreq {
			r.InvFreq[i] = float32(float64(f) / c.Linear)
		}
	case c.Yarn != nil:
		r.InvFreq, r.Magnitude = c.Yarn.Frequencies(c.RopeTheta, d), float32(c.Yarn.Magnitude)
	case c.LongRope != nil:
		l := c.LongRope
		r.Limit, r.Magnitude = l.Original, float32(l.Magnitude)
		r.InvFreq = nn.SlowedFrequencies(c.RopeTheta, l.Short)
		r.Long = nn.SlowedFrequencies(c.RopeTheta, l.Long)
	case c.Dynamic != nil:
		r.Limit, r.Theta, r.Factor = c.Dynamic.Original, c.RopeTheta, c.Dynamic.Factor
	}
	return r
}
