package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/warm/reward"
)

// builder makes the server's models out of checkpoint directories.
type builder struct {
	engine *model.Engine
	models *server.Models // to know whether somebody is being served
	log    *slog.Logger
}

// Check implements server.Builder.
func (b *builder) Check(spec *api.ModelSpec) error {
	_, err := configOf(spec).deployment()
	return err
}

// Build implements server.Builder.
func (b *builder) Build(ctx context.Context, name string, spec *api.ModelSpec, progress func(string, float64)) (server.Model, error) {
	rc, err := configOf(spec).deployment()
	if err != nil {
		return nil, err
	}
	rc.Progress, rc.Open = progress, embedded.New().OpenReference
	workers := b.engine.Workers()
	if len(b.models.List()) > 0 {
		workers = max(1, workers/2) // the rest is for the requests beside it
	}
	d, err := reward.Open(ctx, rc, workers)
	if err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for _, w := range d.Warnings {
		b.log.Warn(w, "model", name)
	}
	b.log.Info("loaded", "model", name, "weights_mb", d.Bytes()/1e6, "revision", d.Revision, "seconds", d.LoadTime.Seconds())
	out := newDeployment(name, d, b.engine)
	out.info.Sample = spec.ABSample
	return out, nil
}

// spec returns the configuration as the server has it, with absolute paths: it
// may be read again by a process that was started elsewhere.
func (m *modelConfig) spec() *api.ModelSpec {
	s := &api.ModelSpec{
		Weights: m.Weights, Base: m.Base, Alpha: m.Alpha, Extrapolate: m.Extrapolate, Ignore: m.Ignore,
		Mode: m.Mode, DType: m.DType, Pooling: m.Pooling, MaxTokens: m.MaxTokens, ABSample: m.ABSample,
	}
	for _, x := range m.Members {
		s.Members = append(s.Members, api.MemberSpec(x))
	}
	if m.Guard != nil {
		s.Guard = &api.GuardSpec{Pairs: m.Guard.Pairs, MaxLoss: m.Guard.MaxLoss}
	}
	for _, p := range s.Paths() {
		if strings.HasPrefix(*p.Path, embedded.Prefix) {
			continue
		}
		path, random := strings.CutPrefix(*p.Path, randomMember)
		if abs, err := filepath.Abs(path); err == nil && path != "" {
			path = abs
		}
		if random {
			path = randomMember + path
		}
		*p.Path = path
	}
	return s
}

// configOf is the inverse of modelConfig.spec.
func configOf(s *api.ModelSpec) *modelConfig {
	m := &modelConfig{
		Weights: s.Weights, Base: s.Base, Alpha: s.Alpha, Extrapolate: s.Extrapolate, Ignore: s.Ignore,
		Mode: s.Mode, DType: s.DType, Pooling: s.Pooling, MaxTokens: s.MaxTokens, ABSample: s.ABSample,
	}
	for _, x := range s.Members {
		m.Members = append(m.Members, memberConfig(x))
	}
	return m
}
