package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
)

// told returns what a server without keys says of itself.
func told(t *testing.T, s *server.Server, path string) string {
	w := newRecorder()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	require.NoError(t, err)
	s.Handler().ServeHTTP(w, r)
	return fmt.Sprintf("%d %s", w.status, w.body.String())
}

// recorder is a reply in memory.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder                       { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header            { return r.header }
func (r *recorder) WriteHeader(status int)         { r.status = status }
func (r *recorder) Write(data []byte) (int, error) { return r.body.Write(data) }

// unwritable makes a state file impossible to write, whoever runs the test, root
// among them, and returns what ends that: its temporary files would lie in a
// folder that is a file now.
func unwritable(t *testing.T, file string) (unblock func()) {
	dir := filepath.Dir(file)
	require.NoError(t, os.Rename(dir, dir+".away"))
	require.NoError(t, os.WriteFile(dir, nil, 0o600))
	return func() {
		require.NoError(t, os.Remove(dir))
		require.NoError(t, os.Rename(dir+".away", dir))
	}
}

func TestAStateThatCannotBeWrittenDoesNotStopTheSwapAndSaysSo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	file := filepath.Join(dir, "state.json")
	l := startLive(t, server.Config{StateFile: file}, nil)
	require.Equal(t, http.StatusOK, l.put("a").status)
	assert.Empty(t, l.detail("m").Warning)
	unblock := unwritable(t, file)

	r := l.put("b")
	require.Equal(t, http.StatusOK, r.status)
	var d api.ModelDetail
	r.json(t, &d)
	assert.Equal(t, rev("b"), d.Revision, "it is live")
	assert.Contains(t, d.Warning, "will not survive a restart")
	assert.Contains(t, string(l.get("/readyz").body), "will not survive a restart", "ready, and the detail says so")
	assert.Equal(t, 1, strings.Count(l.log.String(), `"level":"ERROR","msg":"changes of models will not survive a restart"`))
	metrics := string(l.get("/metrics").body)
	assert.Contains(t, metrics, "warm_state_unsaved 1")
	assert.Contains(t, metrics, "warm_state_errors_total 1")
	gone := l.admin("DELETE", "/v1/models/m", "")
	assert.Equal(t, http.StatusOK, gone.status)
	assert.Contains(t, string(gone.body), "will not survive a restart")

	unblock()
	require.Equal(t, http.StatusOK, l.put("c").status)
	assert.Empty(t, l.detail("m").Warning)
	assert.JSONEq(t, `{"status":"ready"}`, string(l.get("/readyz").body))
	again, err := begin(t, killed(t, file), nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"m": rev("c")}, again.revisions())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 3, "the state, the one before, the lock, and no temporary file: %v", entries)
}

// TestAServerStartsOnADiskThatCannotBeWritten has a state file that cannot be
// made from the start on.
func TestAServerStartsOnADiskThatCannotBeWritten(t *testing.T) {
	full := "/dev/full/state.json" // a device in the place of a folder: nothing can be made in it
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	p, err := begin(t, full, map[string]*api.ModelSpec{"m": of("/", "a")})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"m": rev("a")}, p.revisions())
	assert.Regexp(t, `^200 .*changes of models will not survive a restart`, told(t, p.server, "/readyz"))
	require.NoError(t, p.put("m", of("/", "b")))
	assert.Equal(t, map[string]string{"m": rev("b")}, p.revisions())
}

func TestASecondServerOnAStateIsToldWhoHasIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	first, err := begin(t, file, map[string]*api.ModelSpec{"m": of("/", "a")})
	require.NoError(t, err)
	_, err = begin(t, file, nil)
	host, _ := os.Hostname()
	require.Error(t, err)
	assert.Regexp(t, fmt.Sprintf(`state.json is in use by process %d on host "%s" since \d{4}-.*: stop that server, or give this one`, os.Getpid(), host), err.Error())
	require.NoError(t, first.put("m", of("/", "b")), "the first goes on")
	first.server.Close()
	second, err := begin(t, file, map[string]*api.ModelSpec{"m": of("/", "a")})
	require.NoError(t, err, "a lock ends with its server")
	assert.Equal(t, map[string]string{"m": rev("b")}, second.revisions())
}

