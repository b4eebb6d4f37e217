package mirror

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/bucket"
	"github.com/warmserve/warmserve/loader/bucket/buckettest"
	"github.com/warmserve/warmserve/trainer/state"
)

// machine is one with a working directory of its own.
type machine struct {
	*Mirror
	t    *testing.T
	said []string
}

func newMachine(t *testing.T, s *buckettest.Store, dir string) *machine {
	for k, v := range s.Env() {
		t.Setenv(k, v)
	}
	folder, err := bucket.Stores{S3: s.URL, GS: s.URL}.Open("s3://bucket/lab")
	require.NoError(t, err)
	m := &machine{t: t}
	m.Mirror, err = New(folder, dir, func(text string) { m.said = append(m.said, text) })
	require.NoError(t, err)
	return m
}

func (m *machine) out() string { return filepath.Join(m.Dir(), "runs", "rm-1") }

// begin holds the run.
func (m *machine) begin() (*held, error) {
	h, err := m.Hold(m.t.Context(), m.out(), m.out(), state.Dir(m.out()))
	if err != nil {
		return nil, err
	}
	return h.(*held), nil
}

func (m *machine) mustBegin() *held {
	h, err := m.begin()
	require.NoError(m.t, err)
	return h
}

// die ends the process without a word.
func (h *held) die() {
	h.stop()
	h.lock.Close()
}

// write makes the run's directories be these files.
func (m *machine) write(files map[string]string) {
	require.NoError(m.t, os.RemoveAll(m.out()))
	require.NoError(m.t, os.RemoveAll(state.Dir(m.out())))
	for name, text := range files {
		path := filepath.Join(m.Dir(), "runs", name)
		require.NoError(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(m.t, os.WriteFile(path, []byte(text), 0o600))
	}
}

// files are those of the run's directories.
func (m *machine) files() map[string]string {
	out := map[string]string{}
	root := filepath.Join(m.Dir(), "runs")
	require.NoError(m.t, os.MkdirAll(root, 0o755))
	require.NoError(m.t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		out[filepath.ToSlash(rel)] = string(text)
		return err
	}))
	return out
}

var (
	early  = map[string]string{"rm-1.train/state.safetensors": "1", "rm-1.train/metrics.jsonl": "a"}
	late   = map[string]string{"rm-1.train/state.safetensors": "2", "rm-1.train/metrics.jsonl": "ab"}
	result = map[string]string{"rm-1/model.safetensors": "w", "rm-1/config.json": "{}", "rm-1/training.json": "[]", "rm-1/tokenizer.json": "t"}
	other  = map[string]string{"rm-1/model.safetensors": "W", "rm-1/config.json": "{1}", "rm-1/training.json": "[1]", "rm-1/model.bin": "more"}
)

func TestARunGoesOnOnAnotherMachine(t *testing.T) {
	s := buckettest.New(t)
	a, b := newMachine(t, s, t.TempDir()), newMachine(t, s, t.TempDir())
	for _, files := range []map[string]string{early, late, result, other, result} {
		h := a.mustBegin()
		a.write(files)
		require.NoError(t, h.Save(t.Context()))
		require.NoError(t, h.Save(t.Context()), "nothing is new")
		require.NoError(t, h.Close())
		g := b.mustBegin()
		assert.Equal(t, files, b.files())
		require.NoError(t, g.Close())
		assert.Len(t, s.Objects(), len(files)+1, "and its index: no version is left behind")
		a, b = b, a
	}
	assert.Equal(t, "w", string(s.Objects()["bucket/lab/runs/rm-1/model.safetensors"]), "results lie under their names")
	assert.Empty(t, append(a.said, b.said...))
	assert.Equal(t, "s3://bucket/lab/runs/rm-1", a.Name(a.out()))
	local, ok := a.Local("s3://bucket/lab/runs/rm-1")
	assert.True(t, ok)
	assert.Equal(t, a.out(), local)
	_, ok = a.Local("s3://bucket/lab/../x")
	assert.False(t, ok)
}

