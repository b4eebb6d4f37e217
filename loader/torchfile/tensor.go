package torchfile

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/warmserve/warmserve/loader/safetensors"
)

const (
	maxElements = 1 << 48 // of a storage, so that bytes fit into 64 bits
	maxDims     = 64      // as in torch
	// maxSharing bounds the bytes of all tensors in units of the file's: names for one weight.
	maxSharing = 8
)

// tensorsOf returns the tensors of a state_dict in a file of so many bytes.
func tensorsOf(value any, size int) ([]safetensors.Tensor, error) {
	d, ok := value.(*dict)
	if !ok {
		return nil, fmt.Errorf("it holds %s: %w", kindOf(value), ErrContents)
	}
	out := make([]safetensors.Tensor, 0, len(d.keys))
	seen := make(map[string]bool, len(d.keys))
	room, copies := maxSharing*size, size
	for i, key := range d.keys {
		name, ok := key.(string)
		v, isTensor := d.values[i].(*view)
		switch {
		case !ok:
			return nil, fmt.Errorf("a key is %s: %w", kindOf(key), ErrContents)
		case !isTensor:
			return nil, fmt.Errorf("%.*q is %s: %w", maxName, name, kindOf(d.values[i]), ErrContents)
		case seen[name]:
			return nil, fmt.Errorf("%w %.*q: is there twice", ErrTensor, maxName, name)
		}
		seen[name] = true
		t, copied, err := v.tensor(name, copies)
		if err != nil {
			return nil, err
		}
		copies -= copied
		if room -= len(t.Data); room < 0 {
			return nil, fmt.Errorf("%w: tensors that share storages have %d times the bytes of the file together", ErrLimit, maxSharing)
		}
		out = append(out, t)
	}
	return out, nil
}

// tensor checks a view and returns its bytes as those of a tensor, and how many had to be copied,
// at most limit.
func (v *view) tensor(name string, limit int) (t safetensors.Tensor, copied int, err error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w %.*q: %s", ErrTensor, maxName, name, fmt.Sprintf(format, args...))
	}
	if len(v.shape) != len(v.stride) || v.offset < 0 {
		return t, 0, bad("shape %v, strides %v, offset %d", v.shape, v.stride, v.offset)
	}
	shape, n := make([]int, len(v.shape)), uint64(1)
	last, ordered := uint64(v.offset), true // the highest index, and whether elements lie in row-major order
	for i := len(shape) - 1; i >= 0; i-- {
		size, stride := v.shape[i], v.stride[i]
		if size < 0 || stride < 0 || size > maxElements || stride > maxElements {
			return t, 0, bad("shape %v, strides %v: want numbers from 0 on", v.shape, v.stride)
		}
		shape[i] = int(size)
		ordered = ordered && (size == 1 || uint64(stride) == n)
		if size > 0 {
			reachHi, reach := bits.Mul64(uint64(size-1), uint64(stride))
			sum, carry := bits.Add64(last, reach, 0)
			if last = sum; reachHi+carry > 0 {
				return t, 0, bad("shape %v, strides %v overflow", v.shape, v.stride)
			}
		}
		hi, lo := bits.Mul64(n, uint64(size))
		if n = lo; hi > 0 {
			return t, 0, bad("shape %v overflows", v.shape)
		}
	}
	s := v.storage
	width := s.dtype.Bits() / 8
	switch {
	case n == 0:
		t, err = safetensors.NewTensor(name, s.dtype, shape, []byte{})
		return t, 0, err
	case last >= uint64(s.elements):
		return t, 0, bad("shape %v, strides %v, offset %d reach element %d of %d in its storage",
			v.shape, v.stride, v.offset, last, s.elements)
	case n > uint64(s.elements):
		return t, 0, bad("shape %v has more elements than its storage, %d: save expanded tensors with .contiguous()", v.shape, s.elements)
	}
	if ordered {
		begin := int(v.offset) * width
		end := begin + int(n)*width
		t, err = safetensors.NewTensor(name, s.dtype, shape, s.data[begin:end:end])
		return t, 0, err
	}
	if copied = int(n) * width; copied > limit {
		return t, 0, fmt.Errorf("%w: tensors that are not in row-major order have more bytes than the file together: save them with .contiguous()", ErrLimit)
	}
	t, err = safetensors.NewTensor(name, s.dtype, shape, v.gather(shape, int(n), width))
	return t, copied, err
}

// gather copies the n elements of a view in row-major order.
func (v *view) gather(shape []int, n, width int) []byte {
	out := make([]byte, 0, n*width)
	index := make([]int, len(shape))
	at := int(v.offset)
	for range n {
		out = append(out, v.storage.data[at*width:(at+1)*width]...)
		for i := len(shape) - 1; i >= 0; i-- {
			at += int(v.stride[i])
			if index[i]++; index[i] < shape[i] {
				break
			}
			at -= int(v.stride[i]) * shape[i]
			index[i] = 0
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
