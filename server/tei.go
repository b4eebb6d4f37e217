package server

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
)

// teiInfo handles text-embeddings-inference's GET /info.
func (s *Server) teiInfo(w http.ResponseWriter, r *http.Request) error {
	d, err := s.served(r)
	if err != nil {
		return err
	}
	defer d.release()
	return s.reply(w, dialect.NewTEIInfo(dialect.TEIServer{
		Model: d.info.Name, Revision: d.info.Revision, DType: d.info.DType, Label: d.info.Label,
		MaxRequests: s.cfg.MaxConnections, MaxInput: d.info.ContextLength, MaxBatchTokens: s.queue.Limits().MaxBatchTokens,
		MaxClientBatch: s.cfg.MaxSequences, Version: s.cfg.Version,
	}))
}

// tokenize handles text-embeddings-inference's POST /tokenize.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) error {
	req, err := read(s, r, dialect.DecodeTEITokenize)
	if err != nil {
		return err
	}
	v, release, err := s.vocabulary(r)
	if err != nil {
		return err
	}
	defer release()
	if len(req.Texts) > s.cfg.MaxSequences {
		return api.Errorf(api.CodeTooManySequences, "inputs", "more than %d texts in one request", s.cfg.MaxSequences)
	}
	out := make([][]dialect.TEIToken, len(req.Texts))
	for i, text := range req.Texts {
		tokens, err := v.Tokenize(text, req.AddSpecial)
		if err != nil {
			return err
		}
		out[i] = make([]dialect.TEIToken, len(tokens))
		for j, t := range tokens {
			out[i][j] = dialect.TEIToken{ID: t.ID, Text: t.Text, Special: t.Special}
		}
	}
	return s.reply(w, out)
}

// detokenize handles text-embeddings-inference's POST /decode.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) error {
	req, err := read(s, r, dialect.DecodeTEIDecode)
	if err != nil {
		return err
	}
	v, release, err := s.vocabulary(r)
	if err != nil {
		return err
	}
	defer release()
	out := make([]string, len(req.IDs))
	for i, ids := range req.IDs {
		if out[i], err = v.Detokenize(ids, req.SkipSpecial); err != nil {
			if e, ok := errors.AsType[*api.Error](err); ok {
				return e.Under(fmt.Sprintf("ids[%d]", i))
			}
			return err
		}
	}
	return s.reply(w, out)
}
