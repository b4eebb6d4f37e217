package serve

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader/bucket/buckettest"
	"github.com/warmserve/warmserve/loader/hub"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// watchingAway watches a manifest at an address.
func watchingAway(t *testing.T, s *buckettest.Store, ref string) (*watcher, *syncs) {
	w, live := watching(t, ref)
	w.sources = Sources{Hub: &hub.Client{S3: s.URL, GS: s.URL}}
	for k, v := range s.Env() {
		t.Setenv(k, v)
	}
	var err error
	w.away, err = w.sources.awayManifest(ref)
	require.NoError(t, err)
	return w, live
}

func TestAManifestInABucketIsCarriedOutWheneverItIsReplaced(t *testing.T) {
	for _, scheme := range []string{"s3", "gs"} {
		t.Run(scheme, func(t *testing.T) {
			store := buckettest.New(t)
			w, s := watchingAway(t, store, scheme+"://bucket/lab/manifest.yaml")
			put := func(text string) { store.Put("bucket/lab/manifest.yaml", []byte(text)) }
			w.poll(t.Context())
			require.ErrorContains(t, s.looked, "not found", "there is none yet")
			put(oneModel)
			w.poll(t.Context())
			require.NoError(t, s.looked)
			assert.Equal(t, []string{"m=a"}, s.members())
			assert.Equal(t, scheme+"://bucket/lab/a", s.got[0]["m"].Members[0].Path, "what it names lies beside it")
			w.poll(t.Context())
			assert.Len(t, s.got, 1, "an unchanged manifest is no work")
			put("models:\n  m:\n    members: [./runs/b, org/name, s3://other/c, /d]\n")
			w.poll(t.Context())
			require.Len(t, s.got, 2)
			assert.Equal(t, []api.MemberSpec{{Path: scheme + "://bucket/lab/runs/b"}, {Path: "hf://org/name"}, {Path: "s3://other/c"}, {Path: "/d"}}, s.got[1]["m"].Members)

			for text, want := range map[string]string{"models: [": "manifest.yaml", "models: {}": "no models", strings.Repeat("#", maxManifest+1): "over 1048576 bytes",
				"models: {m: {members: [a], guard: {pairs: pairs.jsonl}}}": "give its whole path"} {
				put(text)
				w.poll(t.Context())
				require.ErrorContains(t, s.looked, want)
				w.poll(t.Context())
				require.ErrorContains(t, s.looked, want, "again and again")
			}
			store.Put("bucket/lab/manifest.yaml", nil)
			w.poll(t.Context())
			require.Error(t, s.looked)
			assert.Len(t, s.got, 2, "a manifest that is wrong, or gone, changes nothing")
			put(oneModel)
			w.poll(t.Context())
			require.NoError(t, s.looked)
			assert.Len(t, s.got, 3)
		})
	}
}

func TestAManifestOnAWebServerIsBelievedOnceItIsTheSameTwice(t *testing.T) {
	for _, tagged := range []bool{true, false} {
		dir, whole := t.TempDir(), 0
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since") == "" {
				whole++
			}
			if text, err := os.ReadFile(filepath.Join(dir, r.URL.Path)); err == nil && tagged {
				w.Header().Set("ETag", `"`+strings.ReplaceAll(strings.ReplaceAll(string(text), "\n", ""), " ", "")+`"`)
			}
			http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
		}))
		defer h.Close()
		w, s := watchingAway(t, buckettest.New(t), h.URL+"/manifest.yaml")
		path := filepath.Join(dir, "manifest.yaml")
		require.Error(t, w.look(t.Context()))
		replace(t, path, oneModel)
		require.NoError(t, w.look(t.Context()))
		assert.Empty(t, s.got, "it may be half of something")
		before := whole
		require.NoError(t, w.look(t.Context()))
		assert.Equal(t, []string{"m=a"}, s.members())
		assert.Equal(t, before, whole, "what is unchanged does not come again")
		replace(t, path, strings.Replace(oneModel, "[a]", "[b]", 1))
		age(t, path, -time.Minute)
		require.NoError(t, w.look(t.Context()))
		require.NoError(t, w.look(t.Context()))
		assert.Equal(t, []string{"m=b"}, s.members())
		h.Close()
		require.Error(t, w.look(t.Context()))
		assert.Len(t, s.got, 2)
	}
}

func TestAddressesOfManifests(t *testing.T) {
	for _, ref := range []string{"hf://org/name", "s3://bucket", "s3://bucket/folder", "s3://bucket/manifest.yaml?x", "https://key:secret@host/manifest.yaml", "gs:///manifest.yaml"} {
		_, err := New(Config{Watch: ref, Sources: Sources{Hub: &hub.Client{}}, Threads: 1})
		require.ErrorContains(t, err, "is no address of a", ref)
	}
	_, err := New(Config{Watch: "s3://bucket/manifest.yaml", Threads: 1})
	assert.ErrorContains(t, err, "is no address of a manifest", "without a hub nothing is asked")
}

// TestAManifestAndItsModelsInABucket serves what is nowhere on this disk.
func TestAManifestAndItsModelsInABucket(t *testing.T) {
	t.Parallel()
	store := buckettest.New(t)
	dir := rewardtest.Checkpoint(t, "tiny", nil)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		store.Put("bucket/lab/rm-1/"+e.Name(), data)
	}
	store.Put("bucket/lab/manifest.yaml", []byte("models: {m: {members: [rm-1]}}"))
	client, _, _ := running(t, Config{Watch: "gs://bucket/lab/manifest.yaml", Sources: Sources{Hub: &hub.Client{GS: store.URL, Cache: t.TempDir()}},
		Server: server.Config{}})
	require.Eventually(t, func() bool {
		r, err := client.Reward(t.Context(), &api.RewardRequest{Model: "m", Inputs: []api.Input{api.Answers("Q", "A")}})
		return err == nil && r.Revision != ""
	}, 20*time.Second, 5*time.Millisecond)
}