func TestAStateFileThatIsNotOneIsPutAsideAndTheOneBeforeIsTaken(t *testing.T) {
	spec := `{"members":["/x"]}`
	for name, content := range map[string]string{
		"empty":              "",
		"zeros":              strings.Repeat("\x00", 4096),
		"not JSON":           `{`,
		"another version":    `{"version":2,"models":{}}`,
		"an unknown field":   `{"version":1,"models":{},"more":1}`,
		"a missing spec":     `{"version":1,"models":{"m":{"generations":[{"revision":"x","time":"2026-01-01T00:00:00Z","cause":"put","load_seconds":1,"members":[]}]}}}`,
		"a wrong kind":       `{"version":1,"models":[]}`,
		"something trailing": `{"version":1,"models":{}}{}`,
		"far too deep":       `{"version":1,"models":` + strings.Repeat("[", 1<<20),
		"a model twice":      `{"version":1,"models":{"m":{"generations":[]},"m":{"generations":[]}}}`,
		"cut off":            `{"version":1,"models":{"m":{"configured":` + spec + `,"generations":[{"revision":"x","spec":` + spec,
	} {
		t.Run(name, func(t *testing.T) {
			for _, before := range []bool{true, false} {
				file := filepath.Join(t.TempDir(), "state.json")
				conf := map[string]*api.ModelSpec{"m": of("/", "a")}
				first, err := begin(t, file, conf)
				require.NoError(t, err)
				require.NoError(t, first.put("m", of("/", "b")))
				require.NoError(t, first.put("m", of("/", "c")))
				file = killed(t, file)
				require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
				want := rev("b")
				if !before {
					require.NoError(t, os.WriteFile(file+".before", []byte(content), 0o600))
					want = rev("a")
				}
				log := &logBuffer{}
				p, err := beginWith(t, file, conf, log)
				require.NoError(t, err)
				assert.Equal(t, map[string]string{"m": want}, p.revisions())
				kept, err := os.ReadFile(file + ".broken")
				require.NoError(t, err)
				assert.Equal(t, content, string(kept), "nothing is lost")
				assert.Contains(t, log.String(), `"level":"ERROR","msg":"the state cannot be read"`)
				assert.Regexp(t, `^200 .*"detail":\[".*state file`, told(t, p.server, "/readyz"))
				assert.NotContains(t, told(t, p.server, "/metrics"), "warm_state_errors_total 0")
				again, err := begin(t, killed(t, file), conf)
				require.NoError(t, err)
				assert.Equal(t, p.revisions(), again.revisions())
			}
		})
	}
}

// TestAStateWhoseCheckpointIsGoneFallsBack restarts a server whose checkpoints
// are gone by then, and once more when they are back.
func TestAStateWhoseCheckpointIsGoneFallsBack(t *testing.T) {
	conf := map[string]*api.ModelSpec{"m": of("/", "conf"), "n": of("/", "n")}
	for _, c := range []struct {
		name string
		gone []string
		want string // of m; "" for not live
		says string
	}{
		{"all is there", nil, "c", ""},
		{"the last", []string{"c"}, "b", "the generation before"},
		{"the last and the one before", []string{"b", "c"}, "conf", "the configuration"},
		{"all", []string{"conf", "b", "c"}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "state.json")
			first, err := begin(t, file, conf)
			require.NoError(t, err)
			require.NoError(t, first.put("m", of("/", "b")))
			require.NoError(t, first.put("m", of("/", "c")))
			file = killed(t, file)
			p := &process{t: t, models: live.NewModels(), factory: &factory{before: func(_ context.Context, _ string, spec *api.ModelSpec, _ func(string, float64)) error {
				for _, g := range c.gone {
					if spec.Members[0].Path == "/"+g {
						return &fs.PathError{Op: "open", Path: "/" + g, Err: fs.ErrNotExist}
					}
				}
				return nil
			}}}
			log := &logBuffer{}
			p.server, err = server.New(server.Config{Builder: p.factory, StateFile: file, Logger: slog.New(slog.NewJSONHandler(log, nil))}, p.models)
			require.NoError(t, err)
			t.Cleanup(p.server.Close)
			err = p.server.Changes().Start(t.Context(), conf)
			want := map[string]string{"n": rev("n")}
			ready := told(t, p.server, "/readyz")
			switch {
			case c.want == "":
				assert.EqualError(t, err, "model m: the last good state: open /c: file does not exist\nthe generation before, revision "+rev("b")+": open /b: file does not exist\nthe configuration says: open /conf: file does not exist")
				assert.Regexp(t, "^503 .*live models: 1; model m is not live: .*open /c: file does not exist", ready)
			case c.says == "":
				require.NoError(t, err)
				want["m"] = rev(c.want)
				assert.Contains(t, ready, `{"status":"ready"}`)
			default:
				require.NoError(t, err)
				want["m"] = rev(c.want)
				assert.Regexp(t, "^200 .*model m is served as "+c.says+".*open /c: file does not exist", ready)
				assert.Contains(t, log.String(), `"level":"ERROR","msg":"the last good state of a model cannot be loaded","model":"m"`)
				assert.Contains(t, told(t, p.server, "/metrics"), "warm_state_errors_total 1")
			}
			assert.Equal(t, want, p.revisions())
			if c.says != "" {
				for _, g := range c.gone {
					assert.LessOrEqual(t, strings.Count(log.String(), "open /"+g+": file does not exist"), 1, "each reason once: %s", log)
				}
			}
			back, err := begin(t, killed(t, file), conf)
			require.NoError(t, err)
			assert.Equal(t, map[string]string{"m": rev("c"), "n": rev("n")}, back.revisions(), "once the checkpoints are back, so is the state")
		})
	}
}

