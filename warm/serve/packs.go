package serve

import (
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader"
)

// Pack is a set of checkpoints that are no directories, as of a program that
// brings its own models.
type Pack interface {
	// Members returns the names of its reward models, in order.
	Members() ([]string, error)
	// Checkpoint opens a checkpoint by its name.
	Checkpoint(name string) (*loader.Checkpoint, error)
}

// Packs opens packs by what references to their checkpoints begin with, as
// "embedded:", which must not begin a path. A reference is that and the name of a
// checkpoint; without a name, as a member of a model, it stands for all
// members of the pack. A pack is opened for each load, and garbage after it.
type Packs map[string]func() Pack

// find returns the prefix of a reference and the name behind it.
func (p Packs) find(ref string) (prefix, name string, ok bool) {
	for prefix := range p {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return prefix, name, true
		}
	}
	return "", "", false
}

// holds reports whether a reference is of a pack, and so no path.
func (p Packs) holds(ref string) bool {
	_, _, ok := p.find(ref)
	return ok
}

// Members names the members that are of a pack, and replaces each reference to
// all of them by one for each.
func (p Packs) Members(members []api.MemberSpec) ([]api.MemberSpec, error) {
	var out []api.MemberSpec
	for _, m := range members {
		prefix, name, ok := p.find(m.Path)
		if !ok || name != "" {
			if ok && m.Name == "" {
				m.Name = name
			}
			out = append(out, m)
			continue
		}
		names, err := p[prefix]().Members()
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

// Opener returns what opens the checkpoints of one load: directories, and
// references to packs.
func (p Packs) Opener() func(ref string) (*loader.Checkpoint, error) {
	opened := map[string]Pack{}
	return func(ref string) (*loader.Checkpoint, error) {
		prefix, name, ok := p.find(ref)
		if !ok {
			return loader.Open(ref)
		}
		if opened[prefix] == nil {
			opened[prefix] = p[prefix]()
		}
		return opened[prefix].Checkpoint(name)
	}
}
