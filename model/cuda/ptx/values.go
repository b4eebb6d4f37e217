package ptx

import (
	"fmt"
	"unsafe"
)

// Put stores values on the card and returns their address.
func Put[T any](m *Machine, v []T) uint64 {
	p := m.Alloc(max(1, len(v)*int(unsafe.Sizeof(*new(T)))))
	if err := m.Write(p, bytesOf(v)); err != nil {
		panic(err)
	}
	return p
}

// Take reads n values from the card. It panics when they are not all there.
func Take[T any](m *Machine, p uint64, n int) []T {
	out := make([]T, n)
	if err := m.Read(bytesOf(out), p); err != nil {
		panic(err)
	}
	return out
}

// PutMap stores the tensor map of a matrix and returns its address. It panics
// when there is none.
func (m *Machine) PutMap(p uint64, rows, cols, ld, boxRows int) uint64 {
	b, err := m.TensorMap(p, rows, cols, ld, boxRows)
	if err != nil {
		panic(err)
	}
	return Put(m, b[:])
}

// Bytes is a value as it lies in memory, a struct of parameters for example. C
// and Go lay structs out alike as long as no field is a bool or a pointer.
func Bytes[T any](v *T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))...)
}

// Params packs several parameters, each aligned to its size: int32, uint32,
// float32, int64, uint64.
func Params(v ...any) []byte {
	var out []byte
	add := func(n int, x uint64) {
		out = append(out, make([]byte, up(len(out), n)-len(out)+n)...)
		put(out[len(out)-n:], n, x)
	}
	for _, e := range v {
		switch e := e.(type) {
		case int32:
			add(4, uint64(uint32(e)))
		case uint32:
			add(4, uint64(e))
		case float32:
			add(4, bits32(e))
		case int64:
			add(8, uint64(e))
		case uint64:
			add(8, e)
		default:
			panic(fmt.Sprintf("ptx: a parameter of type %T", e))
		}
	}
	return out
}

func bytesOf[T any](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}
