package api

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// Retry says when a Client tries again. Scoring changes nothing on the server,
// so that every call may be repeated.
type Retry struct {
	// Attempts is how often a call is sent, at most; default 8.
	Attempts int
	// Base is the wait after the first failure, Max the longest that doubling
	// makes of it; defaults 100 ms and 10 s. The wait is drawn between half of
	// that and all of it, so that clients which were refused together do not
	// come back together. A Retry-After of the server is waited for in full,
	// and the drawn wait comes on top.
	Base, Max time.Duration
}

// WithRetry makes the client try again after a connection fails and after the
// statuses 429, 502, 503 and 504, until the context or the attempts end. A call
// whose context would end during the wait returns its last error at once. The
// default is to try once.
func WithRetry(r Retry) Option {
	return func(c *Client) {
		c.retry = Retry{cmp.Or(r.Attempts, 8), cmp.Or(r.Base, 100*time.Millisecond), cmp.Or(r.Max, 10*time.Second)}
	}
}

// again reports whether err may be gone at the next try.
func again(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if e, ok := errors.AsType[*Error](err); ok {
		switch e.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable,
			http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	_, ok := errors.AsType[*transportError](err)
	return ok
}

// wait returns how long to wait before the attempt after the failed one, which
// counts from 0.
func (r Retry) wait(failed int, err error) time.Duration {
	backoff := r.Max
	if failed < 30 { // beyond, doubling has passed any Max
		backoff = min(r.Max, r.Base<<failed)
	}
	wait := backoff/2 + rand.N(backoff/2+1)
	if e, ok := errors.AsType[*Error](err); ok {
		wait += e.RetryAfter
	}
	return wait
}

// withRetries calls once until it succeeds, or what went wrong will not pass.
func (c *Client) withRetries(ctx context.Context, once func() error) error {
	for attempt := 0; ; attempt++ {
		err := once()
		if err == nil || attempt+1 >= c.retry.Attempts || !again(err) {
			return err
		}
		wait := c.retry.wait(attempt, err)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// transportError is a call that got no reply, or not all of one.
type transportError struct{ err error }

func (e *transportError) Error() string { return "api: " + e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }
