package mirror

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/warmserve/warmserve/loader/bucket"
	"github.com/warmserve/warmserve/trainer/state"
)

// Mirror is a working directory and the folder of a bucket that it is of. It is safe for
// concurrent use.
type Mirror struct {
	folder *bucket.Folder
	dir    string       // absolute
	say    func(string) // told what does not end a run

	renew, lease time.Duration

	unconditional atomic.Bool // the store knows no conditions, and that was told
}

var _ state.Store = (*Mirror)(nil)

// Times between a process's words that it is at work, and after which it has lost what it held.
const (
	renewEvery = 20 * time.Second
	leaseTime  = 90 * time.Second
)

// hidden is the directory of what the mirror itself knows, in the working directory.
const hidden = ".mirror"

// New returns the mirror of a folder in a directory, which it makes.
func New(folder *bucket.Folder, dir string, say func(string)) (*Mirror, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	m := &Mirror{folder: folder, dir: dir, say: say, renew: renewEvery, lease: leaseTime}
	return m, os.MkdirAll(filepath.Join(dir, hidden), 0o755)
}

// Dir is the working directory.
func (m *Mirror) Dir() string { return m.dir }

// Name implements [state.Store].
func (m *Mirror) Name(local string) string {
	if rel, err := m.rel(local); err == nil {
		return m.folder.String() + "/" + rel
	}
	return local
}

// Local is the path of what a reference names that Name may have given; false for others.
func (m *Mirror) Local(ref string) (string, bool) {
	rel, ok := strings.CutPrefix(ref, m.folder.String()+"/")
	if !ok || !filepath.IsLocal(filepath.FromSlash(rel)) {
		return "", false
	}
	return filepath.Join(m.dir, filepath.FromSlash(rel)), true
}

// Publish has the store hold a file that is nobody's run, whatever is there under its name.
func (m *Mirror) Publish(ctx context.Context, local string) error {
	rel, err := m.rel(local)
	if err != nil {
		return err
	}
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close() // read-only: nothing can be lost
	info, err := f.Stat()
	if err == nil {
		_, err = m.folder.Put(ctx, rel, f, info.Size(), "")
	}
	return err
}

// rel is a path below the working directory, with slashes.
func (m *Mirror) rel(local string) (string, error) {
	abs, err := filepath.Abs(local)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(m.dir, abs)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return "", fmt.Errorf("%s: not below %s, which is the working directory of %s", local, m.dir, m.folder)
	}
	return filepath.ToSlash(rel), nil
}

// own is a file of the mirror's own about the run that writes to rel.
func (m *Mirror) own(rel, ext string) string {
	return filepath.Join(m.dir, hidden, filepath.FromSlash(rel)+ext)
}

// changing reports whether a file is of a run's state, of which each version has an object of its own.
func changing(rel string) bool {
	for part := range strings.SplitSeq(path.Dir(rel), "/") {
		if strings.HasSuffix(part, ".train") {
			return true
		}
	}
	return false
}

// random is a name that nothing else has.
func random() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
