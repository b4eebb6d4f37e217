package warm

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCombineRoundsTheExactMeanOnce(t *testing.T) {
	// Members of similar size, as fine-tuned weights are: the float64 sum is exact, and the mean is the correctly
	// rounded one, ties included. math/big is the oracle.
	rng := rand.New(rand.NewPCG(3, 4))
	for _, members := range []int{2, 3, 4, 6, 7, 10} {
		const n = 2000
		columns, coefs := make([][]float32, members), make([]float64, members)
		for k := range columns {
			columns[k], coefs[k] = make([]float32, n), 1
		}
		for j := range n {
			base := rng.NormFloat64() * 0.02
			for k := range columns {
				columns[k][j] = float32(base * (1 + 0.01*rng.NormFloat64()))
			}
		}
		got, specified := make([]float32, n), make([]float32, n)
		combine(got, columns, coefs, float64(members))
		combineGeneric(specified, columns, coefs, float64(members), 0)
		ties := 0
		for j := range n {
			sum := new(big.Rat)
			for k := range columns {
				sum.Add(sum, new(big.Rat).SetFloat64(float64(columns[k][j])))
			}
			sum.Quo(sum, big.NewRat(int64(members), 1))
			want, _ := sum.Float32()
			require.Equal(t, want, got[j], "members %d, element %d", members, j)
			require.Equal(t, want, specified[j], "members %d, element %d", members, j)
			if f, exact := sum.Float64(); exact && math.Float64bits(f)&(1<<29-1) == 1<<28 {
				ties++
			}
		}
		// In a tie a mean that is off by one bit in float64 is rounded to the wrong side.
		assert.NotZero(t, ties, "no mean lay between two float32: the test shows little")
	}
}

func TestCombineKeepsSigns(t *testing.T) {
	minusZero := float32(math.Copysign(0, -1))
	for _, n := range []int{1, 40} { // in Go and in assembly
		columns := [][]float32{make([]float32, n), make([]float32, n)}
		for j := range n {
			columns[0][j], columns[1][j] = minusZero, minusZero
		}
		got := make([]float32, n)
		combine(got, columns, []float64{1, 1}, 2)
		for _, v := range got {
			assert.True(t, math.Signbit(float64(v)))
		}
	}
}

func TestCombinePanicsOnACallersBug(t *testing.T) {
	assert.Panics(t, func() { combine(nil, nil, nil, 1) })
	assert.Panics(t, func() { combine(make([]float32, 2), [][]float32{make([]float32, 1)}, []float64{1}, 1) })
	assert.Panics(t, func() { combine(make([]float32, 1), [][]float32{make([]float32, 1)}, nil, 1) })
}

// BenchmarkCombine averages six members that are in memory, not in a cache, beside reading as many bytes.
// MB/s counts the members' bytes alone; ns/op of read is the floor.
func BenchmarkCombine(b *testing.B) {
	const members, n = 6, 1 << 24 // 64 MiB each
	columns, coefs := make([][]float32, members), make([]float64, members)
	for k := range columns {
		columns[k], coefs[k] = make([]float32, n), 1
		for j := range columns[k] {
			columns[k][j] = float32(j%1000) * 0.001
		}
	}
	dst := make([]float32, n)
	for j := range dst {
		dst[j] = 1 // Touch it: page faults are not the subject.
	}
	for _, workers := range []int{1, 2} {
		split := func(f func(begin, end int)) {
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() { f(n/workers*w, n/workers*(w+1)) })
			}
			wg.Wait()
		}
		b.Run(fmt.Sprintf("read/workers=%d", workers), func(b *testing.B) {
			b.SetBytes(4 * members * n)
			sums := make([]uint64, workers*8) // 64 bytes apart
			for b.Loop() {
				split(func(begin, end int) { sums[begin*workers/n*8] = readAll(columns, begin, end) })
			}
		})
		b.Run(fmt.Sprintf("average/workers=%d", workers), func(b *testing.B) {
			b.SetBytes(4 * members * n)
			for b.Loop() {
				split(func(begin, end int) {
					part := make([][]float32, members)
					for at := begin; at < end; at += 1 << 16 {
						to := min(at+1<<16, end)
						for k := range part {
							part[k] = columns[k][at:to]
						}
						combine(dst[at:to], part, coefs, members)
					}
				})
			}
		})
	}
	b.Run("generic/workers=1", func(b *testing.B) {
		b.SetBytes(4 * members * n)
		for b.Loop() {
			combineGeneric(dst, columns, coefs, members, 0)
		}
	})
}

// readAll touches every byte of the columns' ranges, 64 at a time, and does little else.
func readAll(columns [][]float32, begin, end int) (sum uint64) {
	for _, c := range columns {
		lines := unsafe.Slice((*[8]uint64)(unsafe.Pointer(&c[begin])), (end-begin)/16)
		for i := range lines {
			p := &lines[i]
			sum += p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7]
		}
	}
	return sum
}