// TestAnInterruptedUpload ends it before each of its requests: another machine finds what was
// there before or all that is new, and who lists the folder no checkpoint that is not whole.
func TestAnInterruptedUpload(t *testing.T) {
	for name, c := range map[string]struct{ before, after map[string]string }{
		"of a state": {early, late}, "of a result": {late, result}, "of another result": {other, result},
	} {
		t.Run(name, func(t *testing.T) {
			for n := int32(0); ; n++ {
				s := buckettest.New(t)
				a := newMachine(t, s, t.TempDir())
				h := a.mustBegin()
				a.write(c.before)
				require.NoError(t, h.Save(t.Context()))
				a.write(c.after)
				var seen atomic.Int32
				s.Break(func(w http.ResponseWriter, _ *http.Request) bool {
					if seen.Add(1) <= n {
						return false
					}
					w.WriteHeader(http.StatusForbidden)
					return true
				})
				err := h.Save(t.Context())
				h.die()
				s.Break(nil)
				s.Later(time.Hour)
				b := newMachine(t, s, t.TempDir())
				g := b.mustBegin()
				found := b.files()
				if name == "of another result" && len(found) == 0 {
					assert.NotContains(t, s.Objects(), "bucket/lab/runs/rm-1.train/state.safetensors", "a run begins anew")
				} else if fmt.Sprint(found) != fmt.Sprint(c.before) {
					assert.Equal(t, c.after, found, "after %d requests", n)
				}
				objects := s.Objects()
				if config, there := objects["bucket/lab/runs/rm-1/config.json"]; there {
					whole := result
					if string(config) == other["rm-1/config.json"] {
						whole = other
					}
					for path, text := range whole {
						assert.Equal(t, text, string(objects["bucket/lab/runs/"+path]), "%s after %d requests", path, n)
					}
				}
				require.NoError(t, g.Close())
				require.NoError(t, newMachine(t, s, a.Dir()).mustBegin().Close())
				assert.Equal(t, c.after, a.files(), "the machine itself has it all")
				if err == nil {
					assert.Equal(t, c.after, found)
					return
				}
			}
		})
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	s := buckettest.New(t)
	a, b := newMachine(t, s, t.TempDir()), newMachine(t, s, t.TempDir())
	h := a.mustBegin()
	a.write(early)
	require.NoError(t, h.Save(t.Context()))
	_, err := b.begin()
	require.ErrorIs(t, err, state.ErrBusy)
	assert.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	_, err = newMachine(t, s, a.Dir()).begin()
	require.ErrorIs(t, err, state.ErrBusy, "of this disk's own directory, too")

	s.Later(time.Minute)
	_, err = b.begin()
	require.ErrorIs(t, err, state.ErrBusy, "it may be heard of again")
	s.Later(time.Minute)
	g := b.mustBegin()
	assert.Equal(t, early, b.files())
	b.write(result)
	require.NoError(t, g.Save(t.Context()))
	a.write(late)
	require.ErrorIs(t, h.Save(t.Context()), state.ErrBusy, "what it held is another's")
	require.NoError(t, h.Close())
	require.NoError(t, g.Close())
	c := newMachine(t, s, t.TempDir())
	require.NoError(t, c.mustBegin().Close())
	assert.Equal(t, result, c.files())
}

func TestAWordIsGivenAgainAndAgain(t *testing.T) {
	s := buckettest.New(t)
	a := newMachine(t, s, t.TempDir())
	a.renew = time.Millisecond
	h := a.mustBegin()
	first := string(s.Objects()["bucket/lab/runs/rm-1.run.json"])
	require.Eventually(t, func() bool { return string(s.Objects()["bucket/lab/runs/rm-1.run.json"]) != first },
		10*time.Second, time.Millisecond)
	require.NoError(t, h.Close())
	assert.NotContains(t, string(s.Objects()["bucket/lab/runs/rm-1.run.json"]), "process")
}

// TestARunIsNotTakenForAnothersWhereAReplyIsLost: what was written is one's own.
func TestARunIsNotTakenForAnothersWhereAReplyIsLost(t *testing.T) {
	s := buckettest.New(t)
	a := newMachine(t, s, t.TempDir())
	h := a.mustBegin()
	text := s.Objects()["bucket/lab/runs/rm-1.run.json"]
	s.Put("bucket/lab/runs/rm-1.run.json", append(text, ' ')) // as a write of its own, of which it knows nothing
	a.write(early)
	require.NoError(t, h.Save(t.Context()))
	s.Put("bucket/lab/runs/rm-1.run.json", append(s.Objects()["bucket/lab/runs/rm-1.run.json"], ' '))
	require.NoError(t, h.Close())
	assert.NotContains(t, string(s.Objects()["bucket/lab/runs/rm-1.run.json"]), "process")
	b := newMachine(t, s, t.TempDir())
	require.NoError(t, b.mustBegin().Close())
	assert.Equal(t, early, b.files())
}

// TestALongUploadLosesNothing: the word is given while files go up.
func TestALongUploadLosesNothing(t *testing.T) {
	s := buckettest.New(t)
	a := newMachine(t, s, t.TempDir())
	a.renew = time.Millisecond
	h := a.mustBegin()
	defer h.Close()
	a.write(early)
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "state.safetensors") {
			at := func() string { return string(s.Objects()["bucket/lab/runs/rm-1.run.json"]) }
			first := at()
			assert.Eventually(t, func() bool { return at() != first }, 10*time.Second, time.Millisecond)
		}
		return false
	})
	require.NoError(t, h.Save(t.Context()))
}

