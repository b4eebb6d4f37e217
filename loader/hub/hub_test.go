package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/hub/hubtest"
)

func weights(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*i>>3) ^ seed
	}
	return b
}

// repository is what a checkpoint's looks like on the hub.
func repository(seed byte) map[string][]byte {
	return map[string][]byte{
		"config.json": []byte(`{"model_type":"llama"}`), "model.safetensors": weights(seed, 3<<20), "tokenizer.json": weights(seed, 5000),
		"README.md": []byte("# A model"), "pytorch_model.bin": weights(seed, 3<<20), "onnx/model.onnx": weights(seed, 9000), "tf_model.h5": weights(seed, 9000),
	}
}

func client(t *testing.T, h *hubtest.Hub) *Client {
	return &Client{Endpoint: h.URL, Cache: t.TempDir(), patience: 2 * time.Second, pause: time.Millisecond}
}

func name(t *testing.T, s string) Name {
	n, ok := ParseName(s)
	require.True(t, ok, s)
	return n
}

func TestNames(t *testing.T) {
	for s, want := range map[string]Name{
		"org/name":              {Repo: "org/name", Revision: "main"},
		"hf://org/name":         {Repo: "org/name", Revision: "main"},
		"Org-1/na.me_2@v1.0":    {Repo: "Org-1/na.me_2", Revision: "v1.0"},
		"org/name@refs/pr/3":    {Repo: "org/name", Revision: "refs/pr/3"},
		"s3://bucket/a/b/":      {URL: "s3://bucket/a/b"},
		"https://host:1/x":      {URL: "https://host:1/x"},
		"hf://org/n@0123456789": {Repo: "org/n", Revision: "0123456789"},
	} {
		n, ok := ParseName(s)
		assert.True(t, ok, s)
		assert.Equal(t, want, n)
	}
	for _, s := range []string{"", "name", "/abs/dir", "./org/name", "../x/y", "a/b/c", "org/..", "org/.", "../name", "org/na--me", "org/name@", "org/name@../x", "org/name@a//b",
		"org/name@-x", "o rg/name", "org/name\n", "org/name.git", "-org/name", "org\\name", "org/name@a b", "embedded:x/y", "s3://", "ftp://host/x", "https://user:pw@host/x", "https://host/x?token=1", "https://host/x?", "https://host/x#", "file:///etc", "org/name/", strings.Repeat("a", 97) + "/b"} {
		_, ok := ParseName(s)
		assert.False(t, ok, s)
	}
}

func TestASnapshotComesOnceAndIsVerified(t *testing.T) {
	h := hubtest.New(t)
	files := repository(1)
	sha := h.Push("org/name", "main", files)
	c := client(t, h)
	var done, total int64
	s, err := c.Snapshot(t.Context(), name(t, "org/name"), func(_ Name, d, of int64) { done, total = d, of })
	require.NoError(t, err)
	assert.Equal(t, sha, s.Commit)
	assert.NoError(t, s.Stale)
	assert.Equal(t, total, done)
	assert.Equal(t, int64(3<<20+5000+len(files["config.json"])), total)
	for _, f := range []string{"config.json", "model.safetensors", "tokenizer.json"} {
		got, err := os.ReadFile(filepath.Join(s.Dir, f))
		require.NoError(t, err)
		assert.Equal(t, files[f], got, f)
	}
	for _, f := range []string{"README.md", "pytorch_model.bin", "onnx", "tf_model.h5"} {
		assert.NoFileExists(t, filepath.Join(s.Dir, f), "is not needed")
	}
	h.Requests()
	_, err = c.Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"GET /api/models/org/name/revision/main"}, h.Requests(), "what is there does not come again")
	_, err = c.Snapshot(t.Context(), name(t, "org/name@"+sha), nil)
	require.NoError(t, err)
	assert.Empty(t, h.Requests(), "a commit never changes")
	c.Offline = true
	s, err = c.Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	assert.Equal(t, sha, s.Commit)
	_, err = c.Snapshot(t.Context(), name(t, "org/other"), nil)
	assert.ErrorIs(t, err, ErrOffline)
	assert.ErrorContains(t, err, "warm pull org/other")
}

func TestPickledWeightsComeWhereThereAreNoOthers(t *testing.T) {
	h := hubtest.New(t)
	files := repository(1)
	delete(files, "model.safetensors")
	files["value_head.safetensors"] = weights(2, 2000)
	files["training_args.bin"] = weights(2, 2000)
	h.Push("org/name", "main", files)
	s, err := client(t, h).Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(s.Dir, "pytorch_model.bin"))
	assert.FileExists(t, filepath.Join(s.Dir, "value_head.safetensors"))
	assert.NoFileExists(t, filepath.Join(s.Dir, "training_args.bin"))
}

