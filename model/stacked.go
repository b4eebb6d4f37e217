package model

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// stacked is a source that holds the experts of a layer in one tensor, as
// transformers 5 has them in memory and writes them on request, read under the
// names of one tensor for each expert: gate_up_proj [E, 2F, C], with the gate
// first, and down_proj [E, C, F].
type stacked struct {
	Source
	parts map[string]part

	mu   sync.Mutex
	left map[string]int // parts of each tensor that were not yet released
}

// part is where a tensor lies in another one.
type part struct {
	of     string
	offset int
	shape  []int
}

// expertNames are those of an expert's gate, up and down projection in the files of
// the classes, and what is before the number.
func (c *Config) expertNames(layer int) (block, gate, up, down string) {
	block = fmt.Sprintf("model.layers.%d.mlp", layer)
	if c.Architecture == "MixtralForSequenceClassification" {
		return fmt.Sprintf("model.layers.%d.block_sparse_moe", layer), "w1", "w3", "w2"
	}
	return block, "gate_proj", "up_proj", "down_proj"
}

// Tensors returns the source as one with a tensor for each expert: itself where
// it is that already, or where what it has is neither.
func (c *Config) Tensors(src Source) Source {
	return c.tensorsOf(src, c.Prefix)
}

// tensorsOf is Tensors for a body whose tensors have a prefix, nil for the class's own.
func (c *Config) tensorsOf(src Source, prefix *string) Source {
	s := &stacked{Source: src, parts: map[string]part{}, left: map[string]int{}}
	for l := range c.Layers {
		if c.Experts.of(l) {
			s.layer(c, l, prefix)
		}
	}
	if len(s.parts) == 0 {
		return src
	}
	return s
}

// layer finds the experts of a layer. Tensors of another number of dimensions or
// of experts, or beside the same in parts, stay what they are, which binding reports.
func (s *stacked) layer(c *Config, l int, prefix *string) {
	a := architectures[c.Architecture]
	block, gate, up, down := c.expertNames(l)
	block, from := a.named(block, prefix), a.named(fmt.Sprintf("model.layers.%d.mlp", l), prefix)
	router := from + ".gate.weight"
	if shape, ok := s.Source.Shape(router); ok && from != block && !s.has(block+".gate.weight") {
		s.add(block+".gate.weight", part{of: router, shape: shape})
	}
	experts := func(kind string, names ...string) {
		of := from + ".experts." + kind
		shape, ok := s.Source.Shape(of)
		if !ok || len(shape) != 3 || shape[0] != c.Experts.Count || shape[1]%len(names) != 0 {
			return
		}
		if s.has(fmt.Sprintf("%s.experts.0.%s.weight", block, names[0])) {
			return
		}
		rows := shape[1] / len(names)
		for e := range shape[0] {
			for i, name := range names {
				at := (e*len(names) + i) * rows * shape[2]
				s.add(fmt.Sprintf("%s.experts.%d.%s.weight", block, e, name),
					part{of, at, []int{rows, shape[2]}})
			}
		}
	}
	experts("gate_up_proj", gate, up)
	experts("down_proj", down)
}

func (s *stacked) has(name string) bool {
	_, ok := s.Source.Shape(name)
	return ok
}

func (s *stacked) add(name string, p part) {
	s.parts[name] = p
	s.left[p.of]++
}

// Names implements Source.
func (s *stacked) Names() []string {
	names := slices.DeleteFunc(slices.Clone(s.Source.Names()),
		func(n string) bool { _, ok := s.left[n]; return ok })
	return slices.AppendSeq(names, maps.Keys(s.parts))
}

// Shape implements Source.
func (s *stacked) Shape(name string) ([]int, bool) {
	if p, ok := s.parts[name]; ok {
		return p.shape, true
	}
	return s.Source.Shape(name)
}

// ReadAt implements Source.
func (s *stacked) ReadAt(dst []float32, name string, offset int) error {
	if p, ok := s.parts[name]; ok {
		return s.Source.ReadAt(dst, p.of, p.offset+offset)
	}
	return s.Source.ReadAt(dst, name, offset)
}

// Release tells the source that a tensor was read, when all its parts were.
func (s *stacked) Release(name string) {
	r, ok := s.Source.(interface{ Release(string) })
	if !ok {
		return
	}
	if p, part := s.parts[name]; part {
		name = p.of
		s.mu.Lock()
		s.left[name]--
		whole := s.left[name] == 0
		s.mu.Unlock()
		if !whole {
			return
		}
	}
	r.Release(name)
}
