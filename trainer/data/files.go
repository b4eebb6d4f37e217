package data

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/warmserve/warmserve/loader/disk"
)

// Files are the files of data that a run reads, each whole, so that what is hashed is what is used.
type Files struct {
	// SkipBad leaves out records that cannot be used, which Say is told; else they are an error.
	SkipBad bool
	Say     func(format string, args ...any)
	// Hashes are those of the files that were read, "sha256:…".
	Hashes map[string]string
}

// Read returns a file's content as it lies there, and notes its hash.
func (f *Files) Read(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if f.Hashes == nil {
		f.Hashes = map[string]string{}
	}
	f.Hashes[path] = disk.Sum(content)
	return content, nil
}

// ReadText returns a file's content, decompressed, and notes its hash as it lies there.
func (f *Files) ReadText(path string) ([]byte, error) {
	content, err := f.Read(path)
	if err != nil {
		return nil, err
	}
	plain, packed, err := Decompress(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer plain.Close()
	if !packed {
		return content, nil
	}
	if content, err = io.ReadAll(plain); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return content, nil
}

// Tolerate leaves out the bad records of a file and says so, or returns them as an error.
func (f *Files) Tolerate(bad *Bad) error {
	if err := bad.Err(f.SkipBad); err != nil {
		return err
	}
	if bad.Count > 0 {
		f.Say("%v", bad)
	}
	return nil
}

// In calls use for the records of a file's content, such as (*Reader).Pairs reads them.
func In[T any](f *Files, content []byte, o Options, records func(*Reader) iter.Seq2[T, error],
	use func(T) error) error {
	r, err := NewReader(bytes.NewReader(content), o)
	if err != nil {
		return err
	}
	defer r.Close() // of bytes: nothing can be lost
	bad := &Bad{File: o.Name}
	if err := Each(records(r), bad, use); err != nil {
		return err
	}
	return f.Tolerate(bad)
}
