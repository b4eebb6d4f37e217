//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
)

// cardVariable has tests run on a real card.
const cardVariable = "WARM_TEST_CARD"

// realCard opens the first card, or skips.
func realCard(t *testing.T) *Card {
	if os.Getenv(cardVariable) == "" {
		t.Skip("no card is to be used: set " + cardVariable)
	}
	begun := time.Now()
	c, err := Open(0)
	require.NoError(t, err)
	t.Logf("%v, opened in %v", c, time.Since(begun).Round(time.Millisecond))
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

// int32s are the bytes of numbers.
func int32s(v ...int32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return b
}

// allocate takes memory for bytes and writes them.
func allocate(t *testing.T, d cuda.Device, b []byte) cuda.Ptr {
	p, err := d.Alloc(len(b))
	require.NoError(t, err)
	require.NoError(t, d.Write(p, b))
	return p
}

// TestADeviceKeepsItsWord is what an engine relies on, of the interpreter and of a card.
func TestADeviceKeepsItsWord(t *testing.T) {
	t.Run("interpreter", func(t *testing.T) { keepsItsWord(t, ptx.NewDevice(1, 2, 90)) })
	t.Run("card", func(t *testing.T) { keepsItsWord(t, realCard(t)) })
}

func keepsItsWord(t *testing.T, d cuda.Device) {
	const n, rows = 8, 3 // values of a row; rows that are gathered
	var table []byte
	for i := range 5 * n {
		table = binary.LittleEndian.AppendUint32(table, math.Float32bits(float32(i)))
	}
	x, index, header := allocate(t, d, table), allocate(t, d, int32s(4, 0, 2)), allocate(t, d, int32s(rows, 0))
	y := allocate(t, d, make([]byte, 4*rows*n))
	assert.Zero(t, y%256)
	args := kernel.Bytes(kernel.Rows{Y: y, X: x, Index: index, Header: header, N: n, LDY: n, LDX: n})
	launch := func() error { return d.Launch(kernel.Table["lookup_f32"], 2, args) }
	gathered := func(of ...int) []byte {
		var b []byte
		for _, r := range of {
			b = append(b, table[4*r*n:][:4*n]...)
		}
		return b
	}
	got := make([]byte, 4*rows*n)
	require.NoError(t, launch())
	require.NoError(t, d.Read(got, y))
	assert.Equal(t, gathered(4, 0, 2), got)

	require.NoError(t, d.Write(y, make([]byte, len(got))))
	g, err := d.Capture(launch)
	require.NoError(t, err)
	require.NoError(t, d.Read(got, y))
	assert.Equal(t, make([]byte, len(got)), got, "a capture runs nothing")
	for _, of := range [][]int{{1, 1, 3}, {0, 4, 4}} { // batches of one graph, one behind the other
		require.NoError(t, d.Write(index, int32s(int32(of[0]), int32(of[1]), int32(of[2]))))
		require.NoError(t, g.Launch())
		require.NoError(t, d.Read(got, y))
		assert.Equal(t, gathered(of...), got)
	}
	g.Free()
	_, err = d.Capture(func() error { return errors.New("no") })
	assert.ErrorContains(t, err, "no")
	require.NoError(t, launch())
	_, err = d.TensorMap(x, 16, 64, 64, 16)
	assert.NoError(t, err)
	_, err = d.TensorMap(x, 16, 64, 63, 16)
	assert.Error(t, err, "rows are multiples of 16 bytes")
	for _, p := range []cuda.Ptr{x, y, index, header} {
		d.Free(p)
	}
	assert.NoError(t, d.Sync())
}

func TestCopiesOfACard(t *testing.T) {
	c := realCard(t)
	for _, n := range []int{1, slotBytes - 1, slotBytes + 1, 2*slots*slotBytes + 3, 1 << 30} {
		src, got := pattern(n), make([]byte, n)
		p, err := c.Alloc(n)
		require.NoError(t, err)
		begun := time.Now()
		require.NoError(t, c.Write(p, src))
		require.NoError(t, c.Sync())
		written := time.Now()
		first := bytes.Clone(src[:min(n, 1<<20)])
		clear(src[:len(first)])
		require.NoError(t, c.Read(got, p))
		read := time.Now()
		copy(src, first)
		assert.True(t, bytes.Equal(src, got), "%d bytes", n)
		t.Logf("%d bytes: to the card in %v (%.1f GB/s), back in %v (%.1f GB/s)", n, written.Sub(begun),
			rate(n, written.Sub(begun)), read.Sub(written), rate(n, read.Sub(written)))
		c.Free(p)
	}
}

func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() / 1e9 }

