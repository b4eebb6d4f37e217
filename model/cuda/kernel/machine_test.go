package kernel_test

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/cuda/kernel"
)

// machine is a card, or the interpreter.
type machine struct {
	t *testing.T
	d cuda.Device
}

func newMachine(t *testing.T) *machine { return &machine{t, cudatest.NewDevice(t, 80)} }

// launch runs a kernel of the table with a grid of so many clusters.
func launch[A kernel.Args](m *machine, name string, grid int, a A) {
	m.t.Helper()
	k := kernel.Table[name]
	require.NotNil(m.t, k, name)
	require.NoError(m.t, m.d.Launch(k, grid*k.Cluster, kernel.Bytes(a)), name)
	require.NoError(m.t, m.d.Sync(), name)
}

// put stores values on the card.
func put[T any](m *machine, v []T) kernel.Ptr {
	b := bytesOf(v)
	p, err := m.d.Alloc(len(b))
	require.NoError(m.t, err)
	require.NoError(m.t, m.d.Write(p, b))
	return p
}

// bytesOf are those that values are made of.
func bytesOf[T any](v []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}

// get reads n values.
func get[T any](m *machine, p kernel.Ptr, n int) []T {
	v := make([]T, n)
	require.NoError(m.t, m.d.Read(unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), n*int(unsafe.Sizeof(v[0]))), p))
	return v
}
