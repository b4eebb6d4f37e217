package parquet

import (
	"errors"
	"strings"
)

// What can be wrong with a file.
var (
	// ErrDamaged: the file is cut off, corrupt or contradicts itself.
	ErrDamaged = errors.New("damaged Parquet file")
	// ErrTooLarge: a page or a row asks for more memory than there is for one.
	ErrTooLarge = errors.New("too large")
	// ErrText: a text is no valid UTF-8. The rows behind can be read.
	ErrText = errors.New("not valid text")
)

// columnError names the column that cannot be read.
type columnError struct {
	path []string
	err  error
}

func (e *columnError) Error() string {
	return "column " + strings.Join(e.path, ".") + ": " + e.err.Error()
}
func (e *columnError) Unwrap() error { return e.err }
