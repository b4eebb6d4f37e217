package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
)

// sglangInfo handles SGLang's GET /get_model_info.
func (s *Server) sglangInfo(w http.ResponseWriter, r *http.Request) error {
	d, err := s.served(r)
	if err != nil {
		return err
	}
	defer d.release()
	return s.reply(w, dialect.NewSGLangInfo(d.info.Name, d.info.Revision))
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
	name := d.info.Name
	d.release()
	spec, err := s.replaced(name, path)
	if err == nil {
		var ld *Load
		if ld, err = s.live.Put(name, spec, "update_weights_from_disk"); err == nil {
			err = s.await(r, ld)
		}
	}
	out := dialect.SGLangUpdated{Success: err == nil, Message: "Succeeded to update model weights."}
	status := http.StatusOK
	if e, ok := errors.AsType[*api.Error](err); ok {
		// The client reads success and message whatever the status is.
		exchangeOf(r).code, status, out.Message = e.Code, e.Code.Status(), e.Error()
		err = nil
	}
	if err != nil {
		return err
	}
	data, err := api.Encode(out)
	if err == nil {
		s.writeJSON(w, status, data)
	}
	return err
}

// replaced returns what a model is made of, with the checkpoint at path in the
// place of all its members.
func (s *Server) replaced(name, path string) (*api.ModelSpec, error) {
	base := s.live.spec(name)
	spec := base.Clone()
	if spec == nil {
		spec = new(api.ModelSpec)
	}
	spec.Members, spec.Weights, spec.Mode = []api.MemberSpec{{Path: path}}, nil, ""
	spec.Base, spec.Alpha, spec.ABSample = "", nil, 0
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	return spec, s.confine(spec, base)
}

// await returns once a load that a request asked for is done.
func (s *Server) await(r *http.Request, ld *Load) error {
	err := ld.Wait(r.Context())
	if errors.Is(err, context.Canceled) {
		return errClientGone
	}
	if info, _, ok := s.models.describe(ld.name); ok {
		exchangeOf(r).revision = info.Revision
	}
	return err
}

// spec returns what a live model was made of; nil when it was not loaded here.
func (l *Live) spec(name string) *api.ModelSpec {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serving[name].Clone()
}
