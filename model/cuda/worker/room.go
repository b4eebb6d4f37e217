package worker

import (
	"fmt"
	"io"
	"os"
)

// Weights lie in stripes of several files in turn: the system lets one thread at a time write to a
// file, and one thread writes 2 GB/s of new memory, where sixteen with a file each write 27. More
// files than threads seldom have two meet in one.
const (
	stripe    = 256 << 10
	mostFiles = 32
)

// room is memory that other processes can be given: files that have no name and last as long as any
// process has them open. It is written and read by several goroutines at once.
type room struct {
	size  int64
	files []*os.File
}

// filesOf is how many files so many bytes lie in.
func filesOf(size int64) int { return int(min(mostFiles, max(1, (size+stripe-1)/stripe))) }

// part is how many of the bytes lie in the file i of n.
func part(size int64, i, n int) int64 {
	stripes := (size + stripe - 1) / stripe
	whole := (stripes-int64(i)+int64(n)-1)/int64(n)*stripe - stripe // but for the last
	return whole + min(stripe, size-(whole/stripe*int64(n)+int64(i))*stripe)
}

// roomOf is the room of files that another process made.
func roomOf(files []*os.File, size int64) (*room, error) {
	if size <= 0 || len(files) != filesOf(size) {
		return nil, fmt.Errorf("%d files for %d bytes of weights", len(files), size)
	}
	for i, f := range files {
		s, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if want := part(size, i, len(files)); s.Size() != want {
			return nil, fmt.Errorf("%d bytes of weights in file %d of %d, want %d", s.Size(), i, len(files), want)
		}
	}
	return &room{size, files}, nil
}

// WriteAt implements [io.WriterAt].
func (r *room) WriteAt(b []byte, at int64) (int, error) {
	if at < 0 || at+int64(len(b)) > r.size {
		return 0, io.ErrShortWrite
	}
	return r.each(b, at, (*os.File).WriteAt)
}

// ReadAt implements [io.ReaderAt].
func (r *room) ReadAt(b []byte, at int64) (n int, err error) {
	if left := r.size - at; int64(len(b)) > left {
		b, err = b[:max(0, left)], io.EOF
	}
	n, failed := r.each(b, at, (*os.File).ReadAt)
	if failed != nil {
		err = failed
	}
	return n, err
}

// each does something to every part of bytes that lies in one file.
func (r *room) each(b []byte, at int64,
	do func(f *os.File, b []byte, at int64) (int, error)) (n int, err error) {
	files := int64(len(r.files))
	for n < len(b) {
		s, in := at/stripe, at%stripe
		p := b[n:][:min(int64(len(b)-n), stripe-in)]
		did, err := do(r.files[s%files], p, s/files*stripe+in)
		if n, at = n+did, at+int64(did); err != nil {
			return n, err
		}
	}
	return n, nil
}

// close gives it back, unless others have it.
func (r *room) close() { closeAll(r.files) }

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
