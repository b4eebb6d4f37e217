package hub

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"sync"
	"sync/atomic"
)

// Snapshot is the files of a commit in the cache: a checkpoint directory.
type Snapshot struct {
	Name   Name
	Commit string
	Dir    string
	// Stale says why the hub was not asked, where it should have been: the commit is
	// what the revision stood at when it last was. nil else.
	Stale error
}

// Exact names the very same files: a name on the hub with its commit. What an
// address named may change there, and has no other name.
func (s Snapshot) Exact() Name {
	if s.Name.URL != "" {
		return s.Name
	}
	return Name{Repo: s.Name.Repo, Revision: s.Commit}
}

// workers download at a time.
const workers = 4

var digest = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Progress is told how many bytes of a snapshot have come, of how many. Calls
// come one at a time.
type Progress func(name Name, done, total int64)

// Snapshot brings a revision into the cache as far as it is not there. A hub
// that cannot be reached, or denies access, does not keep from what is in the
// cache already. Progress may be nil.
func (c *Client) Snapshot(ctx context.Context, n Name, p Progress) (Snapshot, error) {
	if c.Offline {
		s, err := c.cached(n)
		if err != nil {
			return s, fmt.Errorf("%s: HF_HUB_OFFLINE is set: %w: run `warm pull %s` where the hub can be reached", n, err, n)
		}
		return s, nil
	}
	if n.URL == "" && commit.MatchString(n.Revision) { // which never changes
		if s, err := c.cached(n); err == nil && c.readTree(n, s.Commit) != nil {
			return s, nil
		}
	}
	o, err := c.origin(n)
	if err != nil {
		return Snapshot{}, fmt.Errorf("%s: %w", n, err)
	}
	listing, cancel := context.WithTimeoutCause(ctx, c.wait(), errStalled)
	sha, files, err := o.list(listing)
	cancel()
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrNotFound) {
			if s, missing := c.cached(n); missing == nil {
				s.Stale = err
				return s, nil
			}
		}
		return Snapshot{}, fmt.Errorf("%s: %w", n, err)
	}
	s := c.snapshot(n, sha)
	if err := c.fetch(ctx, o, s, files, p); err != nil {
		return Snapshot{}, fmt.Errorf("%s: %w", n, err)
	}
	return s, nil
}

// fetch downloads what is missing of a snapshot, and then notes that it is whole.
func (c *Client) fetch(ctx context.Context, o origin, s Snapshot, files map[string]file,
	told Progress) error {
	if len(wanted(files)) == 0 {
		return fmt.Errorf("%w: the repository has no file of a checkpoint", ErrNotFound)
	}
	missing := c.missing(s.Name, s.Commit, files)
	var total int64
	for _, name := range missing {
		f := files[name]
		switch {
		case !digest.MatchString(f.hash()) || f.Size < 0:
			return fmt.Errorf("no hash of %s is named, by which it could be verified", name)
		case f.Size > math.MaxInt64-total:
			return fmt.Errorf("%s: its files have more than %d bytes together", name, int64(math.MaxInt64))
		}
		total += f.Size
	}
	p := &progress{told: told, name: s.Name, total: total}
	if err := c.checkRoom(s.Name, missing, files); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, len(missing)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(missing) && ctx.Err() == nil; i = next.Add(1) - 1 {
				name := missing[i]
				if err := c.fetchFile(ctx, o, s, name, files[name], p); err != nil {
					stop(fmt.Errorf("%s: %w", name, err)) // the first counts
					return
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.writeTree(s.Name, s.Commit, files); err != nil {
		return err
	}
	return c.writeRef(s.Name, s.Commit)
}

// progress adds up what comes of all files.
type progress struct {
	mu    sync.Mutex
	told  Progress
	name  Name
	done  int64
	total int64
}

func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done += n; p.told != nil {
		p.told(p.name, p.done, p.total)
	}
}
