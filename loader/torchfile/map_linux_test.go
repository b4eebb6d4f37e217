package torchfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// TestAFileThatShrinksGivesAnError truncates a file under its mapping.
func TestAFileThatShrinksGivesAnError(t *testing.T) {
	const n = 1 << 16
	path := filepath.Join(t.TempDir(), "x.bin")
	require.NoError(t, os.WriteFile(path, archive(t, state(str("w"), floats("0", n)), storageOf("0", 4*n)), 0o600))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	values := make([]float32, n)
	require.NoError(t, f.Tensors[0].ReadAt(values, 0))
	require.NoError(t, os.Truncate(path, 100))
	assert.ErrorIs(t, f.Tensors[0].ReadAt(values, 0), safetensors.ErrShrunk)
	require.NoError(t, f.Close())
	assert.ErrorIs(t, f.Tensors[0].ReadAt(values, 0), safetensors.ErrClosed)
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	_, err := Open(t.TempDir())
	assert.ErrorContains(t, err, "not a regular file")
	_, err = Open(filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
