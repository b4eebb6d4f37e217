package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/score"
)

var (
	// errDeadline is the cause of a request's context whose time is up.
	errDeadline = fmt.Errorf("server: the request's time is up: %w", context.DeadlineExceeded)
	// errClientGone stands for a client that hung up: nobody reads an answer.
	errClientGone = errors.New("server: the client hung up")
)

// statusClientGone is what the log and the metrics say of a client that hung
// up. It is never sent.
const statusClientGone = 499

// wireError returns what err is on the wire.
func wireError(err error) *api.Error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return api.Errorf(api.CodeBodyTooLarge, "", "the body is over %d bytes", e.Limit)
	}
	return score.Error(err)
}

// maxRetryAfter bounds the Retry-After of a 503 behind a time that is known, in seconds.
const maxRetryAfter = 3

// retryAfter draws the Retry-After of a 503, behind the time that it takes where that is
// known: soon, as a busy queue moves on, and not the same for all, so that clients which
// were refused together do not come back together.
func retryAfter(known time.Duration) string {
	return strconv.Itoa(int(known.Seconds()) + 1 + rand.IntN(maxRetryAfter))
}

// writeError answers with e in the native shape, or that of the request's dialect.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, e *api.Error) {
	l := logOf(r)
	l.code = e.Code
	switch e.Code.Status() {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter.Seconds())))
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter(e.RetryAfter))
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if l.shape == nil {
		s.writeJSON(w, e.Code.Status(), api.EncodeError(e))
		return
	}
	status, v := l.shape.Error(e)
	if v == nil {
		s.write(w, status, nil)
		return
	}
	body, err := api.Encode(v)
	if err != nil {
		panic(fmt.Sprintf("server: error %q does not encode: %v", e.Code, err)) // strings and numbers
	}
	s.writeJSON(w, status, body)
}
