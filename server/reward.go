package server

import (
	"cmp"
	"context"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
)

// reward handles POST /v1/reward.
func (s *Server) reward(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel, err := s.withDeadline(r)
	if err != nil {
		return err
	}
	defer cancel()
	l := logOf(r)
	req, err := readBody(ctx, s, l, r, api.DecodeRewardRequest)
	if err != nil {
		return err
	}
	if err := dialect.Choose(req, r.URL.Query()); err != nil {
		return err
	}
	reply, err := s.scores.Reward(ctx, &l.Call, req)
	if err != nil {
		return err
	}
	return s.reply(w, reply)
}

// compare handles POST /v1/compare.
func (s *Server) compare(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel, err := s.withDeadline(r)
	if err != nil {
		return err
	}
	defer cancel()
	l := logOf(r)
	req, err := readBody(ctx, s, l, r, api.DecodeCompareRequest)
	if err != nil {
		return err
	}
	reply, err := s.scores.Compare(ctx, &l.Call, req)
	if err != nil {
		return err
	}
	return s.reply(w, reply)
}

// withDeadline bounds a request by its X-Request-Timeout, or the default.
func (s *Server) withDeadline(r *http.Request) (context.Context, context.CancelFunc, error) {
	return s.within(r, s.cfg.Timeout)
}

// within bounds a request by its X-Request-Timeout, or by otherwise.
func (s *Server) within(r *http.Request, otherwise time.Duration) (context.Context,
	context.CancelFunc, error) {
	asked, err := timeout(r)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(),
		cmp.Or(min(asked, s.cfg.MaxTimeout), otherwise), errDeadline)
	return ctx, cancel, nil
}

// seconds is a decimal number above 0 and below a thousand million.
var seconds = regexp.MustCompile(`^0*([1-9][0-9]{0,8}([.][0-9]+)?|0[.]0*[1-9][0-9]*)$`)

// timeout reads X-Request-Timeout; 0 when there is none. Every route checks it
// before it does anything.
func timeout(r *http.Request) (time.Duration, error) {
	header := r.Header.Get("X-Request-Timeout")
	if header == "" {
		return 0, nil
	}
	number, err := strconv.ParseFloat(header, 64)
	if err != nil || !seconds.MatchString(header) {
		return 0, api.Errorf(api.CodeInvalidValue, "X-Request-Timeout", "want a number of seconds above 0")
	}
	return max(time.Duration(number*float64(time.Second)), 1), nil
}
