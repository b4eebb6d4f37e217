package loader

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"slices"
	"sync"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// Source is a set of named tensors that can be read piece by piece.
type Source interface {
	// Names returns the tensors' names, sorted. The caller must not change the slice.
	Names() []string
	// Shape returns the shape of a tensor; it is read-only. ok is false when there is no such tensor.
	Shape(name string) (shape []int, ok bool)
	// ReadAt writes the elements [offset, offset+len(dst)) in row-major order into dst. It may be
	// called by several goroutines.
	ReadAt(dst []float32, name string, offset int) error
}

// Releaser is a [Source] that can give back the memory behind a tensor which is not needed for now.
type Releaser interface {
	Release(name string)
}

// ErrNoTensor is returned by reads of a tensor that the checkpoint does not have.
var ErrNoTensor = errors.New("no such tensor")

// ErrShrunk is returned when a tensor's file became shorter after it was opened.
var ErrShrunk = safetensors.ErrShrunk

// Checkpoint is an open checkpoint directory. The exported fields are read-only.
type Checkpoint struct {
	Dir              string // as given to Open
	Config           []byte // config.json, a JSON object
	Tokenizer        []byte // tokenizer.json; nil when there is none
	TokenizerConfig  []byte // tokenizer_config.json; nil when there is none
	SpecialTokensMap []byte // special_tokens_map.json; nil when there is none
	ChatTemplate     string // Jinja; "" when there is none
	SentencePooling  []byte // 1_Pooling/config.json of sentence-transformers; nil when there is none
	Base             string // where the base of an adapter lies; "" for a checkpoint with weights of its own

	// AverageRecord is warm_average.json, which says what an average was made of; nil when there is none.
	AverageRecord []byte
	// OtherTokenizer says which file of a tokenizer there is in the place of tokenizer.json, and
	// how to make that of it; "" where there is none.
	OtherTokenizer string
	// Notes say what was not taken as it lies there: names of tensors, files of an adapter's base.
	Notes []string

	names   []string
	tensors map[string]located
	files   []*safetensors.File
	hash    func() string
}

// located is a tensor, the file that holds it, and the change that an adapter makes of it.
type located struct {
	tensor *safetensors.Tensor
	file   *safetensors.File
	low    *lowRank // nil where there is none
}

// Close unmaps the tensors. Nothing may read them any more, views included.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Names returns the names of all tensors, sorted, without what wrappers of training put into them.
func (c *Checkpoint) Names() []string { return c.names }

// Shape returns the shape of a tensor.
func (c *Checkpoint) Shape(name string) (shape []int, ok bool) {
	l, ok := c.tensors[name]
	if !ok {
		return nil, false
	}
	return l.tensor.Shape, true
}

// DType returns the stored element type, such as "F32" or "BF16", and "" when there is no such
// tensor. A matrix that an adapter changes is computed when it is read, as "F32".
func (c *Checkpoint) DType(name string) string {
	if l, ok := c.tensors[name]; ok {
		if l.low != nil {
			return string(safetensors.F32)
		}
		return string(l.tensor.DType)
	}
	return ""
}

// ReadAt writes the elements [offset, offset+len(dst)) of a floating tensor into dst as float32. It
// is safe for concurrent use and allocates nothing. Integer tensors are an error.
func (c *Checkpoint) ReadAt(dst []float32, name string, offset int) error {
	l, ok := c.tensors[name]
	if !ok {
		return fmt.Errorf("loader: %s: tensor %q: %w", c.Dir, name, ErrNoTensor)
	}
	var err error
	if l.low != nil {
		err = l.low.readAt(dst, l.tensor, offset)
	} else {
		err = l.tensor.ReadAt(dst, offset)
	}
	if err != nil {
		return fmt.Errorf("loader: %s: %w", c.Dir, err)
	}
	return nil
}

// View returns a tensor's values without a copy, and false where that is impossible: another
// element type than F32, a misaligned tensor, a big-endian machine, a matrix that an adapter
// changes. The view is read-only, ends with Close, and is read inside of [Guard], since the file
// may shrink.
func (c *Checkpoint) View(name string) (values []float32, ok bool) {
	l, ok := c.tensors[name]
	if !ok || l.low != nil {
		return nil, false
	}
	return l.tensor.Float32s()
}

