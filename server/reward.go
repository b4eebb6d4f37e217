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
	"github.com/warmserve/warmserve/server/score"
)

// reward handles POST /v1/reward.
func (s *Server) reward(w http.ResponseWriter, r *http.Request) error {
	return scored(s, w, r, func(body []byte) (*api.RewardRequest, error) {
		req, err := api.DecodeRewardRequest(body)
		if err == nil {
			err = dialect.Choose(req, r.URL.Query())
		}
		return req, err
	}, s.scores.Reward)
}

// compare handles POST /v1/compare.
func (s *Server) compare(w http.ResponseWriter, r *http.Request) error {
	return scored(s, w, r, api.DecodeCompareRequest, s.scores.Compare)
}

// scored answers a request in native terms.
func scored[Q, A any](s *Server, w http.ResponseWriter, r *http.Request, decode func([]byte) (Q, error),
	by func(context.Context, *score.Call, Q) (A, error)) error {
	ctx, cancel, err := s.withDeadline(r)
	if err != nil {
		return err
	}
	defer cancel()
	l := logOf(r)
	req, err := readBody(ctx, s, l, r, decode)
	if err != nil {
		return err
	}
	reply, err := by(ctx, &l.Call, req)
	if err != nil {
		return err
	}
	return s.reply(w, http.StatusOK, reply)
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
