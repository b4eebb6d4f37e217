package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/hub"
	"github.com/warmserve/warmserve/warm/reward"
)

// Sources are where checkpoints come from besides directories. The zero value
// knows directories alone.
type Sources struct {
	// Packs open checkpoints that are part of the program, by what references to
	// them begin with, as "embedded:". Such a reference is that and the name of a
	// checkpoint; without a name, as a member of a model, it stands for all
	// members of the pack. A pack is opened for each load, and garbage after it.
	Packs map[string]func() Pack
	// Hub, when not nil, brings checkpoints by their names: "org/name", which
	// may be followed by "@revision", where there is no folder "org", and
	// "hf://org/name" in any case; from buckets and web servers, s3://bucket/folder,
	// gs://bucket/folder and https://host/folder.
	Hub *hub.Client
}

// Pack is a set of checkpoints that are no directories, as of a program that
// brings its own models.
type Pack interface {
	// Members returns the names of its reward models, in order.
	Members() ([]string, error)
	// Checkpoint opens a checkpoint by its name.
	Checkpoint(name string) (*loader.Checkpoint, error)
}

// pack returns the prefix of a reference to a pack and the name behind it.
func (s Sources) pack(ref string) (prefix, name string, ok bool) {
	for prefix := range s.Packs {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return prefix, name, true
		}
	}
	return "", "", false
}

// Knows reports whether a reference is none to this disk.
func (s Sources) Knows(ref string) bool {
	_, _, packed := s.pack(ref)
	return packed || s.Hub != nil && hub.Elsewhere(ref)
}

// asked reports whether an administrator's request may name a reference that is
// none to this disk: a web address could be one inside of the server's network.
func (s Sources) asked(ref string) bool { return s.Knows(ref) && !isWeb(ref) }

func isWeb(ref string) bool {
	return strings.HasPrefix(ref, "http://") || strings.HasPrefix(ref, "https://")
}