// TestAHeadSaysNothingAboutTheWeightsBesideIt: nor does an adapter, beside which TRL
// writes the score head as pytorch_model.bin.
func TestAHeadSaysNothingAboutTheWeightsBesideIt(t *testing.T) {
	for _, names := range [][]string{
		{"adapter_model.safetensors", "pytorch_model.bin"},
		{"gating_layer.safetensors", "pytorch_model.bin", "regression_layer.safetensors"},
		{"adapter_model.bin", "model.safetensors"},
	} {
		files := map[string]file{}
		for _, n := range names {
			files[n] = file{}
		}
		assert.Equal(t, names, wanted(files))
	}
	assert.Equal(t, []string{"adapter_model.safetensors", "model.safetensors"}, wanted(map[string]file{
		"adapter_model.bin": {}, "adapter_model.safetensors": {}, "model.safetensors": {}, "pytorch_model.bin": {}}))
}

func TestAMovedRevisionIsFollowedAndTheFilesItSharesStay(t *testing.T) {
	h := hubtest.New(t)
	first := h.Push("org/name", "main", repository(1))
	c := client(t, h)
	_, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	changed := repository(1)
	changed["tokenizer.json"] = weights(9, 6000)
	second := h.Push("org/name", "main", changed)
	h.Requests()
	s, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	assert.Equal(t, second, s.Commit)
	assert.NotContains(t, strings.Join(h.Requests(), "\n"), "model.safetensors")
	old, err := c.Snapshot(t.Context(), name(t, "org/name@"+first), nil)
	require.NoError(t, err)
	assert.Equal(t, first, old.Commit)
	assert.FileExists(t, filepath.Join(old.Dir, "model.safetensors"))
}

func TestAHubThatFailsDoesNotKeepFromTheCache(t *testing.T) {
	h := hubtest.New(t)
	sha := h.Push("org/name", "main", repository(1))
	c := client(t, h)
	_, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	for _, status := range []int{500, 503, 429, 401, 403} {
		h.Break(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true })
		s, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
		require.NoError(t, err, status)
		assert.Equal(t, sha, s.Commit)
		assert.ErrorContains(t, s.Stale, fmt.Sprint(status))
	}
	h.Break(func(w http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprint(w, "<html>Log in to the guest network")
		return true
	})
	s, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	assert.ErrorContains(t, s.Stale, "answers like no hub")
	_, err = c.Snapshot(t.Context(), name(t, "org/other"), nil)
	assert.ErrorContains(t, err, "answers like no hub")
	h.Close()
	s, err = c.Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	assert.Error(t, s.Stale)
}

func TestAnInterruptedDownloadGoesOn(t *testing.T) {
	h := hubtest.New(t)
	h.Push("org/name", "main", repository(1))
	c := client(t, h)
	var cuts atomic.Int64
	h.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") || cuts.Add(1) > 3 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(3<<20))
		_, _ = w.Write(weights(1, 3<<20)[:1<<20]) // and then the connection breaks
		return true
	})
	n := name(t, "org/name")
	s, err := c.Snapshot(t.Context(), n, nil)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(s.Dir, "model.safetensors"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(weights(1, 3<<20), got))
}

func TestADownloadGoesOnInAnotherProcessFromWhatItFinds(t *testing.T) {
	h := hubtest.New(t)
	files := repository(1)
	h.Push("org/name", "main", files)
	c := client(t, h)
	n := name(t, "org/name")
	sum := "" // of the weights, from a first download elsewhere
	{
		other := client(t, h)
		s, err := other.Snapshot(t.Context(), n, nil)
		require.NoError(t, err)
		to, err := os.Readlink(filepath.Join(s.Dir, "model.safetensors"))
		require.NoError(t, err)
		sum = filepath.Base(to)
	}
	part := c.path(n, "blobs", sum+".incomplete")
	require.NoError(t, os.MkdirAll(filepath.Dir(part), 0o755))
	for what, kept := range map[string][]byte{
		"a third":          files["model.safetensors"][:1<<20],
		"all":              files["model.safetensors"],
		"something else":   weights(7, 1<<20),
		"more than all":    append(bytes.Clone(files["model.safetensors"]), 1),
		"as much of other": weights(7, 3<<20),
	} {
		require.NoError(t, os.RemoveAll(c.path(n, "snapshots")))
		require.NoError(t, os.RemoveAll(c.path(n, "blobs", sum)))
		require.NoError(t, os.WriteFile(part, kept, 0o644))
		var from string
		h.Break(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/cdn/"+sum) {
				from += r.Header.Get("Range") + ";"
			}
			return false
		})
		s, err := c.Snapshot(t.Context(), n, nil)
		require.NoError(t, err, what)
		got, err := os.ReadFile(filepath.Join(s.Dir, "model.safetensors"))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(files["model.safetensors"], got), what)
		if what == "a third" {
			assert.Equal(t, "bytes=1048576-;", from)
		}
	}
}

