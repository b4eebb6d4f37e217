package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/warm/serve"
)

// serveMembers returns a function that starts the server of warm serve on a port of
// this machine, for experiments that ask for rewards as a training would.
func (p *program) serveMembers(workers int) func(ctx context.Context, name string, members []string,
	mode string) (string, func() error, error) {
	return func(ctx context.Context, name string, members []string, mode string) (url string,
		stop func() error, err error) {
		spec := &api.ModelSpec{Mode: mode, DType: "float32"}
		for i, dir := range members {
			spec.Members = append(spec.Members,
				api.MemberSpec{Name: fmt.Sprintf("member-%d", i+1), Path: dir})
		}
		log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
		s, err := serve.New(serve.Config{Threads: workers,
			Server: server.Config{Logger: log, Version: version()}})
		if err != nil {
			return "", nil, err
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.Close()
			return "", nil, err
		}
		// The server outlives ctx until it is stopped: who is interrupted may still
		// want the rewards of the step that it saves.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan error, 1)
		go func() { ended <- s.Server.Run(ctx, ln) }()
		stop = func() error {
			cancel()
			err := <-ended
			s.Close()
			return err
		}
		if err := s.Changes().Start(ctx, map[string]*api.ModelSpec{name: spec}); err != nil {
			return "", nil, errors.Join(err, stop())
		}
		return "http://" + ln.Addr().String(), stop, nil
	}
}
