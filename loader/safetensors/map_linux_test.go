package safetensors

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// residentFile returns how much mapped file memory this process holds, in bytes.
func residentFile(t *testing.T) int64 {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	require.NoError(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "RssFile:"); ok {
			var kib int64
			_, err := fmt.Sscanf(rest, "%d kB", &kib)
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Skip("this kernel does not say how much file memory is resident")
	return 0
}

func TestReleaseGivesMemoryBack(t *testing.T) {
	const n = 8 << 20 // 32 MiB
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, WriteFile(path, []Spec{{Name: "a", DType: F32, Shape: []int{1001}}, {Name: "b", DType: F32, Shape: []int{n}},
		{Name: "c", DType: F32, Shape: []int{1001}}}, nil, fillF32))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	dst := make([]float32, n)
	before := residentFile(t)
	require.NoError(t, f.Tensors[1].ReadAt(dst, 0))
	during := residentFile(t)
	f.Release(&f.Tensors[1])
	after := residentFile(t)
	// The test binary's own pages come and go by some; the tensor is 32 MiB.
	assert.Greater(t, during-before, int64(4*n-1<<20))
	assert.Less(t, after-before, int64(1<<20))
	require.NoError(t, f.Tensors[1].ReadAt(dst, 0), "and it comes back")
	assert.Equal(t, float32(n), dst[n-1])
}
