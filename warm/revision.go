package warm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/warmserve/warmserve/loader"
)

// ErrRevision is returned when a revision is fed a name twice, or another number of values than a tensor has.
var ErrRevision = errors.New("revision")

// Revision collects what is served and names it: "sha256:" and a digest over every tensor's name, shape and
// float32 values, and over further files such as the configuration. Equal weights have equal revisions,
// whether they come from a checkpoint, an average, F32 or BF16 storage that means the same values. The zero
// value is ready. Several goroutines may feed different tensors at once.
type Revision struct {
	mu    sync.Mutex
	parts map[string][sha256.Size]byte // kind and name → digest
}

// File adds bytes that belong to what is served, such as "config.json".
func (r *Revision) File(name string, content []byte) error {
	return r.add("file\x00"+name, sha256.Sum256(content))
}

// Tensor starts one tensor. Its values are written in row-major order by one goroutine, then it is closed.
func (r *Revision) Tensor(name string, shape []int) *TensorHash {
	t := &TensorHash{revision: r, name: name, hash: sha256.New(), left: 1}
	header := binary.LittleEndian.AppendUint64(nil, uint64(len(shape)))
	for _, d := range shape {
		header = binary.LittleEndian.AppendUint64(header, uint64(d))
		t.left *= d
	}
	t.hash.Write(header)
	return t
}

// String returns the revision of what was added and closed until now, whatever the order.
func (r *Revision) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(r.parts)) {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(name))))
		h.Write([]byte(name))
		sum := r.parts[name]
		h.Write(sum[:])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func (r *Revision) add(key string, sum [sha256.Size]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.parts[key]; twice {
		return fmt.Errorf("warm: %w: %q was added twice", ErrRevision, key)
	}
	if r.parts == nil {
		r.parts = map[string][sha256.Size]byte{}
	}
	r.parts[key] = sum
	return nil
}

// TensorHash takes the values of one tensor.
type TensorHash struct {
	revision *Revision
	name     string
	hash     hash.Hash
	left     int // values still to be written
	buffer   [4096]byte
}

// Write adds the next values. It keeps nothing of the slice.
func (t *TensorHash) Write(values []float32) {
	t.left -= len(values)
	for len(values) > 0 {
		n := min(len(values), len(t.buffer)/4)
		for i, v := range values[:n] {
			binary.LittleEndian.PutUint32(t.buffer[4*i:], math.Float32bits(v))
		}
		t.hash.Write(t.buffer[:4*n])
		values = values[n:]
	}
}

// Close adds the tensor to the revision, and fails when it was not given exactly its values.
func (t *TensorHash) Close() error {
	if t.left != 0 {
		return fmt.Errorf("warm: %w: tensor %q lacks %d values", ErrRevision, t.name, t.left)
	}
	return t.revision.add("tensor\x00"+t.name, [sha256.Size]byte(t.hash.Sum(nil)))
}

// RevisionOf reads a whole source, one tensor for each of workers at a time, and returns the revision of its tensors. With the
// files that belong to it, such as "config.json", it names a deployment.
func RevisionOf(s loader.Source, files map[string][]byte, workers int) (string, error) {
	if workers < 1 {
		return "", fmt.Errorf("warm: %w: %d workers", ErrRevision, workers)
	}
	r := new(Revision)
	for name, content := range files {
		if err := r.File(name, content); err != nil {
			return "", err
		}
	}
	names := make(chan string)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			buffer := make([]float32, 1<<15)
			for name := range names {
				if errs[w] == nil { // After an error the worker only drains.
					errs[w] = r.read(s, name, buffer)
				}
			}
		})
	}
	for _, name := range s.Names() {
		names <- name
	}
	close(names)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	return r.String(), nil
}

// read adds one tensor of s.
func (r *Revision) read(s loader.Source, name string, buffer []float32) error {
	shape, ok := s.Shape(name)
	if !ok {
		return fmt.Errorf("warm: %w: tensor %q: %w", ErrRevision, name, loader.ErrNoTensor)
	}
	t := r.Tensor(name, shape)
	for at := 0; t.left > 0; {
		part := buffer[:min(len(buffer), t.left)]
		if err := s.ReadAt(part, name, at); err != nil {
			return err
		}
		t.Write(part)
		at += len(part)
	}
	if releaser, ok := s.(loader.Releaser); ok {
		releaser.Release(name)
	}
	return t.Close()
}
