package warm

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
)

// fiction is a source of made-up tensors: 24 matrices of 4 MiB.
type fiction struct{ seed int }

func (f fiction) Names() (names []string) {
	for i := range 24 {
		names = append(names, fmt.Sprintf("layers.%02d.weight", i))
	}
	return names
}

func (f fiction) Shape(string) ([]int, bool) { return []int{1024, 1024}, true }

func (f fiction) ReadAt(dst []float32, name string, offset int) error {
	for i := range dst {
		dst[i] = float32((offset+i)%1000+f.seed) * 1e-4
	}
	return nil
}

// BenchmarkAverageOfFiles averages six checkpoints of 100 MB into buffers that are reused, as a packer does, beside reading
// the same mapped bytes. The files are in the page cache. "fresh" opens and maps the files anew each time and pays
// for their page faults; "mapped" has them already. MB/s counts the members' bytes.
func BenchmarkAverageOfFiles(b *testing.B) {
	const members = 6
	root := b.TempDir()
	var dirs []string
	for i := range members {
		dirs = append(dirs, filepath.Join(root, fmt.Sprint(i)))
		require.NoError(b, loader.Save(dirs[i], loader.Contents{Config: []byte("{}"), Source: fiction{i}}))
	}
	info, err := os.Stat(filepath.Join(dirs[0], "model.safetensors"))
	require.NoError(b, err)
	openAll := func() (ms []Member, close func()) {
		for _, d := range dirs {
			c, err := loader.Open(d)
			require.NoError(b, err)
			ms = append(ms, Member{Checkpoint: c})
		}
		return ms, func() {
			for _, m := range ms {
				require.NoError(b, m.Checkpoint.Close())
			}
		}
	}
	// each runs f on every tensor, on two goroutines with a buffer each.
	buffers := [2][]float32{make([]float32, 1<<20), make([]float32, 1<<20)}
	each := func(names []string, f func(name string, buffer []float32)) {
		next := make(chan string)
		var wg sync.WaitGroup
		for w := range buffers {
			wg.Go(func() {
				for name := range next {
					f(name, buffers[w])
				}
			})
		}
		for _, n := range names {
			next <- n
		}
		close(next)
		wg.Wait()
	}
	b.Run("fresh", func(b *testing.B) {
		b.SetBytes(members * info.Size())
		for b.Loop() {
			ms, done := openAll()
			a, err := NewAverage(ms, Options{})
			require.NoError(b, err)
			each(a.Names(), func(name string, buffer []float32) {
				_ = a.ReadAt(buffer, name, 0)
				a.Release(name)
			})
			done()
		}
	})
	ms, done := openAll()
	defer done()
	a, err := NewAverage(ms, Options{})
	require.NoError(b, err)
	b.Run("mapped", func(b *testing.B) {
		b.SetBytes(members * info.Size())
		for b.Loop() {
			each(a.Names(), func(name string, buffer []float32) { _ = a.ReadAt(buffer, name, 0) })
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(members * info.Size())
		var mu sync.Mutex
		sum := uint64(0)
		for b.Loop() {
			each(a.Names(), func(name string, _ []float32) {
				var columns [][]float32
				for _, m := range ms {
					v, _ := m.Checkpoint.View(name)
					columns = append(columns, v)
				}
				s := readAll(columns, 0, 1<<20)
				mu.Lock()
				sum += s
				mu.Unlock()
			})
		}
	})
}