func TestAServerWithoutRangesSendsAllAgain(t *testing.T) {
	h := hubtest.New(t)
	h.Push("org/name", "main", repository(1))
	c := client(t, h)
	var cuts atomic.Int64
	h.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") {
			return false
		}
		r.Header.Del("Range")
		if cuts.Add(1) > 1 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(3<<20))
		_, _ = w.Write(weights(1, 3<<20)[:1<<20])
		return true
	})
	s, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(s.Dir, "model.safetensors"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(weights(1, 3<<20), got))
}

// TestAServerThatRefusesRangesIsGivenUp: each answer is one that a download may go on after.
func TestAServerThatRefusesRangesIsGivenUp(t *testing.T) {
	for what, all := range map[string]bool{"every request": true, "those of parts": false} {
		h := hubtest.New(t)
		h.Push("org/name", "main", repository(1))
		c := client(t, h)
		var asked atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		h.Break(func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case !strings.HasPrefix(r.URL.Path, "/cdn/"):
				return false
			case asked.Add(1) > 100:
				cancel()
			case all || r.Header.Get("Range") != "":
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			default:
				w.Header().Set("Content-Length", fmt.Sprint(3<<20))
				_, _ = w.Write(weights(1, 3<<20)[:1<<20])
			}
			return true
		})
		_, err := c.Snapshot(ctx, name(t, "org/name"), nil)
		assert.Error(t, err)
		assert.LessOrEqual(t, asked.Load(), int64(100), what)
		cancel()
	}
}

func TestADiskIsNotAskedAgain(t *testing.T) {
	assert.False(t, transient(fmt.Errorf("write: %w", &fs.PathError{Op: "write", Err: syscall.ENOSPC})))
	assert.True(t, transient(syscall.ECONNRESET))
}

func TestASilentServerIsGivenUp(t *testing.T) {
	h := hubtest.New(t)
	h.Push("org/name", "main", repository(1))
	c := client(t, h)
	h.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(3<<20))
		_, _ = w.Write(weights(1, 10))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	})
	n := name(t, "org/name")
	o, err := c.origin(n)
	require.NoError(t, err)
	sha, files, err := o.list(t.Context())
	require.NoError(t, err)
	c.patience = 50 * time.Millisecond // once it is listed: a busy machine may take longer for that
	err = c.fetch(t.Context(), o, c.snapshot(n, sha), files, nil)
	assert.ErrorContains(t, err, ": interrupted 5 times after")
	assert.ErrorIs(t, err, errStalled)
}

func TestWrongContentsAreNotKept(t *testing.T) {
	h := hubtest.New(t)
	h.Push("org/name", "main", repository(1))
	c := client(t, h)
	h.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/cdn/") {
			_, _ = w.Write(weights(8, 3<<20))
			return true
		}
		return false
	})
	n := name(t, "org/name")
	_, err := c.Snapshot(t.Context(), n, nil)
	require.ErrorIs(t, err, ErrCorrupt)
	assert.ErrorContains(t, err, " was named")
	left, err := filepath.Glob(c.path(n, "blobs", "*.incomplete"))
	require.NoError(t, err)
	assert.Empty(t, left)
	c.Offline = true
	_, err = c.Snapshot(t.Context(), n, nil)
	assert.ErrorIs(t, err, ErrOffline, "an incomplete snapshot is none")
	c.Offline = false
	h.Break(nil)
	_, err = c.Snapshot(t.Context(), n, nil)
	assert.NoError(t, err)
}

