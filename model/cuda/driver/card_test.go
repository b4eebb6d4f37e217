//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// Kernels as the engine has them.
var (
	rows     = &kernel.Kernel{Name: "lookup_bf16", Module: "rows", Threads: 128, Cluster: 1}
	product  = &kernel.Kernel{Name: "product", Module: "mma", Threads: 128, Shared: 64 << 10, Cluster: 1}
	follower = &kernel.Kernel{Name: "follower", Module: "mma", Threads: 128, Cluster: 1, Follows: true}
	clusters = &kernel.Kernel{Name: "wide", Module: "wgmma", Threads: 384, Shared: 220 << 10, Cluster: 2,
		Follows: true}
)

// pattern returns bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + i>>16)
	}
	return b
}

func TestWhatIsWrittenIsReadThoughTheSourceChangesAtOnce(t *testing.T) {
	c, _ := fakeCard(t)
	for _, n := range []int{0, 1, 255, copyBytes + 1, slotBytes - 1, slotBytes, slotBytes + 1,
		slots*slotBytes + 3, 3*slots*slotBytes + 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p, err := c.Alloc(n)
			require.NoError(t, err)
			src := pattern(n)
			require.NoError(t, c.Write(p, src))
			clear(src)
			got := make([]byte, n)
			require.NoError(t, c.Read(got, p))
			assert.True(t, bytes.Equal(got, pattern(n)))
			c.Free(p)

			p, err = c.Alloc(n)
			require.NoError(t, err)
			require.NoError(t, c.Fill(p, bytes.NewReader(append(pattern(n), 7)), n))
			require.NoError(t, c.Read(got, p))
			assert.True(t, bytes.Equal(got, pattern(n)), "of a file")
			err = c.Fill(p, bytes.NewReader(pattern(n)[:max(n-1, 0)]), n)
			assert.Equal(t, n > 0, err != nil, "of a file that is too short")
			c.Free(p)
		})
	}
}

func TestSmallWritesInARowDoNotWait(t *testing.T) {
	c, f := fakeCard(t)
	p, err := c.Alloc(1 << 10)
	require.NoError(t, err)
	for i := range 3 * slots {
		require.NoError(t, c.Write(p+cuda.Ptr(16*i), []byte{byte(i)}))
		assert.LessOrEqual(t, len(f.queue), slots)
	}
	assert.NotEmpty(t, f.queue, "a write that nothing waited for is still under way")
	got := make([]byte, 48*slots)
	require.NoError(t, c.Read(got, p))
	for i := range 3 * slots {
		assert.Equal(t, byte(i), got[16*i])
	}
}

// A batch is written, launched and read: the driver is asked for no more than that, and waits once.
func TestABatchAsksTheDriverForLittle(t *testing.T) {
	c, f := fakeCard(t)
	p, err := c.Alloc(1 << 10)
	require.NoError(t, err)
	clear(f.calls)
	const batches = 3 * slots
	for i := range batches {
		require.NoError(t, c.Write(p, []byte{byte(i)}))
		var got [1]byte
		require.NoError(t, c.Read(got[:], p))
		assert.Equal(t, byte(i), got[0])
	}
	assert.Equal(t, map[string]int{"cuMemcpyHtoDAsync_v2": batches, "cuMemcpyDtoHAsync_v2": batches,
		"cuEventRecord": 2 * batches, "cuEventSynchronize": batches}, f.calls)
}

func TestALaunchPassesTheParametersByValue(t *testing.T) {
	c, f := fakeCard(t)
	plain, cluster := rows, clusters
	args := pattern(16)
	require.NoError(t, c.Launch(plain, 1056, args))
	clear(args)
	require.NoError(t, c.Launch(cluster, 132, pattern(40)[24:]))
	c.Overlap(true)
	require.NoError(t, c.Launch(plain, 8, pattern(16)))
	require.NoError(t, c.Launch(follower, 7, pattern(16)))
	require.NoError(t, c.Launch(cluster, 4, pattern(16)))
	c.Overlap(false)
	require.NoError(t, c.Launch(follower, 9, pattern(16)))
	require.NoError(t, c.Sync())
	block, shared := uint32(cluster.Threads), uint32(cluster.Shared)
	assert.Equal(t, []fakeLaunch{
		{name: plain.Name, grid: 1056, block: 128, arguments: pattern(16)},
		{name: cluster.Name, grid: 132, block: block, shared: shared, cluster: 2, extended: true,
			arguments: pattern(40)[24:]},
		{name: plain.Name, grid: 8, block: 128, arguments: pattern(16)},
		{name: follower.Name, grid: 7, block: 128, early: true, extended: true, arguments: pattern(16)},
		{name: cluster.Name, grid: 4, block: block, shared: shared, cluster: 2, early: true, extended: true,
			arguments: pattern(16)},
		{name: follower.Name, grid: 9, block: 128, arguments: pattern(16)},
	}, f.launches)
	assert.Len(t, f.images, 3, "each module is loaded once")
	for _, grid := range []int{0, -2, 3} {
		assert.ErrorContains(t, c.Launch(cluster, grid, args), "clusters of 2")
	}
	assert.ErrorContains(t, c.Launch(plain, 1, make([]byte, maxArguments+1)), "4097 bytes of parameters")
}

