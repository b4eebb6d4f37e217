package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
)

// sglangInfo handles SGLang's GET /get_model_info.
func (s *Server) sglangInfo(w http.ResponseWriter, r *http.Request) error {
	d, err := s.served(r)
	if err != nil {
		return err
	}
	defer d.Release()
	return s.reply(w, http.StatusOK, dialect.NewSGLangInfo(d.Info().ID, d.Info().Revision))
}

// updateWeights handles SGLang's POST /update_weights_from_disk: the model that
// ?model names, or the only one, becomes the checkpoint at the path, with its
// other settings as they were. It answers when that is live.
func (s *Server) updateWeights(w http.ResponseWriter, r *http.Request) error {
	path, err := read(s, r, dialect.DecodeSGLangUpdate)
	if err != nil {
		return err
	}
	d, err := s.served(r)
	if err != nil {
		return err
	}
	name := d.Info().ID
	d.Release()
	c, err := s.changes.Replace(r.Context(), name, path, "update_weights_from_disk")
	if err == nil {
		err = s.await(r, c)
	}
	out := dialect.SGLangUpdated{Success: err == nil, Message: "Succeeded to update model weights."}
	status := http.StatusOK
	if e, ok := errors.AsType[*api.Error](err); ok {
		// The client reads success and message whatever the status is.
		logOf(r).code, status, out.Message = e.Code, e.Code.Status(), e.Error()
		err = nil
	}
	if err != nil {
		return err
	}
	return s.reply(w, status, out)
}

// await returns once a change that a request asked for is done.
func (s *Server) await(r *http.Request, c *live.Change) error {
	err := c.Wait(r.Context())
	if errors.Is(err, context.Canceled) {
		return errClientGone
	}
	if info, _, ok := s.models.Describe(c.Model()); ok {
		logOf(r).Revision = info.Revision
	}
	return err
}
