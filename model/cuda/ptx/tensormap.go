package ptx

import (
	"encoding/binary"
	"fmt"
)

// tensorMap is what the copy engine knows of a row-major matrix of bfloat16: its
// boxes have 64 columns and so many rows, and lie in shared memory with their
// chunks of 16 bytes exchanged (128-byte swizzle).
type tensorMap struct {
	base           uint64
	rows, cols, ld int // ld in elements
	box            int
}

const mapMagic = 0x70616d2d78747021

// TensorMap makes the map of a matrix, in a form of our own, as the driver does
// in one that is a secret. It refuses what the driver refuses.
func (m *Machine) TensorMap(p uint64, rows, cols, ld, boxRows int) (out [128]byte, err error) {
	if p%16 != 0 || ld*2%16 != 0 || boxRows < 1 || boxRows > 256 || rows < 1 || cols < 1 || ld < cols {
		return out, fmt.Errorf("ptx: a tensor map of %d x %d, %d from row to row, at %#x in boxes of %d rows",
			rows, cols, ld, p, boxRows)
	}
	for i, v := range []uint64{mapMagic, p, uint64(rows), uint64(cols), uint64(ld), uint64(boxRows)} {
		binary.LittleEndian.PutUint64(out[8*i:], v)
	}
	return out, nil
}

// tensorMapAt reads the map at an address.
func (m *Machine) tensorMapAt(p uint64) (t tensorMap, err error) {
	a, err := m.mem.span(p, 128)
	if err != nil {
		return t, err
	}
	b := a.data[p-a.base:]
	n := func(i int) int { return int(binary.LittleEndian.Uint64(b[8*i:])) }
	if p%64 != 0 || n(0) != mapMagic {
		return t, fmt.Errorf("there is no tensor map at %#x", p)
	}
	return tensorMap{uint64(n(1)), n(2), n(3), n(4), n(5)}, nil
}

func (t *tensorMap) address(row, col int) uint64 { return t.base + uint64(2*(row*t.ld+col)) }

// swizzle is where the byte of an address lies.
func swizzle(a uint64) uint64 { return a ^ a>>7&7<<4 }
