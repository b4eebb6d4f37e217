package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/warmserve/warmserve/api"
)

// Live returns what changes the server's models; nil without a Config.Builder.
func (s *Server) Live() *Live { return s.live }

// putModel handles PUT /v1/models/{name}.
func (s *Server) putModel(w http.ResponseWriter, r *http.Request) error {
	patch, err := read(s, r, api.DecodeModelPatch)
	if err != nil {
		return err
	}
	wait, err := waits(r)
	if err != nil {
		return err
	}
	ld, err := s.patch(modelName(r), patch, "put")
	if err != nil {
		return err
	}
	return s.replyLoad(w, r, ld, wait)
}

// patch asks for the change of a model that a request describes.
func (s *Server) patch(name string, patch *api.ModelPatch, cause string) (*Load, error) {
	return s.live.patch(name, cause, func(base *api.ModelSpec) (*api.Merged, error) {
		if err := s.confine(patch.Spec, base); err != nil {
			return nil, err
		}
		m := patch.Over(base)
		err := m.Spec.Validate()
		if e, ok := errors.AsType[*api.Error](err); ok && slices.Contains(m.Kept, e.Param) {
			return nil, api.Errorf(e.Code, e.Param, "%s (%s is kept from the model as it is; null gives it its default)", e.Message, e.Param)
		}
		return m, err
	})
}

// patch asks for what change makes of the model as it was last asked for: what
// waits, else what is being loaded, else what is live; nil for a new one.
func (l *Live) patch(name, cause string, change func(base *api.ModelSpec) (*api.Merged, error)) (*Load, error) {
	l.change.Lock() // so that of two changes at once neither forgets the other
	defer l.change.Unlock()
	l.mu.Lock()
	base := l.serving[name]
	for _, ld := range append([]*Load{l.current}, l.waiting...) {
		if ld != nil && ld.name == name && ld.ctx.Err() == nil {
			base = ld.spec
		}
	}
	l.mu.Unlock()
	m, err := change(base.Clone())
	if err != nil {
		return nil, err
	}
	return l.put(&Load{name: name, spec: m.Spec, cause: cause, settings: api.Settings{Kept: m.Kept, Reset: m.Reset}})
}

// rollbackModel handles POST /v1/models/{name}/rollback.
func (s *Server) rollbackModel(w http.ResponseWriter, r *http.Request) error {
	wait, err := waits(r)
	if err != nil {
		return err
	}
	ld, err := s.live.Rollback(modelName(r))
	if err != nil {
		return err
	}
	return s.replyLoad(w, r, ld, wait)
}

// deleteModel handles DELETE /v1/models/{name}.
func (s *Server) deleteModel(w http.ResponseWriter, r *http.Request) error {
	name := modelName(r)
	if err := s.live.Remove(name, "delete"); err != nil {
		return err
	}
	return s.reply(w, api.Deleted{ID: name, Object: "model", Deleted: true, Warning: s.live.noted(noteState)})
}

// waits reads ?wait, which is looked at before anything is changed.
func waits(r *http.Request) (bool, error) {
	switch r.URL.Query().Get("wait") {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, api.Errorf(api.CodeInvalidValue, "wait", "want true or false")
}

// replyLoad answers 200 with the model once a load is done, or 202 with how far
// it is: at once, or with wait when the caller's time is up.
func (s *Server) replyLoad(w http.ResponseWriter, r *http.Request, ld *Load, wait bool) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if !wait {
		cancel() // a load that is done already is not waited for
	} else if r.Header.Get("X-Request-Timeout") != "" {
		limited, stop, err := s.withDeadline(r)
		if err != nil {
			return err
		}
		defer stop()
		ctx = limited
	}
	err := ld.Wait(ctx)
	if _, refused := errors.AsType[*api.Error](err); refused {
		return err
	}
	if err != nil && r.Context().Err() != nil {
		return errClientGone
	}
	status := http.StatusOK
	if err != nil {
		status = http.StatusAccepted
	}
	detail, _ := s.detail(ld.name)
	exchangeOf(r).about(detail)
	data, err := api.Encode(detail)
	if err != nil {
		return err
	}
	s.writeJSON(w, status, data)
	return nil
}

// modelName returns the name in a request's path.
func modelName(r *http.Request) string { return pathParam(r, "name") }

// pathParam returns a part of a request's path. chi matches the path as it was
// sent when that is not its canonical form, as with a slash in a name.
func pathParam(r *http.Request, name string) string {
	value := chi.URLParam(r, name)
	if plain, err := url.PathUnescape(value); err == nil && r.URL.RawPath != "" {
		return plain
	}
	return value
}

// detail returns what GET /v1/models/{name} says of a model, and whether there
// is anything to say.
func (s *Server) detail(name string) (*api.ModelDetail, bool) {
	info, kept, ok := s.models.describe(name)
	d := &api.ModelDetail{ID: name, Object: "model", State: api.StateLive, Previous: kept, History: []api.ModelEvent{}, Warning: s.live.noted(noteState)}
	if ok {
		wire := info.wire()
		d.Model = &wire
	}
	if s.live != nil {
		d.Loads, d.History = s.live.status(name)
	}
	switch last := len(d.History) - 1; {
	case ok:
	case len(d.Loads) > 0:
		d.State = api.StateLoading
	case last >= 0 && (d.History[last].Outcome == api.OutcomeFailed || d.History[last].Outcome == api.OutcomeRefused):
		d.State = api.StateFailed
	default:
		return nil, false
	}
	return d, true
}

// status returns the loads of a model, and its history.
func (l *Live) status(name string) ([]api.LoadStatus, []api.ModelEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var loads []api.LoadStatus
	for _, ld := range append([]*Load{l.current}, l.waiting...) {
		if ld != nil && ld.name == name {
			loads = append(loads, api.LoadStatus{Cause: ld.cause, Asked: ld.asked.Unix(), Doing: ld.doing, Progress: ld.share, Settings: ld.settings})
		}
	}
	return loads, append([]api.ModelEvent{}, l.history[name]...)
}

// confine gives the paths of a spec the form that they have on disk, symbolic
// links resolved, and refuses one outside the folder of models: what an
// administrator of models may read is less than what the server's user may. The
// resolved path is what is loaded, so that a link that changes later changes
// nothing. Paths that base, which may be nil, has already are left alone.
func (s *Server) confine(spec, base *api.ModelSpec) error {
	known := map[string]bool{"": true} // what is not there is refused with its name
	if base != nil {
		for _, p := range base.Paths() {
			known[*p.Path] = true
		}
	}
	paths := slices.DeleteFunc(spec.Paths(), func(p api.PathField) bool { return known[*p.Path] })
	if s.cfg.ModelRoot == "" {
		if len(paths) == 0 && base != nil {
			return nil
		}
		return api.Errorf(api.CodeAdminDisabled, "", "no model can be loaded here: the server was started without a folder of models")
	}
	root, err := filepath.Abs(s.cfg.ModelRoot)
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
	refused := api.Errorf(api.CodePathRefused, "", "the path is outside the folder of models, or does not exist")
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(root, full)
	}
	resolved, err := filepath.EvalSymlinks(full)
	if err != nil {
		return "", refused // whether a file outside exists is not told
	}
	rel, err := filepath.Rel(root, resolved)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", refused
	}
	return resolved, nil
}

// keepPreviousDefault is how long the revision before is kept after its last
// pinned request: longer than a group of requests takes, much shorter than the
// time between two checkpoints.
const keepPreviousDefault = 60 * time.Second