func TestGoodModelsAreServedBesideABadOne(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	broken := true
	l.factory.before = func(_ context.Context, name string, _ *api.ModelSpec, _ func(string, float64)) error {
		if name == "bad" && broken {
			return errors.New("no such shard")
		}
		return nil
	}
	conf := map[string]*api.ModelSpec{"bad": of(l.root, "a"), "good": of(l.root, "b"), "worse": {}}
	err := l.server.Changes().Start(t.Context(), conf)
	assert.EqualError(t, err, "model bad: no such shard\nmodel worse: members is missing")
	r := l.get("/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, r.status)
	message := r.error(t).Error.Message
	assert.Equal(t, "live models: 1; model bad is not live: no such shard; model worse is not live: members is missing", message)
	assert.Equal(t, http.StatusOK, l.post(`{"model":"good","inputs":[{"text":"x"}]}`).status, "the good one answers")
	assert.Contains(t, string(l.get("/metrics").body), "warm_models_missing 2")
	assert.NotContains(t, l.log.String(), `"level":"ERROR"`, "the error is the caller's to report")
	broken = false
	require.Equal(t, http.StatusNotFound, l.admin("DELETE", "/v1/models/worse", "").status)
	require.NoError(t, l.server.Changes().Reconfigure(t.Context(), map[string]*api.ModelSpec{"bad": conf["bad"], "good": conf["good"]}))
	assert.Equal(t, rev("a"), l.detail("bad").Revision)
}

func TestAModelThatIsConfiguredNoLongerIsNotWaitedFor(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	require.Error(t, l.server.Changes().Start(t.Context(), map[string]*api.ModelSpec{"bad": {}, "good": of(l.root, "b")}))
	require.Equal(t, http.StatusServiceUnavailable, l.get("/readyz").status)
	require.NoError(t, l.server.Changes().Reconfigure(t.Context(), map[string]*api.ModelSpec{"good": of(l.root, "b")}))
	assert.Equal(t, http.StatusOK, l.get("/readyz").status)
}

func TestAModelThatAReloadAddsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		p := &process{t: t, models: live.NewModels(), factory: &factory{before: func(_ context.Context, name string, _ *api.ModelSpec, _ func(string, float64)) error {
			if broken.Load() && name != "good" {
				return errors.New("no such shard")
			}
			return nil
		}}}
		var err error
		p.server, err = server.New(server.Config{Builder: p.factory, Logger: slog.New(slog.DiscardHandler)}, p.models)
		require.NoError(t, err)
		defer p.server.Close()
		changes := p.server.Changes()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		require.NoError(t, changes.Start(ctx, map[string]*api.ModelSpec{"good": of("/", "b")}))
		go changes.Retry(ctx)
		time.Sleep(time.Hour)

		conf := map[string]*api.ModelSpec{"good": of("/", "b"), "late": of("/", "a"), "never": of("/", "a")}
		require.EqualError(t, changes.Reconfigure(ctx, conf), "model late: no such shard\nmodel never: no such shard")
		conf = map[string]*api.ModelSpec{"good": of("/", "b"), "late": of("/", "a")}
		require.EqualError(t, changes.Reconfigure(ctx, conf), "model late: no such shard")
		broken.Store(false)
		time.Sleep(10 * time.Second)
		assert.Equal(t, map[string]string{"good": rev("b"), "late": rev("a")}, p.revisions(), "what is configured no longer is not tried")

		broken.Store(true)
		conf = map[string]*api.ModelSpec{"good": of("/", "c"), "late": of("/", "c")}
		require.EqualError(t, changes.Reconfigure(ctx, conf), "model late: no such shard")
		assert.Equal(t, map[string]string{"good": rev("c"), "late": rev("a")}, p.revisions(), "the one before goes on")
		broken.Store(false)
		time.Sleep(10 * time.Second)
		assert.Equal(t, map[string]string{"good": rev("c"), "late": rev("c")}, p.revisions())

		broken.Store(true)
		require.Error(t, changes.Reconfigure(ctx, map[string]*api.ModelSpec{"good": of("/", "c"), "late": of("/", "d")}))
		ld, err := changes.Put("good", of("/", "e"), "test")
		require.NoError(t, err)
		require.NoError(t, ld.Wait(ctx))
		require.NoError(t, changes.Reconfigure(ctx, conf), "what is live is as it says")
		broken.Store(false)
		time.Sleep(time.Hour)
		assert.Equal(t, map[string]string{"good": rev("e"), "late": rev("c")}, p.revisions(), "and what was said before is not tried")
	})
}