func TestAGraphRunsWhatWasLaunchedInTheCapture(t *testing.T) {
	c, f := fakeCard(t)
	a, b := rows, product
	calls := 0
	pass := func() error {
		calls++
		for i, k := range []*kernel.Kernel{a, b, a} {
			if err := c.Launch(k, 1+i, pattern(16)); err != nil {
				return err
			}
		}
		return nil
	}
	g, err := c.Capture(pass) // the fake refuses to load a module in a capture
	require.NoError(t, err)
	assert.Equal(t, 2, calls, "once more, as modules were not loaded")
	require.NoError(t, c.Sync())
	assert.Empty(t, f.launches, "a capture runs nothing")
	second, err := c.Capture(pass)
	require.NoError(t, err)
	assert.Equal(t, 3, calls)
	for range 2 {
		require.NoError(t, g.Launch())
	}
	require.NoError(t, c.Sync())
	var grids []uint32
	for _, l := range f.launches {
		grids = append(grids, l.grid)
	}
	assert.Equal(t, []uint32{1, 2, 3, 1, 2, 3}, grids)
	g.Free()
	g.Free()
	second.Free()
	assert.Empty(t, f.graphs)
}

func TestACaptureThatFails(t *testing.T) {
	c, f := fakeCard(t)
	k := rows
	require.NoError(t, c.Load(k))
	p, err := c.Alloc(16)
	require.NoError(t, err)
	for name, pass := range map[string]func() error{
		"writes": func() error { return c.Write(p, pattern(16)) },
		"reads":  func() error { return c.Read(pattern(16), p) },
		"nested": func() error { _, err := c.Capture(func() error { return nil }); return err },
		"other":  func() error { return errors.New("captured within") },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Capture(pass)
			require.ErrorContains(t, err, "captured")
			require.NoError(t, c.Launch(k, 1, pattern(16)), "launches run again")
		})
	}
	f.refuse["cuStreamEndCapture"] = 901
	_, err = c.Capture(func() error { return nil })
	assert.ErrorContains(t, err, "cuStreamEndCapture")
	delete(f.refuse, "cuStreamEndCapture")
	assert.Empty(t, f.graphs)
	require.NoError(t, c.Write(p, pattern(16)))
}

func TestATensorMapDescribesRowsOfBFloat16(t *testing.T) {
	c, f := fakeCard(t)
	m, err := c.TensorMap(0x7000, 300, 1000, 1024, 128)
	require.NoError(t, err)
	assert.Equal(t, [128]byte(bytes.Repeat([]byte{7}, 128)), m)
	assert.Equal(t, [][]uintptr{{9, 2, 0x7000, 1000, 300, 2048, 64, 128, 1, 1, 0, 3, 3, 0}}, f.maps)
	f.refuse["cuTensorMapEncodeTiled"] = 1
	_, err = c.TensorMap(0x7001, 300, 1000, 1024, 128)
	assert.ErrorContains(t, err, "300 rows of 1000 values, 1024 apart, in boxes of 128 rows")
}

func TestEventsTellTheTimeBetweenThem(t *testing.T) {
	c, _ := fakeCard(t)
	a, err := c.NewEvent()
	require.NoError(t, err)
	b, err := c.NewEvent()
	require.NoError(t, err)
	require.NoError(t, a.Record())
	for range 3 {
		require.NoError(t, c.Launch(rows, 1, pattern(16)))
	}
	require.NoError(t, b.Record())
	d, err := b.Since(a)
	require.NoError(t, err)
	assert.Equal(t, 1500*time.Microsecond, d)
	a.Free()
	b.Free()
}