// TestAKilledProcessGoesOnAtOnce: on its own machine nobody has to wait for the lease to end. What it
// saved here alone is there still, and goes to the store.
func TestAKilledProcessGoesOnAtOnce(t *testing.T) {
	s := buckettest.New(t)
	a := newMachine(t, s, t.TempDir())
	h := a.mustBegin()
	a.write(early)
	require.NoError(t, h.Save(t.Context()))
	a.write(late)
	h.die()
	h = newMachine(t, s, a.Dir()).mustBegin()
	assert.Equal(t, late, a.files())
	require.NoError(t, h.Save(t.Context()))
	require.NoError(t, h.Close())
	b := newMachine(t, s, t.TempDir())
	require.NoError(t, b.mustBegin().Close())
	assert.Equal(t, late, b.files())
}

func TestWhatIsDamagedIsNotBelieved(t *testing.T) {
	for name, c := range map[string]struct{ key, text, want string }{
		"another object":         {"bucket/lab/runs/rm-1/model.safetensors", "x", "damaged or overwritten"},
		"a longer object":        {"bucket/lab/runs/rm-1/model.safetensors", "wwwww", "damaged or overwritten"},
		"a missing object":       {"bucket/lab/runs/rm-1/model.safetensors", "", "remove that to begin anew"},
		"no index":               {"bucket/lab/runs/rm-1.run.json", "<html>", "not an index"},
		"an index of the future": {"bucket/lab/runs/rm-1.run.json", `{"format":9}`, "not an index"},
		"a path that leads away": {"bucket/lab/runs/rm-1.run.json", `{"format":1,"files":{"runs/rm-1/../../x":{"size":1}}}`, "not of this run"},
		"a path of another run":  {"bucket/lab/runs/rm-1.run.json", `{"format":1,"files":{"runs/rm-10/x":{"size":1}}}`, "not of this run"},
		"another's object":       {"bucket/lab/runs/rm-1.run.json", `{"format":1,"files":{"runs/rm-1/x":{"size":1,"object":"y"}}}`, "not of this run"},
	} {
		t.Run(name, func(t *testing.T) {
			s := buckettest.New(t)
			a := newMachine(t, s, t.TempDir())
			h := a.mustBegin()
			a.write(result)
			require.NoError(t, h.Save(t.Context()))
			require.NoError(t, h.Close())
			data := []byte(c.text)
			if c.text == "" {
				data = nil
			}
			s.Put(c.key, data)
			b := newMachine(t, s, t.TempDir())
			_, err := b.begin()
			require.ErrorContains(t, err, c.want)
			assert.NoFileExists(t, filepath.Join(b.out(), "model.safetensors"))
			assert.NoFileExists(t, filepath.Join(b.out(), "config.json"), "which comes last")
		})
	}
}