func TestReadinessMayNeedOneModelAlone(t *testing.T) {
	l := startLive(t, server.Config{ReadyWithAny: true}, nil)
	require.Error(t, l.server.Changes().Start(t.Context(), map[string]*api.ModelSpec{"bad": {}, "good": of(l.root, "b")}))
	assert.Equal(t, http.StatusOK, l.get("/readyz").status)
}

func TestAStrangerIsNotToldWhyAModelIsMissing(t *testing.T) {
	l := startLive(t, server.Config{Keys: []string{"a-key-of-users"}}, nil)
	require.Error(t, l.server.Changes().Start(t.Context(), map[string]*api.ModelSpec{"bad": {}, "good": of(l.root, "b")}))
	assert.Equal(t, "live models: 1; model bad is not live: its load failed", l.get("/readyz").error(t).Error.Message)
	assert.Contains(t, l.get("/readyz", "Authorization", "Bearer a-key-of-users").error(t).Error.Message, "members is missing")
}

func TestABadModelOfALaterManifestTakesNoServerOutOfService(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	live := l.server.Changes()
	require.Error(t, live.Sync(t.Context(), "1", map[string]*api.ModelSpec{"m": of(l.root, "a"), "bad": {}}))
	assert.Equal(t, http.StatusServiceUnavailable, l.get("/readyz").status, "the first manifest is waited for")
	require.NoError(t, live.Sync(t.Context(), "2", map[string]*api.ModelSpec{"m": of(l.root, "a")}))
	assert.Equal(t, http.StatusOK, l.get("/readyz").status, "one that lacks the bad model mends it")
	require.Error(t, live.Sync(t.Context(), "3", map[string]*api.ModelSpec{"m": of(l.root, "a"), "bad": {}}))
	assert.Equal(t, http.StatusOK, l.get("/readyz").status)
}

// TestTheFirstLoadDoesNotWaitForEarlierRevisions reads what a load says of itself before its builder has said anything.
func TestTheFirstLoadDoesNotWaitForEarlierRevisions(t *testing.T) {
	doing := make(chan string, 1)
	var l *managed
	l = startLive(t, server.Config{}, &factory{before: func(_ context.Context, name string, _ *api.ModelSpec, _ func(string, float64)) error {
		doing <- l.detail(name).Loads[0].Doing
		return nil
	}})
	for _, member := range []string{"a", "b"} { // a second load waits where a request holds what was before alone
		require.Equal(t, http.StatusOK, l.put(member).status)
		assert.Equal(t, "opening", <-doing)
	}
}

// TestAFileThatIsNoStateIsLeftAlone gives the server's state a mistaken path.
func TestAFileThatIsNoStateIsLeftAlone(t *testing.T) {
	for name, content := range map[string]string{
		"a configuration of a checkpoint": `{"architectures":["LlamaForSequenceClassification"]}`,
		"YAML":                            "models:\n  m: {members: [a]}\n",
		"bytes":                           "\x7fELF\xff\xfe",
		"brackets":                        strings.Repeat("[", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.json")
			require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
			p, err := begin(t, file, map[string]*api.ModelSpec{"m": of("/", "a")})
			require.NoError(t, err)
			require.NoError(t, p.put("m", of("/", "b")))
			assert.Equal(t, map[string]string{"m": rev("b")}, p.revisions())
			assert.Regexp(t, "^200 .*no state file that this program wrote, and is left alone", told(t, p.server, "/readyz"))
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, content, string(data))
		})
	}
	dir := filepath.Join(t.TempDir(), "folder")
	require.NoError(t, os.Mkdir(dir, 0o700))
	p, err := begin(t, dir, map[string]*api.ModelSpec{"m": of("/", "a")})
	require.NoError(t, err)
	assert.Regexp(t, "^200 .*will not survive", told(t, p.server, "/readyz"))
}
