package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/memory"
)

var (
	// errDeadline is the cause of a request's context whose time is up.
	errDeadline = errors.New("server: the request's time is up")
	// errClientGone stands for a client that hung up: nobody reads an answer.
	errClientGone = errors.New("server: the client hung up")
)

// statusClientGone is what the log and the metrics say of a client that hung
// up. It is never sent.
const statusClientGone = 499

// wireError returns what err is on the wire. An error that is not one of ours
// is internal, and internal says nothing of itself.
func wireError(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return api.Errorf(api.CodeBodyTooLarge, "", "the body is over %d bytes", e.Limit)
	}
	if e, ok := errors.AsType[*memory.TooLargeError](err); ok {
		return api.Errorf(api.CodeBodyTooLarge, "", "the request may come to hold %d bytes, and one request may hold %d (limits.request_memory): send less at once", e.Bytes, e.Limit)
	}
	switch {
	case errors.Is(err, memory.ErrNoRoom):
		return api.Errorf(api.CodeOverloaded, "", "other requests hold the memory that this one needs (limits.request_memory), try again")
	case errors.Is(err, batch.ErrOverloaded):
		return api.Errorf(api.CodeOverloaded, "", "the queue is full, try again")
	case errors.Is(err, errDeadline), errors.Is(err, batch.ErrExpired), errors.Is(err, context.DeadlineExceeded):
		return api.Errorf(api.CodeDeadlineExceeded, "", "the queue did not reach the request in time, try again")
	case errors.Is(err, batch.ErrDraining):
		return api.Errorf(api.CodeDraining, "", "the server is stopping, try another or again")
	}
	return api.Errorf(api.CodeInternal, "", "a fault of the server; its log has more under this request's id")
}

// isOverload reports whether err says that the queue has no room or no time.
func isOverload(err error) bool {
	return errors.Is(err, batch.ErrOverloaded) || errors.Is(err, batch.ErrExpired) || errors.Is(err, batch.ErrDraining)
}

// maxRetryAfter bounds the Retry-After of a 503, in seconds.
const maxRetryAfter = 3

// retryAfter draws the Retry-After of a 503: soon, as a busy queue moves on, and
// not the same for all, so that clients which were refused together do not come
// back together.
func retryAfter() string { return strconv.Itoa(1 + rand.IntN(maxRetryAfter)) }

// writeError answers with e in the native shape, or that of the request's dialect.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, e *api.Error) {
	x := exchangeOf(r)
	x.code = e.Code
	switch e.Code.Status() {
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter.Seconds())))
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter())
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if x.shape == nil {
		s.writeJSON(w, e.Code.Status(), api.EncodeError(e))
		return
	}
	status, v := x.shape.Error(e)
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
