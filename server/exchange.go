package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/memory"
)

// exchange is what the log and the metrics say of one request. Its handler
// fills it in; it holds nothing that a client wrote but the id, which is checked,
// and the pin, which is not written anywhere.
type exchange struct {
	id    string
	raw   http.ResponseWriter // the connection's own
	from  string              // whose it is, see clientOf; not written anywhere
	pin   string              // the X-Pin-Revision header, as it was sent
	start time.Time

	status int // 0 until the reply's head is written
	bytes  int64
	code   api.Code

	shape   *dialect.Shape  // of errors; nil is the native one
	reading dialect.Reading // how a dialect's inputs are read
	label   string          // the model's name for its score
	queued  int             // tokens that the queue would have to take

	hold    *memory.Hold // of the request's memory, until its reply is written; nil before its body is read
	charged int          // tokens that were taken from its client's quota
	text    int64        // bytes of it for the body and what is decoded and rendered from it

	revision                 string // of the model that the reply is about; its header
	model, mode              string
	sequences, tokens        int
	refused                  int // answers that were refused alone
	tokenize, queue, compute time.Duration
}

// about notes which model a reply describes; none when it is not live.
func (x *exchange) about(d *api.ModelDetail) {
	if d.Model != nil {
		x.revision = d.Revision
	}
}

type exchangeKey struct{}

// exchangeOf returns the exchange of a request that passed observe.
func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

// observe gives a request its exchange and its id, and records it when it is over.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{id: requestID(r.Header.Get("X-Request-Id")), raw: w, from: s.clientOf(r), pin: r.Header.Get(live.PinHeader), start: time.Now(), shape: dialect.ShapeOf(r.URL.Path)}
		w.Header().Set("X-Request-Id", x.id)
		s.bodies.limit(w, r)
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		defer s.letGo(x)
		defer s.record(r, x)
		next.ServeHTTP(&recorder{ResponseWriter: w, x: x}, r)
	})
}

// record writes the request's line to the log and counts it.
func (s *Server) record(r *http.Request, x *exchange) {
	took := time.Since(x.start)
	// Only patterns of ours are written: a path that matches none is a
	// client's own words.
	route := chi.RouteContext(r.Context()).RoutePattern()
	if route == "" || strings.Contains(route, "*") {
		route = "unmatched"
	}
	if x.status == 0 {
		x.status = http.StatusOK
	}
	s.metrics.request(route, x, took)
	level := logLevel(r, x)
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", x.id), slog.String("method", methodName(r.Method)), slog.String("route", route),
		slog.Int("status", x.status), slog.Float64("seconds", inSeconds(took)), slog.Int64("bytes", x.bytes), slog.String("remote", r.RemoteAddr),
	}
	if x.code != "" {
		attrs = append(attrs, slog.String("code", string(x.code)))
	}
	if x.sequences > 0 {
		attrs = append(attrs, slog.String("model", x.model), slog.String("mode", x.mode),
			slog.Int("sequences", x.sequences), slog.Int("tokens", x.tokens),
			slog.Float64("tokenize_seconds", inSeconds(x.tokenize)), slog.Float64("queue_seconds", inSeconds(x.queue)), slog.Float64("compute_seconds", inSeconds(x.compute)))
	}
	if x.refused > 0 {
		attrs = append(attrs, slog.Int("refused", x.refused))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// logLevel returns the level of a request's line. A server that has nothing to
// serve yet, is stopping or full has no fault, and probes and scrapes, which
// come every few seconds, are of interest to nobody until they fail otherwise.
func logLevel(r *http.Request, x *exchange) slog.Level {
	expected := x.code == api.CodeNotReady || x.code == api.CodeDraining
	switch {
	case watches(r) && (x.status < 400 || expected):
		return slog.LevelDebug
	case x.status >= 500 && !expected && x.code != api.CodeOverloaded && x.code != api.CodeDeadlineExceeded:
		return slog.LevelError
	case x.status >= 400:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// watches reports whether a request is a probe or a scrape.
func watches(r *http.Request) bool { return r.URL.Path == "/metrics" || public(r) }

// inSeconds returns a time in seconds, to the microsecond.
func inSeconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }

// methodName returns a method that HTTP knows, as a client may send any word.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return "other"
}

// contain keeps a handler's panic to its own request.
func (s *Server) contain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			x := exchangeOf(r)
			s.metrics.panics.Inc()
			s.log.Error("panic in a handler", "id", x.id, "panic", batch.PanicText(v), "stack", string(debug.Stack()))
			if x.status != 0 {
				panic(http.ErrAbortHandler) // half a reply must not look like a whole one
			}
			s.writeError(w, r, wireError(nil))
		}()
		next.ServeHTTP(w, r)
	})
}

// requestID returns the client's id when it is fit for a log, else a new one.
func requestID(sent string) string {
	sane := len(sent) > 0 && len(sent) <= 128 && !strings.ContainsFunc(sent, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	})
	if sane {
		return sent
	}
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// recorder notes what is written.
type recorder struct {
	http.ResponseWriter
	x *exchange
}

func (w *recorder) WriteHeader(status int) {
	if w.x.status == 0 && status >= 200 {
		w.x.status = status
		if w.x.revision != "" {
			w.Header().Set("X-Model-Revision", w.x.revision)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.x.status == 0 {
		w.x.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.x.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
