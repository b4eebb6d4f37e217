package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/warmserve/warmserve/api"
)

// Live returns what changes the server's models; nil without a Config.Builder.
func (s *Server) Live() *Live { return s.live }

// putModel handles PUT /v1/models/{name}.
func (s *Server) putModel(w http.ResponseWriter, r *http.Request) error {
	spec, err := read(s, r, api.DecodeModelSpec)
	if err != nil {
		return err
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	if spec, err = s.confine(spec); err != nil {
		return err
	}
	wait, err := waits(r)
	if err != nil {
		return err
	}
	ld, err := s.live.Put(modelName(r), spec, "put")
	if err != nil {
		return err
	}
	return s.replyLoad(w, r, ld, wait)
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
	return s.reply(w, api.Deleted{ID: name, Object: "model", Deleted: true})
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
	d := &api.ModelDetail{ID: name, Object: "model", State: api.StateLive, Previous: kept, History: []api.ModelEvent{}}
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
			loads = append(loads, api.LoadStatus{Cause: ld.cause, Asked: ld.asked.Unix(), Doing: ld.doing, Progress: ld.share})
		}
	}
	return loads, append([]api.ModelEvent{}, l.history[name]...)
}

// confine returns spec with the paths that it means on disk, symbolic links
// resolved, and refuses one outside the folder of models: what an administrator
// of models may read is less than what the server's user may. The resolved
// path is what is loaded, so that a link that changes later changes nothing.
func (s *Server) confine(spec *api.ModelSpec) (*api.ModelSpec, error) {
	if s.cfg.ModelRoot == "" {
		return nil, api.Errorf(api.CodeAdminDisabled, "", "no model can be loaded here: the server was started without a folder of models")
	}
	root, err := filepath.Abs(s.cfg.ModelRoot)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return nil, api.Errorf(api.CodeLoadFailed, "", "the folder of models: %v", err)
	}
	spec = spec.Clone()
	for _, p := range spec.Paths() {
		path, err := within(root, *p.Path)
		if err != nil {
			err.Param = p.Param
			return nil, err
		}
		*p.Path = path
	}
	return spec, nil
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
