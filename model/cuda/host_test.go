package cuda_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	numbers "github.com/warmserve/warmserve/model/kernel"
)

// nowhere is a card of Hopper's that computes nothing and counts what it is asked.
type nowhere struct {
	at       cuda.Ptr
	launches []string // of the graph that was captured last
	calls    map[string]int
}

func (d *nowhere) Alloc(bytes int) (cuda.Ptr, error) {
	p := d.at + 256
	d.at = (p + cuda.Ptr(bytes) + 255) &^ 255
	return p, nil
}
func (d *nowhere) Free(cuda.Ptr)                         {}
func (d *nowhere) Write(cuda.Ptr, []byte) error          { d.calls["write"]++; return nil }
func (d *nowhere) Read([]byte, cuda.Ptr) error           { d.calls["read"]++; return nil }
func (d *nowhere) Fill(cuda.Ptr, io.ReaderAt, int) error { return nil }
func (d *nowhere) Sync() error                           { return nil }
func (d *nowhere) Limits() cuda.Limits {
	return cuda.Limits{Name: "nowhere", SMs: 132, Capability: 90, Memory: 80 << 30, Free: 80 << 30}
}

func (d *nowhere) TensorMap(cuda.Ptr, int, int, int, int) (m [128]byte, err error) { return m, nil }

func (d *nowhere) Launch(k *kernel.Kernel, _ int, _ []byte) error {
	d.launches = append(d.launches, k.Name)
	return nil
}

func (d *nowhere) Capture(f func() error) (cuda.Graph, error) {
	d.launches = nil
	return nowhereGraph{d}, f()
}

type nowhereGraph struct{ d *nowhere }

func (g nowhereGraph) Launch() error { g.d.calls["graph"]++; return nil }
func (g nowhereGraph) Free()         {}

// hosted is a model of a shape on such a card, whose weights are nothing.
func hosted(t testing.TB, shape string) (*nowhere, *cuda.Engine, *cuda.Model, *model.Config) {
	text, err := json.Marshal(shapes[shape])
	require.NoError(t, err)
	c, err := model.ParseConfig(text)
	require.NoError(t, err)
	size, enough := 0, errors.New("enough")
	o := model.LoadOptions{DType: numbers.BFloat16, Workers: 1}
	_, err = cuda.Pack(c.Network(), c.Tensors(model.NewRandom(c, 1)), o, func(bytes int) (cuda.Room, error) {
		size = bytes
		return nil, enough
	})
	require.ErrorIs(t, err, enough)
	d := &nowhere{calls: map[string]int{}}
	e := cuda.NewEngine(d)
	m, err := e.Begin(c.Network(), numbers.BFloat16, size)
	require.NoError(t, err)
	clear(d.calls)
	return d, e, m, c
}

// one is a sequence of n tokens, read at the last.
func one(n int) []model.Sequence {
	return []model.Sequence{{IDs: slices.Repeat([]int32{7}, n), Read: []int32{int32(n - 1)}}}
}

// What a batch of a sequence asks of a card: one copy there, a graph and a copy back. The graph has seven
// launches a layer, five where norms are in products, six more in the last, where rows are gathered.
func TestLaunchesOfASequence(t *testing.T) {
	for most, fold := range map[int]bool{206: false, 152: true} {
		t.Setenv(cuda.FoldVariable, map[bool]string{true: "1"}[fold])
		d, e, m, _ := hosted(t, "qwen3-0.6b")
		require.NoError(t, e.Outputs(m, make([]float32, 1), one(64)))
		assert.Equal(t, map[string]int{"write": 1, "graph": 1, "read": 1}, d.calls)
		by := map[string]int{}
		for _, k := range d.launches {
			by[k]++
		}
		for _, k := range slices.Sorted(maps.Keys(by)) {
			t.Logf("  %3d %s", by[k], k)
		}
		assert.LessOrEqual(t, len(d.launches), most, "norms in products: %v", fold)
	}
}

// BenchmarkHost is what the engine itself does for a batch, without a card.
func BenchmarkHost(b *testing.B) {
	_, e, m, _ := hosted(b, "qwen3-0.6b")
	for name, seqs := range map[string][]model.Sequence{"1x64": one(64), "1x512": one(512)} {
		out := make([]float32, 1)
		require.NoError(b, e.Outputs(m, out, seqs))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Outputs(m, out, seqs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
