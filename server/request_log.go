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
	"go.opentelemetry.io/otel/trace"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/score"
)

// requestLog is what the log and the metrics say of one request. Its handler
// fills it in; it holds nothing that a client wrote but the id, which is checked,
// and the pin, which is not written anywhere, as the client's name is not.
type requestLog struct {
	score.Call
	raw   http.ResponseWriter // the connection's own
	start time.Time
	span  trace.Span // nil where there is none

	status int // 0 until the reply's head is written
	bytes  int64
	code   api.Code
	shape  *dialect.Shape // of errors; nil is the native one
	media  []string       // that the body may be besides JSON
}

// about notes which model a reply describes; none when it is not live.
func (l *requestLog) about(d *api.ModelDetail) {
	if d.Model != nil {
		l.Revision = d.Revision
	}
}

type logKey struct{}

// logOf returns the log of a request that passed observe.
func logOf(r *http.Request) *requestLog { return r.Context().Value(logKey{}).(*requestLog) }

// observe gives a request its log and its id, and records it when it is over.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := &requestLog{raw: w, start: time.Now(), shape: dialect.ShapeOf(r.URL.Path)}
		l.ID, l.Client, l.Pin = requestID(r.Header.Get("X-Request-Id")), s.clientOf(r), r.Header.Get(live.PinHeader)
		w.Header().Set("X-Request-Id", l.ID)
		s.bodies.limit(w, r)
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		r = r.WithContext(s.traced(context.WithValue(r.Context(), logKey{}, l), r, l))
		defer s.letGo(l)
		defer s.record(r, l)
		next.ServeHTTP(&recorder{ResponseWriter: w, log: l}, r)
	})
}

// record writes the request's line to the log and counts it.
func (s *Server) record(r *http.Request, l *requestLog) {
	took := time.Since(l.start)
	// Only patterns of ours are written: a path that matches none is a
	// client's own words.
	route := chi.RouteContext(r.Context()).RoutePattern()
	if route == "" || strings.Contains(route, "*") {
		route = "unmatched"
	}
	if l.status == 0 {
		l.status = http.StatusOK
	}
	for _, fault := range l.Faults {
		s.logFault(r.Context(), l, fault)
	}
	s.metrics.request(route, l, took)
	s.endSpan(r.Context(), l, methodName(r.Method), route)
	level := logLevel(r, l)
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", l.ID), slog.String("method", methodName(r.Method)), slog.String("route", route),
		slog.Int("status", l.status), slog.Float64("seconds", inSeconds(took)), slog.Int64("bytes", l.bytes),
		slog.String("remote", r.RemoteAddr),
	}
	if l.code != "" {
		attrs = append(attrs, slog.String("code", string(l.code)))
	}
	if l.Sequences > 0 {
		attrs = append(attrs, slog.String("model", l.Model), slog.String("mode", l.Mode),
			slog.Int("sequences", l.Sequences), slog.Int("tokens", l.Tokens),
			slog.Float64("tokenize_seconds", inSeconds(l.Tokenize)),
			slog.Float64("queue_seconds", inSeconds(l.Queue)),
			slog.Float64("compute_seconds", inSeconds(l.Compute)))
	}
	if l.Refused > 0 {
		attrs = append(attrs, slog.Int("refused", l.Refused))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// logLevel returns the level of a request's line. A server that has nothing to
// serve yet, is stopping or full has no fault, and probes and scrapes, which
// come every few seconds, are of interest to nobody until they fail otherwise.
func logLevel(r *http.Request, l *requestLog) slog.Level {
	expected := l.code == api.CodeNotReady || l.code == api.CodeDraining || l.code == api.CodeRevisionGone
	switch {
	case watches(r) && (l.status < 400 || expected):
		return slog.LevelDebug
	case l.status >= 500 && !expected && l.code != api.CodeOverloaded && l.code != api.CodeDeadlineExceeded:
		return slog.LevelError
	case l.status >= 400:
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
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
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
			l := logOf(r)
			s.metrics.panics.Inc()
			s.log.ErrorContext(r.Context(), "panic in a handler", "id", l.ID, "panic", batch.PanicText(v), "stack",
				string(debug.Stack()))
			if l.status != 0 {
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
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' ||
			r == '_' || r == '-')
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
	log *requestLog
}

func (w *recorder) WriteHeader(status int) {
	if w.log.status == 0 && status >= 200 {
		w.log.status = status
		if w.log.Revision != "" {
			w.Header().Set("X-Model-Revision", w.log.Revision)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.log.status == 0 {
		w.log.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.log.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
