package ptx_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda/kernel"
	"github.com/warmserve/warmserve/model/cuda/ptx"
)

// TestEveryKernelThatShipsIsKnown parses what the table names.
func TestEveryKernelThatShipsIsKnown(t *testing.T) {
	for name, k := range kernel.Table {
		m, err := ptx.Load(k.Module)
		if !assert.NoError(t, err, k.Module) {
			continue
		}
		if f := m.Kernel(name); assert.NotNil(t, f, name) {
			assert.LessOrEqual(t, k.Threads, f.Threads, name)
		}
	}
}

func TestDeviceRefusesWhatACardRefuses(t *testing.T) {
	d := ptx.NewDevice(1, 2, 80)
	_, err := d.Capture(func() error { return d.Sync() })
	assert.ErrorContains(t, err, "while launches are captured")
	p, err := d.Alloc(64)
	require.NoError(t, err)
	assert.Zero(t, p%256)
	assert.Error(t, d.Write(p, make([]byte, 65)), "past the end")
	b := make([]byte, 4)
	require.NoError(t, d.Read(b, p))
	assert.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, b, "memory starts as NaN")
	_, err = d.TensorMap(p+8, 8, 8, 8, 8)
	assert.Error(t, err, "misaligned")
	_, err = d.TensorMap(p, 8, 12, 12, 8)
	assert.Error(t, err, "rows of 24 bytes")
	d.Free(p)
	assert.ErrorContains(t, d.Write(p, b), "freed")
	d.Free(p)
	assert.Error(t, d.Sync(), "freed twice")
}
