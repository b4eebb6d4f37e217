package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/cuda/driver"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/nn"
)

// TestTimesOfTiles prints how many microseconds products of well-known models take with each tile, in a
// row of as many as a model has layers, with weights of their own: what the engine's choice is fitted
// to. Where rows are many the card is cooler than in a pass, and faster.
func TestTimesOfTiles(t *testing.T) {
	if !cudatest.OnCard() {
		t.Skip("set " + cudatest.CardVariable + " on a machine with a card")
	}
	d := cudatest.NewDevice(t, 90).(card)
	for _, x := range []struct {
		model, epilogue string
		n, k, most      int
	}{
		{"qwen3-0.6b", "heads", 4096, 1024, 16384}, {"qwen3-0.6b", "residual", 1024, 2048, 16384},
		{"qwen3-0.6b", "gated", 6144, 1024, 16384}, {"qwen3-0.6b", "residual", 1024, 3072, 16384},
		{"llama-3.1-8b", "heads", 6144, 4096, 1024}, {"llama-3.1-8b", "residual", 4096, 4096, 1024},
		{"llama-3.1-8b", "gated", 28672, 4096, 1024}, {"llama-3.1-8b", "residual", 4096, 14336, 1024},
	} {
		for _, m := range []int{64, 128, 256, 512, 1024, 2048, 4096, 16384} {
			if m > x.most {
				break
			}
			line := fmt.Sprintf("%s %s %dx%d, %d rows:", x.model, x.epilogue, x.n, x.k, m)
			b := newTimes(t, d, x.epilogue, m, x.n, x.k)
			for _, k := range kernel.Tiles("wgmma_" + x.epilogue) {
				if k.TileN*k.TileM >= 128*128 || m <= 2048 && k.TileM == 128 || m <= 1024 { // else there are too many
					line += fmt.Sprintf(" %s %.2f", k.Name[strings.LastIndexByte(k.Name, '_')+1:], b.time(k))
				}
			}
			fmt.Println(line)
			b.free()
		}
	}
}

// card is what [driver.Card] has for this.
type card interface {
	cuda.Device
	cuda.Overlapper
	NewEvent() (*driver.Event, error)
}

// times are products whose weights do not stay in the cache.
type times struct {
	*machine
	d             card
	m, n, k, cols int
	args          []kernel.Product
	own           []kernel.Ptr
}

// own is memory that free gives back.
func own[T any](b *times, v []T) kernel.Ptr {
	p := put(b.machine, v)
	b.own = append(b.own, p)
	return p
}

// noise are values like those of weights, bfloat16.
var noise = func() []uint16 {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]uint16, 1<<20+4099)
	for i := range v {
		v[i] = uint16(0x3c00 + r.IntN(0x180) | r.IntN(2)<<15)
	}
	return v
}()

func (b *times) noise(n int) kernel.Ptr {
	v := make([]uint16, n)
	for at := 0; at < n; {
		at += copy(v[at:], noise)
	}
	return own(b, v)
}

func newTimes(t *testing.T, d card, epilogue string, m, n, k int) *times {
	b := &times{machine: &machine{t, d}, d: d, m: m, n: n, k: k, cols: n}
	d.Overlap(m <= 2048)
	if epilogue == "gated" {
		b.cols /= 2
	}
	a := kernel.Product{Header: own(b, []int32{int32(m)}), From: -1, N: int32(n), K: int32(k), LDA: int32(k), LDC: int32(b.cols), LDR: int32(b.cols),
		Act: int32(nn.SiLU), A: b.noise(m * k), C: b.noise(m * b.cols)}
	switch epilogue {
	case "residual":
		a.R, a.Act = a.C, int32(nn.None)
	case "heads":
		const d, positions = 128, 512
		pos, norm := make([]int32, m), make([]float32, d)
		for i := range pos {
			pos[i] = int32(i % positions)
		}
		a.Pos, a.Turn, a.QNorm, a.KNorm = own(b, pos), b.noise(positions*d), own(b, norm), own(b, norm)
		a.QHeads, a.KHeads, a.Eps = int32(n/d*2/3), int32(n/d/6), 1e-6
	}
	for range min(28, max(2, 120<<20/(2*n*k))) {
		a.W = b.noise(n * k)
		b.args = append(b.args, a)
	}
	return b
}

// time is microseconds of a product.
func (b *times) time(k *kernel.Kernel) float64 {
	var maps []kernel.Ptr
	tensorMap := func(p kernel.Ptr, rows, cols, box int) kernel.Ptr {
		x, err := b.d.TensorMap(p, rows, cols, cols, box)
		require.NoError(b.t, err)
		maps = append(maps, put(b.machine, x[:]))
		return maps[len(maps)-1]
	}
	shared := kernel.Product{AMap: tensorMap(b.args[0].A, b.m, b.k, k.TileM), CMap: tensorMap(b.args[0].C, b.m, b.cols, k.Box)}
	var args [][]byte
	for _, a := range b.args {
		a.AMap, a.CMap, a.RMap, a.WMap = shared.AMap, shared.CMap, shared.CMap, tensorMap(a.W, b.n, b.k, k.TileN/k.Cluster)
		args = append(args, kernel.Bytes(a))
	}
	tiles := (b.m + k.TileM - 1) / k.TileM * ((b.n + k.TileN - 1) / k.TileN)
	grid := max(1, min((tiles+k.Cluster-1)/k.Cluster, b.d.Limits().SMs/k.Cluster)) * k.Cluster
	g, err := b.d.Capture(func() error {
		for _, a := range args {
			if err := b.d.Launch(k, grid, a); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(b.t, err)
	from, err := b.d.NewEvent()
	require.NoError(b.t, err)
	to, err := b.d.NewEvent()
	require.NoError(b.t, err)
	rounds, least := 1, 0.0
	for try := range 3 { // the first to know how many
		require.NoError(b.t, from.Record())
		for range rounds {
			require.NoError(b.t, g.Launch())
		}
		require.NoError(b.t, to.Record())
		d, err := to.Since(from)
		require.NoError(b.t, err)
		if us := d.Seconds() * 1e6 / float64(rounds*len(args)); try < 2 || us < least {
			least = us
		}
		if try == 0 {
			rounds = int(max(1, 4*time.Millisecond/max(d, time.Microsecond)))
		}
	}
	g.Free()
	from.Free()
	to.Free()
	for _, p := range maps {
		b.d.Free(p)
	}
	return least
}

func (b *times) free() {
	for _, p := range b.own {
		b.d.Free(p)
	}
}
