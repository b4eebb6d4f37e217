// Package binding joins a network's parameters with a checkpoint's tensors: it says where they
// differ, and reads the tensors in pieces, hashes them and hands them on, whatever device they go to.
package binding

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
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

// piece is a run of rows of one parameter, read and packed at once.
type piece struct {
	param     int
	row, rows int
	sum       [sha256.Size]byte
}

// pieceLen is about how many values a piece has: half a megabyte, so that what is
// read is still in cache when it is hashed and packed.
const pieceLen = 1 << 17

// pieceRows keeps the pieces of a parameter apart by whole groups of 64 rows, so
// that two are never packed into the same panel at once. What must be turned is
// one piece, as is what is picked from a larger tensor.
func pieceRows(p *nn.Param) int {
	if p.Transposed || p.Rows != nil {
		return p.Shape[0]
	}
	return max(64, pieceLen/p.RowLen()/64*64)
}

// cut cuts parameters into pieces.
func cut(params []nn.Param) []piece {
	var pieces []piece
	for i := range params {
		p := &params[i]
		n := pieceRows(p)
		for row := 0; row < p.Shape[0]; row += n {
			pieces = append(pieces, piece{param: i, row: row, rows: min(n, p.Shape[0]-row)})
		}
	}
	return pieces
}

// loading is a model's weights on their way from a source into its layers.
type loading struct {
	Options
	n      *nn.Network
	params []nn.Param
	store  Store
	src    Source
	total  int // values
	pieces []piece
	left   []atomic.Int32 // pieces of each parameter that are not yet read
	done   atomic.Int64   // values
}

// Store takes the values of whole rows of a parameter (indices of the first dimension), beginning
// with row. Calls for rows of different groups of 64, and for different parameters, run at the same
// time.
type Store func(param, row int, values []float32)

// Weights are what was read.
type Weights struct {
	Parameters int
	// Digest names the weights as they were read, before any conversion: "sha256:" and 64 hexadecimal
	// digits. Equal tensors under equal names give equal digests, whatever files they came from.
	Digest string
}

// Read reads the values of a network's parameters, which [Check] found in the source, in pieces,
// hashes them and hands them to store. A value that is not finite is an error.
func Read(n *nn.Network, params []nn.Param, src Source, o Options, store Store) (Weights, error) {
	r := &loading{Options: o, n: n, params: params, store: store, src: src, pieces: cut(params),
		left: make([]atomic.Int32, len(params))}
	for i := range r.pieces {
		r.left[r.pieces[i].param].Add(1)
		r.total += r.len(&r.pieces[i])
	}
	batches, longest := r.batches()
	var (
		wg     sync.WaitGroup
		next   atomic.Int64
		once   sync.Once
		failed error
	)
	for range max(1, o.Workers) {
		wg.Go(func() {
			buf := make([]float32, longest)
			for {
				i := int(next.Add(1)) - 1
				if i >= len(batches) {
					return
				}
				if err := r.load(batches[i], buf); err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(len(batches)))
					return
				}
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return Weights{}, failed
	}
	return Weights{Parameters: r.total, Digest: digest(params, r.pieces)}, nil
}

// len returns the number of a piece's values.
func (r *loading) len(p *piece) int { return p.rows * r.params[p.param].RowLen() }

// batches returns the pieces by what a worker reads before it hashes and packs: as many
// values as [kernel.SHA256] hashes at a time, unless workers would be left without work,
// and the most values of any batch.
func (r *loading) batches() (batches [][]piece, longest int) {
	most := min(kernel.SHA256Together()*pieceLen, r.total/(2*max(1, r.Workers)))
	from, n := 0, 0
	for i := range r.pieces {
		next := r.len(&r.pieces[i])
		if i > from && n+next > most {
			batches = append(batches, r.pieces[from:i])
			from, n = i, 0
		}
		n += next
		longest = max(longest, n)
	}
	if from < len(r.pieces) {
		batches = append(batches, r.pieces[from:])
	}
	return batches, longest
}

// load reads the pieces of a batch into buf, hashes them and packs them.
func (r *loading) load(batch []piece, buf []float32) error {
	params, name := r.params, r.n.SourceName
	values := make([][]float32, len(batch))
	texts, sums := make([][]byte, len(batch)), make([][sha256.Size]byte, len(batch))
	spent := r.Spent
	if spent == nil {
		spent = new(Spent)
	}
	lap := time.Now()
	until := func(what *atomic.Int64) {
		now := time.Now()
		what.Add(int64(now.Sub(lap)))
		lap = now
	}
	for i := range batch {
		if err := r.Interrupted(); err != nil {
			return err
		}
		p := &batch[i]
		param, n := &params[p.param], r.len(p)
		values[i], buf = buf[:n], buf[n:]
		if err := ReadRows(r.src, values[i], name(param.Name), param, p.row); err != nil {
			return err
		}
		if j := NotFinite(values[i]); j >= 0 {
			return fmt.Errorf("tensor %q: element %d is %v: %w",
				name(param.Name), p.row*param.RowLen()+j, values[i][j], ErrNotFinite)
		}
		texts[i] = float32Bytes(values[i])
	}
	until(&spent.Read)
	kernel.SHA256(sums, texts)
	until(&spent.Hash)
	defer until(&spent.Store)
	for i := range batch {
		p := &batch[i]
		p.sum = sums[i]
		r.store(p.param, p.row, values[i])
		if s, ok := r.src.(releaser); ok && r.left[p.param].Add(-1) == 0 {
			s.Release(name(params[p.param].Name))
		}
		n := r.done.Add(int64(len(values[i])))
		if r.Progress != nil {
			r.Progress(float64(n) / float64(r.total))
		}
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

// digest hashes the pieces' hashes in the order of the tensors' names.
func digest(params []nn.Param, pieces []piece) string {
	slices.SortStableFunc(pieces,
		func(a, b piece) int { return strings.Compare(params[a.param].Name, params[b.param].Name) })
	h := sha256.New()
	for _, p := range pieces {
		q := &params[p.param]
		fmt.Fprintf(h, "%q%v%d", q.Name, q.Shape, p.row)
		h.Write(p.sum[:])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
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
