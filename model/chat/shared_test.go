package chat

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// shared returns a path below the reference material, which lies beside the repository, or skips.
func shared(tb testing.TB, parts ...string) string {
	tb.Helper()
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		require.NoError(tb, err)
		for {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
			parent := filepath.Dir(dir)
			require.NotEqual(tb, parent, dir, "no go.mod above the test")
			dir = parent
		}
		root = filepath.Join(dir, "..", "shared")
	}
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("reference material is absent (set WARM_SHARED): %v", err)
	}
	return path
}

func readShared(tb testing.TB, parts ...string) []byte {
	tb.Helper()
	data, err := os.ReadFile(shared(tb, parts...))
	require.NoError(tb, err)
	return data
}
