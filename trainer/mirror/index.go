package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/warmserve/warmserve/loader/bucket"
	"github.com/warmserve/warmserve/trainer/state"
)

// index is what a store has of a run.
type index struct {
	Format  int    `json:"format"`
	Version string `json:"version"` // of the files; another after each change
	// Owner is the holding at work on it, "" for none, and Who where that runs.
	Owner string           `json:"owner,omitempty"`
	Who   string           `json:"who,omitempty"`
	Beat  int              `json:"beat,omitempty"` // another at each word of the owner's
	Files map[string]entry `json:"files"`          // by path below the folder
}

// entry is one file.
type entry struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Object string `json:"object,omitempty"` // where it is not the path
}

const (
	indexExt    = ".run.json"
	indexFormat = 1
	maxIndex    = 64 << 20
)

// object is where a file's bytes are.
func (e entry) object(path string) string {
	if e.Object != "" {
		return e.Object
	}
	return path
}

// readIndex reads the index of a run; one that says nothing when there is none yet.
func (h *held) readIndex(ctx context.Context) (*index, bucket.Object, error) {
	name := h.rel + indexExt
	body, o, err := h.m.folder.Get(ctx, name, "")
	if errors.Is(err, bucket.ErrNotFound) {
		return &index{Format: indexFormat, Files: map[string]entry{}}, bucket.Object{}, nil
	}
	if err != nil {
		return nil, o, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxIndex+1))
	if err != nil {
		return nil, o, fmt.Errorf("%s/%s: %w", h.m.folder, name, err)
	}
	i := &index{}
	if err := json.Unmarshal(text, i); err != nil || len(text) > maxIndex || i.Format != indexFormat {
		return nil, o, fmt.Errorf("%s/%s: not an index of a run that this version reads: name another place, or remove it with what lies beside it",
			h.m.folder, name)
	}
	return i, o, h.check(i)
}

// check refuses an index that names what is not of the run: anybody may have written it.
func (h *held) check(i *index) error {
	for p, e := range i.Files {
		if h.within(p) && e.Size >= 0 && path.Clean(p) == p && filepath.IsLocal(filepath.FromSlash(p)) &&
			(e.Object == "" || strings.HasPrefix(e.Object, p+".")) {
			continue
		}
		return fmt.Errorf("%s/%s%s: it names %q, which is not of this run", h.m.folder, h.rel, indexExt, p)
	}
	if i.Files == nil {
		i.Files = map[string]entry{}
	}
	return nil
}

// within reports whether a path is below the run's directories.
func (h *held) within(path string) bool {
	for _, dir := range h.dirs {
		if strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// putIndex writes the index in the place of the one that was read or written last.
func (h *held) putIndex(ctx context.Context, i *index) error {
	const attempts = 5 // one of them is lost with a reply, and one where the store knows no conditions
	for range attempts {
		if again, err := h.tryIndex(ctx, i); err != nil || !again {
			return err
		}
	}
	return fmt.Errorf("%s/%s%s: the store says again and again that it was changed, and nobody did: its conditional writes do not hold",
		h.m.folder, h.rel, indexExt)
}

func (h *held) tryIndex(ctx context.Context, i *index) (again bool, err error) {
	i.Beat++
	text, err := json.MarshalIndent(i, "", " ")
	if err != nil {
		return false, err
	}
	when := bucket.Condition(h.tag)
	if h.tag == "" {
		when = bucket.Absent
	}
	if h.m.unconditional.Load() {
		when = ""
		if now, _, err := h.readIndex(ctx); err != nil {
			return false, err
		} else if now.Owner != "" && now.Owner != h.before {
			return false, h.busy(now, 0)
		}
	}
	o, err := h.m.folder.Put(ctx, h.rel+indexExt, bytes.NewReader(text), int64(len(text)), when)
	switch {
	case errors.Is(err, bucket.ErrUnconditional) && when != "":
		h.m.tellUnconditional()
		return true, nil
	case errors.Is(err, bucket.ErrChanged):
		now, o, err := h.readIndex(ctx)
		if err != nil {
			return false, err
		}
		switch { // the reply to this write, or to the one before it, may have been lost
		case now.Owner == i.Owner && now.Version == i.Version && now.Beat == i.Beat:
			h.tag = o.Tag
		case now.Owner == h.owner:
			h.tag = o.Tag
			return true, nil
		default:
			return false, h.busy(now, h.m.folder.Age(o))
		}
	case err != nil:
		return false, err
	default:
		h.tag = o.Tag
	}
	h.index, h.before = i, i.Owner
	return false, nil
}

// busy says who is at work on it.
func (h *held) busy(i *index, age time.Duration) error {
	if i.Owner == "" {
		return fmt.Errorf("%s/%s: %w: its index was written by it a moment ago", h.m.folder, h.rel, state.ErrBusy)
	}
	return fmt.Errorf("%s/%s: %w: %s, heard of %v ago; if it has ended without a word, this is free %v after its last",
		h.m.folder, h.rel, state.ErrBusy, i.Who, age.Round(time.Second), h.m.lease)
}

// tellUnconditional notes that the store knows no conditional writes, and tells it once.
func (m *Mirror) tellUnconditional() {
	if !m.unconditional.Swap(true) {
		m.say(fmt.Sprintf("%s: the store knows no conditional writes: two processes that begin on the same run at the same moment would not learn of each other", m.folder))
	}
}
