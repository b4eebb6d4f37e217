package safetensors

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"unsafe"
)

// Tensor is one tensor of a [File]. Its fields are read-only.
type Tensor struct {
	Name  string
	DType DType
	Shape []int  // row-major; empty for a scalar
	Data  []byte // little-endian elements; belongs to the file, see the package comment

	elements int
	closed   *atomic.Bool // of the file; nil for a tensor that is not of a mapped file
}

// Elements returns the number of elements, the product of the shape.
func (t *Tensor) Elements() int { return t.elements }

// File is a checked safetensors file.
type File struct {
	Tensors  []Tensor          // in the order of their bytes in the file
	Metadata map[string]string // of __metadata__; nil when there is none

	mapped []byte // what Close unmaps; nil when the bytes are the caller's or on the heap
	closed *atomic.Bool
}

// Parse checks the bytes of a whole file. The tensors alias file, which the caller must not change.
func Parse(file []byte) (*File, error) {
	tensors, metadata, err := parse(file)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", explain(file, err))
	}
	return &File{Tensors: tensors, Metadata: metadata, closed: new(atomic.Bool)}, nil
}

// Open maps the file at path and checks it. No tensor is read yet. The caller closes the File.
func Open(path string) (*File, error) {
	var metadata map[string]string
	f, err := Map(path, func(data []byte) (tensors []Tensor, err error) {
		if tensors, metadata, err = parse(data); err != nil {
			return nil, explain(data, err)
		}
		return tensors, nil
	})
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	f.Metadata = metadata
	return f, nil
}

// Map maps a file of any format, in which parse finds the tensors, made by [NewTensor]: their bytes
// alias data or are on the heap. Map gives them what the tensors of [Open] have: they are read
// lazily, survive a file that shrinks, and end with Close.
func Map(path string, parse func(data []byte) ([]Tensor, error)) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // The mapping outlives the descriptor.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	data, mapped, err := mapFile(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := &File{closed: new(atomic.Bool)}
	if mapped {
		out.mapped = data
	}
	err = Guard(func() (err error) {
		out.Tensors, err = parse(data)
		return err
	})
	if err != nil {
		_ = out.Close() // The error that counts is the file's.
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range out.Tensors {
		out.Tensors[i].closed = out.closed
	}
	return out, nil
}

// NewFile returns a file of tensors that are in memory already.
func NewFile(tensors []Tensor) *File {
	return &File{Tensors: tensors, closed: new(atomic.Bool)}
}

// NewTensor returns a tensor of a file of another format. The shape, whose dimensions are not
// negative, must ask for just the bytes of data.
func NewTensor(name string, dtype DType, shape []int, data []byte) (Tensor, error) {
	s := Spec{Name: name, DType: dtype, Shape: shape}
	n, err := s.Bytes()
	if err != nil {
		return Tensor{}, err
	}
	if n != int64(len(data)) {
		return Tensor{}, tensorErr(name, ErrSize, "%d bytes for shape %v of %s, want %d", len(data),
			shape, dtype, n)
	}
	return Tensor{Name: name, DType: dtype, Shape: shape, Data: data, elements: int(n) * 8 / dtype.Bits()}, nil
}

// Close unmaps the file. No tensor may be in use, and views of its data must not be touched again.
// A second Close does nothing.
func (f *File) Close() error {
	if f.closed.Swap(true) || f.mapped == nil {
		return nil
	}
	m := f.mapped
	f.mapped = nil
	return unmapFile(m)
}

// Guard runs fn and returns its error, or [ErrShrunk] when fn touched a mapped page whose file has
// become shorter. Every other panic passes through. The costs are some nanoseconds, so that a
// caller guards a block, not an element. fn must not start goroutines that read the file.
func Guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		switch r := recover().(type) {
		case nil:
		case interface {
			error
			Addr() uintptr // Only faults at real addresses have one; a nil dereference has none.
		}:
			err = fmt.Errorf("safetensors: %w: fault at address %#x", ErrShrunk, r.Addr())
		default:
			panic(r)
		}
	}()
	return fn()
}

// Float32s returns the tensor as float32 values without a copy. It returns false unless the tensor is
// F32, aligned to four bytes, and the machine little-endian. The values belong to the file.
func (t *Tensor) Float32s() ([]float32, bool) {
	if t.DType != F32 || !littleEndian {
		return nil, false
	}
	if len(t.Data) == 0 {
		return []float32{}, true
	}
	p := unsafe.Pointer(unsafe.SliceData(t.Data))
	if uintptr(p)%4 != 0 {
		return nil, false
	}
	return unsafe.Slice((*float32)(p), t.elements), true
}

// ReadAt writes the elements [offset, offset+len(dst)) in row-major order into dst as float32.
// It is safe for concurrent use, allocates nothing, and survives a file that shrank.
func (t *Tensor) ReadAt(dst []float32, offset int) error {
	if !t.DType.Float() {
		return tensorErr(t.Name, ErrDType, "%s cannot be read as float32", t.DType)
	}
	if offset < 0 || offset > t.elements || len(dst) > t.elements-offset {
		return tensorErr(t.Name, ErrRange, "elements [%d, %d) of %d", offset, offset+len(dst), t.elements)
	}
	if t.closed != nil && t.closed.Load() {
		return tensorErr(t.Name, ErrClosed, "")
	}
	if len(dst) == 0 {
		return nil
	}
	err := Guard(func() error {
		width := t.DType.Bits() / 8
		Decode(dst, t.Data[offset*width:], t.DType)
		return nil
	})
	if err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return nil
}
