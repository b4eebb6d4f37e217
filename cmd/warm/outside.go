package main

import (
	"cmp"
	"context"
	"errors"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/loader/bucket"
	"github.com/warmserve/warmserve/trainer/mirror"
	"github.com/warmserve/warmserve/trainer/state"
)

// workVariable names the directory of the copies of what lives in buckets.
const workVariable = "WARM_WORK"

// outside is where a command writes to: a directory, or a folder of a bucket, which has its copy
// in a directory.
type outside struct {
	path   string         // on this disk
	mirror *mirror.Mirror // nil for a directory
}

// outside reads what --out says.
func (p *program) outside(out string, say func(string)) (*outside, error) {
	scheme, _, remote := strings.Cut(out, "://")
	switch {
	case !remote:
		return &outside{path: out}, nil
	case !bucket.Is(out):
		return nil, usagef("--out %s: nothing is written by %s://; name a directory, s3://bucket/folder/NAME or gs://bucket/folder/NAME", out, scheme)
	}
	out = strings.TrimRight(out, "/")
	name := path.Base(out)
	parent := strings.TrimSuffix(out, "/"+name)
	if len(parent) <= len(scheme+"://") || strings.HasPrefix(name, ".") {
		return nil, usagef("--out %s: want a name in the bucket, as in s3://bucket/folder/NAME", out)
	}
	folder, err := bucket.FromEnv(p.getenv).Open(parent)
	if err != nil {
		return nil, usageError{err}
	}
	m, err := mirror.New(folder, filepath.Join(p.work(), bucket.FolderName(parent)), say)
	if err != nil {
		return nil, err
	}
	local, ok := m.Local(out)
	if !ok {
		return nil, usagef("--out %s: no name of a folder can be made of it", out)
	}
	return &outside{path: local, mirror: m}, nil
}

// work is where the copies are.
func (p *program) work() string {
	cache := cmp.Or(p.getenv("XDG_CACHE_HOME"), filepath.Join(p.getenv("HOME"), ".cache"))
	return cmp.Or(p.getenv(workVariable), filepath.Join(cache, "warm"))
}

// store is what runs are given: nil for a directory.
func (o *outside) store() state.Store {
	if o.mirror == nil {
		return nil
	}
	return o.mirror
}

// holding has body write the result: where that is in a bucket beside nobody else, and what has come of
// it goes there.
func (o *outside) holding(ctx context.Context, body func() error) error {
	if o.mirror == nil {
		return body()
	}
	held, err := o.mirror.Hold(ctx, o.path, o.path)
	if err != nil {
		return err
	}
	if err = body(); err == nil {
		err = held.Save(ctx)
	}
	return errors.Join(err, held.Close())
}

// shown is a path as people know it: in the bucket, where it lies in one.
func shown(s state.Store, path string) string {
	if s == nil {
		return path
	}
	return s.Name(path)
}

// checkOut refuses a bucket, or any other address, where a command writes to this disk alone.
func checkOut(c *cobra.Command) error {
	f := c.Flags().Lookup("out")
	if f == nil || !strings.Contains(f.Value.String(), "://") {
		return nil
	}
	switch path := named(c); {
	case path == "rl", path == "average", strings.HasPrefix(path, "lab "):
		return nil
	case strings.HasPrefix(path, "train ") && path != "train tokenizer":
		return nil
	}
	return usagef("--out %s: %s writes to a directory of this disk; bring it to a bucket by the store's own tool", f.Value, named(c))
}
