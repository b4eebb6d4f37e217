package live

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/disk"
)

// A server that is killed while it writes its state, or the one before, leaves the beginning of a file.
func TestWhatAKilledServerLeftGoes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	other := disk.Unfinished(filepath.Join(dir, "state.json.of-another")) + "1"
	for _, name := range []string{disk.Unfinished(path) + "1", disk.Unfinished(path+beforeSuffix) + "2", other} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600))
	}
	(&stateFile{path: path}).read()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, other, entries[0].Name(), "who writes it may be alive")
}
