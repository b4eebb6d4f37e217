//go:build linux

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
)

// computing is how long the fake of BenchmarkBatch computes: as long as a card a sequence of 64 tokens.
const computing = time.Millisecond

// BenchmarkBatch is what a batch costs beside computing it, to a worker and back: wall time, processor
// time of both processes, and how often a thread of them waited, which is what wall time depends on.
func BenchmarkBatch(b *testing.B) {
	for _, took := range []time.Duration{0, computing} {
		c, err := Open("cuda", fakeOptions(fmt.Sprintf("%s=idle=%d", fakeVariable, took)))
		require.NoError(b, err)
		m := loadTiny(b, c, 1)
		for _, s := range [][2]int{{1, 64}, {1, 512}, {32, 512}} {
			b.Run(fmt.Sprintf("%dx%d computed in %v", s[0], s[1], took), func(b *testing.B) {
				var seqs []model.Sequence
				for range s[0] {
					seqs = append(seqs, sequence(make([]int32, s[1])...))
				}
				dst := make([]float32, len(seqs))
				processes := []int{os.Getpid(), pid(c, 0)}
				waits, cpu := waitsOf(b, processes)
				for b.Loop() {
					if err := c.Score(m, dst, seqs); err != nil {
						b.Fatal(err)
					}
				}
				after, cpuAfter := waitsOf(b, processes)
				n := float64(b.N)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64((b.Elapsed()-time.Duration(b.N)*took).Microseconds())/n, "wall-µs/op")
				b.ReportMetric(float64((cpuAfter-cpu-time.Duration(b.N)*took).Microseconds())/n, "cpu-µs/op")
				b.ReportMetric(float64(after-waits)/n, "waits/op")
			})
		}
		c.Close()
	}
}

// waitsOf is how often threads of processes have waited, and their processor time.
func waitsOf(t testing.TB, processes []int) (waits int, cpu time.Duration) {
	for _, pid := range processes {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		require.NoError(t, err)
		for _, task := range tasks {
			if text, err := os.ReadFile(task + "/status"); err == nil { // or the thread has ended
				_, count, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
				count, _, _ = strings.Cut(count, "\n")
				n, err := strconv.Atoi(strings.TrimSpace(count))
				require.NoError(t, err)
				waits += n
			}
			if text, err := os.ReadFile(task + "/schedstat"); err == nil {
				ns, _, _ := strings.Cut(string(text), " ")
				n, err := strconv.ParseInt(ns, 10, 64)
				require.NoError(t, err)
				cpu += time.Duration(n)
			}
		}
	}
	return waits, cpu
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
