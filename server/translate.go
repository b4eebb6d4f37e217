package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
)

// headLength is the header that says how much of a body is JSON, where binary
// data follows it.
const headLength = "Inference-Header-Content-Length"

// octets is the content type of such a body.
const octets = "application/octet-stream"

// translate handles a route of a dialect: what reward does, with the dialect's
// decoder before and its encoder behind.
func (s *Server) translate(route dialect.Route) http.HandlerFunc {
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		l := logOf(r)
		call, err := s.decodeCall(r, l, route)
		if err != nil {
			return err
		}
		ctx, cancel, err := s.within(r, cmp.Or(call.Wait.Total, s.cfg.Timeout))
		if err != nil {
			return err
		}
		defer cancel()
		result, err := s.call(ctx, l, call)
		if err != nil {
			return err
		}
		reply, err := call.Reply(result)
		if err != nil {
			return err
		}
		s.annotate(r.Context(), w, l, call, result)
		if e, ok := reply.(*dialect.Encoded); ok {
			w.Header().Set("Content-Type", e.Media)
			if e.Head > 0 {
				w.Header().Set(headLength, strconv.Itoa(e.Head))
			}
			s.write(w, http.StatusOK, e.Body)
			return nil
		}
		return s.reply(w, http.StatusOK, reply)
	}, route.Query...)
}

// decodeCall reads a body in its dialect.
func (s *Server) decodeCall(r *http.Request, l *requestLog, route dialect.Route) (*dialect.Call, error) {
	target := dialect.Target{Query: r.URL.Query(), Model: modelName(r), Version: pathParam(r, "version")}
	if head := r.Header.Get(headLength); head != "" && slices.Contains(route.Media, octets) {
		var err error
		if target.Head, err = strconv.Atoi(head); err != nil || target.Head < 1 {
			return nil, api.Errorf(api.CodeInvalidValue, headLength,
				"want how many bytes of the body are JSON, 1 or more")
		}
	}
	l.media = route.Media
	call, err := read(s, r, func(body []byte) (*dialect.Call, error) { return route.Decode(body, target) })
	if call != nil {
		l.Reading = reading(call.Reading)
		l.shape = cmp.Or(call.Shape, l.shape)
	}
	return call, err
}

// reading returns a dialect's way to read inputs as models take it.
func reading(r dialect.Reading) live.PrepareOptions {
	return live.PrepareOptions{
		Pooling: r.Pooling, MaxTokens: r.MaxTokens,
		Chat: live.ChatOptions{
			AddSpecial: r.AddSpecial, AddGenerationPrompt: r.AddGenerationPrompt,
			ContinueFinal: r.ContinueFinal,
		},
	}
}

// call scores what a dialect asks for, and names the places of errors as its
// client does.
func (s *Server) call(ctx context.Context, l *requestLog, c *dialect.Call) (*dialect.Result, error) {
	if c.Request == nil {
		return &dialect.Result{RewardResponse: &api.RewardResponse{}}, nil
	}
	placed := func(e *api.Error) *api.Error {
		there := *e
		if c.Param != nil {
			there.Param = c.Param(e.Param)
		}
		return &there
	}
	reply, err := s.scores.RewardWhenRoom(ctx, &l.Call, c.Request, c.Wait.Room)
	if e, ok := errors.AsType[*api.Error](err); ok {
		return nil, placed(e)
	}
	if err != nil {
		return nil, err
	}
	if e := unreadable(c.Request, reply); e != nil {
		return nil, placed(e)
	}
	for i := range reply.Data {
		if d := &reply.Data[i]; d.Error != nil {
			d.Error = placed(d.Error)
		}
	}
	return &dialect.Result{RewardResponse: reply, Label: l.Label}, nil
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

// annotate sets what a dialect's reply says in headers, and warns once of what
// an operator should know.
func (s *Server) annotate(ctx context.Context, w http.ResponseWriter, l *requestLog, c *dialect.Call, res *dialect.Result) {
	if c.Warn != nil && res.RewardResponse != nil {
		if text := c.Warn(res); text != "" {
			if _, said := s.warned.LoadOrStore(text, true); !said {
				s.log.WarnContext(ctx, text, "model", l.Model) // res.Model is as the client calls it
			}
		}
	}
	if !c.Timed {
		return
	}
	h := w.Header()
	h.Set("X-Compute-Type", "cpu")
	h.Set("X-Compute-Characters", strconv.Itoa(c.Characters))
	h.Set("X-Compute-Tokens", strconv.Itoa(l.Tokens))
	for name, d := range map[string]time.Duration{
		"X-Compute-Time": l.Tokenize + l.Compute, "X-Total-Time": time.Since(l.start),
		"X-Tokenization-Time": l.Tokenize, "X-Queue-Time": l.Queue, "X-Inference-Time": l.Compute,
	} {
		h.Set(name, strconv.FormatInt(d.Milliseconds(), 10))
	}
}
