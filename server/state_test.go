package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
)

// process is one life of a server with a state file.
type process struct {
	t       *testing.T
	server  *server.Server
	models  *live.Models
	factory *factory
}

func begin(t *testing.T, file string, configured map[string]*api.ModelSpec) (*process, error) {
	return beginWith(t, file, configured, io.Discard)
}

// beginWith is begin with a log.
func beginWith(t *testing.T, file string, configured map[string]*api.ModelSpec, log io.Writer) (*process, error) {
	p := &process{t: t, models: live.NewModels(), factory: &factory{}}
	var err error
	p.server, err = server.New(server.Config{Builder: p.factory, StateFile: file, Logger: slog.New(slog.NewJSONHandler(log, nil))}, p.models)
	if err != nil {
		return p, err
	}
	t.Cleanup(p.server.Close)
	return p, p.server.Changes().Start(t.Context(), configured)
}

// killed returns a state file as the process that uses it would leave it if it
// were killed now: its lock ends with it, and it says nothing.
func killed(t *testing.T, file string) string {
	copied := filepath.Join(t.TempDir(), filepath.Base(file))
	for _, suffix := range []string{"", ".before"} {
		data, err := os.ReadFile(file + suffix)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(copied+suffix, data, 0o600))
	}
	return copied
}

// revisions returns what is live, by name.
func (p *process) revisions() map[string]string {
	out := map[string]string{}
	for _, i := range p.models.List() {
		out[i.ID] = i.Revision
	}
	return out
}

func (p *process) put(name string, spec *api.ModelSpec) error {
	ld, err := p.server.Changes().Put(name, spec, "test")
	require.NoError(p.t, err)
	return ld.Wait(p.t.Context())
}

func TestARestartServesTheLastGoodState(t *testing.T) {
	type specs = map[string]*api.ModelSpec
	conf := specs{"m": of("/", "a"), "n": of("/", "b")}
	for _, c := range []struct {
		name string
		live func(p *process) // in the first life
		then specs            // the configuration of the second; nil for the same
		want map[string]string
	}{
		{"what is configured", func(*process) {}, nil, map[string]string{"m": rev("a"), "n": rev("b")}},
		{"what was put in its place", func(p *process) { require.NoError(t, p.put("m", of("/", "c"))) }, nil, map[string]string{"m": rev("c"), "n": rev("b")}},
		{"what was put beside it", func(p *process) { require.NoError(t, p.put("o", of("/", "c"))) }, nil, map[string]string{"m": rev("a"), "n": rev("b"), "o": rev("c")}},
		{"not what failed", func(p *process) {
			p.factory.before = func(context.Context, string, *api.ModelSpec, func(string, float64)) error { return errors.New("no") }
			require.Error(t, p.put("m", of("/", "c")))
		}, nil, map[string]string{"m": rev("a"), "n": rev("b")}},
		{"not what was removed", func(p *process) { require.NoError(t, p.server.Changes().Remove("m", "test")) }, nil, map[string]string{"n": rev("b")}},
		{"what was rolled back to", func(p *process) {
			require.NoError(t, p.put("m", of("/", "c")))
			ld, err := p.server.Changes().Rollback(t.Context(), "m")
			require.NoError(t, err)
			require.NoError(t, ld.Wait(t.Context()))
		}, nil, map[string]string{"m": rev("a"), "n": rev("b")}},
		{"a configuration that changed since", func(p *process) { require.NoError(t, p.put("m", of("/", "c"))) },
			specs{"m": of("/", "d"), "n": of("/", "b")}, map[string]string{"m": rev("d"), "n": rev("b")}},
		{"a configuration that changed after a removal", func(p *process) { require.NoError(t, p.server.Changes().Remove("m", "test")) },
			specs{"m": of("/", "d"), "n": of("/", "b")}, map[string]string{"m": rev("d"), "n": rev("b")}},
		{"not what is configured no longer", func(*process) {}, specs{"n": of("/", "b")}, map[string]string{"n": rev("b")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "state.json")
			first, err := begin(t, file, conf)
			require.NoError(t, err)
			c.live(first)
			then := c.then
			if then == nil {
				then = conf
			}
			file = killed(t, file)
			second, err := begin(t, file, then)
			require.NoError(t, err)
			assert.Equal(t, c.want, second.revisions())
			third, err := begin(t, killed(t, file), then)
			require.NoError(t, err)
			assert.Equal(t, c.want, third.revisions(), "and once more")
		})
	}
}

func TestARollbackWorksAfterARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	first, err := begin(t, file, nil)
	require.NoError(t, err)
	require.NoError(t, first.put("m", of("/", "a")))
	require.NoError(t, first.put("m", of("/", "b")))
	second, err := begin(t, killed(t, file), nil)
	require.NoError(t, err)
	ld, err := second.server.Changes().Rollback(t.Context(), "m")
	require.NoError(t, err)
	require.NoError(t, ld.Wait(t.Context()))
	assert.Equal(t, rev("a"), ld.Revision())
	assert.Equal(t, map[string]string{"m": rev("a")}, second.revisions())
}

func TestAManifestIsCarriedOutOnce(t *testing.T) {
	type specs = map[string]*api.ModelSpec
	file := filepath.Join(t.TempDir(), "state.json")
	conf := specs{"conf": of("/", "f")}
	p, err := begin(t, file, conf)
	require.NoError(t, err)
	sync := func(digest string, s specs) error { return p.server.Changes().Sync(t.Context(), digest, s) }
	require.NoError(t, sync("1", specs{"m": of("/", "a"), "n": of("/", "b")}))
	assert.Equal(t, map[string]string{"conf": rev("f"), "m": rev("a"), "n": rev("b")}, p.revisions())

	builds := p.factory.builds()
	require.NoError(t, sync("1", specs{"m": of("/", "a"), "n": of("/", "b")}))
	assert.Equal(t, builds, p.factory.builds(), "the same manifest is no work")
	require.NoError(t, sync("2", specs{"m": of("/", "a"), "n": of("/", "c")}))
	assert.Equal(t, builds+1, p.factory.builds(), "only what changed is loaded")

	require.NoError(t, p.put("m", of("/", "d")))
	require.NoError(t, sync("2", specs{"m": of("/", "a"), "n": of("/", "c")}))
	assert.Equal(t, rev("d"), p.revisions()["m"], "what was put since stays until the manifest changes")
	file = killed(t, file)
	p, err = begin(t, file, conf)
	require.NoError(t, err)
	require.NoError(t, sync("2", specs{"m": of("/", "a"), "n": of("/", "c")}))
	assert.Equal(t, map[string]string{"conf": rev("f"), "m": rev("d"), "n": rev("c")}, p.revisions(), "over a restart, too")

	require.NoError(t, sync("3", specs{"m": of("/", "a")}))
	assert.Equal(t, map[string]string{"conf": rev("f"), "m": rev("a")}, p.revisions(), "what the manifest lacks now is removed, what is not its own is not")

	p.factory.before = func(_ context.Context, name string, _ *api.ModelSpec, _ func(string, float64)) error {
		if name == "bad" {
			return errors.New("no checkpoint")
		}
		return nil
	}
	err = sync("4", specs{"bad": of("/", "a"), "k": of("/", "b")})
	assert.ErrorContains(t, err, "model bad")
	assert.Equal(t, map[string]string{"conf": rev("f"), "m": rev("a"), "k": rev("b")}, p.revisions(), "nothing is removed before all is there")
	p.factory.before = nil
	require.NoError(t, sync("4", specs{"bad": of("/", "a"), "k": of("/", "b")}))
	assert.Equal(t, map[string]string{"conf": rev("f"), "bad": rev("a"), "k": rev("b")}, p.revisions())
}

func TestDeletedModelsOfAManifestStayDeletedUntilItChanges(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	manifest := map[string]*api.ModelSpec{"m": of(l.root, "a"), "n": of(l.root, "b")}
	require.NoError(t, l.server.Changes().Sync(t.Context(), "1", manifest))
	require.Equal(t, http.StatusOK, l.admin("DELETE", "/v1/models/m", "").status)
	require.NoError(t, l.server.Changes().Sync(t.Context(), "1", manifest))
	assert.Equal(t, http.StatusNotFound, l.get("/v1/models/m").status)
	require.NoError(t, l.server.Changes().Sync(t.Context(), "2", manifest))
	assert.Equal(t, rev("a"), l.detail("m").Revision)
}

func TestWhatAKillLeftBesideTheStateIsRemoved(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	left := filepath.Join(filepath.Dir(file), ".state.json.tmp-123")
	other := filepath.Join(filepath.Dir(file), "state.json.bak")
	for _, path := range []string{left, other} {
		require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	}
	_, err := begin(t, file, nil)
	require.NoError(t, err)
	assert.NoFileExists(t, left)
	assert.FileExists(t, other)
	_, err = begin(t, filepath.Join(t.TempDir(), "no", "state.json"), nil)
	assert.ErrorContains(t, err, "state file", "a folder that is not there is told at the start")
}
