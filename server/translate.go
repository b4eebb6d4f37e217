package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/dialect"
)

// translate handles a route of a dialect: what reward does, with the dialect's
// decoder before and its encoder behind.
func (s *Server) translate(route dialect.Route) http.HandlerFunc {
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		x := exchangeOf(r)
		call, err := s.decodeCall(r, x, route)
		if err != nil {
			return err
		}
		ctx, cancel, err := s.within(r, cmp.Or(call.Wait.Total, s.cfg.Timeout))
		if err != nil {
			return err
		}
		defer cancel()
		result, err := s.call(ctx, x, call)
		if err != nil {
			return err
		}
		reply, err := call.Reply(result)
		if err != nil {
			return err
		}
		s.annotate(w, x, call, result)
		return s.reply(w, reply)
	}, route.Query...)
}

// decodeCall reads a body in its dialect.
func (s *Server) decodeCall(r *http.Request, x *exchange, route dialect.Route) (*dialect.Call, error) {
	call, err := read(s, r, func(body []byte) (*dialect.Call, error) {
		return route.Decode(body, dialect.Target{Query: r.URL.Query(), Model: modelName(r), Version: pathParam(r, "version")})
	})
	if call != nil {
		x.reading = call.Reading
		x.shape = cmp.Or(call.Shape, x.shape)
	}
	return call, err
}

// call scores what a dialect asks for, and names the places of errors as its
// client does.
func (s *Server) call(ctx context.Context, x *exchange, c *dialect.Call) (*dialect.Result, error) {
	if c.Request == nil {
		return &dialect.Result{RewardResponse: &api.RewardResponse{}}, nil
	}
	reply, err := s.patient(ctx, x, c)
	if e, ok := errors.AsType[*api.Error](err); ok && c.Param != nil {
		there := *e
		there.Param = c.Param(e.Param)
		return nil, &there
	}
	if err != nil {
		return nil, err
	}
	if e := unreadable(c.Request, reply); e != nil {
		there := *e
		if c.Param != nil {
			there.Param = c.Param(e.Param)
		}
		return nil, &there
	}
	for i := range reply.Data {
		if d := &reply.Data[i]; d.Error != nil && c.Param != nil {
			there := *d.Error
			there.Param = c.Param(there.Param)
			d.Error = &there
		}
	}
	return &dialect.Result{RewardResponse: reply, Label: x.label}, nil
}

// unreadable returns the error of a request whose form the model cannot read at
// all, as messages without a chat template: that is no fault of its answers, and
// a run that went on would have no reward in it.
func unreadable(req *api.RewardRequest, reply *api.RewardResponse) (first *api.Error) {
	for i := range reply.Data {
		d := &reply.Data[i]
		switch {
		case d.Error == nil:
			return nil
		case first == nil && d.Error.Code == api.CodeUnsupportedInput && req.Inputs[d.Input].Check() == nil:
			first = d.Error
		}
	}
	return first
}

// patient scores a call, and while the queue is full or no model is live yet
// waits as long as the call's client would rather wait than be refused: one
// refusal ends a verl run, and five within five seconds an OpenRLHF step.
//
// What waits here holds its body, but no model, no tokens and no place in the
// queue, so that a swap does not wait for it; the limit on connections bounds
// how many they are.
func (s *Server) patient(ctx context.Context, x *exchange, c *dialect.Call) (*api.RewardResponse, error) {
	wait, cancel := context.WithTimeout(ctx, c.Wait.Room)
	defer cancel()
	for {
		reply, err := s.score(ctx, x, c.Request)
		var changed func() bool
		switch {
		case errors.Is(err, batch.ErrOverloaded):
			changed = func() bool { return s.queue.Room(x.queued) }
		case isNotReady(err) && !s.draining.Load():
			changed = func() bool { return s.draining.Load() || len(s.models.List()) > 0 }
		default:
			return reply, err
		}
		if !s.until(wait, changed) {
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return nil, errClientGone
			}
			return nil, err
		}
	}
}

func isNotReady(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && e.Code == api.CodeNotReady
}

// pollInterval is how often the first in line looks whether it may go on: less
// than a batch takes on any model that fills a queue.
const pollInterval = 2 * time.Millisecond

// until waits until changed reports true, in line with all others that wait,
// first come first served; false when ctx ended first.
func (s *Server) until(ctx context.Context, changed func() bool) bool {
	s.metrics.held.Inc()
	defer s.metrics.held.Dec()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return false
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !changed() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// annotate sets what a dialect's reply says in headers, and warns once of what
// an operator should know.
func (s *Server) annotate(w http.ResponseWriter, x *exchange, c *dialect.Call, res *dialect.Result) {
	if c.Warn != nil && res.RewardResponse != nil {
		if text := c.Warn(res); text != "" {
			if _, said := s.warned.LoadOrStore(text, true); !said {
				s.log.Warn(text, "model", res.Model)
			}
		}
	}
	if !c.Timed {
		return
	}
	h := w.Header()
	h.Set("X-Compute-Type", "cpu")
	h.Set("X-Compute-Characters", strconv.Itoa(c.Characters))
	h.Set("X-Compute-Tokens", strconv.Itoa(x.tokens))
	for name, d := range map[string]time.Duration{
		"X-Compute-Time": x.tokenize + x.compute, "X-Total-Time": time.Since(x.start),
		"X-Tokenization-Time": x.tokenize, "X-Queue-Time": x.queue, "X-Inference-Time": x.compute,
	} {
		h.Set(name, strconv.FormatInt(d.Milliseconds(), 10))
	}
}
