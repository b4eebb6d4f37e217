package loader

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/loader/torchfile"
)

// store is where a checkpoint's files lie.
type store interface {
	// check says what is wrong with the place itself.
	check() error
	// open returns a file, or an error that is fs.ErrNotExist.
	open(name string) (io.ReadCloser, error)
	// tensors maps or reads a file of tensors.
	tensors(name string) (*safetensors.File, error)
	// bases returns where an adapter's base may lie, the first that exists counts.
	bases(named string) []store
	// find brings a base from elsewhere; nil when nothing else is known.
	find(named string) (store, error)
	// same reports whether the other is this place.
	same(other store) bool
	fmt.Stringer // for messages
}

// isTorch reports whether a file of tensors is one of torch.save, by its name.
func isTorch(name string) bool { return path.Ext(name) == ".bin" || path.Ext(name) == ".pt" }

// dirStore is a directory.
type dirStore struct {
	path   string
	finder Finder // may be nil
}

func (d dirStore) String() string { return d.path }

func (d dirStore) check() error { return checkDir(os.Stat(d.path)) }

func checkDir(info fs.FileInfo, err error) error {
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	return err
}

func (d dirStore) open(name string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(d.path, name))
}

func (d dirStore) tensors(name string) (*safetensors.File, error) {
	path := filepath.Join(d.path, name)
	if isTorch(name) {
		return torchfile.Open(path)
	}
	return safetensors.Open(path)
}

func (d dirStore) bases(named string) []store {
	out := []store{dirStore{path: filepath.Join(d.path, baseDir)}}
	if named == "" {
		return out
	}
	if filepath.IsAbs(named) {
		return append(out, dirStore{path: filepath.Clean(named)})
	}
	return append(out, dirStore{path: filepath.Join(d.path, named)}, dirStore{path: filepath.Clean(named)})
}

func (d dirStore) find(named string) (store, error) {
	if d.finder == nil || named == "" {
		return nil, nil
	}
	dir, err := d.finder(named)
	if dir == "" || err != nil {
		return nil, err
	}
	return dirStore{path: dir}, nil
}

func (d dirStore) same(other store) bool {
	a, errA := os.Stat(d.path)
	b, errB := os.Stat(other.String())
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// fsStore is a directory of a file system whose files are read into memory.
type fsStore struct {
	fsys fs.FS
	dir  string
}

func (f fsStore) String() string { return f.dir }

func (f fsStore) check() error { return checkDir(fs.Stat(f.fsys, f.dir)) }

func (f fsStore) open(name string) (io.ReadCloser, error) { return f.fsys.Open(path.Join(f.dir, name)) }

func (f fsStore) tensors(name string) (*safetensors.File, error) {
	b, err := fs.ReadFile(f.fsys, path.Join(f.dir, name))
	if err != nil {
		return nil, err
	}
	if isTorch(name) {
		return torchfile.Parse(name, b)
	}
	return safetensors.Parse(b)
}

func (f fsStore) bases(named string) []store {
	out := []store{fsStore{f.fsys, path.Join(f.dir, baseDir)}}
	if p := path.Join(f.dir, filepath.ToSlash(named)); named != "" && !path.IsAbs(named) && fs.ValidPath(p) {
		out = append(out, fsStore{f.fsys, p})
	}
	return out
}

func (f fsStore) find(string) (store, error) { return nil, nil }

func (f fsStore) same(other store) bool { return path.Clean(f.dir) == path.Clean(other.String()) }

// exists reports whether a store has a file.
func exists(s store, name string) bool {
	f, err := s.open(name)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// readSmall returns a file's bytes, or nil when it does not exist.
func readSmall(s store, name string, limit int64) ([]byte, error) {
	f, err := s.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes", name, limit)
	}
	return b, nil
}

// readObject is readSmall for a file that holds one JSON object.
func readObject(s store, name string, limit int64) ([]byte, error) {
	b, err := readSmall(s, name, limit)
	if err != nil || b == nil {
		return nil, err
	}
	if isObject(b) {
		return b, nil
	}
	if what := safetensors.Foreign(b); what != "" {
		return nil, fmt.Errorf("%s: %w but %s", name, ErrJSON, what)
	}
	return nil, fmt.Errorf("%s: %w", name, ErrJSON)
}