func TestTokens(t *testing.T) {
	h := hubtest.New(t)
	h.Push("org/name", "main", repository(1))
	h.Private["org/name"] = "secret"
	c := client(t, h)
	n := name(t, "org/name")
	_, err := c.Snapshot(t.Context(), n, nil)
	require.ErrorIs(t, err, ErrDenied)
	assert.ErrorContains(t, err, "no token was sent")
	c.Token = "not-the-one"
	_, err = c.Snapshot(t.Context(), n, nil)
	require.ErrorIs(t, err, ErrDenied)
	assert.NotContains(t, err.Error(), "not-the-one")
	c.Token = "secret"
	_, err = c.Snapshot(t.Context(), n, nil)
	require.NoError(t, err)
	_, err = c.Snapshot(t.Context(), name(t, "org/name@nowhere"), nil)
	assert.ErrorIs(t, err, ErrNotFound)
}

func TestATokenGoesToNoOtherHost(t *testing.T) {
	cdn := hubtest.New(t)
	sent := ""
	h := hubtest.New(t)
	h.Push("org/name", "main", repository(1))
	cdn.Push("org/name", "main", repository(1))
	cdn.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		sent += r.Header.Get("Authorization") // of each request on the way
		return false
	})
	// Of another port net/http thinks that it is the same host, as of a subdomain.
	for _, other := range []string{strings.Replace(cdn.URL, "127.0.0.1", "localhost", 1), cdn.URL} {
		h.Break(func(w http.ResponseWriter, r *http.Request) bool {
			_, path, large := strings.Cut(r.URL.Path, "/resolve/")
			if large = large && strings.HasSuffix(path, "/model.safetensors"); large {
				http.Redirect(w, r, other+r.URL.Path, http.StatusFound)
			}
			return large
		})
		c := client(t, h)
		c.Token, sent = "secret", ""
		_, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
		require.NoError(t, err)
		assert.Empty(t, sent, other)
	}
}

func TestRedirectsKeepATokenWhereItBelongs(t *testing.T) {
	for from, kept := range map[string]map[string]bool{
		"https://hub/x": {"https://hub/y": true, "http://hub/y": false, "https://cdn.hub/y": false, "https://hub:444/y": false},
		"http://hub/x":  {"https://hub/y": true, "http://hub/y": true, "http://other/y": false},
	} {
		for to, want := range kept {
			first, err := http.NewRequest(http.MethodGet, from, nil)
			require.NoError(t, err)
			next, err := http.NewRequest(http.MethodGet, to, nil)
			require.NoError(t, err)
			next.Header.Set("Authorization", "Bearer secret")
			require.NoError(t, redirect(next, []*http.Request{first}))
			assert.Equal(t, want, next.Header.Get("Authorization") != "", "%s to %s", from, to)
		}
	}
}

// TestHostileListings: what a hub says names nothing outside of the cache, and
// takes no more memory than is meant.
func TestHostileListings(t *testing.T) {
	const sum = "0123456789abcdef0123456789abcdef01234567"
	for what, body := range map[string]string{
		"a path":       `{"sha":"` + sum + `","siblings":[{"rfilename":"../../evil.json","size":1,"blobId":"` + sum + `"}]}`,
		"absolute":     `{"sha":"` + sum + `","siblings":[{"rfilename":"/etc/x.json","size":1,"blobId":"` + sum + `"}]}`,
		"commit":       `{"sha":"../../../x","siblings":[]}`,
		"hash":         `{"sha":"` + sum + `","siblings":[{"rfilename":"config.json","size":1,"blobId":"../../../../x"}]}`,
		"no hash":      `{"sha":"` + sum + `","siblings":[{"rfilename":"config.json","size":1}]}`,
		"size":         `{"sha":"` + sum + `","siblings":[{"rfilename":"config.json","size":-1,"blobId":"` + sum + `"}]}`,
		"huge":         `{"sha":"` + sum + `","siblings":[{"rfilename":"config.json","size":9000000000000000000,"blobId":"` + sum + `"}]}`,
		"list":         `[]`,
		"nothing":      ``,
		"deep":         strings.Repeat(`[`, 1<<20),
		"long":         `{"sha":"` + strings.Repeat("a", maxListing) + `"}`,
		"of something": `{"sha":"` + sum + `","siblings":[{"rfilename":"evil.exe","size":1,"blobId":"` + sum + `"}]}`,
	} {
		h := hubtest.New(t)
		h.Break(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/api/") {
				fmt.Fprint(w, body)
				return true
			}
			return false
		})
		c := client(t, h)
		_, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
		require.Error(t, err, what)
		require.NoError(t, filepath.WalkDir(filepath.Dir(c.Cache), func(path string, d fs.DirEntry, err error) error {
			assert.False(t, err == nil && strings.Contains(d.Name(), "evil"), "%s: %s", what, path)
			return err
		}))
	}
}

