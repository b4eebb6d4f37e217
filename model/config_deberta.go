package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/jsonerr"
)

// Disentangled is what DeBERTa's configuration says about distances.
type Disentangled struct {
	ToPosition   bool // "c2p": queries meet positions
	FromPosition bool // "p2c": keys meet positions
	Shared       bool // positions are projected by the layers of queries and keys
	Norm         bool // of the table of distances
	Span         int  // half of that table
	Buckets      int  // 0: a row for each distance
	Longest      int
}

// maxKernel bounds the tokens that a convolution reaches; real ones are 3.
const maxKernel = 31

// rawDeberta has the keys of DeBERTa's config.json alone.
type rawDeberta struct {
	Relative     *bool           `json:"relative_attention"`
	Types        json.RawMessage `json:"pos_att_type"` // a list, or names divided by |
	Shared       *bool           `json:"share_att_key"`
	NormOf       *string         `json:"norm_rel_ebd"`
	Longest      *int            `json:"max_relative_positions"`
	Buckets      *int            `json:"position_buckets"`
	Positioned   *bool           `json:"position_biased_input"`
	HeadSize     *int            `json:"attention_head_size"`
	Conv         *int            `json:"conv_kernel_size"`
	ConvGroups   *int            `json:"conv_groups"`
	ConvAct      *string         `json:"conv_act"`
	PoolerAct    *string         `json:"pooler_hidden_act"`
	PoolerHidden *int            `json:"pooler_hidden_size"`
}

// deberta reads what DeBERTa's configuration says beside BERT's.
func (c *Config) deberta(raw *rawConfig) error {
	d := &raw.rawDeberta
	c.Positioned = or(d.Positioned, true)
	c.PoolerActivation = or(d.PoolerAct, "gelu")
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := poolerActivations[c.PoolerActivation]; !ok {
		bad("pooler_hidden_act: %q is not supported for %s", c.PoolerActivation, c.Architecture)
	}
	for _, size := range []struct {
		key  string
		v    *int
		want int
	}{{"pooler_hidden_size", d.PoolerHidden, c.Hidden}, {"embedding_size", raw.Embedding, c.Hidden},
		{"attention_head_size", d.HeadSize, c.HeadDim}, {"conv_groups", d.ConvGroups, 1}} {
		if or(size.v, size.want) != size.want {
			bad("%s: %d is not supported for %s, want %d", size.key, *size.v, c.Architecture, size.want)
		}
	}
	if c.ConvKernel = max(0, or(d.Conv, 0)); c.ConvKernel > 0 {
		c.ConvActivation = or(d.ConvAct, "tanh")
		if _, ok := poolerActivations[c.ConvActivation]; !ok {
			bad("conv_act: %q is not supported for %s", c.ConvActivation, c.Architecture)
		}
		if c.ConvKernel%2 == 0 || c.ConvKernel > maxKernel || c.Layers < 2 {
			bad("conv_kernel_size: %d with %d layers, want an odd number up to %d and two layers or more", c.ConvKernel, c.Layers, maxKernel)
		}
	}
	if !or(d.Relative, false) {
		return errors.Join(errs...)
	}
	types, err := d.types()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	r := &Disentangled{ToPosition: slices.Contains(types, "c2p"),
		FromPosition: slices.Contains(types, "p2c"), Shared: or(d.Shared, false),
		Norm:    slices.Contains(strings.Split(or(d.NormOf, "none"), "|"), "layer_norm"),
		Longest: or(d.Longest, -1)}
	if r.Longest < 1 {
		r.Longest = c.MaxPositions
	}
	r.Span = r.Longest
	if b := or(d.Buckets, -1); b > 0 {
		r.Buckets, r.Span = b, b
		if mid := b / 2; mid < 1 || c.MaxPositions > mid+1 && r.Longest < mid+2 {
			bad("position_buckets: %d for distances up to max_relative_positions %d", b, r.Longest)
		}
	}
	if r.Span < 1 || r.Span > maxDim {
		bad("max_relative_positions, position_buckets: a span of %d, want 1 to %d", r.Span, maxDim)
	}
	c.Disentangled = r
	return errors.Join(errs...)
}

// types reads pos_att_type.
func (d *rawDeberta) types() ([]string, error) {
	if d.Types == nil || string(d.Types) == "null" {
		return nil, nil
	}
	var text string
	if json.Unmarshal(d.Types, &text) == nil {
		return strings.Split(strings.ToLower(strings.ReplaceAll(text, " ", "")), "|"), nil
	}
	var list []string
	if err := json.Unmarshal(d.Types, &list); err != nil {
		return nil, fmt.Errorf("pos_att_type: %w", jsonerr.WrongType(err))
	}
	return list, nil
}
