//go:build !unix

package live

import (
	"io"
	"strings"
)

// lockFile locks nothing: on this system two servers must not be given one state.
func lockFile(string) (io.Closer, error) { return io.NopCloser(strings.NewReader("")), nil }
