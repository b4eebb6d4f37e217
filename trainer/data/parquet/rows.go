package parquet

import (
	"errors"
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"
)

// Rows are the rows of a file, in its order. It is not safe for concurrent use.
type Rows struct {
	file    io.ReaderAt
	size    int64
	maxSize int
	parsed  *pq.File
	root    *field
	group   int // of the next rows
	rows    pq.Rows
	row     []pq.Row // the one that is read, its memory kept
	out     []byte
	failed  error
}

// Open begins to read a file of size bytes, which must stay open. maxSize is the largest row, in bytes
// of its JSON object.
func Open(r io.ReaderAt, size int64, maxSize int) (*Rows, error) {
	if err := checkFooter(r, size); err != nil {
		return nil, err
	}
	f := &Rows{file: r, size: size, maxSize: maxSize, row: make([]pq.Row, 1)}
	err := guard(func() (err error) {
		f.parsed, err = pq.OpenFile(r, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true))
		if err == nil {
			f.root, err = newField(f.parsed.Root())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Close releases what reading holds; the file is the caller's.
func (f *Rows) Close() error {
	if f.rows == nil {
		return nil
	}
	rows := f.rows
	f.rows = nil
	return guard(rows.Close)
}

// Next returns the next row as a JSON object, valid until the next call; io.EOF alone behind the last.
// After [ErrText], or [ErrTooLarge] of one row, the next one follows; any other error ends the reading.
func (f *Rows) Next() ([]byte, error) {
	if f.failed != nil {
		return nil, f.failed
	}
	if err := guard(f.read); err != nil {
		f.failed = err
		return nil, err
	}
	size := 0
	for _, v := range f.row[0] {
		if k := v.Kind(); k == pq.ByteArray && !v.IsNull() {
			size += len(v.ByteArray())
		}
		if size++; size > f.maxSize {
			return nil, fmt.Errorf("%w: a row of over %d bytes", ErrTooLarge, f.maxSize)
		}
	}
	var fault error
	err := guard(func() (err error) {
		fault, err = f.object()
		return err
	})
	if err != nil {
		f.failed = err
		return nil, err
	}
	if fault == nil && len(f.out) > f.maxSize {
		fault = fmt.Errorf("%w: a row of %d bytes, and the limit is %d", ErrTooLarge, len(f.out), f.maxSize)
	}
	return f.out, fault
}

// object writes the row that was read; fault is what is wrong with one of its values.
func (f *Rows) object() (fault, err error) {
	w := writer{columns: make([][]pq.Value, f.root.leaves[1]), out: f.out[:0]}
	f.row[0].Range(func(column int, values []pq.Value) bool {
		w.columns[column] = values
		return true
	})
	if err := w.one(f.root); err != nil {
		return nil, err
	}
	for _, left := range w.columns {
		if len(left) > 0 {
			return nil, errLevels
		}
	}
	f.out = w.out
	return w.fault, nil
}

// read reads one row, of the next group where one is exhausted.
func (f *Rows) read() error {
	for {
		if f.rows == nil {
			groups := f.parsed.RowGroups()
			if f.group == len(groups) {
				return io.EOF
			}
			if err := checkPages(f.file, f.size, &f.parsed.Metadata().RowGroups[f.group],
				f.parsed.Root()); err != nil {
				return err
			}
			f.rows = groups[f.group].Rows()
			f.group++
		}
		f.row[0] = f.row[0][:0]
		n, err := f.rows.ReadRows(f.row)
		if n == 1 {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
}

// guard makes a panic of the library an error, and every error one of this package.
func guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	err = call()
	var file interface{ Timeout() bool } // a failure of reading, as fs.PathError has it
	if err == nil || err == io.EOF || errors.Is(err, ErrDamaged) || errors.Is(err, ErrTooLarge) ||
		errors.As(err, &file) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}
