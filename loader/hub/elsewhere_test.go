package hub

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader/bucket/buckettest"
)

// newStore is a store with the bucket "models", a folder "a" in it.
func newStore(t *testing.T, files map[string][]byte) *buckettest.Store {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	s := buckettest.New(t)
	for name, data := range files {
		s.Put("models/a/"+name, data)
	}
	return s
}

func TestBuckets(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
	for _, scheme := range []string{"s3", "gs"} {
		for _, parts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, parts: %v", scheme, parts), func(t *testing.T) {
				files := repository(1)
				s := newStore(t, files)
				s.Parted, s.Cut = parts, 1
				c := &Client{Cache: t.TempDir(), S3: s.URL, GS: s.URL, patience: 2 * time.Second, pause: time.Millisecond}
				n := name(t, scheme+"://models/a")
				snapshot, err := c.Snapshot(t.Context(), n, nil)
				require.NoError(t, err)
				for _, f := range []string{"config.json", "model.safetensors", "tokenizer.json"} {
					got, err := os.ReadFile(filepath.Join(snapshot.Dir, f))
					require.NoError(t, err)
					assert.True(t, bytes.Equal(files[f], got), f)
				}
				assert.NoFileExists(t, filepath.Join(snapshot.Dir, "README.md"))
				assert.Contains(t, s.Requests(), "GET /models/a/model.safetensors bytes=1572864-", "it goes on")
				again, err := c.Snapshot(t.Context(), n, nil)
				require.NoError(t, err)
				assert.Equal(t, snapshot.Dir, again.Dir)
				assert.NotContains(t, strings.Join(s.Requests(), "\n"), "/models/a/", "no object comes again")

				s.Put("models/a/tokenizer.json", weights(9, 7000))
				changed, err := c.Snapshot(t.Context(), n, nil)
				require.NoError(t, err)
				assert.NotEqual(t, snapshot.Dir, changed.Dir)
				assert.FileExists(t, filepath.Join(snapshot.Dir, "tokenizer.json"), "what was served stays")
				c.Offline = true
				offline, err := c.Snapshot(t.Context(), n, nil)
				require.NoError(t, err)
				assert.Equal(t, changed.Dir, offline.Dir)
			})
		}
	}
}

func TestATagOfAnEncryptedObjectIsNoHash(t *testing.T) {
	files := repository(1)
	s := newStore(t, files)
	s.Encrypted, s.Cut = true, 1
	c := &Client{Cache: t.TempDir(), S3: s.URL, patience: 2 * time.Second, pause: time.Millisecond}
	snapshot, err := c.Snapshot(t.Context(), name(t, "s3://models/a"), nil)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(snapshot.Dir, "model.safetensors"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(files["model.safetensors"], got))
}

// TestAFileOnAWebServerThatChanges: what comes is what was listed, or nothing.
func TestAFileOnAWebServerThatChanges(t *testing.T) {
	data, cut := weights(1, 2<<20), false
	modified := time.Unix(1e9, 0)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/x/model.safetensors":
			w.WriteHeader(http.StatusNotFound)
			return
		case r.Method == http.MethodGet && !cut:
			cut = true
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Header().Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
			_, _ = w.Write(data[:1<<20]) // and then the connection breaks
			data, modified = weights(2, 2<<20), time.Unix(2e9, 0)
			return
		}
		http.ServeContent(w, r, "", modified, bytes.NewReader(data))
	}))
	defer h.Close()
	c := &Client{Cache: t.TempDir(), patience: 2 * time.Second, pause: time.Millisecond}
	_, err := c.Snapshot(t.Context(), name(t, h.URL+"/x"), nil)
	require.ErrorIs(t, err, ErrCorrupt)
	assert.ErrorContains(t, err, "written anew")
	s, err := c.Snapshot(t.Context(), name(t, h.URL+"/x"), nil)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(s.Dir, "model.safetensors"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, got))
}

// TestAPartFromElsewhere: a part that begins at another byte is not put behind what is there.
func TestAPartFromElsewhere(t *testing.T) {
	data, cut := weights(1, 2<<20), false
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/x/model.safetensors":
			w.WriteHeader(http.StatusNotFound)
			return
		case r.Method == http.MethodGet && !cut:
			cut = true
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Header().Set("ETag", `"1"`)
			_, _ = w.Write(data[:1<<20])
			return
		case r.Header.Get("Range") != "":
			r.Header.Set("Range", "bytes=100-")
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer h.Close()
	c := &Client{Cache: t.TempDir(), patience: 2 * time.Second, pause: time.Millisecond}
	_, err := c.Snapshot(t.Context(), name(t, h.URL+"/x"), nil)
	assert.ErrorContains(t, err, "206 Partial Content")
}

func TestBucketsThatAreNotThere(t *testing.T) {
	s := newStore(t, repository(1))
	c := &Client{Cache: t.TempDir(), S3: s.URL, patience: 2 * time.Second, pause: time.Millisecond}
	_, err := c.Snapshot(t.Context(), name(t, "s3://models/b"), nil)
	assert.ErrorIs(t, err, ErrNotFound)
	s.Break(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `<Error><Code>NoSuchBucket</Code><Message>there is no such bucket</Message></Error>`)
		return true
	})
	_, err = c.Snapshot(t.Context(), name(t, "s3://other/b"), nil)
	assert.ErrorIs(t, err, ErrNotFound)
	assert.ErrorContains(t, err, "no such bucket")
}

// TestAWebServerIsAskedForWhatACheckpointMayHave: for all that would be taken of a
// repository on a hub, but for names of shards.
func TestAWebServerIsAskedForWhatACheckpointMayHave(t *testing.T) {
	for _, name := range slices.Concat(known, indexes) {
		assert.Equal(t, []string{name}, wanted(map[string]file{name: {}}))
	}
	for _, name := range []string{"modules.json", "pytorch_model.safetensors", "adapter_model.bin", "regression_layer.safetensors", "gating_layer.safetensors"} {
		assert.Contains(t, known, name)
	}
}

func TestAFolderOnAWebServer(t *testing.T) {
	dir := t.TempDir()
	files := repository(1)
	delete(files, "onnx/model.onnx")
	delete(files, "model.safetensors")
	files["model.safetensors.index.json"] = []byte(`{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors","c":"../../etc/passwd"}}`)
	files["model-1.safetensors"], files["model-2.safetensors"] = weights(1, 9000), weights(2, 9000)
	for name, data := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	var mu sync.Mutex
	var asked []string
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.Path)
		mu.Unlock()
		http.StripPrefix("/x/", http.FileServer(http.Dir(dir))).ServeHTTP(w, r)
	}))
	defer h.Close()
	c := &Client{Cache: t.TempDir(), patience: 2 * time.Second, pause: time.Millisecond}
	s, err := c.Snapshot(t.Context(), name(t, h.URL+"/x"), nil)
	require.NoError(t, err)
	for _, f := range []string{"config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.json"} {
		got, err := os.ReadFile(filepath.Join(s.Dir, f))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(files[f], got), f)
	}
	assert.NotContains(t, strings.Join(asked, "\n"), "passwd")
	_, err = c.Snapshot(t.Context(), name(t, h.URL+"/y"), nil)
	assert.ErrorIs(t, err, ErrNotFound)
}
