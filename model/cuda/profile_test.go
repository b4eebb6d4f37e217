package cuda_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/cuda/driver"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	numbers "github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm/reward"
)

// recorder is a card whose launches can be repeated, one kind alone.
type recorder struct {
	timed
	launches []recorded // of the graph that was captured last
}

// timed is what [driver.Card] has for this.
type timed interface {
	cuda.Device
	cuda.Overlapper
	NewEvent() (*driver.Event, error)
}

type recorded struct {
	kernel *kernel.Kernel
	grid   int
	args   []byte
}

// kind names what launches of a pass have in common.
func (r recorded) kind() string {
	if p := (kernel.Product{}); len(r.args) == int(unsafe.Sizeof(p)) {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&p)), len(r.args)), r.args)
		return fmt.Sprintf("%s %dx%d, grid %d", r.kernel.Name, p.N, p.K, r.grid)
	}
	return fmt.Sprintf("%s, grid %d", r.kernel.Name, r.grid)
}

func (c *recorder) Capture(f func() error) (cuda.Graph, error) {
	return c.timed.Capture(func() error {
		c.launches = nil
		return f()
	})
}

func (c *recorder) Launch(k *kernel.Kernel, grid int, args []byte) error {
	c.launches = append(c.launches, recorded{k, grid, slices.Clone(args)})
	return c.timed.Launch(k, grid, args)
}

// time is how many microseconds launches take as a graph: the least of three goes of some
// milliseconds.
func (c *recorder) time(t testing.TB, launches []recorded) float64 {
	t.Helper()
	g, err := c.timed.Capture(func() error {
		for _, l := range launches {
			if err := c.timed.Launch(l.kernel, l.grid, l.args); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	defer g.Free()
	from, err := c.NewEvent()
	require.NoError(t, err)
	defer from.Free()
	to, err := c.NewEvent()
	require.NoError(t, err)
	defer to.Free()
	rounds, least := 1, 0.0
	for try := range 4 { // the first to know how many
		require.NoError(t, from.Record())
		for range rounds {
			require.NoError(t, g.Launch())
		}
		require.NoError(t, to.Record())
		d, err := to.Since(from)
		require.NoError(t, err)
		if us := d.Seconds() * 1e6 / float64(rounds); try < 2 || us < least {
			least = us
		}
		if try == 0 {
			rounds = int(max(2, 15*time.Millisecond/max(d, time.Microsecond)))
		}
	}
	return least
}

// TestProfileByKernel prints where the time of a pass goes: of each kind of launches what one takes
// when a graph has that kind alone, and what the pass gains by leaving it out.
func TestProfileByKernel(t *testing.T) {
	if !cudatest.OnCard() {
		t.Skip("set " + cudatest.CardVariable + " on a machine with a card")
	}
	for _, x := range []struct {
		model   string
		layers  int
		batches []string
	}{{"qwen3-0.6b", 28, []string{"1x64", "1x512", "32x512", "8 answers a prompt"}}, {"llama-3.1-8b", 4, []string{"1x64", "1x512", "32x512"}}} {
		t.Run(x.model, func(t *testing.T) { profile(t, x.model, x.layers, x.batches) })
	}
}

func profile(t *testing.T, name string, layers int, batches []string) {
	shape := maps.Clone(shapes[name])
	shape["num_hidden_layers"], shape["vocab_size"] = layers, 4096 // a table's other rows cost nothing
	text, err := json.Marshal(shape)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	c := &recorder{timed: cudatest.NewDevice(t, 90).(timed)}
	e := cudatest.NewEngine(c)
	d, err := reward.Open(context.Background(), reward.Config{Members: []reward.Member{{Dir: reward.RandomPrefix + path}}, Engine: e,
		DType: numbers.BFloat16}, runtime.GOMAXPROCS(0))
	require.NoError(t, err)
	m := d.Average()
	defer m.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for _, b := range batches {
		seqs, tokens := sequencesOf(r, m, b)
		dst := make([]float32, len(seqs))
		var took []time.Duration
		for range 22 {
			start := time.Now()
			require.NoError(t, e.Score(m, dst, seqs))
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		fmt.Printf("%s, %d layers, %s: %v from tokens to rewards\n", name, layers, b, took[len(took)/2])
		c.print(t, tokens)
	}
}

// sequencesOf makes a batch: so many sequences of a length, or four prompts of 256 tokens with eight
// answers of 256 each.
func sequencesOf(r *rand.Rand, m model.Model, batch string) (seqs []model.Sequence, tokens int) {
	n, length, prompts := 32, 256, strings.Contains(batch, "prompt")
	if !prompts {
		_, _ = fmt.Sscanf(batch, "%dx%d", &n, &length)
	}
	var prompt []int32
	for i := range n {
		if prompts && i%8 == 0 {
			prompt = ids(r, m, 256)
		}
		s := last(m, append(slices.Clone(prompt), ids(r, m, length)...))
		seqs, tokens = append(seqs, s), tokens+len(s.IDs)
	}
	return seqs, tokens
}

// print is the profile of the pass that was captured last. By kernels that start early small batches
// gain.
func (c *recorder) print(t testing.TB, tokens int) {
	pass := slices.Clone(c.launches)
	for _, on := range []bool{tokens > 512, tokens <= 512} {
		c.Overlap(on)
		fmt.Printf("  %d launches, %.0f µs, overlap %v\n", len(pass), c.time(t, pass), on)
	}
	whole := c.time(t, pass)
	var kinds []string
	by := map[string][]recorded{}
	for _, l := range pass {
		if k := l.kind(); by[k] == nil {
			kinds = append(kinds, k)
		}
		by[l.kind()] = append(by[l.kind()], l)
	}
	for _, k := range kinds {
		if len(by[k]) == 1 {
			continue
		}
		alone, n := c.time(t, by[k]), float64(len(by[k]))
		saved := whole - c.time(t, slices.DeleteFunc(slices.Clone(pass), func(l recorded) bool { return l.kind() == k }))
		fmt.Printf("  %-48s %3.0f × %8.2f µs alone, %8.2f in the pass, %4.1f%%\n", k, n, alone/n, saved/n, 100*saved/whole)
	}
}
