package ptx_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"unsafe"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
	"github.com/warmserve/warmserve/model/nn"
)

// A trial runs a kernel on small random data and returns an error when the interpreter
// finds fault or when the result is not what float64 says.
type trial func(m *ptx.Machine, k *ptx.Kernel, r *rand.Rand) error

// untouched stands where a kernel must not write: a NaN of its own.
const untouched = 0xffa5

func bf(x uint16) float64 { return float64(math.Float32frombits(uint32(x) << 16)) }

func toBf(f float64) uint16 {
	b := math.Float32bits(float32(f))
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func halves(r *rand.Rand, n int, scale float64) []uint16 {
	out := make([]uint16, n)
	for i := range out {
		out[i] = toBf(r.NormFloat64() * scale)
	}
	return out
}

func put[T any](m *ptx.Machine, v []T) kernel.Ptr { return kernel.Ptr(ptx.Put(m, v)) }

// compare holds a matrix of bfloat16 to values in float64, to the rounding of results
// and to what float32 sums lose; rows and columns behind must be untouched.
func compare(got []uint16, want []float64, rows, cols, ld int, tolerance float64) error {
	for i, g := range got {
		r, c := i/ld, i%ld
		switch {
		case r >= rows || c >= cols:
			if g != untouched {
				return fmt.Errorf("row %d, column %d was written, behind %d rows of %d", r, c, rows, cols)
			}
		case !(math.Abs(bf(g)-want[r*cols+c]) <= tolerance*(1+math.Abs(want[r*cols+c]))):
			return fmt.Errorf("row %d, column %d is %v, want %v", r, c, bf(g), want[r*cols+c])
		}
	}
	return nil
}

func fill(v []uint16, x uint16) []uint16 {
	for i := range v {
		v[i] = x
	}
	return v
}

// product runs a product of any kind. Rows of the matrices before from, if that is not
// negative, and behind m are NaN.
func product(name string, from, m, n, k, grid int) trial {
	t := kernel.Table[name]
	return func(mc *ptx.Machine, f *ptx.Kernel, r *rand.Rand) error {
		mc.Early = t.Box > 0
		first := max(from, 0)
		epi := epilogueOf(name)
		cols, ld := n, n+8
		if epi == "gated" {
			cols, ld = n/2, n/2+8
		}
		a, w := fill(make([]uint16, (first+m+4)*k), 0x7fc0), halves(r, n*k, 1/math.Sqrt(float64(k)))
		copy(a[first*k:], halves(r, m*k, 1))
		c, add, bias := fill(make([]uint16, (first+m+4)*ld), untouched), halves(r, (first+m+4)*ld, 1), floats(r, n)
		q, turn, pos := floats(r, 256), floats(r, 50*128), make([]int32, m)
		for i := range pos {
			pos[i] = int32(r.IntN(50))
		}
		p := kernel.Product{A: put(mc, a), W: put(mc, w), C: put(mc, c), Bias: put(mc, bias), Header: put(mc, []int32{int32(m), int32(from)}),
			From: int32(min(from, 1)), N: int32(n), K: int32(k), LDA: int32(k), LDC: int32(ld), LDR: int32(ld), Act: int32(nn.SiLU)}
		if epi == "residual" || epi == "heads" {
			p.Act = 0
		}
		if epi == "residual" {
			p.R = put(mc, add)
		}
		if epi == "heads" {
			p.Pos, p.Turn, p.QNorm, p.KNorm, p.QHeads, p.KHeads, p.Eps = put(mc, pos), put(mc, kernel.Turns(turn, 64)), put(mc, q[:128]), put(mc, q[128:]), 1, 1, 1e-5
		}
		if t.Box > 0 { // wgmma
			ptr := func(p uint64) kernel.Ptr { return kernel.Ptr(p) }
			p.AMap = ptr(mc.PutMap(uint64(p.A), first+m, k, k, t.TileM))
			p.WMap = ptr(mc.PutMap(uint64(p.W), n, k, k, t.TileN/t.Cluster))
			p.CMap = ptr(mc.PutMap(uint64(p.C), first+m, cols, ld, t.Box))
			if epi == "residual" {
				p.RMap = ptr(mc.PutMap(uint64(p.R), first+m, cols, ld, t.Box))
			}
		}
		mc.Launched(uint64(p.A), 2*len(a)) // by the kernel ahead, as what is added and the number of an expert's rows
		if epi == "residual" {
			mc.Launched(uint64(p.R), 2*len(add))
		}
		if from >= 0 {
			mc.Launched(uint64(p.Header), 8)
		}
		norm := func(int) float64 { return 1 }
		if strings.Contains(name, "_normed") {
			norm = squared(mc, &p, epi, a, m)
		}
		if err := mc.Launch(f, ptx.Grid{Blocks: grid, Threads: t.Threads, Shared: t.Shared, Cluster: t.Cluster}, kernel.Bytes(p)); err != nil {
			return err
		}
		x := make([]float64, m*n)
		for i := range m {
			by := norm(i)
			for j := range n {
				s := 0.0
				for l := range k {
					s += bf(a[(first+i)*k+l]) * bf(w[j*k+l])
				}
				x[i*n+j] = s*by + float64(bias[j])
			}
		}
		want := epilogue(epi, x, add[first*ld:], q, turn, pos, m, n, ld)
		got := ptx.Take[uint16](mc, uint64(p.C), len(c))
		if err := compare(got[:first*ld], nil, 0, 0, ld, 0); err != nil {
			return err
		}
		if epi == "residual" && p.Scales != 0 {
			if err := left(mc, p, got, m); err != nil {
				return err
			}
		}
		return compare(got[first*ld:], want, m, cols, ld, 0.012)
	}
}

func epilogueOf(name string) string {
	for _, e := range []string{"residual", "gated", "heads"} {
		if len(name) > 6 && (name[:5] == e || len(name) > 6+len(e) && name[6:6+len(e)] == e) {
			return e
		}
	}
	return "store"
}

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

// epilogue does in float64 what a kernel does with sums and biases.
func epilogue(epi string, x []float64, add []uint16, norms, turn []float32, pos []int32, m, n, ld int) []float64 {
	var out []float64
	switch epi {
	case "gated": // groups of eight, of the gate and of what it gates
		for i := 0; i < m*n; i += 16 {
			for j := range 8 {
				out = append(out, silu(x[i+j])*x[i+8+j])
			}
		}
		return out
	case "residual":
		for i, v := range x {
			out = append(out, bf(toBf(v))+bf(add[i/n*ld+i%n]))
		}
		return out
	case "store":
		for _, v := range x {
			out = append(out, silu(v))
		}
		return out
	}
	for r := range m { // a head of queries, one of keys, values
		for h := range n / 128 {
			v := x[r*n+h*128:][:128]
			if h > 1 {
				continue
			}
			s := 0.0
			for _, e := range v {
				s += e * e
			}
			s = 1 / math.Sqrt(s/128+1e-5)
			for c := range 64 {
				co, sn := float64(turn[int(pos[r])*128+2*c]), float64(turn[int(pos[r])*128+2*c+1])
				p, q := v[c]*s*float64(norms[h*128+c]), v[c+64]*s*float64(norms[h*128+c+64])
				v[c], v[c+64] = p*co-q*sn, q*co+p*sn
			}
		}
	}
	return x
}

// attention runs one over two sequences side by side, one behind a shared prefix, with
// NaN in the rows behind them.
func attention(name string, d, prefix, window, grid int) trial {
	t := kernel.Table[name]
	return func(mc *ptx.Machine, f *ptx.Kernel, r *rand.Rand) error {
		mc.Early = t.Threads > 128
		const heads, kv = 2, 1
		rows := prefix + 192
		cols := (heads + 2*kv) * d
		x := fill(make([]uint16, rows*cols), 0x7fc0)
		// The prefix, 37 rows that come behind it, a sequence of 9, one of 70.
		a := int32(prefix) + 12
		for _, s := range [][2]int{{0, prefix}, {int(a), 37}, {int(a) + 60, 9}, {int(a) + 70, 70}} {
			copy(x[s[0]*cols:], halves(r, s[1]*cols, 1))
		}
		tasks := []kernel.Task{
			{Row: a, N: 37, At: int32(prefix), Prefix: 0, Shared: int32(prefix), Own: a, Keys: int32(prefix) + 37},
			{Row: a + 60, N: 9, Own: a + 60, Keys: 9},
			{Row: a + 70, N: 70, Own: a + 70, Keys: 70},
		}
		out := fill(make([]uint16, rows*heads*d), untouched)
		p := kernel.Attend{Q: put(mc, x), O: put(mc, out), Tasks: put(mc, tasks), Header: put(mc, []int32{int32(len(tasks))}), Heads: heads, KVHeads: kv, D: int32(d),
			LDQ: int32(cols), LDKV: int32(cols), LDO: int32(heads * d), KCol: int32(heads * d), VCol: int32((heads + kv) * d), Causal: 1, Window: int32(window),
			Scale: float32(1 / math.Sqrt(float64(d)))}
		p.K, p.V = p.Q+kernel.Ptr(2*p.KCol), p.Q+kernel.Ptr(2*p.VCol)
		p.QMap, p.KVMap = kernel.Ptr(mc.PutMap(uint64(p.Q), rows, cols, cols, 64)), kernel.Ptr(mc.PutMap(uint64(p.Q), rows, cols, cols, 128))
		if err := mc.Launch(f, ptx.Grid{Blocks: grid, Threads: t.Threads, Shared: t.Shared, Cluster: t.Cluster}, kernel.Bytes(p)); err != nil {
			return err
		}
		got := ptx.Take[uint16](mc, uint64(p.O), len(out))
		seen := map[int]bool{}
		for _, k := range tasks {
			for i := range int(k.N) {
				row := int(k.Row) + i
				seen[row] = true
				for h := range heads {
					want := attended(x, cols, d, row, h*d, heads*d, k, int(k.At)+i, window)
					if err := compare(got[row*heads*d+h*d:][:d], want, 1, d, d, 0.02); err != nil {
						return fmt.Errorf("query %d, head %d: %w", row, h, err)
					}
				}
			}
		}
		for i, g := range got {
			if !seen[i/(heads*d)] && g != untouched {
				return fmt.Errorf("row %d was written, which is nobody's", i/(heads*d))
			}
		}
		return nil
	}
}

// attended is a query's result with causal attention in float64.
func attended(x []uint16, cols, d, row, qcol, kcol int, k kernel.Task, at, window int) []float64 {
	place := func(j int) int {
		if j < int(k.Shared) {
			return int(k.Prefix) + j
		}
		return int(k.Own) + j - int(k.Shared)
	}
	p, most, sum := make([]float64, at+1), math.Inf(-1), 0.0
	for j := range p {
		for c := range d {
			p[j] += bf(x[row*cols+qcol+c]) * bf(x[place(j)*cols+kcol+c]) / math.Sqrt(float64(d))
		}
		if window > 0 && j <= at-window {
			p[j] = math.Inf(-1)
		}
		most = max(most, p[j])
	}
	out := make([]float64, d)
	for j := range p {
		p[j] = math.Exp(p[j] - most)
		sum += p[j]
	}
	for j := range p {
		for c := range d {
			out[c] += p[j] / sum * bf(x[place(j)*cols+kcol+d+c])
		}
	}
	return out
}

// single runs product_f32, whose results are float32.
func single(m, n, k, grid int) trial {
	return func(mc *ptx.Machine, f *ptx.Kernel, r *rand.Rand) error {
		a, w, c := floats(r, m*k), floats(r, n*k), make([]float32, (m+2)*n)
		p := kernel.Product{A: put(mc, a), W: put(mc, w), C: put(mc, c), Header: put(mc, []int32{int32(m)}), From: -1, N: int32(n), K: int32(k), LDA: int32(k), LDC: int32(n)}
		t := kernel.Table["product_f32"]
		if err := mc.Launch(f, ptx.Grid{Blocks: grid, Threads: t.Threads, Shared: t.Shared}, kernel.Bytes(p)); err != nil {
			return err
		}
		for i, g := range ptx.Take[float32](mc, uint64(p.C), len(c)) {
			want := 0.0
			if i/n < m {
				for l := range k {
					want += float64(a[i/n*k+l]) * float64(w[i%n*k+l])
				}
			}
			if !(math.Abs(float64(g)-want) < 1e-4) {
				return fmt.Errorf("row %d, column %d is %v, want %v", i/n, i%n, g, want)
			}
		}
		return nil
	}
}

// normed runs layernorm_f32.
func normed(m, n, grid int) trial {
	return func(mc *ptx.Machine, f *ptx.Kernel, r *rand.Rand) error {
		x, w, b := floats(r, m*n), floats(r, n), floats(r, n)
		p := kernel.Rows{X: put(mc, x), W: put(mc, w), B: put(mc, b), Header: put(mc, []int32{int32(m)}), N: int32(n), LDX: int32(n), LDY: int32(n), Eps: 1e-5}
		p.Y = kernel.Ptr(mc.Alloc(4 * m * n))
		if err := mc.Launch(f, ptx.Grid{Blocks: grid, Threads: 128}, kernel.Bytes(p)); err != nil {
			return err
		}
		got := ptx.Take[float32](mc, uint64(p.Y), m*n)
		for i := range m {
			mean, dev := 0.0, 0.0
			for _, v := range x[i*n:][:n] {
				mean += float64(v) / float64(n)
			}
			for _, v := range x[i*n:][:n] {
				dev += (float64(v) - mean) * (float64(v) - mean) / float64(n)
			}
			for j := range n {
				want := (float64(x[i*n+j])-mean)/math.Sqrt(dev+1e-5)*float64(w[j]) + float64(b[j])
				if !(math.Abs(float64(got[i*n+j])-want) < 1e-4) {
					return fmt.Errorf("row %d, column %d is %v, want %v", i, j, got[i*n+j], want)
				}
			}
		}
		return nil
	}
}

// offsets of fields that planted bugs exchange.
var (
	ldaAt = unsafe.Offsetof(kernel.Product{}.LDA)
	ldcAt = unsafe.Offsetof(kernel.Product{}.LDC)

	biasAt   = unsafe.Offsetof(kernel.Product{}.Bias)
	scalesAt = unsafe.Offsetof(kernel.Product{}.Scales)
)