func TestMemoryOfACardRunsOut(t *testing.T) {
	c := realCard(t)
	l := c.Limits()
	_, err := c.Alloc(l.Free + 1<<30)
	var m *MemoryError
	require.ErrorAs(t, err, &m)
	t.Log(err)
	p, err := c.Alloc(1 << 20)
	require.NoError(t, err, "the card goes on")
	c.Free(p)
	s, err := c.Stats()
	require.NoError(t, err)
	t.Logf("%+v", s)
	assert.Positive(t, s.SM)
	assert.Positive(t, s.Power)
	assert.Positive(t, s.Temperature)
}

func TestEveryKernelLoadsOnACard(t *testing.T) {
	c := realCard(t)
	times := map[string]time.Duration{}
	for _, name := range slices.Sorted(maps.Keys(kernel.Table)) {
		k := kernel.Table[name]
		text, err := kernel.PTX(k.Module)
		require.NoError(t, err)
		if target := directive(text, ".target"); target == "sm_90a" && c.limits.Capability != 90 {
			continue
		}
		begun := time.Now()
		u, err := c.Use(k)
		require.NoError(t, err)
		times[k.Module] += time.Since(begun)
		if u.Local > 0 {
			t.Logf("%s: %d registers, %d bytes of a thread in memory", name, u.Registers, u.Local)
		}
	}
	t.Log("compiled or loaded:", times)
}

func TestTimesOfACard(t *testing.T) {
	c := realCard(t)
	d := c // launches of nothing: no rows
	header := allocate(t, d, int32s(0, 0))
	args := kernel.Bytes(kernel.Rows{Header: header, N: 8, LDY: 8, LDX: 8})
	many := func() error {
		for range 200 {
			if err := c.Launch(kernel.Table["lookup_f32"], 132, args); err != nil {
				return err
			}
		}
		return nil
	}
	require.NoError(t, many())
	require.NoError(t, c.Sync())
	begun := time.Now()
	require.NoError(t, many())
	require.NoError(t, c.Sync())
	launches := time.Since(begun) / 200
	begun = time.Now()
	g, err := c.Capture(many)
	require.NoError(t, err)
	captured := time.Since(begun)
	defer g.Free()
	from, err := c.NewEvent()
	require.NoError(t, err)
	to, err := c.NewEvent()
	require.NoError(t, err)
	require.NoError(t, g.Launch())
	require.NoError(t, from.Record())
	require.NoError(t, g.Launch())
	require.NoError(t, to.Record())
	onCard, err := to.Since(from)
	require.NoError(t, err)
	small := make([]byte, 4<<10)
	p := allocate(t, d, small)
	begun = time.Now()
	for range 100 {
		require.NoError(t, c.Write(p, small))
		require.NoError(t, c.Read(small, p))
	}
	t.Logf("a launch %v; a graph of 200 made in %v, %v a kernel; 4 KiB there and back %v", launches, captured,
		onCard/200, time.Since(begun)/100)
	assert.Less(t, onCard, 5*time.Millisecond)
}

// TestAFaultLosesTheCard happens in a process of its own, which is lost with it.
func TestAFaultLosesTheCard(t *testing.T) {
	const child = "WARM_TEST_FAULT"
	if os.Getenv(child) == "" {
		if os.Getenv(cardVariable) == "" {
			t.Skip("no card is to be used: set " + cardVariable)
		}
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.Command(self, "-test.run=^TestAFaultLosesTheCard$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		t.Logf("%s", out)
		return
	}
	c, err := Open(0)
	require.NoError(t, err)
	header := allocate(t, c, int32s(1, 0))
	// Where nothing is.
	args := kernel.Bytes(kernel.Rows{Y: 64, X: 64, Index: 64, Header: header, N: 8, LDY: 8, LDX: 8})
	require.NoError(t, c.Launch(kernel.Table["lookup_f32"], 1, args))
	err = c.Sync()
	t.Log(err)
	assert.True(t, Lost(err), "%v", err)
	assert.True(t, Lost(c.Write(header, int32s(1))))
	_, err = c.Alloc(1)
	assert.True(t, Lost(err), "%v", err)
	assert.True(t, Lost(c.Launch(kernel.Table["lookup_f32"], 1, args)))
}
