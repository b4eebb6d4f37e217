package server

import (
	"net/http"
	"slices"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
)

// oipServer handles GET /v2.
func (s *Server) oipServer(w http.ResponseWriter, _ *http.Request) error {
	return s.reply(w, http.StatusOK, dialect.NewOIPServer(s.cfg.Version))
}

// oipLive handles GET /v2/health/live.
func (s *Server) oipLive(w http.ResponseWriter, _ *http.Request) error {
	return s.reply(w, http.StatusOK, dialect.OIPLive{Live: true})
}

// oipReady handles GET /v2/health/ready.
func (s *Server) oipReady(w http.ResponseWriter, _ *http.Request) error {
	if err := s.notReady(false); err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, dialect.OIPLive{Live: true, Ready: new(true)})
}

// version finds the model of a path and, where it has one, the version.
// Of info the ID is what the path calls it.
func (s *Server) version(r *http.Request) (info live.Info, kept string, err error) {
	name := modelName(r)
	if v := pathParam(r, "version"); v != "" {
		name += "@" + v
	}
	d, as, err := s.models.Acquire(r.Context(), name, "")
	if err != nil {
		return live.Info{}, "", err
	}
	defer d.Release()
	logOf(r).Revision = d.Info().Revision
	_, kept, _ = s.models.Describe(d.Info().ID)
	info = d.Info()
	info.ID = as
	return info, kept, nil
}

// oipModel handles GET /v2/models/{name}[/versions/{version}].
func (s *Server) oipModel(w http.ResponseWriter, r *http.Request) error {
	info, kept, err := s.version(r)
	if err != nil {
		return err
	}
	revisions := []string{info.Revision}
	if kept != "" && kept != info.Revision {
		revisions = append(revisions, kept)
	}
	ensemble := slices.Contains(info.Modes, api.ModeEns) || slices.Contains(info.Modes, api.ModeBoth)
	return s.reply(w, http.StatusOK, dialect.NewOIPModel(info.ID, revisions, ensemble))
}

// oipModelReady handles GET /v2/models/{name}[/versions/{version}]/ready.
func (s *Server) oipModelReady(w http.ResponseWriter, r *http.Request) error {
	info, _, err := s.version(r)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, dialect.OIPModelReady{Name: info.ID, Ready: true})
}

// repositoryIndex handles POST /v2/repository/index.
func (s *Server) repositoryIndex(w http.ResponseWriter, r *http.Request) error {
	only, err := read(s, r, dialect.DecodeIndex)
	if err != nil {
		return err
	}
	index := []dialect.OIPIndexed{}
	live := map[string]bool{}
	for _, info := range s.models.List() {
		live[info.ID] = true
		index = append(index, dialect.OIPIndexed{Name: info.ID,
			Version: dialect.Version(info.Revision), State: "READY"})
	}
	if only || s.changes == nil {
		return s.reply(w, http.StatusOK, index)
	}
	for _, name := range s.changes.Names() {
		if d, ok := s.detail(name); ok && !live[name] {
			index = append(index, unavailable(d))
		}
	}
	return s.reply(w, http.StatusOK, index)
}

// unavailable describes a model that is not live.
func unavailable(d *api.ModelDetail) dialect.OIPIndexed {
	out := dialect.OIPIndexed{Name: d.ID, State: "UNAVAILABLE"}
	switch {
	case d.State == api.StateLoading:
		out.State = "LOADING"
	case len(d.History) > 0:
		out.Reason = d.History[len(d.History)-1].Error
	}
	return out
}

// repositoryLoad handles POST /v2/repository/models/{name}/load, and answers
// when the model is live: what its parameters say, or what it was made of last.
func (s *Server) repositoryLoad(w http.ResponseWriter, r *http.Request) error {
	patch, err := read(s, r, dialect.DecodeLoad)
	if err != nil {
		return err
	}
	name := modelName(r)
	if patch == nil {
		if s.changes.Spec(name) == nil {
			return api.Errorf(api.CodeNoPrevious, "parameters.path",
				"model %q was never loaded here: say of what it is made", name)
		}
		patch = api.NewModelPatch(&api.ModelSpec{}) // as it is
	}
	c, err := s.changes.Patch(r.Context(), name, patch, "repository load", false)
	if err != nil {
		return err
	}
	if err := s.await(r, c); err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, dialect.OIPChanged{Name: name, Load: true})
}

// repositoryUnload handles POST /v2/repository/models/{name}/unload.
func (s *Server) repositoryUnload(w http.ResponseWriter, r *http.Request) error {
	name := modelName(r)
	if err := s.changes.Remove(name, "repository unload"); err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, dialect.OIPChanged{Name: name, Unload: true})
}
