package data

import (
	"errors"
	"fmt"
	"io"

	"github.com/warmserve/warmserve/trainer/data/parquet"
)

// table reads the rows of a Parquet file one by one, as the objects that they would be in JSON.
type table struct {
	rows *parquet.Rows
	row  int // that next returned, from 1
}

// openTable returns nil when src is no Parquet file, or one whose end cannot be reached: its columns
// lie beside each other, and where is said at the end.
func openTable(src io.Reader, maxRow int) (*table, error) {
	f, ok := src.(interface {
		io.ReaderAt
		io.Seeker
	})
	if !ok {
		return nil, nil
	}
	begin := make([]byte, len(magicParquet))
	if _, err := f.ReadAt(begin, 0); err != nil || string(begin) != magicParquet {
		return nil, nil // what went wrong is told by reading
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	rows, err := parquet.Open(f, size, maxRow)
	if err != nil {
		return nil, tableError(err)
	}
	return &table{rows: rows}, nil
}

// IsTable says whether the reader reads a Parquet file.
func (r *Reader) IsTable() bool { return r.table != nil }

func (t *table) next() ([]byte, error) {
	raw, err := t.rows.Next()
	if !errors.Is(err, io.EOF) {
		t.row++
	}
	return raw, tableError(err)
}

// tableError says in this package's errors what is wrong with a Parquet file.
func tableError(err error) error {
	switch {
	case errors.Is(err, parquet.ErrText):
		return fmt.Errorf("%w: %w", ErrText, err)
	case errors.Is(err, parquet.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrLongLine, err)
	case errors.Is(err, parquet.ErrDamaged):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
