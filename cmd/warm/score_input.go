package main

import (
	"errors"
	"io"
	"os"

	"github.com/warmserve/warmserve/trainer/data"
)

// input is a stream of records.
type input struct {
	*data.Reader
	name string
	file *os.File // nil where it is none
	raw  *counted
	size int64 // in bytes, -1 where it is not known, or tells nothing of how far reading is
	shut func() error
}

func (i *input) Close() error { return errors.Join(i.Reader.Close(), i.shut()) }

// counted counts the bytes read, so that progress can be shown of a compressed file.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// inputFile is a counted file that can be read at any place, as a Parquet file has to be. What is read
// so is not counted: its columns are read more than once, and in no order.
type inputFile struct {
	*counted
	file *os.File
}

func (f inputFile) ReadAt(p []byte, at int64) (int, error)   { return f.file.ReadAt(p, at) }
func (f inputFile) Seek(at int64, whence int) (int64, error) { return f.file.Seek(at, whence) }

// openInput opens a file or standard input.
func (p *program) openInput(path string) (*input, error) {
	in := &input{name: path, raw: &counted{Reader: p.stdin}, size: -1, shut: func() error { return nil }}
	in.file, _ = p.stdin.(*os.File)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		in.file, in.raw.Reader, in.shut = f, f, f.Close
	} else {
		in.name = "standard input"
	}
	if in.file != nil {
		if s, err := in.file.Stat(); err == nil && s.Mode().IsRegular() {
			in.size = s.Size()
		}
	}
	var src io.Reader = in.raw
	if in.size >= 0 {
		src = inputFile{in.raw, in.file}
	}
	var err error
	if in.Reader, err = data.NewReader(src, data.Options{Name: in.name}); err != nil {
		return nil, errors.Join(err, in.shut())
	}
	if in.Reader.IsTable() {
		in.size = -1
	}
	return in, nil
}
