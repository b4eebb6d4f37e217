package serve

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/warm/reward"
)

// syncs takes the manifests that a watcher carries out.
type syncs struct {
	got    []map[string]*api.ModelSpec
	err    error
	looked error // at the last look
}

func (s *syncs) Sync(_ context.Context, _ string, specs map[string]*api.ModelSpec) error {
	s.got = append(s.got, specs)
	return s.err
}

// members returns what the last manifest says of each model.
func (s *syncs) members() []string {
	if len(s.got) == 0 {
		return nil
	}
	var out []string
	last := s.got[len(s.got)-1]
	for _, name := range slices.Sorted(maps.Keys(last)) {
		for _, m := range last[name].Members {
			out = append(out, name+"="+filepath.Base(m.Path))
		}
	}
	return out
}

func watching(t *testing.T, path string) (*watcher, *syncs) {
	s := &syncs{}
	return &watcher{path: path, live: s, note: func(err error) { s.looked = err }, log: slog.New(slog.DiscardHandler)}, s
}

// replace writes a file beside path and renames it there, as whoever replaces
// a manifest must.
func replace(t testing.TB, path, content string) {
	require.NoError(t, os.WriteFile(path+".new", []byte(content), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// age makes a file look as if it was written some time ago.
func age(t *testing.T, path string, ago time.Duration) {
	at := time.Now().Add(-ago)
	require.NoError(t, os.Chtimes(path, at, at))
}

const oneModel = "models:\n  m:\n    members: [a]\n"

func TestAManifestThatIsRenamedIntoPlaceIsCarriedOutAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	w, s := watching(t, path)
	assert.Error(t, w.look(t.Context()), "there is none yet")
	replace(t, path, oneModel)
	age(t, path, time.Hour)
	require.NoError(t, w.look(t.Context()))
	assert.Equal(t, []string{"m=a"}, s.members())
	require.NoError(t, w.look(t.Context()))
	assert.Len(t, s.got, 1, "an unchanged manifest is no work")
	for n, content := range []string{"b", "c", "d"} {
		replace(t, path, strings.Replace(oneModel, "[a]", "["+content+"]", 1))
		require.NoError(t, w.look(t.Context()))
		if len(s.got) != n+2 { // the file may have been given the number of the one before
			require.NoError(t, w.look(t.Context()))
		}
		require.Len(t, s.got, n+2)
		assert.Equal(t, []string{"m=" + content}, s.members())
	}
	require.NoError(t, os.Remove(path))
	assert.Error(t, w.look(t.Context()))
	assert.Len(t, s.got, 4, "a manifest that is gone changes nothing")
}

func TestAManifestThatIsWrittenInPlaceIsBelievedOnceItIsTheSameTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	whole := "models:\n  m:\n    members: [a]\n  n:\n    members: [b]\n"
	half := whole[:strings.Index(whole, "  n:")] // valid, and not what is meant
	w, s := watching(t, path)
	require.NoError(t, os.WriteFile(path, []byte(half), 0o600))
	require.NoError(t, w.look(t.Context()))
	assert.Empty(t, s.got, "just written: it may be half of something")
	require.NoError(t, os.WriteFile(path, []byte(whole), 0o600))
	require.NoError(t, w.look(t.Context()))
	assert.Empty(t, s.got, "and it was")
	require.NoError(t, w.look(t.Context()))
	assert.Equal(t, []string{"m=a", "n=b"}, s.members())

	// The same size and the same time: only the bytes tell.
	same := strings.Replace(whole, "[b]", "[c]", 1)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(same), 0o600))
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	require.NoError(t, w.look(t.Context()))
	require.NoError(t, w.look(t.Context()))
	assert.Equal(t, []string{"m=a", "n=c"}, s.members())
}

