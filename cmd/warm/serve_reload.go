package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"

	"github.com/warmserve/warmserve/server"
)

// hangups keeps SIGHUP and a closed log from ending the server, from the start
// of its life on: the first asks for its configuration to be read again, and a
// log that nobody reads any more is no reason to drop requests.
func hangups() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	return c, func() {
		signal.Stop(c)
		signal.Reset(syscall.SIGPIPE)
	}
}

// reloading is what may change while the server runs, and what it was.
type reloading struct {
	program      *program
	flags        *serveFlags
	changed      func(string) bool
	config       serveConfig
	demo         bool // whether the embedded model is served since no other is named
	server       *server.Server
	certificates *certificate // nil without TLS
	level        *slog.LevelVar
	log          *slog.Logger
}

// run reads the configuration again at each signal, until ctx ends.
func (r *reloading) run(ctx context.Context, hangup <-chan os.Signal) {
	for {
		select {
		case <-hangup:
		case <-ctx.Done():
			return
		}
		err := r.reload(ctx)
		if ctx.Err() != nil {
			return
		}
		r.server.ConfigReloaded(err)
		if err != nil {
			r.log.Error("the configuration was read again, and what is wrong with it stays as it was",
				"error", err.Error())
			continue
		}
		r.log.Info("the configuration was read again")
	}
}

// reload carries out a configuration: whole, or not at all where it cannot be
// read; models that cannot be loaded stay as they were.
func (r *reloading) reload(ctx context.Context) error {
	c, err := r.flags.settings(r.program.getenv, r.changed)
	if err != nil {
		return err
	}
	if r.demo && len(c.Models) == 0 {
		c.Models = r.config.Models
	}
	keys, adminKeys, err := c.keys(r.program.getenv)
	if err != nil {
		return err
	}
	if r.certificates != nil {
		if err := r.certificates.again(); err != nil {
			return err
		}
	}
	if err := r.server.SetKeys(keys, adminKeys); err != nil {
		return err
	}
	if len(keys) == 0 && r.config.KeyFile != "" {
		r.log.Warn("no API key is asked for any more")
	}
	r.level.Set(c.level())
	if fixed := r.config.fixed(&c); len(fixed) > 0 {
		r.log.Warn("these settings change only with a restart", "settings", strings.Join(fixed, ","))
	}
	r.config.Models, r.config.KeyFile = c.Models, c.KeyFile
	return r.server.Changes().Reconfigure(ctx, c.Models)
}

// fixed lists the settings in which a new configuration differs from c, and
// that hold as long as the process does.
func (c *serveConfig) fixed(next *serveConfig) []string {
	var out []string
	a, b := reflect.ValueOf(*c), reflect.ValueOf(*next)
	for i := range a.NumField() {
		name := a.Type().Field(i).Tag.Get("yaml")
		switch name {
		case "models", "key_file", "admin_key_file", "log_level":
			continue
		}
		if !a.Type().Field(i).IsExported() {
			continue
		}
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			out = append(out, name)
		}
	}
	return out
}

// keys reads the keys of clients and of administrators.
func (c *serveConfig) keys(getenv func(string) string) (keys, admins []string, err error) {
	keys, err = readKeys("WARM_API_KEY", "key_file", c.KeyFile, getenv)
	admins, adminErr := readKeys("WARM_ADMIN_KEY", "admin_key_file", c.AdminKeyFile, getenv)
	return keys, admins, errors.Join(err, adminErr)
}

// level returns the least level that is logged.
func (c *serveConfig) level() slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(c.LogLevel)) // validate has read it; "" is info
	return l
}

// newLog returns the log of a server, whose times are numbers of seconds.
func (p *program) newLog(format string, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.Float64Value(a.Value.Duration().Seconds())
		}
		return a
	}}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(p.stderr, o))
	}
	w := p.stderr
	if painted(w) {
		w = paintedLog{w}
	}
	return slog.New(slog.NewTextHandler(w, o))
}