func TestSizesThatOverflow(t *testing.T) {
	const sum = "0123456789abcdef0123456789abcdef01234567"
	h := hubtest.New(t)
	h.Break(func(w http.ResponseWriter, _ *http.Request) bool {
		fmt.Fprint(w, `{"sha":"`+sum+`","siblings":[{"rfilename":"a.json","size":9000000000000000000,"blobId":"`+sum+`"},{"rfilename":"b.json","size":9000000000000000000,"blobId":"`+sum+`"}]}`)
		return true
	})
	_, err := client(t, h).Snapshot(t.Context(), name(t, "org/name"), nil)
	assert.ErrorContains(t, err, "b.json: its files have more than")
}

func TestCancelling(t *testing.T) {
	h := hubtest.New(t)
	h.Push("org/name", "main", repository(1))
	c := client(t, h)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no longer wanted")
	h.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/cdn/") {
			cancel(why)
		}
		return false
	})
	_, err := c.Snapshot(ctx, name(t, "org/name"), nil)
	assert.ErrorIs(t, err, why)
}

func TestSeveralAtATimeDownloadOnce(t *testing.T) {
	h := hubtest.New(t)
	h.Push("org/name", "main", repository(1))
	cache := t.TempDir()
	errs := make(chan error)
	for range 4 {
		go func() {
			c := &Client{Endpoint: h.URL, Cache: cache}
			_, err := c.Snapshot(context.Background(), Name{Repo: "org/name", Revision: "main"}, nil)
			errs <- err
		}()
	}
	for range 4 {
		assert.NoError(t, <-errs)
	}
	n := 0
	for _, r := range h.Requests() {
		if strings.HasPrefix(r, "GET /cdn/") {
			n++
		}
	}
	assert.Equal(t, 2, n, "the weights and the tokenizer")
}

func TestAFullDisk(t *testing.T) {
	h := hubtest.New(t)
	files := repository(1)
	h.Push("org/name", "main", files)
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small file system can be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() { assert.NoError(t, exec.Command("umount", dir).Run()) })
	c := client(t, h)
	c.Cache = dir
	_, err := c.Snapshot(t.Context(), name(t, "org/name"), nil)
	assert.ErrorContains(t, err, "set HF_HUB_CACHE to another disk")
	// The hub may name a smaller size than it sends, and others write as well: the
	// disk is full in the middle.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "other"), make([]byte, 1<<20+400<<10), 0o644))
	files["model.safetensors"] = weights(1, 300<<10)
	h.Push("org/name", "main", files)
	h.Break(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/cdn/") {
			_ = os.WriteFile(filepath.Join(dir, "more"), make([]byte, 1<<20), 0o644) // as far as it goes
		}
		return false
	})
	_, err = c.Snapshot(t.Context(), name(t, "org/name"), nil)
	assert.ErrorContains(t, err, "no space left on device")
	assert.NotContains(t, err.Error(), "interrupted", "it is not the network")
	require.NoError(t, os.Remove(filepath.Join(dir, "other")))
	_ = os.Remove(filepath.Join(dir, "more"))
	h.Break(nil)
	_, err = c.Snapshot(t.Context(), name(t, "org/name"), nil)
	assert.NoError(t, err)
}

func TestEnvironment(t *testing.T) {
	home := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".cache/huggingface"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(home, ".cache/huggingface/token"), []byte("from-file\n"), 0o600))
	env := func(vars map[string]string) *Client {
		return FromEnv(func(k string) string {
			if k == "HOME" {
				return home
			}
			return vars[k]
		})
	}
	c := env(nil)
	assert.Equal(t, &Client{Endpoint: DefaultEndpoint, Cache: filepath.Join(home, ".cache/huggingface/hub"), Token: "from-file"}, c)
	c = env(map[string]string{"HF_HOME": "~/hf", "HF_TOKEN": " t ", "HF_ENDPOINT": "http://mirror/", "HF_HUB_OFFLINE": "on"})
	assert.Equal(t, &Client{Endpoint: "http://mirror", Cache: filepath.Join(home, "hf/hub"), Token: "t", Offline: true}, c)
	c = env(map[string]string{"XDG_CACHE_HOME": "/x", "HF_HUB_CACHE": "$HOME/c", "TRANSFORMERS_OFFLINE": "0"})
	assert.Equal(t, filepath.Join(home, "c"), c.Cache)
	assert.False(t, c.Offline)
	assert.Equal(t, "/x/huggingface/hub", env(map[string]string{"XDG_CACHE_HOME": "/x"}).Cache)
}
