package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

const adminKey = "admin-key-1"

// factory is a builder of fakes: a revision is the hash of its members' names.
type factory struct {
	mu     sync.Mutex
	built  []string // the first member of each build
	before func(ctx context.Context, name string, spec *api.ModelSpec, progress func(string, float64)) error
	change func(spec *api.ModelSpec, m *servertest.Model)
	memory int64 // of each model

	pairs      []api.Pair // of every guard
	pairsError error
}

func revisionOf(spec *api.ModelSpec) string {
	var names []string
	for _, m := range spec.Members {
		names = append(names, filepath.Base(m.Path))
	}
	sum := sha256.Sum256([]byte(strings.Join(names, ",") + spec.Mode))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (f *factory) Check(spec *api.ModelSpec) error {
	if spec.DType == "float12" {
		return errors.New(`unknown dtype "float12"`)
	}
	return nil
}

func (f *factory) Build(ctx context.Context, name string, spec *api.ModelSpec, progress func(string, float64)) (live.Model, error) {
	f.mu.Lock()
	f.built = append(f.built, filepath.Base(spec.Members[0].Path))
	f.mu.Unlock()
	if f.before != nil {
		if err := f.before(ctx, name, spec, progress); err != nil {
			return nil, err
		}
	}
	progress("reading", 0.5)
	m := servertest.New(name, func(i *live.Info) {
		i.Revision, i.Members, i.Memory, i.Aliases = revisionOf(spec), nil, f.memory, spec.Aliases
		for _, x := range spec.Members {
			n := x.Name
			if n == "" {
				n = filepath.Base(x.Path)
			}
			i.Members = append(i.Members, n)
		}
		switch {
		case spec.Mode == "" || spec.Mode == "wa":
			i.Modes = []string{"wa"}
		case spec.Mode == "both":
			i.Modes = []string{"wa", "ens", "both"}
		default:
			i.Mode, i.Modes = spec.Mode, []string{spec.Mode}
		}
	})
	for lane, fake := range m.Fakes {
		sum := sha256.Sum256([]byte(revisionOf(spec) + lane))
		fake.Seed = uint64(sum[0])<<8 | uint64(sum[1])
	}
	if f.change != nil {
		f.change(spec, m)
	}
	return m, nil
}

func (f *factory) Pairs(string) ([]api.Pair, error) { return f.pairs, f.pairsError }

func (f *factory) builds() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.built)
}

// of returns the spec of the average of some members under root.
func of(root string, members ...string) *api.ModelSpec {
	s := &api.ModelSpec{}
	for _, m := range members {
		s.Members = append(s.Members, api.MemberSpec{Path: filepath.Join(root, m)})
	}
	return s
}

// managed is a harness whose models can be changed: its folder of models holds
// the empty folders a to f.
type managed struct {
	*harness
	factory *factory
	root    string
}

func startLive(t *testing.T, cfg server.Config, f *factory) *managed {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		require.NoError(t, os.Mkdir(filepath.Join(root, n), 0o700))
	}
	if f == nil {
		f = &factory{}
	}
	cfg.Builder, cfg.ModelRoot = f, root
	if cfg.AdminKeys == nil {
		cfg.AdminKeys = []string{adminKey}
	}
	return &managed{start(t, cfg), f, root}
}

// admin sends a request with the administrator's key.
func (l *managed) admin(method, path, body string) *reply {
	l.t.Helper()
	return l.do(method, path, body, "Authorization", "Bearer "+adminKey)
}

// put makes the average of members live as m.
func (l *managed) put(members ...string) *reply {
	l.t.Helper()
	body, err := json.Marshal(map[string]any{"members": members})
	require.NoError(l.t, err)
	return l.admin("PUT", "/v1/models/m?wait=true", string(body))
}

func (l *managed) detail(name string) (d api.ModelDetail) {
	l.t.Helper()
	r := l.get("/v1/models/" + name)
	require.Equal(l.t, http.StatusOK, r.status, "%s", r.body)
	r.json(l.t, &d)
	return d
}

// rev returns the revision that the factory makes of members.
func rev(members ...string) string { return revisionOf(of("", members...)) }
