//go:build linux

package worker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
)

// BenchmarkBatch is what a batch costs beside computing it: to a worker and back.
func BenchmarkBatch(b *testing.B) {
	c, err := Open("cuda", fakeOptions(fakeVariable+"=idle"))
	require.NoError(b, err)
	defer c.Close()
	m := loadTiny(b, c, 1)
	for _, s := range [][2]int{{1, 64}, {1, 512}, {32, 512}} {
		b.Run(fmt.Sprintf("%dx%d", s[0], s[1]), func(b *testing.B) {
			var seqs []model.Sequence
			for range s[0] {
				seqs = append(seqs, sequence(make([]int32, s[1])...))
			}
			dst := make([]float32, len(seqs))
			for b.Loop() {
				if err := c.Score(m, dst, seqs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWeights is what it costs to hand a worker a gigabyte that it reads once.
func BenchmarkWeights(b *testing.B) {
	const size = 1 << 30
	piece := make([]byte, 1<<20)
	for b.Loop() {
		r, err := newRoom(size)
		require.NoError(b, err)
		for i := 0; i < size; i += len(piece) {
			_, err := r.WriteAt(piece, int64(i))
			require.NoError(b, err)
		}
		require.NoError(b, r.seal())
		for i := 0; i < size; i += len(piece) {
			_, err := r.ReadAt(piece, int64(i))
			require.NoError(b, err)
		}
		r.close()
	}
	b.SetBytes(size)
}
