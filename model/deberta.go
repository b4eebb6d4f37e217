package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/jsonerr"
	"github.com/warmserve/warmserve/model/nn"
)

// deberta is the network of DeBERTa v2 and v3, whose attention is disentangled: see
// [nn.Relative]. Source: transformers modeling_deberta_v2.py; He et al. 2020 and
// 2021 (arXiv 2006.03654, 2111.09543).
type deberta struct {
	Words     nn.Embedding   `weight:"deberta.embeddings.word_embeddings"`
	Positions *nn.Embedding  `weight:"deberta.embeddings.position_embeddings"` // nil without position_biased_input
	Types     *nn.Embedding  `weight:"deberta.embeddings.token_type_embeddings"`
	Norm      nn.LayerNorm   `weight:"deberta.embeddings.LayerNorm"`
	Layers    []debertaBlock `weight:"deberta.encoder.layer"`
	Distances *nn.Embedding  `weight:"deberta.encoder.rel_embeddings"` // nil without relative attention
	DistNorm  *nn.LayerNorm  `weight:"deberta.encoder.LayerNorm"`
	Conv      *debertaConv   `weight:"deberta.encoder.conv"` // of v2 xlarge and xxlarge
	Pooler    *nn.Linear     `weight:"pooler.dense"`

	pooled nn.Activation
}

// debertaBlock is norm(x + attention(x)), then norm(x + mlp(x)).
type debertaBlock struct {
	Q        nn.Linear    `weight:"attention.self.query_proj"`
	KV       nn.Linear    `weight:"attention.self.key_proj,attention.self.value_proj"`
	PosKey   *nn.Linear   `weight:"attention.self.pos_key_proj"`
	PosQuery *nn.Linear   `weight:"attention.self.pos_query_proj"`
	O        nn.Linear    `weight:"attention.output.dense"`
	AttnNorm nn.LayerNorm `weight:"attention.output.LayerNorm"`
	Up       nn.Linear    `weight:"intermediate.dense"`
	Down     nn.Linear    `weight:"output.dense"`
	OutNorm  nn.LayerNorm `weight:"output.LayerNorm"`

	attn nn.Attention
	act  nn.Activation
	conv *debertaConv // behind the first block; else nil
}

// debertaConv is norm(y + act(conv(x))), of the first block's input x and output y.
type debertaConv struct {
	Conv nn.Linear    `weight:"conv"`
	Norm nn.LayerNorm `weight:"LayerNorm"`

	act nn.Activation
}

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

func newDeberta(c *Config) network {
	n := &deberta{
		Words:  nn.NewEmbedding(c.VocabSize, c.Hidden),
		Norm:   nn.NewLayerNorm(c.Hidden, c.NormEps),
		Layers: make([]debertaBlock, c.Layers),
		Pooler: c.pooler(true),
		pooled: poolerActivations[c.PoolerActivation],
	}
	if c.TypeVocab > 0 {
		n.Types = ptr(nn.NewEmbedding(c.TypeVocab, c.Hidden))
	}
	if c.Positioned {
		n.Positions = ptr(nn.NewEmbedding(c.MaxPositions, c.Hidden))
	}
	d := c.Disentangled
	if d != nil {
		n.Distances = ptr(nn.NewEmbedding(2*d.Span, c.Hidden))
		if d.Norm {
			n.DistNorm = ptr(nn.NewLayerNorm(c.Hidden, c.NormEps))
		}
	}
	for i := range n.Layers {
		b := newBertBlock(c, i)
		l := &n.Layers[i]
		*l = debertaBlock{Q: b.Q, KV: b.KV, O: b.O, AttnNorm: b.AttnNorm, Up: b.Up, Down: b.Down, OutNorm: b.OutNorm, attn: b.attn, act: b.act}
		if d != nil {
			l.disentangle(d, n)
		}
	}
	if k := c.ConvKernel; k > 0 {
		conv := nn.Linear{In: k * c.Hidden, Outs: []int{c.Hidden}, Bias: true, Kernel: k}
		n.Conv = &debertaConv{Conv: conv, Norm: nn.NewLayerNorm(c.Hidden, c.NormEps), act: poolerActivations[c.ConvActivation]}
		n.Layers[0].conv = n.Conv
	}
	return n
}

// disentangle gives a layer's attention its terms of distance.
func (l *debertaBlock) disentangle(d *Disentangled, n *deberta) {
	r := &nn.Relative{Table: n.Distances, Norm: n.DistNorm, Span: d.Span, Buckets: d.Buckets, Longest: d.Longest}
	terms := 1
	project := func(wanted bool, shared *nn.Linear, own **nn.Linear) *nn.Linear {
		switch {
		case !wanted:
			return nil
		case d.Shared:
			terms++
			return shared
		}
		terms++
		*own = ptr(nn.NewLinear(l.Q.In, true, l.Q.Out()))
		return *own
	}
	r.Key = project(d.ToPosition, &l.KV, &l.PosKey)
	r.Query = project(d.FromPosition, &l.Q, &l.PosQuery)
	l.attn.Relative = r
	l.attn.Scale = float32(1 / math.Sqrt(float64(l.attn.D*terms)))
}

func (n *deberta) embedding() *nn.Embedding { return &n.Words }

func (n *deberta) embed(p *nn.Program) nn.Value {
	x := p.Lookup(&n.Words, nn.Tokens, nn.NoValue)
	if n.Positions != nil {
		x = p.Lookup(n.Positions, nn.Positions, x)
	}
	if n.Types != nil {
		x = p.Lookup(n.Types, nn.Types, x)
	}
	return p.Norm(&n.Norm, x)
}

func (n *deberta) features(p *nn.Program, x nn.Value) nn.Value {
	return pooled(p, n.Pooler, x, n.pooled)
}

func (n *deberta) blocks() []block { return blocksOf(n.Layers) }

func (l *debertaBlock) forward(p *nn.Program, x nn.Value) nn.Value {
	q := p.Linear(&l.Q, p.Wanted(x))
	kv := p.Linear(&l.KV, x)
	y := p.Norm(&l.AttnNorm, p.AddLinear(&l.O, p.Wanted(x), p.Attend(&l.attn, q, kv)))
	y = p.Norm(&l.OutNorm, p.AddLinear(&l.Down, y, p.Activated(&l.Up, y, l.act)))
	if l.conv == nil {
		return y
	}
	near := p.Wanted(p.Neighbours(l.conv.Conv.Kernel, x))
	return p.Norm(&l.conv.Norm, p.Add(y, p.Activated(&l.conv.Conv, near, l.conv.act)))
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
	}{{"pooler_hidden_size", d.PoolerHidden, c.Hidden}, {"embedding_size", raw.Embedding, c.Hidden}, {"attention_head_size", d.HeadSize, c.HeadDim}, {"conv_groups", d.ConvGroups, 1}} {
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
	r := &Disentangled{ToPosition: slices.Contains(types, "c2p"), FromPosition: slices.Contains(types, "p2c"), Shared: or(d.Shared, false),
		Norm: slices.Contains(strings.Split(or(d.NormOf, "none"), "|"), "layer_norm"), Longest: or(d.Longest, -1)}
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
