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
	defer d.Release()
	return s.reply(w, http.StatusOK, dialect.NewTEIInfo(dialect.TEIServer{
		Model: d.Info().ID, Revision: d.Info().Revision, DType: d.Info().DType, Label: d.Info().Label,
		MaxRequests: s.cfg.MaxConnections, MaxInput: d.Info().ContextLength,
		MaxBatchTokens: s.queue.Limits().MaxBatchTokens,
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
		return api.Errorf(api.CodeTooManySequences, "inputs", "more than %d texts in one request",
			s.cfg.MaxSequences)
	}
	if err := reserveReply(s, r, tokenizeCost, req.Texts); err != nil {
		return err
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
	return s.reply(w, http.StatusOK, out)
}

// What the reply to a question about tokens takes: a byte of text may be a token
// of its own, and a token many bytes.
const (
	tokenizeCost   = 200
	detokenizeCost = 64
)

// reserveReply makes room for a reply that takes cost bytes for each element of
// what it is about.
func reserveReply[T ~string | ~[]int32](s *Server, r *http.Request, cost int64, of []T) error {
	n := 0
	for _, v := range of {
		n += len(v)
	}
	return s.reserveMore(r, cost*int64(n))
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
	if err := reserveReply(s, r, detokenizeCost, req.IDs); err != nil {
		return err
	}
	out := make([]string, len(req.IDs))
	for i, ids := range req.IDs {
		if out[i], err = v.Detokenize(ids, req.SkipSpecial); err != nil {
			if e, ok := errors.AsType[*api.Error](err); ok {
				return e.Under(fmt.Sprintf("ids[%d]", i))
			}
			return err
		}
	}
	return s.reply(w, http.StatusOK, out)
}
