package live

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/warmserve/warmserve/api"
)

// Patch asks for the change of a model that an administrator describes: of a
// model that is there what patch does not say stays as it was last asked for,
// which is what waits, else what is being loaded, else what is live. Its paths
// are confined to Config.Root. A dry run builds, probes and judges the model, and
// leaves what is live as it is. Of ctx the trace is kept. The error is an *api.Error.
func (cs *Changes) Patch(ctx context.Context, name string, patch *api.ModelPatch, cause string, dry bool) (*Change, error) {
	cs.patching.Lock() // so that of two changes at once neither forgets the other
	defer cs.patching.Unlock()
	base := cs.askedFor(name)
	if err := cs.confine(patch.Spec, base); err != nil {
		return nil, err
	}
	m := patch.Over(base)
	if err := m.Spec.Validate(); err != nil {
		if e, ok := errors.AsType[*api.Error](err); ok && slices.Contains(m.Kept, e.Param) {
			return nil, api.Errorf(e.Code, e.Param,
				"%s (%s is kept from the model as it is; null gives it its default)", e.Message, e.Param)
		}
		return nil, err
	}
	if err := cs.checkNames(name, m.Spec); err != nil {
		return nil, err
	}
	settings := api.Settings{Kept: m.Kept, Reset: m.Reset}
	return cs.put(&Change{name: name, spec: m.Spec, cause: cause, asker: trace.SpanContextFromContext(ctx), dry: dry, settings: settings})
}

// checkNames refuses a name or an alias that a request could not tell from
// another model's.
func (cs *Changes) checkNames(name string, spec *api.ModelSpec) error {
	for _, other := range cs.models.List() {
		if other.ID == name {
			continue
		}
		if slices.Contains(other.Aliases, name) {
			return api.Errorf(api.CodeInvalidValue, "name", "%q is an alias of the model %q",
				api.Clip(name), other.ID)
		}
		for i, alias := range spec.Aliases {
			if alias == other.ID || slices.Contains(other.Aliases, alias) {
				return api.Errorf(api.CodeInvalidValue, fmt.Sprintf("aliases[%d]", i),
					"%q is a name of the model %q", api.Clip(alias), other.ID)
			}
		}
	}
	return nil
}

// askedFor returns what a model was last asked to be made of; nil for a new one.
func (cs *Changes) askedFor(name string) *api.ModelSpec {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	spec := cs.serving[name]
	for _, c := range cs.pending(name) {
		if c.ctx.Err() == nil && !c.dry {
			spec = c.spec
		}
	}
	return spec.Clone()
}

// Replace asks for a model to become the checkpoint at path, which is confined as
// in Patch, in the place of all its members, with its other settings as they
// are. Of ctx the trace is kept. The error is an *api.Error.
func (cs *Changes) Replace(ctx context.Context, name, path, cause string) (*Change, error) {
	base := cs.Spec(name)
	spec := base.Clone()
	if spec == nil {
		spec = new(api.ModelSpec)
	}
	spec.Members, spec.Weights, spec.Mode = []api.MemberSpec{{Path: path}}, nil, ""
	spec.Base, spec.Alpha, spec.ABSample = "", nil, 0
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if err := cs.confine(spec, base); err != nil {
		return nil, err
	}
	return cs.put(&Change{name: name, spec: spec, cause: cause, asker: trace.SpanContextFromContext(ctx)})
}

// confine gives the paths of a spec the form that they have on disk, symbolic
// links resolved, and refuses one outside the folder of models: what an
// administrator of models may read is less than what the server's user may. The
// resolved path is what is loaded, so that a link that changes later changes
// nothing. Paths that base, which may be nil, has already are left alone, and
// references to checkpoints that are no files here.
func (cs *Changes) confine(spec, base *api.ModelSpec) error {
	known := map[string]bool{"": true} // what is not there is refused with its name
	if base != nil {
		for _, p := range base.Paths() {
			known[*p.Path] = true
		}
	}
	var paths []api.PathField
	named := false
	for _, p := range spec.Paths() {
		switch {
		case known[*p.Path]:
		case !p.File && cs.reference != nil && cs.reference(*p.Path):
			named = true
		default:
			paths = append(paths, p)
		}
	}
	if cs.root == "" {
		if len(paths) == 0 && (base != nil || named) {
			return nil
		}
		return api.Errorf(api.CodeAdminDisabled, "",
			"no model can be loaded here: the server was started without a folder of models")
	}
	root, err := filepath.Abs(cs.root)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return api.Errorf(api.CodeLoadFailed, "", "the folder of models: %v", err)
	}
	for _, p := range paths {
		path, err := within(root, *p.Path)
		if err != nil {
			err.Param = p.Param
			return err
		}
		*p.Path = path
	}
	return nil
}

// within returns the file that path, relative to root, names, if it lies in root.
func within(root, path string) (string, *api.Error) {
	// Whether a file outside exists is not told.
	refused := api.Errorf(api.CodePathRefused, "",
		"%q is outside the folder of models, or does not exist", api.Clip(path))
	if prefix, _, ok := strings.Cut(path, ":"); ok && !strings.ContainsAny(prefix, `/\`) {
		refused = api.Errorf(api.CodePathRefused, "",
			"%q is neither a path in the folder of models nor a reference that is known here", api.Clip(path))
	}
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(root, full)
	}
	resolved, err := filepath.EvalSymlinks(full)
	if err != nil {
		return "", refused
	}
	rel, err := filepath.Rel(root, resolved)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", refused
	}
	return resolved, nil
}
