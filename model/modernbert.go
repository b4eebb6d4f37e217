package model

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/loader/jsonerr"
	"github.com/warmserve/warmserve/model/nn"
)

// modernBERT is the network of ModernBERT: an encoder whose layers see all tokens
// or those nearby, each with rotary frequencies of its own.
// Source: transformers modeling_modernbert.py; Warner et al. 2024 (arXiv 2412.13663).
type modernBERT struct {
	Words     nn.Embedding      `weight:"model.embeddings.tok_embeddings"`
	WordNorm  nn.LayerNorm      `weight:"model.embeddings.norm"`
	Layers    []modernBERTBlock `weight:"model.layers"`
	FinalNorm nn.LayerNorm      `weight:"model.final_norm"`
	Dense     *nn.Linear        `weight:"head.dense"`
	Norm      *nn.LayerNorm     `weight:"head.norm"`

	act  nn.Activation // of the head
	mean bool          // the head reads the mean of all tokens
}

// modernBERTBlock is x += Wo·attention(norm(x)), then x += Wo·(act(input)·gate).
type modernBERTBlock struct {
	AttnNorm *nn.LayerNorm `weight:"attn_norm"` // not in the first layer
	QKV      nn.FusedQKV   `weight:"attn.Wqkv"`
	O        nn.Linear     `weight:"attn.Wo"`
	MLPNorm  nn.LayerNorm  `weight:"mlp_norm"`
	GateUp   nn.Gated      `weight:"mlp.Wi"`
	Down     nn.Linear     `weight:"mlp.Wo"`

	attn nn.Attention
	rope *nn.Rope
}

// ModernBERT is what its configuration says beside other encoders'.
type ModernBERT struct {
	Reach      []int   // of each layer's attention to either side, 0 for all
	LocalTheta float64 // of layers with a reach
	NormBias   bool
	HeadBias   bool // of the layer before the score head
	HeadAct    string
	Mean       bool // the head reads the mean of all tokens, not the first
}

func newModernBERT(c *Config) network {
	m := c.ModernBERT
	norm := nn.LayerNorm{C: c.Hidden, Eps: float32(c.NormEps), NoBias: !m.NormBias}
	n := &modernBERT{
		Words: nn.NewEmbedding(c.VocabSize, c.Hidden), WordNorm: norm, Layers: make([]modernBERTBlock, c.Layers), FinalNorm: norm,
		Dense: c.pooler(m.HeadBias),
		act:   plainActivations[m.HeadAct], mean: m.Mean,
	}
	if n.Dense != nil {
		n.Norm = ptr(norm)
	}
	ropeOf := func(theta float64) *nn.Rope {
		return &nn.Rope{InvFreq: nn.InvFreq(theta, c.HeadDim), MaxPositions: c.MaxPositions}
	}
	global, local := ropeOf(c.RopeTheta), ropeOf(m.LocalTheta)
	for i := range n.Layers {
		l := &n.Layers[i]
		*l = modernBERTBlock{
			QKV:     nn.NewFusedQKV(c.Hidden, 1, c.Heads, c.Heads, c.HeadDim, c.AttentionBias),
			O:       nn.NewLinear(c.Hidden, c.AttentionBias, c.Hidden),
			MLPNorm: norm,
			GateUp:  nn.Gated{In: c.Hidden, F: c.Intermediate, Bias: c.MLPBias, Act: gatedActivations[c.Activation], Fused: true},
			Down:    nn.NewLinear(c.Intermediate, c.MLPBias, c.Hidden),
			attn:    newAttention(c, i, false),
			rope:    global,
		}
		if i > 0 {
			l.AttnNorm = ptr(norm)
		}
		if l.attn.Reach = m.Reach[i]; l.attn.Reach > 0 {
			l.rope = local
		}
	}
	return n
}

func (n *modernBERT) embedding() *nn.Embedding { return &n.Words }

func (n *modernBERT) embed(p *nn.Program) nn.Value {
	return p.Norm(&n.WordNorm, p.Lookup(&n.Words, nn.Tokens, nn.NoValue))
}

// each is what the mean is of.
func (n *modernBERT) each(p *nn.Program, x nn.Value) nn.Value {
	if !n.mean {
		return nn.NoValue
	}
	return p.Norm(&n.FinalNorm, x)
}

func (n *modernBERT) features(p *nn.Program, x nn.Value) nn.Value {
	if !n.mean {
		x = p.Norm(&n.FinalNorm, x)
	}
	if n.Dense == nil {
		return x
	}
	return p.Norm(n.Norm, p.Activated(n.Dense, x, n.act))
}

func (n *modernBERT) blocks() []block { return blocksOf(n.Layers) }

func (l *modernBERTBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	a, n := &l.attn, x
	if l.AttnNorm != nil {
		n = p.Norm(l.AttnNorm, x)
	}
	q := p.Rope(l.rope, a, a.H, p.Linear(&l.QKV.Q, p.Wanted(n)))
	kv := p.Rope(l.rope, a, a.K, p.Linear(&l.QKV.KV, n))
	y := p.AddLinear(&l.O, p.Wanted(x), p.Attend(a, q, kv))
	return p.AddLinear(&l.Down, y, p.Gated(&l.GateUp, p.Norm(&l.MLPNorm, y)))
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
	m := &ModernBERT{NormBias: or(r.NormBias, false), HeadBias: or(r.HeadBias, false), HeadAct: or(r.HeadAct, "gelu")}
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
