// Package binding joins a network's parameters with a checkpoint's tensors: it says where they
// differ, and reads the tensors in pieces, hashes them and hands them on, whatever device they go to.
package binding

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// Source supplies the tensors of a checkpoint, or of an average of several, as
// float32. ReadAt fills dst with the elements from offset on, in row-major
// order, and may be called by several goroutines at once.
type Source interface {
	Names() []string
	Shape(name string) ([]int, bool)
	ReadAt(dst []float32, name string, offset int) error
}

// releaser is a Source that is told when a tensor was read entirely, so that
// mapped files do not stay in memory beside the packed weights.
type releaser interface {
	Release(name string)
}

// Options say how weights are kept.
type Options struct {
	DType    kernel.DType
	Workers  int                 // tensors read at a time; 0 for one
	Progress func(share float64) // called from several goroutines; may be nil
	// Interrupt is asked between pieces of half a megabyte, from several
	// goroutines: its error ends the load and is returned as it is. May be nil.
	Interrupt func() error
	// Spent is added to, unless it is nil.
	Spent *Spent
}

// Spent is what the goroutines that load weights spend together, in nanoseconds: on making float32
// of what the source has, on hashing it, and on handing it to the device in its form.
type Spent struct{ Read, Hash, Store atomic.Int64 }

// LoadTime is how long a part of a load took.
type LoadTime struct {
	What string
	Took time.Duration
}

// Times returns what each of so many goroutines spent.
func (s *Spent) Times(workers int) (all []LoadTime) {
	add := func(what string, ns *atomic.Int64) {
		all = append(all, LoadTime{what, time.Duration(ns.Load()) / time.Duration(max(1, workers))})
	}
	add("read", &s.Read)
	add("hash", &s.Hash)
	add("store", &s.Store)
	return all
}

// Interrupted asks whether the load is still wanted.
func (o *Options) Interrupted() error {
	if o.Interrupt == nil {
		return nil
	}
	return o.Interrupt()
}

// Error lists how a checkpoint's tensors differ from the model's.
type Error struct {
	Architecture string
	Missing      []string // the model has them, the checkpoint has not
	Unknown      []string // the checkpoint has them, the model has not
	Shapes       []string // "name: shape [..], want [..]"
}

// Error names every tensor, up to twenty of each kind.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the tensors are not those of %s", e.Architecture)
	list := func(what string, names []string) {
		const most = 20
		if len(names) == 0 {
			return
		}
		fmt.Fprintf(&b, "; %s: %s", what, strings.Join(names[:min(most, len(names))], ", "))
		if n := len(names) - most; n > 0 {
			fmt.Fprintf(&b, " and %d more", n)
		}
	}
	list("missing", e.Missing)
	list("unknown", e.Unknown)
	list("mis-shaped", e.Shapes)
	if slices.ContainsFunc(e.Missing,
		func(n string) bool { return strings.HasPrefix(n, "score.") || strings.HasPrefix(n, "classifier.") }) {
		b.WriteString(" (without its score head a checkpoint is a language model, no reward model)")
	}
	return b.String()
}

// ErrNotFinite is wrapped by the error for a weight that is NaN or infinite.
var ErrNotFinite = errors.New("not a finite number")

// buffers are tensors that some checkpoints carry beside the weights: tables
// that the model computes itself.
var buffers = []string{".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias",
	".attn.bias", ".attn.masked_bias", ".position_ids", ".embeddings.token_type_ids", ".num_batches_tracked"}

// IsBuffer reports whether a tensor is such a table.
func IsBuffer(name string) bool {
	return slices.ContainsFunc(buffers, func(s string) bool { return strings.HasSuffix(name, s) })
}

// Check compares the parameters with what the source has.
func Check(n *nn.Network, params []nn.Param, src Source) error {
	e := Error{Architecture: n.Name}
	known := make(map[string]bool, len(params))
	for _, p := range params {
		name := n.SourceName(p.Name)
		known[name] = true
		switch shape, ok := src.Shape(name); {
		case !ok:
			e.Missing = append(e.Missing, name)
		case p.Rows != nil && len(shape) == len(p.Shape) && shape[0] > slices.Max(p.Rows) &&
			slices.Equal(shape[1:], p.Shape[1:]):
		case !slices.Equal(shape, p.Shape):
			e.Shapes = append(e.Shapes, fmt.Sprintf("%s: shape %v, want %v", name, shape, p.Shape))
		}
	}
	for _, name := range src.Names() {
		if !known[name] && !IsBuffer(name) && !n.LeavesOut(name) {
			e.Unknown = append(e.Unknown, name)
		}
	}
	if len(e.Missing)+len(e.Unknown)+len(e.Shapes) > 0 {
		return &e
	}
	return nil
}

// ReadRows reads rows of a parameter from one on.
func ReadRows(src Source, dst []float32, name string, p *nn.Param, row int) error {
	n := p.RowLen()
	if p.Rows == nil {
		return src.ReadAt(dst, name, row*n)
	}
	for i, r := range p.Rows[row:][:len(dst)/n] {
		if err := src.ReadAt(dst[i*n:][:n], name, r*n); err != nil {
			return err
		}
	}
	return nil
}

// NotFinite returns the index of the first NaN or infinity, -1 when there is none.
func NotFinite(x []float32) int {
	const exponent, one = 0x7f800000_7f800000, 0x00800000_00800000
	// Two numbers at a time, without a branch and in four chains, so that the common case costs a small
	// part of hashing the same values: one more than an exponent of all ones sets the bit of the sign.
	var a, b, c, d uint64
	rest := float32Bytes(x)
	for ; len(rest) >= 32; rest = rest[32:] {
		a |= binary.LittleEndian.Uint64(rest)&exponent + one
		b |= binary.LittleEndian.Uint64(rest[8:])&exponent + one
		c |= binary.LittleEndian.Uint64(rest[16:])&exponent + one
		d |= binary.LittleEndian.Uint64(rest[24:])&exponent + one
	}
	for ; len(rest) > 0; rest = rest[4:] {
		a |= uint64(binary.LittleEndian.Uint32(rest))&exponent + one
	}
	if (a|b|c|d)&0x80000000_80000000 == 0 {
		return -1
	}
	return slices.IndexFunc(x, func(v float32) bool { return math.Float32bits(v)&0x7f800000 == 0x7f800000 })
}

// float32Bytes returns the values' bytes, little-endian: on the machines where
// that is the memory's own order without a copy.
func float32Bytes(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
	}
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// Count returns the number of weights of a network, and a *Error when the
// source's tensors are others.
func Count(n *nn.Network, src Source) (int, error) {
	params, sum := n.Params(), 0
	for i := range params {
		sum += params[i].Len()
	}
	return sum, Check(n, params, src)
}
