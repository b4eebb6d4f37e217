package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/dialect"
	"github.com/warmserve/warmserve/server/live"
)

// Config sets a Server's limits. A zero field takes the default.
type Config struct {
	// Keys are the keys that a client may send; without any, all are let in.
	// Each is 8 bytes or more of printable ASCII without spaces. Default: none.
	Keys []string

	// AdminKeys are the keys that open the routes which change models, and every
	// other route too; without any those routes are closed. Each is as one of
	// Keys. Default: none.
	AdminKeys []string
	// ModelRoot is the folder that holds every path of a request to load a
	// model; without it such requests are refused. Default: none.
	ModelRoot string
	// Reference reports whether a path of such a request is a reference to a
	// checkpoint that is no file here, as a name on a hub is, and so needs no
	// folder. Default: none is.
	Reference func(path string) bool
	// Builder makes the models that are loaded while the server runs; without
	// it Server.Changes is nil. Default: none.
	Builder live.Builder
	// StateFile holds the last good state of the models across restarts, kill -9
	// among them. One process uses it at a time. Default: none.
	StateFile string
	// ReadyWithAny makes the server ready as soon as one model is live; without
	// it all that the configuration, the state file and the first manifest name must be.
	ReadyWithAny bool
	// KeepPrevious is how long the revision before the live one is kept after
	// the swap and after each request that is pinned to it; the next load ends
	// it at once, as it needs the memory. Below 0 it is not kept. Default 60 s.
	KeepPrevious time.Duration

	// MaxBodyBytes bounds a request's body, as it is sent and as it is once
	// decompressed; default 32 MiB.
	MaxBodyBytes int64
	// MaxSequences bounds the answers in one request; default api.DefaultMaxSequences.
	MaxSequences int
	// MaxRequestTokens bounds the tokens of one request's answers together; default 1,048,576.
	MaxRequestTokens int

	// ClientTokensPerMinute bounds the tokens that one client, a key or without
	// one an address, may have scored in a minute, on all models together. Past
	// it a request is refused with 429. Default: no bound.
	ClientTokensPerMinute int
	// RequestMemory bounds the bytes that all requests hold together, from before
	// their bodies are read until their replies are written; default half of what
	// Memory leaves beside the models, from 64 MiB to 4 GiB. One request may
	// hold seven eighths of it: the rest is for small ones.
	RequestMemory int64
	// Memory is how many bytes the process may use; default unknown.
	Memory int64

	// Timeout is how long a request may take, from its first byte of body to its
	// rewards, where it does not say itself with X-Request-Timeout; default 60 s.
	Timeout time.Duration
	// MaxTimeout bounds what a request may say; default 10 minutes.
	MaxTimeout time.Duration
	// HeaderTimeout bounds the reading of a request's head, default 10 s;
	// BodyTimeout that of its body, default 60 s; WriteTimeout the writing of a
	// reply, default 60 s; IdleTimeout an idle connection's life, default 2 minutes.
	HeaderTimeout, BodyTimeout, WriteTimeout, IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's head; default 64 KiB.
	MaxHeaderBytes int
	// MaxConnections bounds the open connections; those beyond wait to be
	// accepted. Default 16,384.
	MaxConnections int

	// SeparateOps takes /metrics, /livez, /readyz and what changes models from the
	// routes of Run's listener; RunWithOps serves them on another.
	SeparateOps bool
	// NoConsole leaves out the pages for people: the console at / and /docs.
	NoConsole bool
	// TLS, when not nil, is spoken on every connection; HTTP/2 is not offered.
	TLS *tls.Config

	// DrainDelay is how long the server still takes requests after it was told
	// to stop and /readyz has turned 503, so that a load balancer sees it;
	// default 0. DrainTimeout bounds how long requests in flight may then
	// take; default 60 s.
	DrainDelay, DrainTimeout time.Duration

	// AnyModelName lets a request name the model as it likes where there is one
	// alone: clients that send a name of their own, as "gpt-4" or the path of the
	// policy, are then served. The reply says the name that was asked for, and the
	// revision. Default: a name that is none is refused.
	AnyModelName bool

	// Dialects sets what other stacks' routes answer.
	Dialects dialect.Config

	// Cards, where cards compute, says how they are doing, for the metrics: it is called
	// at each scrape and may take a second. Default: none.
	Cards func() []Card

	// Tracing, when not nil, makes spans of requests, with children for tokenising, queue
	// and compute, and of loads; none holds text of a prompt or an answer. Default: none.
	Tracing trace.TracerProvider

	// Queue sets the queue's limits. Its Observe is called beside the server's own.
	Queue batch.Config
	// Logger takes one record for each request, and faults; default slog.Default().
	Logger *slog.Logger
	// DriftScores is how many rewards of a revision, its first ones, the metrics
	// of drift compare the last as many with; default 1,000.
	DriftScores int
	// Version is written to the metric warm_build_info; default "unknown".
	Version string
}

func (c Config) withDefaults() Config {
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, 32<<20)
	c.MaxSequences = cmp.Or(c.MaxSequences, api.DefaultMaxSequences)
	c.MaxRequestTokens = cmp.Or(c.MaxRequestTokens, 1<<20)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 64<<10)
	c.MaxConnections = cmp.Or(c.MaxConnections, 16384)
	c.DriftScores = cmp.Or(c.DriftScores, 1000)
	c.Timeout = cmp.Or(c.Timeout, 60*time.Second)
	c.MaxTimeout = cmp.Or(c.MaxTimeout, 10*time.Minute)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 60*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 60*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 2*time.Minute)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 60*time.Second)
	c.KeepPrevious = cmp.Or(c.KeepPrevious, keepPreviousDefault)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.Version = cmp.Or(c.Version, "unknown")
	return c
}

// Validate reports every field that is out of range, together. It never prints a key.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxBodyBytes", c.MaxBodyBytes},
		{"MaxSequences", int64(c.MaxSequences)},
		{"MaxRequestTokens", int64(c.MaxRequestTokens)},
		{"RequestMemory", c.RequestMemory},
		{"ClientTokensPerMinute", int64(c.ClientTokensPerMinute)},
		{"Memory", c.Memory},
		{"Timeout", int64(c.Timeout)},
		{"MaxTimeout", int64(c.MaxTimeout)},
		{"HeaderTimeout", int64(c.HeaderTimeout)},
		{"BodyTimeout", int64(c.BodyTimeout)},
		{"WriteTimeout", int64(c.WriteTimeout)},
		{"IdleTimeout", int64(c.IdleTimeout)},
		{"MaxHeaderBytes", int64(c.MaxHeaderBytes)},
		{"MaxConnections", int64(c.MaxConnections)},
		{"DriftScores", int64(c.DriftScores)},
		{"DrainDelay", int64(c.DrainDelay)},
		{"DrainTimeout", int64(c.DrainTimeout)},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("server: %s is %d, want 0 for the default or more", f.name,
				f.value))
		}
	}
	checkKeys := func(what string, keys []string) {
		for i, key := range keys {
			if len(key) < 8 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
				errs = append(errs, fmt.Errorf("server: %s %d: want 8 or more printable ASCII characters without spaces", what, i+1))
			}
		}
	}
	checkKeys("key", c.Keys)
	checkKeys("administrator's key", c.AdminKeys)
	full := c.withDefaults()
	if full.Timeout > full.MaxTimeout {
		errs = append(errs, fmt.Errorf("server: Timeout %v is over MaxTimeout %v", full.Timeout,
			full.MaxTimeout))
	}
	return errors.Join(append(errs, c.Dialects.Validate(), c.Queue.Validate())...)
}
