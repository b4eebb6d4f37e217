package data

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// maxShown is how many bad lines are named.
const maxShown = 10

// Bad gathers the lines of a file that cannot be used, so that whoever reads it knows how many there
// are and where, and may then leave them out.
type Bad struct {
	// File is the file's name.
	File string
	// Lines counts what was read, good or bad, Count the bad ones.
	Lines, Count int
	// First are the first bad ones, ten at most.
	First []error
	// Remedy is the flag that leaves them out, --skip-bad when it is empty.
	Remedy string
}

// Add counts a record that was read with err, which may be nil. It returns the error when the
// stream cannot be read on.
func (b *Bad) Add(err error) error {
	b.Lines++
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) || e.End {
		return err
	}
	b.Refuse(e.File, err)
	return nil
}

// Refuse counts a bad record that is counted in Lines already.
func (b *Bad) Refuse(file string, err error) {
	if b.File == "" {
		b.File = file
	} else if b.File != file {
		b.File = "data"
	}
	b.Count++
	if len(b.First) < maxShown {
		b.First = append(b.First, err)
	}
}

// Each calls f for what the lines hold and gathers those that cannot be read or that f refuses. A
// stream that cannot be read on is returned as an error at once.
func Each[T any](lines iter.Seq2[T, error], bad *Bad, f func(T) error) error {
	for v, err := range lines {
		if err == nil {
			err = f(v)
		}
		if err := bad.Add(err); err != nil {
			return err
		}
	}
	return nil
}

// Err is nil when every line is good, or when bad ones may be left out and others remain; else an
// error that names them.
func (b *Bad) Err(skip bool) error {
	if b.Count == 0 || skip && b.Count < b.Lines {
		return nil
	}
	var s strings.Builder
	switch {
	case b.Count == b.Lines && b.Lines > 1:
		fmt.Fprintf(&s, "%s: none of its %d records can be used:", b.File, b.Lines)
	case b.Count == b.Lines:
		return b.First[0]
	default:
		fmt.Fprintf(&s, "%s: %d of %d records cannot be used; %s leaves them out:", b.File, b.Count,
			b.Lines, cmp.Or(b.Remedy, "--skip-bad"))
	}
	for _, err := range b.First {
		s.WriteString("\n  " + err.Error())
	}
	if n := b.Count - len(b.First); n > 0 {
		fmt.Fprintf(&s, "\n  and %d more", n)
	}
	return &badError{s.String(), b.First}
}

// badError keeps the reasons, so that errors.Is finds them.
type badError struct {
	text    string
	reasons []error
}

func (e *badError) Error() string   { return e.text }
func (e *badError) Unwrap() []error { return e.reasons }

// String says which lines were left out.
func (b *Bad) String() string {
	var at []string
	for _, err := range b.First {
		var e *Error
		if errors.As(err, &e) {
			at = append(at, e.Place.where())
		}
	}
	more := ""
	if b.Count > len(b.First) {
		more = ", …"
	}
	return fmt.Sprintf("%s: left out %d of %d records that cannot be used: %s%s", b.File, b.Count,
		b.Lines, strings.Join(at, ", "), more)
}
