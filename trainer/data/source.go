package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode/utf8"
)

// wantedFormat is what every reader of this package takes.
const wantedFormat = "want JSON Lines, one object a line, or a JSON array of objects; plain, gzip or zstd; or a Parquet file"

// magicParquet is what a Parquet file begins with.
const magicParquet = "PAR1"

// magics are the beginnings of files that people have instead, and what to call them.
var magics = []struct{ begin, what string }{
	{magicParquet, "a Parquet file in a stream (give its path: it is read from its end)"},
	{"ARROW1", "an Arrow file (datasets writes it as lines by to_json)"},
	{"PK\x03\x04", "a zip file"},
	{"BZh", "a bzip2 file"},
	{"\xfd7zXZ\x00", "an xz file"},
	{"\x80\x02", "a Python pickle"},
	{"\x80\x04", "a Python pickle"},
	{"\x80\x05", "a Python pickle"},
	{"SQLite format 3", "an SQLite file"},
	{"\x93NUMPY", "a NumPy file"},
	{"\xff\xfe", "text in UTF-16"},
	{"\xfe\xff", "text in UTF-16"},
	{"version https://git-lfs", "a git-LFS pointer (git lfs pull fetches the file)"},
	{"<!DOCTYPE", "an HTML page"},
	{"<!doctype", "an HTML page"},
	{"<html", "an HTML page"},
	{"<?xml", "an XML file"},
	{"---\n", "a YAML file"},
}

// foreign says what a stream is that begins with head, "" when it may be JSON.
func foreign(head []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.begin)) {
			return m.what
		}
	}
	first, _, _ := bytes.Cut(bytes.TrimLeft(head, " \t\r\n"), []byte("\n"))
	first = bytes.TrimRight(first, "\r")
	if len(first) == 0 || bytes.ContainsAny(first[:1], `{["`) || !utf8.Valid(first) {
		return ""
	}
	for _, f := range []struct{ what, sep string }{{"TSV", "\t"}, {"CSV", ","}, {"CSV", ";"}} {
		if columns := strings.Split(string(first), f.sep); len(columns) > 1 && headings(columns) {
			return "a " + f.what + " file with the columns " + strings.Join(columns, ", ")
		}
	}
	return ""
}

// headings tells names of columns from other text: each is short and holds no markup.
func headings(columns []string) bool {
	for _, c := range columns {
		if c = strings.Trim(c, `" `); c == "" || len(c) > 40 || strings.ContainsAny(c, `{}[]:<>`) {
			return false
		}
	}
	return true
}

// array reads the elements of a JSON array one by one.
type array struct {
	dec     *json.Decoder
	lines   *newlines
	begun   bool
	item    int // of the element that next returned, from 1
	maxSize int
}

func newArray(src io.Reader, maxSize int) *array {
	n := &newlines{src: src}
	return &array{dec: json.NewDecoder(n), lines: n, maxSize: maxSize}
}

// next returns the next element and its line; io.EOF alone behind the last.
func (a *array) next() (raw []byte, line int, err error) {
	if !a.begun {
		a.begun = true
		if _, err := a.dec.Token(); err != nil {
			return nil, 1, a.fault(err)
		}
	}
	if !a.dec.More() {
		if _, err := a.dec.Token(); err != nil {
			return nil, a.lines.before(a.dec.InputOffset()), a.fault(err)
		}
		if _, err := a.dec.Token(); !errors.Is(err, io.EOF) {
			return nil, a.lines.before(a.dec.InputOffset()),
				fmt.Errorf("%w: something follows the array", ErrSyntax)
		}
		return nil, 0, io.EOF
	}
	a.item++
	// The decoder holds an element in full before its size is known: one far over the limit ends the
	// reading.
	a.lines.limit = a.dec.InputOffset() + 2*int64(a.maxSize) + 1<<20
	var element json.RawMessage
	if err := a.dec.Decode(&element); err != nil {
		return nil, a.lines.before(a.dec.InputOffset()), a.fault(err)
	}
	line = a.lines.before(a.dec.InputOffset() - int64(len(element)))
	if len(element) > a.maxSize {
		return nil, line, fmt.Errorf("%w: the limit is %d bytes", ErrLongLine, a.maxSize)
	}
	return element, line, nil
}

// fault tells bad JSON from a failure of reading.
func (a *array) fault(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", errArray, err)
	}
	return err
}

// newlines is a reader that knows where the lines begin of what was not yet asked for.
type newlines struct {
	src    io.Reader
	limit  int64 // of offset, above 0; 0 is none
	offset int64
	at     []int64 // offsets of newlines behind the last place asked for
	passed int     // newlines before it
}

func (n *newlines) Read(p []byte) (int, error) {
	if n.limit > 0 && n.offset > n.limit {
		return 0, fmt.Errorf("%w: an element is far longer than any record may be", errArray)
	}
	k, err := n.src.Read(p)
	for i, b := range p[:k] {
		if b == '\n' {
			n.at = append(n.at, n.offset+int64(i))
		}
	}
	n.offset += int64(k)
	return k, err
}

// before returns the line that a place is in; places must not go back.
func (n *newlines) before(offset int64) int {
	k := sort.Search(len(n.at), func(i int) bool { return n.at[i] >= offset })
	n.passed += k
	n.at = n.at[k:]
	return n.passed + 1
}