// Members names the members that are of a pack, and replaces each reference to
// all of them by one for each.
func (s Sources) Members(members []api.MemberSpec) ([]api.MemberSpec, error) {
	var out []api.MemberSpec
	for _, m := range members {
		prefix, name, ok := s.pack(m.Path)
		if !ok || name != "" {
			if ok && m.Name == "" {
				m.Name = name
			}
			out = append(out, m)
			continue
		}
		names, err := s.Packs[prefix]().Members()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			one := m
			if one.Path = prefix + name; m.Name == "" || len(names) > 1 {
				one.Name = name
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// Resolve gives the specs of a file in the folder dir the references under which
// they are loaded: absolute paths and names with their scheme, since a process
// that was started elsewhere may read them again, and one by one where a
// reference stands for all members of a pack.
func (s Sources) Resolve(dir string, specs map[string]*api.ModelSpec) error {
	for name, spec := range specs {
		if spec == nil { // in YAML a name with nothing behind it
			spec = new(api.ModelSpec)
			specs[name] = spec
		}
		var err error
		if spec.Members, err = s.Members(spec.Members); err != nil {
			return err
		}
		for _, p := range spec.Paths() {
			if err := s.absolute(dir, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// absolute makes a path absolute, unless it is empty or no path.
func (s Sources) absolute(dir string, p api.PathField) error {
	path := p.Path
	if s.Knows(*path) {
		return nil
	}
	rest, random := strings.CutPrefix(*path, reward.RandomPrefix)
	if rest == "" {
		return nil
	}
	if n, ok := s.named(dir, rest); ok && !random && !p.File {
		*path = n.Reference()
		return nil
	}
	if hub.Elsewhere(dir) && !filepath.IsAbs(rest) {
		if p.File || random {
			return fmt.Errorf("%s: it is read from a disk: give its whole path, as a manifest elsewhere lies in no folder of one", rest)
		}
		at, err := url.JoinPath(dir, rest)
		if err != nil {
			return fmt.Errorf("%s: %w", rest, err)
		}
		*path = at
		return nil
	}
	if !filepath.IsAbs(rest) {
		rest = filepath.Join(dir, rest)
	}
	abs, err := filepath.Abs(rest)
	if err != nil {
		return err
	}
	if *path = abs; random {
		*path = reward.RandomPrefix + abs
	}
	return nil
}

// named returns the name on the hub that a reference in the folder dir is, which
// it is not where a folder is called as its organisation.
func (s Sources) named(dir, ref string) (hub.Name, bool) {
	if s.Hub == nil {
		return hub.Name{}, false
	}
	n, ok := hub.ParseName(ref)
	if ok && !hub.Elsewhere(ref) {
		// A folder in which nothing has that name is rather a slip than an organisation.
		org, _, _ := strings.Cut(ref, "/")
		_, err := os.Lstat(filepath.Join(dir, org))
		ok = errors.Is(err, fs.ErrNotExist)
	}
	return n, ok
}

// Opening opens the checkpoints of one load, whatever they are references to.
type Opening struct {
	// Exact is, for each reference to a hub that was opened, the one to its commit.
	Exact map[string]string

	sources  Sources
	ctx      context.Context //nolint:containedctx // the load's, which Open is a step of
	progress hub.Progress
	packs    map[string]Pack
}

// Opening begins a load. Progress, of downloads, may be nil.
func (s Sources) Opening(ctx context.Context, progress hub.Progress) *Opening {
	return &Opening{Exact: map[string]string{}, sources: s, ctx: ctx, progress: progress,
		packs: map[string]Pack{}}
}

// Open opens what a reference names.
func (o *Opening) Open(ref string) (*loader.Checkpoint, error) {
	s := o.sources
	if prefix, name, ok := s.pack(ref); ok {
		if o.packs[prefix] == nil {
			o.packs[prefix] = s.Packs[prefix]()
		}
		return o.packs[prefix].Checkpoint(name)
	}
	n, ok := s.named("", ref)
	switch {
	case !ok && s.Knows(ref):
		return nil, fmt.Errorf("%s: no such name can be: want hf://org/name, hf://org/name@revision, s3://bucket/folder, gs://bucket/folder or https://host/folder", ref)
	case !ok:
		return loader.OpenFinding(ref, o.base)
	}
	snapshot, err := s.Hub.Snapshot(o.ctx, n, o.progress)
	if err != nil {
		if !hub.Elsewhere(ref) && errors.Is(err, hub.ErrNotFound) {
			err = fmt.Errorf("no directory is called so, and as a name on %s: %w", s.Hub.Endpoint, err)
		}
		return nil, err
	}
	c, err := loader.OpenFinding(snapshot.Dir, o.base)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n, err)
	}
	o.Exact[ref] = snapshot.Exact().Reference()
	if snapshot.Stale != nil {
		where := s.Hub.Endpoint
		if n.URL != "" {
			where = "it"
		}
		c.Notes = append(c.Notes,
			fmt.Sprintf("%s as it was when %s could last be asked: %v", n, where, snapshot.Stale))
	}
	return c, nil
}

// base brings the base of an adapter: a [loader.Finder]. The adapter's files name
// it, which may be anybody's: they get no farther than an administrator's request.
func (o *Opening) base(named string) (dir string, err error) {
	n, ok := o.sources.named("", named)
	switch {
	case !ok:
		return "", nil
	case isWeb(named):
		return "", errors.New("a web address is not followed where a file names it: download the base")
	}
	snapshot, err := o.sources.Hub.Snapshot(o.ctx, n, o.progress)
	return snapshot.Dir, err
}

// exactly returns a spec with the exact reference in place of each that moves.
func (o *Opening) exactly(spec *api.ModelSpec) *api.ModelSpec {
	out := spec.Clone()
	for _, p := range out.Paths() {
		if exact, ok := o.Exact[*p.Path]; ok {
			*p.Path = exact
		}
	}
	return out
}
