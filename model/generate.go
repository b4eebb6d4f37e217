package model

import (
	"fmt"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Generator continues one text with a causal language model, keeping keys and
// values of what was read. It works on one processor and is for looking at what a
// model has learned, not for serving. It is not safe for concurrent use.
type Generator struct {
	Config *Config

	m     *Model
	net   languageNetwork
	head  nn.Linear
	run   *run
	cache [][]float32 // of each layer (MaxPositions, 2·K·D)
	n     int         // tokens read

	x, q, attn, logits []float32
	pos                []int32
}

// languageNetwork is a network that may have an output layer.
type languageNetwork interface {
	network
	embedding() *nn.Embedding
	// final normalises one token's output of the last block.
	final(y, x []float32)
}

func (n *llama) final(y, x []float32)   { n.Norm.Forward(y, 0, x, 0, 1) }
func (n *gptNeoX) final(y, x []float32) { n.Norm.Forward(y, 0, x, 0, 1) }

// NewGenerator reads a language model. c is the configuration of the reward model
// with the same backbone; tied says that the output layer is the embedding.
func NewGenerator(c *Config, src Source, tied bool) (*Generator, error) {
	name := OutputLayer(c)
	if tied {
		name = ""
	}
	m, err := Load(c, headless{src, c, name}, LoadOptions{})
	if err != nil {
		return nil, err
	}
	net, ok := m.net.(languageNetwork)
	if !ok {
		return nil, fmt.Errorf("%s is no language model: %w", c.Architecture, ErrArchitecture)
	}
	g := &Generator{Config: c, m: m, net: net, run: newRun(nil), head: nn.NewLinear(c.Hidden, false, c.VocabSize)}
	g.head.Alloc(kernel.Float32)
	weight := net.embedding().Data
	if !tied {
		shape, ok := src.Shape(name)
		if want := []int{c.VocabSize, c.Hidden}; !ok || len(shape) != 2 || shape[0] != want[0] || shape[1] != want[1] {
			return nil, &BindingError{Architecture: c.Architecture, Missing: []string{fmt.Sprintf("%s of shape %v", name, want)}}
		}
		weight = make([]float32, c.VocabSize*c.Hidden)
		if err := src.ReadAt(weight, name, 0); err != nil {
			return nil, err
		}
	}
	g.head.W.Pack(0, weight)
	g.cache = make([][]float32, c.Layers)
	return g, nil
}

// Len returns the number of tokens read.
func (g *Generator) Len() int { return g.n }

// Reset forgets what was read.
func (g *Generator) Reset() { g.n = 0 }

// Read appends tokens and returns the logits of the one that follows, valid until
// the next call.
func (g *Generator) Read(ids []int32) ([]float32, error) {
	c := g.Config
	if len(ids) == 0 {
		return nil, fmt.Errorf("model: no token")
	}
	if g.n+len(ids) > c.MaxPositions {
		return nil, fmt.Errorf("model: %d tokens, the context holds %d", g.n+len(ids), c.MaxPositions)
	}
	for i, id := range ids {
		if id < 0 || int(id) >= c.VocabSize {
			return nil, fmt.Errorf("model: token id %d at position %d, want 0 to %d", id, i, c.VocabSize-1)
		}
	}
	var last []float32
	for len(ids) > 0 {
		m := min(len(ids), kernel.RowBlock)
		last = g.block(ids[:m])
		ids = ids[m:]
	}
	y, _ := g.run.workers[0].rows(c.Hidden)
	g.net.final(y[:c.Hidden], last)
	g.logits = grow(&g.logits, kernel.Pad(c.VocabSize))
	g.head.Forward(&g.run.workers[0].Gemm, g.logits, len(g.logits), y, c.Hidden, 1, kernel.Store)
	return g.logits[:c.VocabSize], nil
}

// block carries up to kernel.RowBlock tokens through all layers and returns the
// last one's output.
func (g *Generator) block(ids []int32) []float32 {
	c, w, m := g.Config, &g.run.workers[0], len(ids)
	s := &g.run.stage
	*s = stage{run: g.run, ldx: kernel.Stride(c.Hidden), ldq: kernel.Stride(c.Heads * c.HeadDim), ldkv: kernel.Stride(2 * c.KVHeads * c.HeadDim)}
	s.x, s.q, s.attn = grow(&g.x, m*s.ldx), grow(&g.q, m*s.ldq), grow(&g.attn, m*s.ldq)
	s.pos = grow(&g.pos, m)
	for i, id := range ids {
		s.pos[i] = int32(g.n + i)
		g.net.embed(w, s.x[i*s.ldx:][:c.Hidden], id, 0, s.pos[i])
	}
	spans := []nn.Span{{Len: g.n + m, Prefix: -1}}
	queries := []nn.Query{{Lo: g.n, Hi: g.n + m}}
	for l, b := range g.m.blocks {
		if g.cache[l] == nil {
			g.cache[l] = make([]float32, c.MaxPositions*s.ldkv)
		}
		s.kv = g.cache[l][g.n*s.ldkv:]
		b.project(w, s, 0, m)
		a := b.attention()
		for head := range a.K {
			a.Forward(&w.Scratch, s.attn, s.ldq, s.q, s.ldq, g.cache[l], g.cache[l][a.K*a.D:], s.ldkv, spans, queries, head)
		}
		b.mix(w, s, 0, m)
	}
	g.n += m
	return s.x[(m-1)*s.ldx:][:c.Hidden]
}