func TestManifestsThatAreNotOnesChangeNothing(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"nothing":          {"", "no models"},
		"no model":         {"models: {}\n", "no models"},
		"half a word":      {"mod", "manifest.yaml"},
		"half a list":      {"models:\n  m:\n    members: [a", "manifest.yaml"},
		"an unknown field": {"models:\n  m:\n    members: [a]\n    dtipe: int8\n", "dtipe"},
		"no members":       {"models:\n  m:\n    mode: wa\n", "members"},
		"a bad dtype":      {"models:\n  m:\n    members: [a]\n    dtype: float12\n", "float12"},
		"a bad name":       {"models:\n  \"m m\":\n    members: [a]\n", "printable ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "manifest.yaml")
			replace(t, path, c.content)
			age(t, path, time.Hour)
			w, s := watching(t, path)
			assert.ErrorContains(t, w.look(t.Context()), c.want)
			assert.Empty(t, s.got)
			replace(t, path, oneModel)
			age(t, path, 2*time.Hour)
			for range 2 {
				require.NoError(t, w.look(t.Context()))
			}
			assert.Equal(t, []string{"m=a"}, s.members(), "and the next one is carried out")
		})
	}
}

// TestALookAtAnUnchangedManifestEndsAsTheFirstDid is what the metrics of the manifest's age
// and errors are made of. A fresh file is read at every look, an old one is not.
func TestALookAtAnUnchangedManifestEndsAsTheFirstDid(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		sync    error
		want    string
	}{
		"what is no manifest":           {content: "models: [broken", want: "sequence end"},
		"models that the guard refuses": {content: oneModel, sync: api.Errorf(api.CodeGuardRefused, "", "refused"), want: "refused"},
		"models that do not load":       {content: oneModel, sync: errors.New("no such checkpoint"), want: "no such checkpoint"},
		"a good one":                    {content: oneModel},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "manifest.yaml")
			w, s := watching(t, path)
			s.err = c.sync
			looks := func(says string) {
				t.Helper()
				for range 3 {
					w.poll(t.Context())
					if c.want == "" {
						assert.NoError(t, s.looked, says)
					} else {
						assert.ErrorContains(t, s.looked, c.want, says)
					}
				}
			}
			w.poll(t.Context()) // there is none yet, so that the next is renamed into place
			assert.Error(t, s.looked)
			replace(t, path, c.content)
			age(t, path, time.Hour)
			w.poll(t.Context())
			age(t, path, 0)
			looks("a fresh file")
			age(t, path, time.Minute)
			looks("an old file")
			require.NoError(t, os.Rename(path, path+".away"))
			w.poll(t.Context())
			assert.ErrorIs(t, s.looked, os.ErrNotExist)
			require.NoError(t, os.Rename(path+".away", path))
			looks("the same file again")
			assert.LessOrEqual(t, len(s.got), 1, "nothing was carried out twice")
		})
	}
}

func TestWhereAManifestIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		make func(dir string) // lays out the folder that is watched
		want string           // the folder of the members; "" when there is no manifest
	}{
		"manifest.yaml in the folder": {func(d string) { put(t, d, "manifest.yaml", oneModel) }, "."},
		"manifest.json in the folder": {func(d string) { put(t, d, "manifest.json", `{"models":{"m":{"members":["a"]}}}`) }, "."},
		"CURRENT names a folder": {func(d string) {
			put(t, d, "step-1/manifest.yaml", oneModel)
			put(t, d, "CURRENT", "step-1\n")
		}, "step-1"},
		"CURRENT names a file": {func(d string) {
			put(t, d, "step-2/m.yaml", oneModel)
			put(t, d, "CURRENT", "step-2/m.yaml\n")
		}, "step-2"},
		"CURRENT links to a folder": {func(d string) {
			put(t, d, "step-3/manifest.yaml", oneModel)
			require.NoError(t, os.Symlink("step-3", filepath.Join(d, "CURRENT")))
		}, "step-3"},
		"CURRENT before the folder's own": {func(d string) {
			put(t, d, "manifest.yaml", oneModel)
			put(t, d, "step-4/manifest.yaml", oneModel)
			put(t, d, "CURRENT", "step-4\n")
		}, "step-4"},
		"a line of CURRENT that does not end": {func(d string) {
			put(t, d, "step-1/manifest.yaml", oneModel)
			put(t, d, "CURRENT", "step-1")
		}, ""},
		"two lines in CURRENT":    {func(d string) { put(t, d, "CURRENT", "a\nb\n") }, ""},
		"CURRENT names nothing":   {func(d string) { put(t, d, "CURRENT", "step-9\n") }, ""},
		"CURRENT is empty":        {func(d string) { put(t, d, "CURRENT", "") }, ""},
		"a folder without either": {func(string) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			require.NoError(t, err)
			c.make(dir)
			w, s := watching(t, dir)
			err = w.look(t.Context())
			if c.want == "" {
				assert.Error(t, err)
				assert.Empty(t, s.got)
				return
			}
			require.NoError(t, err)
			require.NoError(t, w.look(t.Context()))
			require.Len(t, s.got, 1)
			assert.Equal(t, filepath.Join(dir, c.want, "a"), s.got[0]["m"].Members[0].Path, "paths are relative to the manifest")
		})
	}
}