func TestACopyOfWhatHasGone(t *testing.T) {
	s := buckettest.New(t)
	a := newMachine(t, s, t.TempDir())
	h := a.mustBegin()
	a.write(result)
	require.NoError(t, h.Save(t.Context()))
	require.NoError(t, h.Close())
	for key := range s.Objects() {
		s.Put(key, nil)
	}
	_, err := a.begin()
	require.ErrorContains(t, err, "has gone")
	assert.Equal(t, result, a.files(), "nothing is removed here")
}

func TestAStoreWithoutConditions(t *testing.T) {
	s := buckettest.New(t)
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-Match")+r.Header.Get("If-None-Match") == "" || r.Method != http.MethodPut {
			return false
		}
		w.WriteHeader(http.StatusNotImplemented)
		return true
	})
	a, b := newMachine(t, s, t.TempDir()), newMachine(t, s, t.TempDir())
	h := a.mustBegin()
	a.write(early)
	require.NoError(t, h.Save(t.Context()))
	require.Len(t, a.said, 1, "it is told once")
	assert.Contains(t, a.said[0], "no conditional writes")
	_, err := b.begin()
	require.ErrorIs(t, err, state.ErrBusy)
	require.NoError(t, h.Close())
	h = b.mustBegin()
	assert.Equal(t, early, b.files())
	b.write(late)
	require.NoError(t, h.Save(t.Context()))
	require.NoError(t, h.Close())
}

// TestALabIsHeldWithoutItsRuns: those have indexes of their own, so that other machines may be at
// work on them.
func TestALabIsHeldWithoutItsRuns(t *testing.T) {
	s := buckettest.New(t)
	a, b := newMachine(t, s, t.TempDir()), newMachine(t, s, t.TempDir())
	lab := filepath.Join(a.Dir(), "runs")
	all, err := a.HoldAll(t.Context(), lab)
	require.NoError(t, err)
	h := a.mustBegin()
	a.write(result)
	for _, name := range []string{"a.json", "sets/b", "c.lock", ".tmp-1/d", "rm-2.train/state.safetensors"} {
		path := filepath.Join(lab, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	}
	require.NoError(t, all.Save(t.Context()))
	require.NoError(t, all.Close())
	require.NoError(t, h.Close())
	mine := filepath.Join(b.Dir(), "runs", "mine")
	require.NoError(t, os.MkdirAll(filepath.Dir(mine), 0o755))
	require.NoError(t, os.WriteFile(mine, []byte("y"), 0o600))
	all, err = b.HoldAll(t.Context(), filepath.Join(b.Dir(), "runs"))
	require.NoError(t, err)
	require.NoError(t, all.Close())
	assert.Equal(t, map[string]string{"a.json": "x", "sets/b": "x", "mine": "y"}, b.files())
	assert.False(t, strings.HasSuffix(b.Name(lab), "/"))
}

// TestAStoreWhoseConditionsNeverHold is given up.
func TestAStoreWhoseConditionsNeverHold(t *testing.T) {
	s := buckettest.New(t)
	a := newMachine(t, s, t.TempDir())
	h := a.mustBegin()
	defer h.die()
	a.write(early)
	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-Match") == "" {
			return false
		}
		w.WriteHeader(http.StatusPreconditionFailed)
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.ErrorContains(t, h.Save(ctx), "conditional writes do not hold")
}

func TestWhatIsKnownHereIsNamedWhereItIsDamaged(t *testing.T) {
	s := buckettest.New(t)
	a := newMachine(t, s, t.TempDir())
	require.NoError(t, a.mustBegin().Close())
	path := filepath.Join(a.Dir(), hidden, "runs", "rm-1.json")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err := a.begin()
	require.ErrorContains(t, err, path+": ")
	assert.ErrorContains(t, err, "remove it")
}
