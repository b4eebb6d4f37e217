package hub

import (
	"cmp"
	"context"
	"crypto/md5"  //nolint:gosec // a store's name of an object
	"crypto/sha1" //nolint:gosec // git's name of a file, which the hub gives
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// attempts is how often a download that brings nothing is tried.
const attempts = 5

// fetchFile brings one file into the cache and links it. Another process that is
// at it is waited for.
func (c *Client) fetchFile(ctx context.Context, o origin, s Snapshot, name string, f file,
	p *progress) error {
	blob := c.path(s.Name, "blobs", f.hash())
	lock := filepath.Join(c.Cache, ".locks", s.Name.folder(), f.hash()+".lock")
	for _, dir := range []string{filepath.Dir(blob), filepath.Dir(lock)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	l := flock.New(lock)
	if _, err := l.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return fmt.Errorf("lock %s: %w", lock, err)
	}
	defer l.Close() // whatever was downloaded is in its place
	switch _, err := os.Stat(blob); {
	case err == nil:
		p.add(f.Size)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		if err := c.download(ctx, o, s, name, f, blob, p); err != nil {
			return err
		}
	}
	return c.link(s.Name, s.Commit, name, f.hash())
}

// download brings a blob, from where it was interrupted.
func (c *Client) download(ctx context.Context, o origin, s Snapshot, name string, f file, blob string,
	p *progress) error {
	part, err := os.OpenFile(blob+".incomplete", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer part.Close() // synced before it is renamed
	d := &downloading{c: c, part: part, file: f, progress: p,
		open: func(ctx context.Context, from int64) (*content, error) {
			return o.open(ctx, s.Commit, name, f, from)
		}}
	resumed, err := d.begin()
	if err != nil {
		return err
	}
	err = d.run(ctx)
	if errors.Is(err, ErrCorrupt) && resumed { // what was there before may be the reason
		if err = d.restart(); err == nil {
			err = d.run(ctx)
		}
	}
	if errors.Is(err, ErrCorrupt) {
		return errors.Join(err, os.Remove(part.Name()))
	}
	if err != nil {
		return err
	}
	if err := part.Sync(); err != nil {
		return err
	}
	return os.Rename(part.Name(), blob)
}

// downloading is one file on its way.
type downloading struct {
	c        *Client
	open     func(ctx context.Context, from int64) (*content, error)
	file     file
	part     *os.File
	hash     hash.Hash
	have     int64 // bytes in part
	opaque   bool  // see content
	progress *progress
}

// begin reads what is there of an earlier download.
func (d *downloading) begin() (resumed bool, err error) {
	d.reset()
	n, err := io.Copy(d.hash, io.LimitReader(d.part, d.file.Size+1))
	if err != nil {
		return false, err
	}
	if n > d.file.Size { // of something else
		return false, d.restart()
	}
	d.have = n
	d.progress.add(n)
	return n > 0, nil
}

func (d *downloading) reset() {
	switch {
	case d.file.Tag != "":
		d.hash = md5.New() //nolint:gosec // see the import
	case d.file.SHA256 != "":
		d.hash = sha256.New()
	default:
		d.hash = sha1.New() //nolint:gosec // see the import
		fmt.Fprintf(d.hash, "blob %d\x00", d.file.Size)
	}
}

// restart begins from the first byte.
func (d *downloading) restart() error {
	d.progress.add(-d.have)
	d.have = 0
	d.reset()
	return d.part.Truncate(0)
}

// run gets the rest and verifies the whole. Interruptions are bridged as long
// as something comes between them.
func (d *downloading) run(ctx context.Context) error {
	pause := cmp.Or(d.c.pause, time.Second)
	furthest := d.have
	for failed := 0; d.have < d.file.Size; {
		err := d.once(ctx)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !transient(err):
			return err
		}
		if d.have > furthest {
			furthest, failed = d.have, 0
		}
		if failed++; failed == attempts {
			return fmt.Errorf("interrupted %d times after %d of %d bytes; what has come is kept, and the next attempt goes on from there: %w", failed, d.have, d.file.Size, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause << (failed - 1)):
		}
	}
	want := d.file.hash()
	if d.file.Tag != "" {
		if want = d.file.Tag; d.opaque || !md5Of(want) {
			return nil // nothing but the length is known
		}
	}
	if got := hex.EncodeToString(d.hash.Sum(nil)); got != want {
		return fmt.Errorf("%w: %d bytes with the hash %s, %s was named", ErrCorrupt, d.have, got, want)
	}
	return nil
}

// once is one request.
func (d *downloading) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(d.c.wait(), func() { cancel(errStalled) })
	defer watch.Stop()
	body, err := d.open(ctx, d.have)
	if err != nil {
		if s := (*statusError)(nil); d.have > 0 && errors.As(err, &s) &&
			s.code == http.StatusRequestedRangeNotSatisfiable {
			return d.restart()
		}
		return stalled(ctx, err)
	}
	defer body.Close()
	d.opaque = body.opaque
	if body.begin != d.have { // the whole file comes again
		if err := d.restart(); err != nil {
			return err
		}
	}
	buf := make([]byte, 1<<20)
	for d.have < d.file.Size {
		watch.Reset(d.c.wait())
		n, err := body.Read(buf[:min(int64(len(buf)), d.file.Size-d.have)])
		if _, err := d.part.WriteAt(buf[:n], d.have); err != nil {
			return err
		}
		d.hash.Write(buf[:n])
		d.have += int64(n)
		d.progress.add(int64(n))
		if errors.Is(err, io.EOF) && d.have < d.file.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && d.have < d.file.Size {
			return stalled(ctx, err)
		}
	}
	return nil
}

// stalled is the error of a request whose end may have been its silence.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
		return cause
	}
	return err
}