// put writes a file with the folders above it.
func put(t testing.TB, dir, name, content string) {
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestLinksInAManifestAreWhatTheyLinkToNow(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "step-1"), 0o700))
	require.NoError(t, os.Symlink("step-1", filepath.Join(dir, "a")))
	put(t, dir, "manifest.yaml", oneModel)
	w, s := watching(t, dir)
	for range 2 {
		require.NoError(t, w.look(t.Context()))
	}
	assert.Equal(t, []string{"m=step-1"}, s.members())
}

func TestAManifestThatFailsIsTriedAgainAfterAPause(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	replace(t, path, oneModel)
	age(t, path, time.Hour)
	w, s := watching(t, path)
	s.err = errors.New("half a checkpoint")
	for range 2 {
		w.poll(t.Context())
		assert.Contains(t, w.failure, "half a checkpoint")
	}
	assert.Len(t, s.got, 1, "not at once")
	assert.Equal(t, firstRetry, w.wait)
	w.again = time.Now()
	w.poll(t.Context())
	assert.Len(t, s.got, 2)
	assert.Equal(t, 2*firstRetry, w.wait)
	for range 20 {
		w.again = time.Now()
		w.poll(t.Context())
	}
	assert.Equal(t, lastRetry, w.wait)
	s.err, w.again = nil, time.Now()
	w.poll(t.Context())
	assert.Empty(t, w.failure)
	n := len(s.got)
	w.poll(t.Context())
	assert.Len(t, s.got, n, "once it is done it is done")

	replace(t, path, strings.Replace(oneModel, "[a]", "[b]", 1))
	age(t, path, 2*time.Hour)
	s.err = api.Errorf(api.CodeGuardRefused, "", "too much is lost")
	for range 3 {
		w.poll(t.Context())
	}
	assert.Len(t, s.got, n+1, "what the guard refused it would refuse again")
}

// FuzzParseManifest holds the reader of manifests to its word: what it takes is
// at least one model, each of which could be put.
func FuzzParseManifest(f *testing.F) {
	for _, seed := range []string{
		oneModel, "models:\n  m:\n    members:\n    - {path: a, weight: 2, mean: 0, std: 1}\n    mode: both\n    guard: {pairs: p, max_loss: 1}\n",
		`{"models":{"m":{"members":["a"]}}}`, "models: {}", "models: [", "", "a: &a [*a]\nmodels: *a", "models:\n  m: {members: [a], members: [b]}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		specs, err := parseManifest("/nowhere/manifest.yaml", data, Sources{})
		if err != nil {
			return
		}
		assert.NotEmpty(t, specs)
		for name, spec := range specs {
			assert.NotEmpty(t, name)
			assert.NoError(t, spec.Validate())
			for _, p := range spec.Paths() {
				assert.True(t, filepath.IsAbs(strings.TrimPrefix(*p.Path, reward.RandomPrefix)), *p.Path)
			}
		}
	})
}
