package connectivity

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/lab"
)

// permuted is a checkpoint of the Llama family, or a BERT, with its hidden dimensions,
// its heads and the units of its feed-forward layers renumbered: the same function,
// and, as weights, another place. Nothing is lost but what its units are called,
// so that an average with the original breaks for that reason alone.
//
// Source: Entezari et al. 2022 (arXiv 2110.06296) on such permutations and linear
// mode connectivity.
type permuted struct {
	*loader.Checkpoint
	hidden       []int
	inner, heads [][]int // by layer: F units, and K groups of heads
	headDim      int
	queries      int // query heads of a group

	mu   sync.Mutex
	name string // of the tensor in data
	data []float32
}

// permute renumbers the units of a checkpoint by a seed.
func permute(c *loader.Checkpoint, seed uint64) (*permuted, error) {
	var shape struct {
		Hidden  int  `json:"hidden_size"`
		Inner   int  `json:"intermediate_size"`
		Layers  int  `json:"num_hidden_layers"`
		Heads   int  `json:"num_attention_heads"`
		Groups  *int `json:"num_key_value_heads"`
		HeadDim int  `json:"head_dim"`
	}
	if err := json.Unmarshal(c.Config, &shape); err != nil {
		return nil, fmt.Errorf("%s: config.json: %w", c.Dir, err)
	}
	groups := shape.Heads
	if shape.Groups != nil {
		groups = *shape.Groups
	}
	if min(shape.Hidden, shape.Inner, shape.Layers, shape.Heads, groups) < 1 || shape.Heads%groups != 0 {
		return nil, fmt.Errorf("%s: config.json: not the shape of a Llama or a BERT", c.Dir)
	}
	if shape.HeadDim == 0 {
		shape.HeadDim = shape.Hidden / shape.Heads
	}
	p := &permuted{Checkpoint: c, hidden: nn.Permutation(shape.Hidden, nn.Mix(seed, 1)),
		headDim: shape.HeadDim, queries: shape.Heads / groups}
	for i := range shape.Layers {
		p.inner = append(p.inner, nn.Permutation(shape.Inner, nn.Mix(seed, 2+2*uint64(i))))
		p.heads = append(p.heads, nn.Permutation(groups, nn.Mix(seed, 3+2*uint64(i))))
	}
	for _, name := range c.Names() {
		if _, _, err := p.axes(name); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Dir, err)
		}
	}
	return p, nil
}

// blocks are the places of groups of size elements, in the groups' new order.
func blocks(order []int, size int) []int {
	out := make([]int, 0, len(order)*size)
	for _, at := range order {
		for j := range size {
			out = append(out, at*size+j)
		}
	}
	return out
}

// axes returns where the rows and the columns of a tensor come from; nil keeps
// them. Rotary positions turn pairs within a head, so that heads move as a whole.
func (p *permuted) axes(name string) (rows, columns []int, err error) {
	part, layer := name, 0
	for _, prefix := range []string{"model.layers.", "bert.encoder.layer."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			number, after, _ := strings.Cut(rest, ".")
			if _, err := fmt.Sscan(number, &layer); err != nil || layer < 0 || layer >= len(p.inner) {
				return nil, nil, fmt.Errorf("tensor %q: unknown layer", name)
			}
			part = after
		}
	}
	switch part {
	case "self_attn.q_norm.weight", "self_attn.k_norm.weight", "self_attn.rotary_emb.inv_freq":
		return nil, nil, nil
	case "model.norm.weight", "input_layernorm.weight", "post_attention_layernorm.weight",
		"self_attn.o_proj.bias", "mlp.down_proj.bias",
		"bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias",
		"attention.output.LayerNorm.weight", "attention.output.LayerNorm.bias",
		"output.LayerNorm.weight", "output.LayerNorm.bias":
		return p.hidden, nil, nil
	case "model.embed_tokens.weight", "lm_head.weight", "score.weight", "classifier.weight",
		"bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight",
		"bert.embeddings.token_type_embeddings.weight":
		return nil, p.hidden, nil
	case "score.bias", "lm_head.bias", "classifier.bias":
		return nil, nil, nil
	case "bert.pooler.dense.weight", "bert.pooler.dense.bias": // its units as the hidden dimensions
		return p.hidden, p.hidden, nil
	}
	inner, keys := p.inner[layer], blocks(p.heads[layer], p.headDim)
	queries := blocks(p.heads[layer], p.headDim*p.queries)
	switch strings.TrimSuffix(strings.TrimSuffix(part, ".weight"), ".bias") {
	case "self_attn.q_proj":
		return queries, p.hidden, nil
	case "self_attn.k_proj", "self_attn.v_proj", "attention.self.query", "attention.self.key", "attention.self.value":
		return keys, p.hidden, nil
	case "self_attn.o_proj", "attention.output.dense":
		return p.hidden, queries, nil
	case "mlp.gate_proj", "mlp.up_proj", "intermediate.dense":
		return inner, p.hidden, nil
	case "mlp.down_proj", "output.dense":
		return p.hidden, inner, nil
	}
	return nil, nil, fmt.Errorf("tensor %q: not of a Llama or a BERT: its units cannot be renumbered", name)
}

// ReadAt implements loader.Source. It keeps one renumbered tensor.
func (p *permuted) ReadAt(dst []float32, name string, offset int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.name != name {
		if err := p.renumber(name); err != nil {
			return err
		}
	}
	copy(dst, p.data[offset:])
	return nil
}

func (p *permuted) renumber(name string) error {
	shape, ok := p.Shape(name)
	if !ok {
		return fmt.Errorf("tensor %q: %w", name, loader.ErrNoTensor)
	}
	n := loader.Elements(p, name)
	rows, columns, err := p.axes(name)
	if err != nil {
		return err
	}
	from := make([]float32, n)
	if err := p.Checkpoint.ReadAt(from, name, 0); err != nil {
		return err
	}
	width := 1
	if len(shape) == 2 {
		width = shape[1]
	} else {
		columns = nil
	}
	p.name, p.data = name, make([]float32, n)
	for i := range n / width {
		r := i
		if rows != nil {
			r = rows[i]
		}
		to, line := p.data[i*width:(i+1)*width], from[r*width:(r+1)*width]
		if columns == nil {
			copy(to, line)
			continue
		}
		for j, c := range columns {
			to[j] = line[c]
		}
	}
	return nil
}

// Twin returns a checkpoint that computes the same function as another, with its
// units renumbered by a seed. It is kept in the lab.
func Twin(l *lab.Lab, dir string, seed uint64) (string, error) {
	hash, err := l.CheckpointHash(dir)
	if err != nil {
		return "", err
	}
	out, there, err := l.Kept("twin", hash, seed)
	if err != nil || there {
		return out, err
	}
	c, err := loader.Open(dir)
	if err != nil {
		return "", err
	}
	defer c.Close()
	p, err := permute(c, seed)
	if err != nil {
		return "", err
	}
	return out, lab.SaveAs(out, c, p)
}
