package mirror

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/loader/bucket"
	"github.com/warmserve/warmserve/loader/disk"
)

// summed is the hash of a file as it was.
type summed struct {
	size     int64
	modified time.Time
	sha256   string
}

// scan returns the files that the run has on this disk.
func (h *held) scan() (map[string]entry, error) {
	others, err := h.others()
	if err != nil {
		return nil, err
	}
	files := map[string]entry{}
	for _, dir := range h.dirs {
		root := filepath.Join(h.m.dir, filepath.FromSlash(dir))
		err := filepath.WalkDir(root, func(local string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && local == root {
				return nil // not made yet
			}
			if err != nil {
				return err
			}
			rel, err := h.m.rel(local)
			if err != nil {
				return err
			}
			switch name := d.Name(); {
			case d.IsDir() && local != root && (others[rel] || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".train")):
				return fs.SkipDir // another run's, or not whole
			case d.IsDir(), !d.Type().IsRegular(), strings.HasPrefix(name, "."), name == "lock", path.Ext(name) == ".lock":
				return nil
			}
			e, err := h.entry(rel, local)
			if err == nil {
				files[rel] = e
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// others are the directories of other runs, which have their own indexes.
func (h *held) others() (map[string]bool, error) {
	out := map[string]bool{}
	root := filepath.Join(h.m.dir, hidden)
	err := filepath.WalkDir(root, func(local string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(local) != ".json" {
			return err
		}
		rel, err := filepath.Rel(root, strings.TrimSuffix(local, ".json"))
		if rel = filepath.ToSlash(rel); err != nil || rel == h.rel {
			return err
		}
		k, err := h.m.readMarker(rel)
		for _, dir := range k.Dirs {
			out[dir] = true
		}
		return err
	})
	return out, err
}

// entry is a file's, hashed unless that was done before.
func (h *held) entry(rel, local string) (entry, error) {
	info, err := os.Stat(local)
	if err != nil {
		return entry{}, err
	}
	s := h.sums[rel]
	if s.size != info.Size() || !s.modified.Equal(info.ModTime()) || s.sha256 == "" {
		sum, err := disk.SumOf(local)
		if err != nil {
			return entry{}, err
		}
		s = summed{info.Size(), info.ModTime(), strings.TrimPrefix(sum, "sha256:")}
		h.sums[rel] = s
	}
	e := entry{Size: s.size, SHA256: s.sha256}
	if changing(rel) {
		e.Object = rel + "." + s.sha256[:16]
	}
	return e, nil
}

// rank orders the files of a checkpoint: without its configuration there is none, so that
// comes last, and before it what says that a run is finished.
func rank(p string) int {
	switch name := path.Base(p); {
	case name == "config.json" || name == "adapter_config.json":
		return 3
	case name == "training.json":
		return 2
	case path.Ext(name) == ".json":
		return 1
	}
	return 0
}

func byRank(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) }

// upload brings what is new to the store.
func (h *held) upload(ctx context.Context, there, now map[string]entry) error {
	for _, p := range slices.SortedFunc(maps.Keys(now), byRank) {
		if there[p] == now[p] {
			continue
		}
		if err := h.put(ctx, p, now[p]); err != nil {
			return err
		}
	}
	return nil
}

func (h *held) put(ctx context.Context, rel string, e entry) error {
	f, err := os.Open(filepath.Join(h.m.dir, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	defer f.Close() // read-only: nothing can be lost
	_, err = h.m.folder.Put(ctx, e.object(rel), f, e.Size, "")
	return err
}

// remove takes files from the store, the last that came first.
func (h *held) remove(ctx context.Context, paths []string) error {
	slices.SortFunc(paths, func(a, b string) int { return byRank(b, a) })
	for _, p := range paths {
		if err := h.m.folder.Remove(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// bring makes this disk have what the store has. A copy that is of the same version is that or
// later, and stays as it is.
func (h *held) bring(ctx context.Context, here marker) error {
	version, files := h.files()
	have, err := h.scan()
	if err != nil {
		return err
	}
	if here.is(version) && len(have) > 0 {
		return h.mark(here.Version, here.Next)
	}
	if err := h.mark("", ""); err != nil { // of no version until all has come
		return err
	}
	if version != "" && h.whole {
		for p := range have {
			if _, there := files[p]; !there {
				if err := os.Remove(filepath.Join(h.m.dir, filepath.FromSlash(p))); err != nil {
					return err
				}
			}
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(files), byRank) {
		if have[p] == files[p] {
			continue
		}
		if err := h.get(ctx, p, files[p]); err != nil {
			return err
		}
	}
	return h.mark(version, "")
}

// get brings one file.
func (h *held) get(ctx context.Context, rel string, e entry) error {
	local := filepath.Join(h.m.dir, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(local), 0o755); err != nil {
		return err
	}
	body, _, err := h.m.folder.Get(ctx, e.object(rel), "")
	if err != nil {
		if errors.Is(err, bucket.ErrNotFound) {
			err = fmt.Errorf("%w: %s%s names it; remove that to begin anew", err, h.rel, indexExt)
		}
		return err
	}
	defer body.Close()
	err = disk.Replace(local, 0o644, func(f *os.File) error {
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(body, e.Size+1))
		if got := hex.EncodeToString(sum.Sum(nil)); err == nil && (n != e.Size || got != e.SHA256) {
			err = fmt.Errorf("%d bytes with the hash %s have come, and %s%s names %d with %s: it was damaged or overwritten",
				n, got, h.rel, indexExt, e.Size, e.SHA256)
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s/%s: %w", h.m.folder, e.object(rel), err)
	}
	return err
}
