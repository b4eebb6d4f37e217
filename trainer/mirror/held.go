package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/warmserve/warmserve/loader/bucket"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/state"
)

// held is a run that this process works on.
type held struct {
	m     *Mirror
	rel   string   // of what it writes to
	dirs  []string // all that it writes, relative as well
	owner string
	whole bool     // what the store has not is none of it
	lock  *os.File // of this disk
	stop  func()   // ends the renewing, and waits for that
	sums  map[string]summed

	saving sync.Mutex // held while files go up, which may take minutes

	mu     sync.Mutex // of the index, which says meanwhile that this process is at work
	index  *index
	tag    string // of the index's object; "" for none
	before string // the owner that the index names
}

// marker is what this disk knows of its copy of a run.
type marker struct {
	Version string   `json:"version"` // of the index that it came from or went to
	Next    string   `json:"next"`    // of the index that was being written
	Owner   string   `json:"owner"`   // the last that held it here
	Dirs    []string `json:"dirs"`
}

// readMarker returns nothing where there is none.
func (m *Mirror) readMarker(rel string) (k marker, err error) {
	path := m.own(rel, ".json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(text, &k); err != nil {
		return k, fmt.Errorf("%s: %w: remove it, and what it is of is brought from %s again", path, err, m.folder)
	}
	return k, nil
}

// is reports whether an index of this version is of what is here or of something before it: another
// machine has not gone on since.
func (k marker) is(version string) bool {
	return version != "" && (version == k.Version || version == k.Next)
}

// mark notes the index that this copy is of, and the one that is about to be written of it.
func (h *held) mark(version, next string) error {
	text, err := json.Marshal(marker{version, next, h.owner, h.dirs})
	if err != nil {
		return err
	}
	return disk.Write(h.m.own(h.rel, ".json"), text)
}

// Hold implements [state.Store].
func (m *Mirror) Hold(ctx context.Context, out string, dirs ...string) (state.Held, error) {
	h, err := m.hold(ctx, out, dirs, true)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// HoldAll is Hold of a directory of runs, for what is of none of them. Those may be at work meanwhile, here
// and elsewhere. Files that the store has not stay.
func (m *Mirror) HoldAll(ctx context.Context, dir string) (state.Held, error) {
	h, err := m.hold(ctx, dir, []string{dir}, false)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (m *Mirror) hold(ctx context.Context, out string, dirs []string, whole bool) (_ *held, err error) {
	h := &held{m: m, whole: whole, owner: random(), sums: map[string]summed{}, stop: func() {}}
	if h.rel, err = m.rel(out); err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		rel, err := m.rel(dir)
		if err != nil {
			return nil, err
		}
		h.dirs = append(h.dirs, rel)
	}
	if err := h.lockHere(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.lock.Close()
		}
	}()
	here, err := m.readMarker(h.rel)
	if err != nil {
		return nil, err
	}
	if err := h.acquire(ctx, here); err != nil {
		return nil, err
	}
	h.keep()
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if err := h.bring(ctx, here); err != nil {
		return nil, err
	}
	h.sweep(ctx)
	return h, nil
}

// lockHere keeps other processes of this machine from it.
func (h *held) lockHere() error {
	path := h.m.own(h.rel, ".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := disk.TryLock(f); err != nil {
		return errors.Join(fmt.Errorf("%s/%s: %w", h.m.folder, h.rel, err), f.Close())
	}
	h.lock = f
	return nil
}

// acquire writes this holding into the index. One that the same directory had before, whose process
// has ended as its lock is free, does not stand against it.
func (h *held) acquire(ctx context.Context, here marker) error {
	i, o, err := h.readIndex(ctx)
	if err != nil {
		return err
	}
	if o.Tag == "" && here.Version != "" {
		return fmt.Errorf("%s/%s has gone, of which %s is a copy: remove that, and %s, to begin anew",
			h.m.folder, h.rel+indexExt, filepath.Join(h.m.dir, filepath.FromSlash(h.rel)), h.m.own(h.rel, ".json"))
	}
	if age := h.m.folder.Age(o); i.Owner != "" && i.Owner != here.Owner && age < h.m.lease {
		return h.busy(i, age)
	}
	h.tag, h.before = o.Tag, i.Owner
	host, err := os.Hostname()
	if err != nil {
		host = "a machine without a name"
	}
	i.Owner, i.Who = h.owner, fmt.Sprintf("%s, process %d", host, os.Getpid())
	return h.putIndex(ctx, i) // nobody else knows it yet
}

// keep says again and again that this process is at work.
func (h *held) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(h.m.renew)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			_ = h.change(ctx, func(*index) {}) // the next Save tells what stands against it
		}
	})
	h.stop = func() { cancel(); wg.Wait() }
}

// files returns the version and the files of the index.
func (h *held) files() (version string, files map[string]entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.index.Version, h.index.Files
}

// change writes the index anew after edit has changed it.
func (h *held) change(ctx context.Context, edit func(*index)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := *h.index
	edit(&i)
	return h.putIndex(ctx, &i)
}

// name writes the index with other files.
func (h *held) name(ctx context.Context, version string, files map[string]entry) error {
	return h.change(ctx, func(i *index) { i.Version, i.Files = version, files })
}

// Save implements [state.Held].
func (h *held) Save(ctx context.Context) error {
	h.saving.Lock()
	defer h.saving.Unlock()
	now, err := h.scan()
	if err != nil {
		return err
	}
	version, old := h.files()
	if maps.Equal(now, old) {
		return nil
	}
	// What is about to be overwritten or removed is first named no more.
	kept, stale := maps.Clone(old), []string(nil)
	for path, e := range old {
		if !changing(path) && now[path] != e {
			stale = append(stale, path)
			delete(kept, path)
		}
	}
	// Written even where it is the same: who has lost the run must not overwrite its objects.
	next := random()
	if err := h.mark(version, next); err != nil {
		return err
	}
	if err := h.name(ctx, next, kept); err != nil {
		return err
	}
	if err := h.remove(ctx, stale); err != nil {
		return err
	}
	if err := h.upload(ctx, kept, now); err != nil {
		return err
	}
	if err := h.name(ctx, next, now); err != nil {
		return err
	}
	if err := h.mark(next, ""); err != nil {
		return err
	}
	for path, e := range old {
		if changing(path) && now[path] != e {
			if err := h.m.folder.Remove(ctx, e.object(path)); err != nil {
				h.m.say(fmt.Sprintf("not removed: %v", err)) // which the next sweep does
			}
		}
	}
	return nil
}

// Close implements [state.Held].
func (h *held) Close() error {
	h.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := h.change(ctx, func(i *index) { i.Owner, i.Who = "", "" })
	if errors.Is(err, state.ErrBusy) {
		err = nil // it is another's already, whom nothing is taken from
	}
	return errors.Join(err, h.lock.Close())
}

// sweep removes versions of the state that no index names: an upload was interrupted.
func (h *held) sweep(ctx context.Context) {
	named := map[string]bool{}
	_, files := h.files()
	for path, e := range files {
		named[e.object(path)] = true
	}
	for _, dir := range h.dirs {
		if !strings.HasSuffix(dir, ".train") {
			continue
		}
		objects, err := h.m.folder.List(ctx, dir+"/")
		for _, o := range objects {
			if err == nil && !named[o] {
				err = h.m.folder.Remove(ctx, o)
			}
		}
		if err != nil && !errors.Is(err, bucket.ErrNotFound) {
			h.m.say(fmt.Sprintf("what an interrupted upload has left is not removed: %v", err))
		}
	}
}
