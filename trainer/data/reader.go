package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Options say how to read.
type Options struct {
	// Name stands for the file in errors. Default: the path given to Open, or "input".
	Name string
	// Set names the set of lines that do not name theirs. Default: the file's name without its
	// endings for Open, none for NewReader.
	Set string
	// MaxLine is the longest line in bytes, its newline not counted. Default 16 MiB.
	MaxLine int
}

// maxWindow is the largest zstd window that is decoded: what zstd --long makes by default.
const maxWindow = 128 << 20

// Reader reads lines of one stream. It is not safe for concurrent use.
type Reader struct {
	o     Options
	lines *bufio.Reader
	line  int
	buf   []byte
	close []func() error
	// packed is set when the stream is compressed, so that a failure may be the decoder's.
	packed bool
	array  *array // nil for lines
	table  *table // nil for JSON
}

// Open reads a file. Close the reader when it is no longer needed.
func Open(path string, o Options) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name = path
	}
	if o.Set == "" {
		o.Set, _, _ = strings.Cut(filepath.Base(path), ".")
	}
	r, err := NewReader(f, o)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.close = append(r.close, f.Close)
	return r, nil
}

// NewReader reads a stream: plain, gzip or zstd, as its first bytes tell, or a Parquet file where src
// is one that can be read at any place, as an [os.File] and a [bytes.Reader] can. Closing the reader
// does not close src.
func NewReader(src io.Reader, o Options) (*Reader, error) {
	if o.Name == "" {
		o.Name = "input"
	}
	if o.MaxLine <= 0 {
		o.MaxLine = 16 << 20
	}
	if t, err := openTable(src, o.MaxLine); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	} else if t != nil {
		return &Reader{o: o, table: t, close: []func() error{t.rows.Close}}, nil
	}
	plain, packed, err := Decompress(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	r := &Reader{o: o, packed: packed}
	r.close = append(r.close, plain.Close)
	r.lines = bufio.NewReaderSize(plain, 1<<16)
	if mark, _ := r.lines.Peek(3); bytes.Equal(mark, []byte("\ufeff")) {
		_, _ = r.lines.Discard(3) // a byte order mark some editors leave
	}
	begin, _ := r.lines.Peek(1 << 12) // what went wrong is told by the first read
	if what := foreign(begin); what != "" {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s; %s", o.Name, ErrFormat, what, wantedFormat),
			r.Close())
	}
	if begin = bytes.TrimLeft(begin, " \t\r\n"); len(begin) > 0 && begin[0] == '[' {
		r.array = newArray(r.lines, o.MaxLine)
	}
	return r, nil
}

// Decompress reads a stream that is plain, gzip or zstd, as its first bytes tell, and says whether
// it is one of the latter. Closing what it returns does not close src.
func Decompress(src io.Reader) (plain io.ReadCloser, packed bool, err error) {
	raw := bufio.NewReaderSize(src, 1<<16)
	head, err := raw.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, true, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return io.NopCloser(z), true, nil // closing it would only repeat the error of the last read
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		// a skippable frame
		len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18}):
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, true, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return z.IOReadCloser(), true, nil
	}
	return io.NopCloser(raw), false, nil
}

// Close releases the decoder, and the file when Open opened it.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range r.close {
		errs = append(errs, c())
	}
	r.close = nil
	return errors.Join(errs...)
}

// Pairs yields the pairs of the remaining lines. Blank lines are passed over. After an error of one
// line the next line follows, unless the error is [ErrDamaged] or a failure of reading.
func (r *Reader) Pairs() iter.Seq2[Pair, error] {
	return objects(r, parsePair)
}

// Votes yields the remaining lines as answers with votes, as Pairs does.
func (r *Reader) Votes() iter.Seq2[Votes, error] {
	return objects(r, parseVotes)
}

// Record is one object of a stream as it stands there.
type Record struct {
	At Place
	// JSON is valid until the next record is read.
	JSON []byte
}

// Records yields the remaining records as they stand, for who reads forms of their own.
func (r *Reader) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		each(r, func(line []byte, o lineInfo) (Record, error) { return Record{o.at, line}, nil }, yield)
	}
}

// objects yields what parse makes of the remaining lines, which are objects.
func objects[T any](r *Reader, parse func(f fields, o lineInfo) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		each(r, func(line []byte, o lineInfo) (v T, err error) {
			f, err := parseFields(line, o)
			if err != nil {
				return v, err
			}
			v = parse(f, o)
			return v, *f.err
		}, yield)
	}
}

func each[T any](r *Reader, parse func(line []byte, o lineInfo) (T, error), yield func(T, error) bool) {
	for {
		line, at, err := r.record()
		if errors.Is(err, io.EOF) && !errors.Is(err, errArray) && !errors.Is(err, ErrDamaged) {
			return
		}
		var zero T
		if err != nil {
			e := wrap(at, err)
			e.End = !errors.Is(err, ErrLongLine) && !errors.Is(err, ErrText)
			if !yield(zero, e) || e.End {
				return
			}
			continue
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		v, err := parse(line, lineInfo{at: at, set: r.o.Set})
		if err != nil {
			v, err = zero, wrap(at, err)
		}
		if !yield(v, err) {
			return
		}
	}
}

// record returns the next line, or element of an array, and its place.
func (r *Reader) record() ([]byte, Place, error) {
	if r.table != nil {
		raw, err := r.table.next()
		return raw, Place{File: r.o.Name, Item: r.table.row}, err
	}
	if r.array != nil {
		raw, line, err := r.array.next()
		if err != nil && r.packed && !errors.Is(err, errArray) && !errors.Is(err, ErrLongLine) &&
			!errors.Is(err, ErrSyntax) && !errors.Is(err, io.EOF) && !isFileError(err) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return raw, Place{r.o.Name, line, r.array.item}, err
	}
	line, err := r.next()
	return line, Place{File: r.o.Name, Line: r.line}, err
}

// wrap gives an error its place.
func wrap(at Place, err error) *Error {
	e := &Error{Place: at, Err: err}
	var f *fieldError
	if errors.As(err, &f) {
		e.Field, e.Column, e.Err, e.Has = f.field, f.column, f.err, f.has
	}
	if at.Item > 0 {
		e.Column = 0 // an element may be of several lines
	}
	return e
}

// next returns the next line without its end. It is valid until the next call. At the end of the
// stream the error is io.EOF alone.
func (r *Reader) next() ([]byte, error) {
	r.line++
	r.buf = r.buf[:0]
	tooLong := false
	for {
		part, err := r.lines.ReadSlice('\n')
		if len(r.buf)+len(bytes.TrimSuffix(part, []byte("\n"))) > r.o.MaxLine {
			tooLong, r.buf = true, r.buf[:0]
		}
		if !tooLong {
			r.buf = append(r.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.buf) == 0 && len(part) == 0 && !tooLong:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			if r.packed && !isFileError(err) {
				err = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			return nil, err
		case tooLong:
			return nil, fmt.Errorf("%w: the limit is %d bytes", ErrLongLine, r.o.MaxLine)
		}
		return bytes.TrimSuffix(r.buf, []byte("\n")), nil
	}
}

// isFileError tells a failure of the file from one of the decoder.
func isFileError(err error) bool {
	var p *os.PathError
	return errors.As(err, &p)
}
