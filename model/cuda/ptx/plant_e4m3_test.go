package ptx_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
)

// eight are random rows of e4m3, and what they are by their scales: as activations each ends with
// its own. Where spare rows follow, they are NaN.
func eight(r *rand.Rand, rows, cols, spare int) (b []byte, scales []float32, v [][]float64) {
	width, size := kernel.E4M3Width(cols), kernel.E4M3Row(cols)
	b = make([]byte, (rows+spare)*size)
	for i := range b {
		b[i] = 0x7f
	}
	for i := range rows {
		in, row := make([]float32, cols), b[i*size:][:width]
		for c := range in {
			in[c] = float32(r.NormFloat64())
		}
		clear(row)
		s := kernel.QuantizeE4M3(row[:cols], in)
		binary.LittleEndian.PutUint32(b[i*size+width:], math.Float32bits(s))
		scales, v = append(scales, s), append(v, make([]float64, cols))
		for c := range in {
			x := int(row[c])
			m := math.Ldexp(1+float64(x&7)/8, x>>3&15-7)
			if x>>3&15 == 0 {
				m = math.Ldexp(float64(x&7), -9)
			}
			v[i][c] = math.Copysign(m, 64-float64(x&128)) * float64(s)
		}
	}
	return b, scales, v
}

// eighth runs a product of e4m3, of rows of the whole matrix.
func eighth(name string, m, n, k, grid int) trial {
	t := kernel.Table[name]
	return func(mc *ptx.Machine, f *ptx.Kernel, r *rand.Rand) error {
		mc.Early = t.Box > 0
		a, _, av := eight(r, m, k, 4)
		w, scales, wv := eight(r, n, k, 0)
		width, size, ld := kernel.E4M3Width(k), kernel.E4M3Row(k), n+8
		for i := range n { // without scales between them
			copy(w[i*width:], w[i*size:][:width])
		}
		c, add, bias := fill(make([]uint16, (m+4)*ld), untouched), halves(r, (m+4)*ld, 1), floats(r, n)
		p := kernel.Product{A: put(mc, a), W: put(mc, w[:n*width]), C: put(mc, c), Bias: put(mc, bias), Scales: put(mc, scales), Header: put(mc, []int32{int32(m)}),
			From: -1, N: int32(n), K: int32(width / 2), LDA: int32(size / 2), LDC: int32(ld), LDR: int32(ld)}
		residual := epilogueOf(name) == "residual"
		if residual {
			p.R = put(mc, add)
		}
		if t.Box > 0 {
			p.AMap = kernel.Ptr(mc.PutMap(uint64(p.A), m, width/2, size/2, t.TileM))
			p.WMap = kernel.Ptr(mc.PutMap(uint64(p.W), n, width/2, width/2, t.TileN/t.Cluster))
			p.CMap = kernel.Ptr(mc.PutMap(uint64(p.C), m, n, ld, t.Box))
			if residual {
				p.RMap = kernel.Ptr(mc.PutMap(uint64(p.R), m, n, ld, t.Box))
			}
		}
		if err := mc.Launch(f, ptx.Grid{Blocks: grid, Threads: t.Threads, Shared: t.Shared, Cluster: t.Cluster}, kernel.Bytes(p)); err != nil {
			return err
		}
		want := make([]float64, m*n)
		for i := range want {
			s := float64(bias[i%n])
			for j, x := range av[i/n] {
				s += x * wv[i%n][j]
			}
			if want[i] = s; residual {
				want[i] = bf(toBf(s)) + bf(add[i/n*ld+i%n])
			}
		}
		return compare(ptx.Take[uint16](mc, uint64(p.C), len(c)), want, m, n, ld, 0.01)
	}
}

