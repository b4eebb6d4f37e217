package model

import (
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/model/nn"
)

// Random is a Source of reproducible random weights for a configuration: load
// tests and measurements need no checkpoint. Matrices have variance 1/in, so
// that activations keep their size; norms are ones and biases small.
type Random struct {
	seed   uint64
	names  []string
	shapes map[string][]int
}

// NewRandom returns random weights for a configuration.
func NewRandom(c *Config, seed uint64) *Random {
	r := &Random{seed: seed, shapes: map[string][]int{}}
	n := c.Network()
	for _, p := range n.Params() {
		name, shape := n.SourceName(p.Name), slices.Clone(p.Shape)
		if p.Rows != nil {
			shape[0] = slices.Max(p.Rows) + 1
		}
		if have, ok := r.shapes[name]; !ok {
			r.names = append(r.names, name)
		} else { // of which rows are read, too
			shape[0] = max(shape[0], have[0])
		}
		r.shapes[name] = shape
	}
	slices.Sort(r.names)
	return r
}

// Names implements Source; they are sorted.
func (r *Random) Names() []string { return r.names }

// Shape implements Source.
func (r *Random) Shape(name string) ([]int, bool) {
	s, ok := r.shapes[name]
	return s, ok
}

// ReadAt implements Source. A value depends on seed, name and index alone.
func (r *Random) ReadAt(dst []float32, name string, offset int) error {
	shape := r.shapes[name]
	h := fnv.New64a()
	h.Write([]byte(name))
	key := h.Sum64() ^ r.seed*0x9e3779b97f4a7c15
	mean, half := float32(0), float32(0.02)
	switch {
	case len(shape) > 1: // uniform with variance 1/in
		in := 1
		for _, n := range shape[1:] {
			in *= n
		}
		half = float32(math.Sqrt(3 / float64(in)))
	case strings.HasSuffix(name, ".weight"), strings.HasSuffix(name, ".running_var"):
		mean, half = 1, 0.1
	}
	for i := range dst {
		// Each product is rounded by itself: arm64 would fuse it with the sum.
		unit := float32(float32(nn.Mix(key, uint64(offset+i))>>40)*(2.0/(1<<24))) - 1
		dst[i] = mean + float32(half*unit)
	}
	return nil
}
