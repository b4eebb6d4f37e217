package torchfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// byName returns a file's tensors by name.
func byName(f *safetensors.File) map[string]*safetensors.Tensor {
	out := map[string]*safetensors.Tensor{}
	for i := range f.Tensors {
		out[f.Tensors[i].Name] = &f.Tensors[i]
	}
	return out
}

// TestFilesOfTorchHoldWhatSafetensorsHolds reads what deploy/goldens/torch_files.py has torch write.
func TestFilesOfTorchHoldWhatSafetensorsHolds(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bin")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 11)
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got, err := Open(path)
			require.NoError(t, err)
			defer got.Close()
			want, err := safetensors.Open(strings.TrimSuffix(path, "bin") + "safetensors")
			require.NoError(t, err)
			defer want.Close()
			assert.Len(t, got.Tensors, len(want.Tensors))
			tensors := byName(got)
			for name, w := range byName(want) {
				g := tensors[name]
				require.NotNil(t, g, name)
				assert.Equal(t, w.DType, g.DType, name)
				assert.Equal(t, w.Shape, g.Shape, name)
				assert.Equal(t, w.Data, g.Data, name)
				assert.Equal(t, w.Elements(), g.Elements(), name)
				if !w.DType.Float() {
					continue
				}
				for offset := range w.Elements() {
					a, b := make([]float32, w.Elements()-offset), make([]float32, w.Elements()-offset)
					require.NoError(t, w.ReadAt(a, offset))
					require.NoError(t, g.ReadAt(b, offset))
					assert.True(t, slices.EqualFunc(a, b, sameBits), "%s from %d on", name, offset)
				}
				got.Prefetch(g)
				got.Release(g)
			}
		})
	}
}

func sameBits(a, b float32) bool { return a == b || a != a && b != b }

func TestTiedWeightsAreOneRunOfBytes(t *testing.T) {
	f, err := Open("testdata/shared.bin")
	require.NoError(t, err)
	defer f.Close()
	tensors := byName(f)
	assert.Same(t, &tensors["embed.weight"].Data[0], &tensors["lm_head.weight"].Data[0])
	assert.Same(t, &tensors["embed.weight"].Data[4*6], &tensors["row"].Data[0])
}

func TestWhatTorchWritesBesidesTensorsIsRefused(t *testing.T) {
	tests := map[string]struct {
		want error
		says string
	}{
		"system":        {ErrCall, `system.bin asks to call "posix.system": refused`},
		"system_legacy": {ErrCall, `system_legacy.bin asks to call "posix.system": refused`},
		"module":        {ErrCall, `"torch.nn.modules.container.Sequential"`},
		"script_like":   {ErrCall, `"argparse.Namespace"`},
		"float8":        {ErrCall, `"torch._utils._rebuild_tensor_v3"`},
		"sparse":        {ErrCall, `"torch._utils._rebuild_sparse_tensor"`},
		"quantised":     {ErrCall, `"torch._utils._rebuild_qtensor"`},
		"complex":       {ErrCall, `"torch.ComplexFloatStorage"`},
		"list":          {ErrContents, "it holds a list"},
		"number":        {ErrContents, `"epoch" is a number`},
		"nested":        {ErrContents, `"state_dict" is a dict`},
		"expanded":      {ErrTensor, "contiguous"},
	}
	files, err := filepath.Glob("testdata/refused/*.bin")
	require.NoError(t, err)
	assert.Len(t, files, len(tests))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "refused", name+".bin")
			_, err := Open(path)
			require.ErrorIs(t, err, test.want)
			assert.ErrorContains(t, err, test.says)
			data, readErr := os.ReadFile(path)
			require.NoError(t, readErr)
			_, err = Parse(name+".bin", data)
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestTruncatedFilesAreRefused(t *testing.T) {
	for _, name := range []string{"state_dict.bin", "legacy.bin", "protocol4.bin"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		for n := range len(data) {
			_, err := Parse(name, data[:n])
			require.Error(t, err, "%s, %d bytes", name, n)
		}
	}
}
