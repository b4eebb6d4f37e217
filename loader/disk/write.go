package disk

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// Write replaces a file by one that holds data and that everybody may read whom the process's umask lets.
func Write(path string, data []byte) error {
	return Replace(path, 0o644, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// Replace has fill write a file beside path, which takes the place of what is there when that
// succeeded; else nothing is left of it. It is on the disk when Replace returns. Several processes
// may replace the same file at once: the last one's stays, whole. Its mode is less the umask, as of any
// new file.
func Replace(path string, mode fs.FileMode, fill func(f *os.File) error) (err error) {
	dir := filepath.Dir(path)
	f, err := create(filepath.Join(dir, Unfinished(path)), mode)
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: errors.Unwrap(err)}
	}
	defer func() {
		if err != nil {
			_, _ = f.Close(), os.Remove(f.Name()) // the error that counts is the first
		}
		// It is named, and not the file beside it, which has another name each time.
		if e, ok := errors.AsType[*fs.PathError](err); ok && e.Path == f.Name() {
			err = &fs.PathError{Op: "write", Path: path, Err: e.Err}
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// create makes a file whose name begins so and is nobody else's.
func create(begin string, mode fs.FileMode) (*os.File, error) {
	for {
		f, err := os.OpenFile(begin+strconv.FormatUint(rand.Uint64(), 36), os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// Unfinished is what the names of files begin with, in the directory of path, that [Replace] has left
// where its process was killed.
func Unfinished(path string) string { return "." + filepath.Base(path) + ".tmp-" }

// SyncDir makes renames and new names inside of dir survive a crash, where the system can do that: some
// network file systems refuse, which is no loss.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() // read-only: nothing can be lost
	if err := d.Sync(); err != nil && !refused(err) {
		return err
	}
	return nil
}