func TestACardTellsWhatItIsAndDoes(t *testing.T) {
	c, f := fakeCard(t)
	want := cuda.Limits{Name: "NVIDIA Fake", SMs: 132, Capability: 90, Memory: 80 << 30, Free: 3 << 30}
	assert.Equal(t, want, c.Limits())
	assert.Equal(t, "NVIDIA Fake (capability 9.0, driver 580.1.2, CUDA 13.0)", c.String())
	s, err := c.Stats()
	require.NoError(t, err)
	assert.Equal(t, Stats{Free: 3 << 30, Total: 80 << 30, SM: 1000, Memory: 2000, Power: 695.5,
		Temperature: 61}, s)
	u, err := c.Use(product)
	require.NoError(t, err)
	assert.Equal(t, Use{Registers: 168}, u)

	l := c.lib
	l.management = nil // not installed
	bare, err := l.open(0)
	require.NoError(t, err)
	s, err = bare.Stats()
	require.NoError(t, err)
	assert.Equal(t, Stats{Free: 3 << 30, Total: 80 << 30}, s)
	assert.Equal(t, "CUDA 13.0", bare.Driver())
	require.NoError(t, bare.Close())
	assert.Len(t, f.memory, 1, "pinned memory is given back")
}

func TestOpeningSaysWhatIsMissing(t *testing.T) {
	l, f := fakeLibrary(t)
	var none *NoCardError
	for _, at := range []int{-1, 1, 7} {
		_, err := l.open(at)
		require.ErrorAs(t, err, &none)
		assert.ErrorContains(t, err, fmt.Sprintf("there is no card %d: this machine has one, cuda:0", at))
	}
	f.cards = 3
	_, err := l.open(3)
	assert.ErrorContains(t, err, "this machine has 3, cuda:0 to cuda:2")
	f.refuse["cuInit"] = 100
	err = l.begin()
	require.ErrorAs(t, err, &none)
	assert.ErrorContains(t, err, "CUDA_VISIBLE_DEVICES")
	assert.ErrorContains(t, err, "CUDA_ERROR_NO_DEVICE (100): no CUDA-capable device is detected")
	f.refuse["cuInit"] = 803
	assert.ErrorContains(t, l.begin(), "cuInit: unknown to the driver (803)")
	delete(f.refuse, "cuInit")
	f.refuse["cuStreamCreate"] = 46
	_, err = l.open(0)
	assert.ErrorContains(t, err, "cuStreamCreate")

	var missing *LibraryError
	err = new(library).bind(func(name string) (uintptr, error) {
		if name == "cuGraphInstantiateWithFlags" {
			return 0, errors.New("undefined symbol")
		}
		return fakeSymbol(name)
	})
	require.ErrorAs(t, err, &missing)
	assert.ErrorContains(t, err, "libcuda.so.1 has no cuGraphInstantiateWithFlags: the driver is too old")
}

func TestOlderDriversRunWhatNeedsNothingNew(t *testing.T) {
	_, f := fakeLibrary(t)
	old := new(library)
	require.NoError(t, old.bind(func(name string) (uintptr, error) {
		if slices.Contains([]string{"cuLaunchKernelEx", "cuTensorMapEncodeTiled"}, name) {
			return 0, errors.New("undefined symbol")
		}
		return fakeSymbol(name)
	}))
	c, err := old.open(0)
	require.NoError(t, err)
	f.old, c.note = true, func(string) {}
	require.NoError(t, c.Launch(rows, 1, pattern(16)))
	require.NoError(t, c.Sync())
	assert.Len(t, f.launches, 1)
	assert.True(t, bytes.Contains(f.images[1], []byte(".target sm_")), "the module that is embedded")
	_, err = c.TensorMap(0x7000, 1, 64, 64, 64)
	assert.ErrorContains(t, err, "the driver is too old")
	c.Overlap(true)
	follows := *rows
	follows.Follows = true
	assert.ErrorContains(t, c.Launch(&follows, 1, pattern(16)), "the driver is too old")
	require.NoError(t, c.Close())
}

func TestTooLittleMemoryIsSaidInBytes(t *testing.T) {
	c, f := fakeCard(t)
	_, err := c.Alloc(5 << 30)
	var m *MemoryError
	require.ErrorAs(t, err, &m)
	assert.Equal(t, MemoryError{Asked: 5 << 30, Free: 3 << 30, Total: 80 << 30, Err: m.Err}, *m)
	assert.EqualError(t, err, "cuda: 5.0 GiB asked for, 3.0 GiB of the card's 80.0 GiB are free")
	assert.False(t, Lost(err))
	_, err = c.Alloc(1 << 20)
	assert.NoError(t, err, "the card goes on")
	f.refuse["cuModuleLoadDataEx"] = 2
	assert.ErrorAs(t, c.Load(product), &m)
}