// quantized makes e4m3 of rows, which must be what packing makes of them.
func quantized(rows, cols, grid int) trial {
	return func(mc *ptx.Machine, f *ptx.Kernel, r *rand.Rand) error {
		width, size := kernel.E4M3Width(cols), kernel.E4M3Row(cols)
		x, b := halves(r, rows*cols, 1), make([]byte, (rows+1)*size)
		for i := range b {
			b[i] = 0x55
		}
		p := kernel.Quantize{Y: put(mc, b), X: put(mc, x), Header: put(mc, []int32{int32(rows)}), From: -1, N: int32(cols), K: int32(width), LDY: int32(size), LDX: int32(cols)}
		if err := mc.Launch(f, ptx.Grid{Blocks: grid, Threads: 128}, kernel.Bytes(p)); err != nil {
			return err
		}
		for i := range rows {
			in := make([]float32, cols)
			for c := range in {
				in[c] = float32(bf(x[i*cols+c]))
			}
			row := b[i*size:][:size]
			clear(row[:width])
			binary.LittleEndian.PutUint32(row[width:], math.Float32bits(kernel.QuantizeE4M3(row[:cols], in)))
		}
		if got := ptx.Take[byte](mc, uint64(p.Y), len(b)); string(got) != string(b) {
			return fmt.Errorf("rows are %x, want %x", got, b)
		}
		return nil
	}
}

var e4m3Plants = []plant{
	{bug: "sums of parts are read before they are made", trial: "wgmma_store_e4m3_128x1", find: `wgmma\.wait_group\.sync\.aligned 0;`, put: "wgmma.wait_group.sync.aligned 1;", each: true},
	{bug: "a wait for a barrier is missing", trial: "wgmma_store_e4m3_128x1", find: wait, each: true},
	{bug: "sums of a part go on with the last's", trial: "wgmma_store_e4m3_128x1", find: `(wgmma\.mma_async[^;]*), p, 1, 1;`, put: "${1}, 1, 1, 1;", nth: 0},
	{bug: "a quarter of a part is left out", trial: "wgmma_store_e4m3_128x1", find: `(wgmma\.mma_async[^;]*), p, 1, 1;`, put: "${1}, 0, 1, 1;", nth: 2},
	{bug: "registers are not fenced before wgmma", trial: "wgmma_store_e4m3_128x1", find: `wgmma\.fence\.sync\.aligned;`, each: true},
	{bug: "K is taken as of bfloat16", trial: "product_mma_e4m3", find: `m16n8k32\.row\.col\.f32\.e4m3\.e4m3`, put: "m16n8k16.row.col.f32.bf16.bf16", nth: every},
	{bug: "a sum is made in the registers of the one before", trial: "product_mma_e4m3", find: `(mma\.sync\S+) \{(%f\d+),(%f\d+),(%f\d+),(%f\d+)\}, (\{\S+\}, \{\S+\}), \{(%f\d+),(%f\d+),(%f\d+),(%f\d+)\};`,
		put: "${1} {${7},${8},${9},${10}}, ${6}, {${7},${8},${9},${10}}; mov.f32 ${2}, ${7}; mov.f32 ${3}, ${8}; mov.f32 ${4}, ${9}; mov.f32 ${5}, ${10};", nth: 2},
	{bug: "a row has another's scale", trial: "product_mma_e4m3", find: `(ld\.global\.f32 %f\d+, \[%rd\d+)\];`, put: "${1}+4];", each: true},
	{bug: "columns have others' scales", trial: "wgmma_residual_e4m3_64x1", find: fmt.Sprintf(`(ld\.param\.u64\s+%%rd\d+, \[%%\w+)\+%d\];`, scalesAt), put: fmt.Sprintf("${1}+%d];", biasAt), nth: every},
	{bug: "values are exchanged in a pair", trial: "quantize_bf16", find: `(cvt\.rn\.satfinite\.e4m3x2\.f32 %rs\d+), (%f\d+), (%f\d+);`, put: "${1}, ${3}, ${2};", each: true},
	{bug: "a barrier of the block is missing", trial: "quantize_bf16", find: `bar\.sync\s+0;`, each: true},
	{bug: "the largest of some lanes alone", trial: "quantize_bf16", find: `(shfl\.sync\.bfly\.b32\s+%r\d+, %r\d+), %r\d+, `, put: "${1}, 0, ", each: true},
	{bug: "a row too many", trial: "quantize_bf16", find: `ld\.global\.u32\s+(%r\d+), \[%rd\d+\];`, put: "${0} add.s32 ${1}, ${1}, 1;", nth: 0},
}

func TestPlantedBugsOfE4M3AreFound(t *testing.T) { find(t, e4m3Plants) }
