package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/live"
)

// Changes returns what changes the server's models; nil without a Config.Builder.
func (s *Server) Changes() *live.Changes { return s.changes }

// putModel handles PUT /v1/models/{name}.
func (s *Server) putModel(w http.ResponseWriter, r *http.Request) error {
	patch, err := read(s, r, api.DecodeModelPatch)
	if err != nil {
		return err
	}
	wait, err := flag(r, "wait")
	if err != nil {
		return err
	}
	dry, err := flag(r, "dry_run")
	if err != nil {
		return err
	}
	c, err := s.changes.Patch(r.Context(), modelName(r), patch, "put", dry)
	if err != nil {
		return err
	}
	return s.replyChange(w, r, c, wait)
}

// rollbackModel handles POST /v1/models/{name}/rollback.
func (s *Server) rollbackModel(w http.ResponseWriter, r *http.Request) error {
	wait, err := flag(r, "wait")
	if err != nil {
		return err
	}
	c, err := s.changes.Rollback(r.Context(), modelName(r))
	if err != nil {
		return err
	}
	return s.replyChange(w, r, c, wait)
}

// deleteModel handles DELETE /v1/models/{name}.
func (s *Server) deleteModel(w http.ResponseWriter, r *http.Request) error {
	name := modelName(r)
	if err := s.changes.Remove(name, "delete"); err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, api.Deleted{ID: name, Object: "model", Deleted: true, Warning: s.changes.Unsaved()})
}

// flag reads a parameter of the query that is true or false, false without it. It
// is looked at before anything is changed.
func flag(r *http.Request, name string) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, api.Errorf(api.CodeInvalidValue, name, "want true or false")
}

// replyChange answers 200 with the model once a change is done, or 202 with how
// far it is: at once, or with wait when the caller's time is up.
func (s *Server) replyChange(w http.ResponseWriter, r *http.Request, c *live.Change, wait bool) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if !wait {
		cancel() // a change that is done already is not waited for
	} else if r.Header.Get("X-Request-Timeout") != "" {
		limited, stop, err := s.withDeadline(r)
		if err != nil {
			return err
		}
		defer stop()
		ctx = limited
	}
	err := c.Wait(ctx)
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
	detail, _ := s.detail(c.Model())
	logOf(r).about(detail)
	return s.reply(w, status, detail)
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
	var loads []api.LoadStatus
	history := []api.ModelEvent{}
	if s.changes != nil { // before the model: a change that is done by then has made it live
		loads, history = s.changes.Status(name)
	}
	info, kept, ok := s.models.Describe(name)
	d := &api.ModelDetail{ID: name, Object: "model", State: api.StateLive, Previous: kept,
		Loads: loads, History: history}
	if ok {
		wire := info.Wire()
		d.Model, d.MemoryBytes = &wire, info.Memory
	}
	if s.changes != nil {
		// Between the two looks the model may have changed: what cannot be of it is left out.
		if spec := s.changes.Spec(name); ok && spec != nil && len(spec.Members) == len(info.Members) {
			d.Weights, d.Alpha = live.Weights(spec), spec.Alpha
		}
		d.Warning = s.changes.Unsaved()
	}
	switch last := len(d.History) - 1; {
	case ok:
	case len(d.Loads) > 0:
		d.State = api.StateLoading
	case last >= 0 && (d.History[last].Outcome == api.OutcomeFailed ||
		d.History[last].Outcome == api.OutcomeRefused):
		d.State = api.StateFailed
	case last >= 0 && d.History[last].Outcome == api.OutcomeTried:
		d.State = api.StateTried
	default:
		return nil, false
	}
	return d, true
}

// keepPreviousDefault is how long the revision before is kept after its last
// pinned request: longer than a group of requests takes, much shorter than the
// time between two checkpoints.
const keepPreviousDefault = 60 * time.Second