// Raw returns the stored bytes of a tensor without a copy, and false for a matrix that an adapter
// changes: its bytes are stored nowhere. They are read-only, end with Close, and are read inside of
// [Guard].
func (c *Checkpoint) Raw(name string) (data []byte, ok bool) {
	l, ok := c.tensors[name]
	if !ok || l.low != nil {
		return nil, false
	}
	return l.tensor.Data, true
}

// Guard runs fn and returns its error, or [ErrShrunk] when fn touched a part of a file that is gone.
func Guard(fn func() error) error { return safetensors.Guard(fn) }

// Prefetch asks the kernel to read a tensor ahead, without waiting for it.
func (c *Checkpoint) Prefetch(name string) {
	if l, ok := c.tensors[name]; ok {
		l.file.Prefetch(l.tensor)
		if l.low != nil {
			l.low.file.Prefetch(l.low.a)
			l.low.file.Prefetch(l.low.b)
		}
	}
}

// Release gives the memory behind a tensor back until it is touched again.
func (c *Checkpoint) Release(name string) {
	if l, ok := c.tensors[name]; ok {
		l.file.Release(l.tensor)
	}
}

// Hash identifies the content: "sha256:" and the digest of the small files and of every tensor's
// name, dtype, shape and stored bytes; where an adapter changes a matrix, those of W, A and B, and
// the scale. It does not depend on how tensors are spread over shards, nor on the directory's name.
// The first call reads everything (at the speed of SHA-256 on each processor); later calls cost
// nothing. It returns "" when a file shrank, which is an error for every read as well.
func (c *Checkpoint) Hash() string { return c.hash() }

func (c *Checkpoint) computeHash() string {
	sums := make([][sha256.Size]byte, len(c.names))
	errs := make([]error, len(c.names))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 { // Enough to keep a disk busy; the digest of each tensor is one goroutine's.
		wg.Go(func() {
			for i := range next {
				l := c.tensors[c.names[i]]
				errs[i] = Guard(func() error {
					sums[i] = l.sum()
					return nil
				})
				l.file.Release(l.tensor)
			}
		})
	}
	for i := range c.names {
		next <- i
	}
	close(next)
	wg.Wait()
	if errors.Join(errs...) != nil {
		return ""
	}
	h := sha256.New()
	for _, small := range [][]byte{c.Config, c.Tokenizer, c.TokenizerConfig, c.SpecialTokensMap,
		[]byte(c.ChatTemplate)} {
		hashBytes(h, small)
	}
	if c.SentencePooling != nil {
		hashBytes(h, c.SentencePooling)
	}
	for i, name := range c.names {
		l := c.tensors[name]
		hashBytes(h, []byte(name))
		hashBytes(h, []byte(c.DType(name)))
		hashInt(h, len(l.tensor.Shape))
		for _, d := range l.tensor.Shape {
			hashInt(h, d)
		}
		h.Write(sums[i][:])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// sum hashes what the tensor's values are made of.
func (l located) sum() [sha256.Size]byte {
	if l.low == nil {
		return sha256.Sum256(l.tensor.Data)
	}
	h := sha256.New()
	made := []*safetensors.Tensor{l.tensor, l.low.a, l.low.b}
	if l.low.expert != nil { // for whom these are hashed once
		made = made[:1]
	}
	for _, t := range made {
		hashBytes(h, []byte(t.DType))
		hashBytes(h, t.Data)
	}
	if l.low.expert != nil {
		h.Write(l.low.expert())
	}
	h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(l.low.scale)))
	return [sha256.Size]byte(h.Sum(nil))
}

// hashBytes adds a length and the bytes, so that no two lists of fields look the same.
func hashBytes(h hash.Hash, b []byte) {
	hashInt(h, len(b))
	h.Write(b)
}

func hashInt(h hash.Hash, v int) {
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(v)))
}

// add registers the tensors of one file. Names are unique across files when it is called.
func (c *Checkpoint) add(f *safetensors.File) {
	c.files = append(c.files, f)
	for i := range f.Tensors {
		t := &f.Tensors[i]
		c.tensors[t.Name] = located{tensor: t, file: f}
		c.names = append(c.names, t.Name)
	}
}

// finish sorts the names, at the end of opening.
func (c *Checkpoint) finish() {
	slices.Sort(c.names)
	c.hash = sync.OnceValue(c.computeHash)
}
