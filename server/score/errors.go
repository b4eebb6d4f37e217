package score

import (
	"context"
	"errors"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/memory"
)

// Error returns what an error of this package, of the queue or of a request's
// memory is on the wire. One that is none of ours is internal, and internal says
// nothing of itself.
func Error(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*memory.TooLargeError](err); ok {
		return api.Errorf(api.CodeBodyTooLarge, "", "the request may come to hold %d bytes, "+
			"and one request may hold %d (limits.request_memory): send less at once", e.Bytes, e.Limit)
	}
	switch {
	case errors.Is(err, memory.ErrNoRoom):
		return api.Errorf(api.CodeOverloaded, "",
			"other requests hold the memory that this one needs (limits.request_memory), try again")
	case errors.Is(err, batch.ErrOverloaded):
		return api.Errorf(api.CodeOverloaded, "", "the queue is full, try again")
	case errors.Is(err, batch.ErrExpired), errors.Is(err, context.DeadlineExceeded):
		return api.Errorf(api.CodeDeadlineExceeded, "",
			"the queue did not reach the request in time, try again")
	case errors.Is(err, batch.ErrDraining):
		return api.Errorf(api.CodeDraining, "", "the server is stopping, try another or again")
	}
	if away, ok := errors.AsType[*batch.UnavailableError](err); ok {
		e := api.Errorf(api.CodeNotReady, "", "the device that computes the model starts again, try again")
		e.RetryAfter = away.After
		return e
	}
	return api.Errorf(api.CodeInternal, "", "a fault of the server; its log has more under this request's id")
}

// isOverload reports whether err says that the queue has no room or no time, or its
// device no work.
func isOverload(err error) bool {
	return unavailable(err) || errors.Is(err, batch.ErrOverloaded) || errors.Is(err, batch.ErrExpired) ||
		errors.Is(err, batch.ErrDraining)
}

// unavailable reports whether err says that a device starts again.
func unavailable(err error) bool {
	_, ok := errors.AsType[*batch.UnavailableError](err)
	return ok
}
