//go:build amd64 && !noasm

package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
)

// tile runs an instruction of the unit from its bytes.
func (in *interpreter) tile(c []byte) {
	if c[0] != 0xc4 || c[1]&0x1f != 2 || c[2]&0x84 != 0 {
		panic(fmt.Sprintf("% x: not VEX of map 0F38, W 0, 128 bits", c))
	}
	pp, op, reg := c[2]&3, c[3], int(c[4]>>3&7)
	if op != 0x49 && !in.tiles {
		panic("the tiles are not configured")
	}
	if c[4]>>6 == 3 {
		rm, v := int(c[4]&7), int(^c[2]>>3&15)
		switch {
		case len(c) != 5:
			panic("a length")
		case op == 0x49 && pp == 0 && c[4] == 0xc0:
			in.tiles = false
		case op == 0x5c && pp == 2:
			in.dotBF16(reg, rm, v)
		case op == 0x5e && pp == 1:
			in.dotInt8(reg, rm, v)
		default:
			panic(fmt.Sprintf("% x: no instruction", c))
		}
		return
	}
	if len(c) != 10 || c[4]>>6 != 2 || c[4]&7 != 4 || c[5]>>6 != 0 || c[2]>>3 != 15 {
		panic(fmt.Sprintf("% x: not base, index and displacement", c))
	}
	names := []string{"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}
	base, index := int(c[5]&7)|int(^c[1]>>5&1)<<3, int(c[5]>>3&7)|int(^c[1]>>6&1)<<3
	at := in.r[names[base]] + uint64(int64(int32(binary.LittleEndian.Uint32(c[6:]))))
	stride := uint64(0)
	if index != 4 {
		stride = in.r[names[index]]
	}
	switch {
	case op == 0x49 && pp == 0 && reg == 0:
		in.configure((*[64]byte)(pointer(uintptr(at))))
	case op == 0x4b && pp == 3:
		for i := range 16 {
			in.tmm[reg][i] = *(*[16]uint32)(pointer(uintptr(at + uint64(i)*stride)))
		}
	case op == 0x4b && pp == 2 && stride != 0:
		for i := range 16 {
			*(*[16]uint32)(pointer(uintptr(at + uint64(i)*stride))) = in.tmm[reg][i]
		}
	default:
		panic(fmt.Sprintf("% x: no instruction", c))
	}
}

// configure wants eight tiles of 16 rows of 64 bytes.
func (in *interpreter) configure(c *[64]byte) {
	for i, b := range c {
		want := byte(0)
		switch {
		case i == 0:
			want = 1
		case i >= 16 && i < 32 && i%2 == 0:
			want = 64
		case i >= 48 && i < 56:
			want = 16
		}
		if b != want {
			panic(fmt.Sprintf("configuration: byte %d is %d, want %d", i, b, want))
		}
	}
	in.tmm, in.tiles = [8][16][16]uint32{}, true
}

// dotBF16 takes the vector functions of the package where no element is so small or
// large that a product or sum could be denormal or overflow: products are exact then,
// and the fused ones the same.
func (in *interpreter) dotBF16(acc, a, w int) {
	var rows [2][16][16]float32 // of W, the even and the odd k
	for k, row := range in.tmm[w] {
		for n, y := range row {
			rows[0][k][n], rows[1][k][n] = math.Float32frombits(y<<16), math.Float32frombits(y&0xffff0000)
		}
	}
	if moderate(&in.tmm[a]) && moderate(&in.tmm[w]) {
		for m := range 16 {
			var even, odd [16]float32
			for k, x := range in.tmm[a][m] {
				AddScaled(even[:], math.Float32frombits(x<<16), rows[0][k][:])
				AddScaled(odd[:], math.Float32frombits(x&0xffff0000), rows[1][k][:])
			}
			for n := range 16 {
				c := &in.tmm[acc][m][n]
				*c = math.Float32bits(normal(normal(math.Float32frombits(*c)) + normal(even[n]+odd[n])))
			}
		}
		return
	}
	for m := range 16 {
		for n := range 16 {
			var even, odd float32
			for k := range 16 {
				x, y := in.tmm[a][m][k], in.tmm[w][k][n]
				even, odd = fusedBF16(even, x<<16, y<<16), fusedBF16(odd, x&0xffff0000, y&0xffff0000)
			}
			c := &in.tmm[acc][m][n]
			*c = math.Float32bits(normal(normal(math.Float32frombits(*c)) + normal(even+odd)))
		}
	}
}

// moderate says whether every bfloat16 is zero or of a size from 2⁻⁵⁰ to 2⁵⁰.
func moderate(t *[16][16]uint32) bool {
	for _, row := range t {
		for _, v := range row {
			for _, h := range [2]uint32{v & 0x7fff, v >> 16 & 0x7fff} {
				if e := h >> 7; h != 0 && (e < 127-50 || e > 127+50) {
					return false
				}
			}
		}
	}
	return true
}

func (in *interpreter) dotInt8(acc, a, w int) {
	for m := range 16 {
		for n := range 16 {
			for k := range 16 {
				x, y := in.tmm[a][m][k], in.tmm[w][k][n]
				for s := 0; s < 32; s += 8 {
					in.tmm[acc][m][n] += uint32(int32(uint8(x>>s)) * int32(int8(y>>s)))
				}
			}
		}
	}
}
