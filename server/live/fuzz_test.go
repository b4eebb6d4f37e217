package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzParsePin holds pins to hexadecimal digits: whatever passes names its
// revision by prefix and nothing else.
func FuzzParsePin(f *testing.F) {
	for _, seed := range []string{"sha256:0123456789abcdef", "ABCDEF01", "sha256:", "", " 01234567 ", "sha256:sha256:01234567", "0123456g"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePin("x", text)
		if err != nil || p.digits == "" {
			return
		}
		assert.True(t, utf8.ValidString(p.digits))
		assert.GreaterOrEqual(t, len(p.digits), minPin)
		assert.Empty(t, strings.Trim(p.digits, "0123456789abcdef"))
		assert.True(t, p.matches(digestName+p.digits))
		assert.False(t, p.matches(digestName+"x"+p.digits))
	})
}

// FuzzWithin holds paths of requests to the folder of models.
func FuzzWithin(f *testing.F) {
	for _, seed := range []string{"a", "a/../b", "..", "../x", "/etc/passwd", "out", "out/x", "", ".", "a/./../..", "a\x00b"} {
		f.Add(seed)
	}
	dir, err := filepath.EvalSymlinks(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	root := filepath.Join(dir, "root")
	for _, d := range []string{root, filepath.Join(root, "a"), filepath.Join(root, "b"), filepath.Join(dir, "rootx")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.Symlink(dir, filepath.Join(root, "out")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := within(root, path)
		if err != nil {
			return
		}
		assert.True(t, got == root || strings.HasPrefix(got, root+string(filepath.Separator)), "%q is %q", path, got)
	})
}

// FuzzParseState holds the reader of the state file to its word: what it takes
// is written and read again as the same.
func FuzzParseState(f *testing.F) {
	for _, seed := range []string{
		`{"version":1,"models":{}}`, `{"version":1,"manifest":"x","models":{"m":{"configured":{"members":["a"]},"watched":true,"generations":[{"revision":"r","spec":{"members":["a"]},"time":"2026-01-01T00:00:00Z","cause":"put","load_seconds":1,"members":["a"]}]}}}`,
		`{"version":1,"models":{"m":{"generations":[]}}}`, `{"version":2}`, `{`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := parseState(data)
		if err != nil {
			return
		}
		written, err := first.encode()
		require.NoError(t, err)
		second, err := parseState(written)
		require.NoError(t, err, "%s", written)
		again, err := second.encode()
		require.NoError(t, err)
		assert.Equal(t, string(written), string(again))
	})
}