func TestAModuleThatTheDriverRefuses(t *testing.T) {
	for code, want := range map[int]string{
		222: "kernels mma on NVIDIA Fake (capability 9.0, driver 580.1.2, CUDA 13.0): the driver is too old for " +
			"PTX 8.3; install a newer one (ptxas application ptx input, line 1; fatal)",
		218: "PTX 8.3 for sm_90a is not for this card, or the driver is too old",
		209: "PTX 8.3 for sm_90a is not for this card, or the driver is too old",
		221: "libnvidia-ptxjitcompiler.so.1, is missing",
	} {
		c, f := fakeCard(t)
		f.refuse["cuModuleLoadDataEx"] = code
		for range 2 { // and again
			err := c.Launch(product, 1, pattern(16))
			var k *KernelError
			require.ErrorAs(t, err, &k, code)
			assert.ErrorContains(t, err, want)
			assert.ErrorContains(t, err, fmt.Sprintf("(%d)", code))
		}
		delete(f.refuse, "cuModuleLoadDataEx")
		assert.NoError(t, c.Launch(product, 1, pattern(16)))
	}
	c, _ := fakeCard(t)
	c.shared = 100 << 10
	assert.ErrorContains(t, c.Load(clusters), "a block can have 102400")
	var k *KernelError
	c.images = images
	assert.ErrorAs(t, c.Load(&kernel.Kernel{Name: "x", Module: "nowhere"}), &k)
}

// Machine code comes first, and where the driver does not take it, PTX, which is said.
func TestAModuleIsMachineCodeWhereTheDriverTakesIt(t *testing.T) {
	elf, text := []byte("\x7fELF"), []byte(".version 8.3\n")
	// The false driver reads up to a zero, where a real one knows the end of machine code.
	code := []byte("\x7fELF\x00")
	for _, c := range []struct {
		name    string
		old     bool
		of      []image
		loaded  [][]byte
		said    string
		refused int
	}{
		{"taken", false, []image{{code: code}, {text, true}}, [][]byte{elf}, "", 0},
		{"not taken", true, []image{{code: code}, {text, true}}, [][]byte{elf, text},
			"does not take the machine code of kernels rows", 0},
		{"none", true, []image{{text, true}}, [][]byte{text}, "", 0},
		{"too little memory", false, []image{{code: code}, {text, true}}, [][]byte{elf}, "", outOfMemory},
	} {
		t.Run(c.name, func(t *testing.T) {
			card, f := fakeCard(t)
			said := ""
			card.note = func(s string) { said += s }
			card.images = func(string, int) ([]image, error) { return c.of, nil }
			f.old = c.old
			if c.refused != 0 {
				f.refuse["cuModuleLoadDataEx"] = c.refused
			}
			assert.Equal(t, c.refused == 0, card.Load(rows) == nil)
			assert.Equal(t, c.loaded, f.images)
			assert.Contains(t, said, c.said)
			assert.Equal(t, c.said == "", said == "")
		})
	}
	of, err := images("rows_90", 90)
	require.NoError(t, err)
	require.Len(t, of, 2, "machine code and PTX")
	assert.Equal(t, "\x7fELF", string(of[0].code[:4]))
	assert.True(t, of[1].text && !of[0].text)
	of, err = images("rows", 120)
	require.NoError(t, err)
	assert.Len(t, of, 1, "PTX alone, for cards that came later")
	t.Setenv(textVariable, "1")
	of, err = images("rows_90", 90)
	require.NoError(t, err)
	assert.True(t, len(of) == 1 && of[0].text)
}

func TestFaultsThatLoseTheContext(t *testing.T) {
	for _, code := range []int{700, 702, 715, 716, 717, 718, 719, 999, 214} {
		c, f := fakeCard(t)
		p, err := c.Alloc(64)
		require.NoError(t, err)
		f.fault = code
		assert.True(t, Lost(fmt.Errorf("batch: %w", c.Sync())), code)
		assert.True(t, Lost(c.Write(p, pattern(64))), code)
		assert.True(t, Lost(c.Launch(rows, 1, pattern(16))), code)
		_, err = c.Alloc(64)
		assert.True(t, Lost(err), code)
		_, err = c.Stats()
		assert.True(t, Lost(err), code)
		c.Free(p)
		f.fault = 0
	}
	for _, code := range []int{1, 2, 100, 101, 218, 222, 400, 500, 701, 801} {
		assert.False(t, Lost(&Error{Code: code}), code)
	}
	assert.False(t, Lost(nil))
	assert.False(t, Lost(errors.New("other")))
}
