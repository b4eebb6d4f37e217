package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

const testAdminKey = "an-admin-key"

// smallConfig is a reward model of 2.6 MB: small enough to be loaded in some
// milliseconds, large enough that two hundred that are not freed are seen.
const smallConfig = `{"architectures":["LlamaForSequenceClassification"],"model_type":"llama","hidden_size":128,"intermediate_size":256,"num_hidden_layers":4,"num_attention_heads":4,"vocab_size":300,"max_position_embeddings":64,"pad_token_id":0,"id2label":{"0":"LABEL_0"}}`

// store is a folder of checkpoints: good ones, whose rewards are known, and
// ones that must not be served.
type store struct {
	root     string
	inputs   [][]int32
	revision map[string]string    // by checkpoint
	rewards  map[string][]float32 // by revision, then input
}

func newStore(t testing.TB, good ...string) *store {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	s := &store{root: root, revision: map[string]string{}, rewards: map[string][]float32{}}
	for n := range 8 {
		ids := make([]int32, 2+5*n)
		for i := range ids {
			ids[i] = int32((7*n + 3*i) % 300)
		}
		s.inputs = append(s.inputs, ids)
	}
	e := model.NewEngine(1)
	defer e.Close()
	for i, name := range good {
		s.write(t, name, uint64(i+1), nil)
		d, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: filepath.Join(root, name)}}}, 1)
		require.NoError(t, err)
		var seqs []reward.Encoded
		for _, ids := range s.inputs {
			x, err := d.Encode(reward.Input{IDs: ids}, reward.EncodeOptions{})
			require.NoError(t, err)
			seqs = append(seqs, x)
		}
		s.revision[name] = d.Revision
		s.rewards[d.Revision], err = d.Score(e, d.Average(), seqs)
		require.NoError(t, err)
	}
	return s
}

// write saves a checkpoint of random weights.
func (s *store) write(t testing.TB, name string, seed uint64, edit func(*loader.Contents)) {
	cfg, err := model.ParseConfig([]byte(smallConfig))
	require.NoError(t, err)
	c := rewardtest.Contents(t, name)
	c.Config, c.Source = []byte(smallConfig), model.NewRandom(cfg, seed)
	if edit != nil {
		edit(&c)
	}
	require.NoError(t, loader.Save(filepath.Join(s.root, name), c))
}

// breakSome writes checkpoints that must not be served, and returns their names.
func (s *store) breakSome(t testing.TB) []string {
	s.write(t, "short", 9, nil)
	weights := filepath.Join(s.root, "short", "model.safetensors")
	info, err := os.Stat(weights)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(weights, info.Size()/2))
	s.write(t, "nan", 9, nil)
	poke(t, filepath.Join(s.root, "nan"), "model.norm.weight", 0, float32(math.NaN()))
	s.write(t, "headless", 9, func(c *loader.Contents) { c.Source = partial{Source: c.Source, without: "score.weight"} })
	s.write(t, "empty", 9, nil)
	require.NoError(t, os.Remove(filepath.Join(s.root, "empty", "model.safetensors")))
	return []string{"short", "nan", "headless", "empty"}
}

// flags are the ones with which a server's models can be changed.
func (s *store) flags(t testing.TB) []string {
	return []string{"--admin-key-file", adminKeyFile(t), "--model-root", s.root}
}

// adminKeyFile returns a file that holds testAdminKey.
func adminKeyFile(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "admin")
	require.NoError(t, os.WriteFile(path, []byte(testAdminKey+"\n"), 0o600))
	return path
}

// check holds a reply against the revision that it names, to the bit.
func (s *store) check(got *reply, input int) error {
	want, ok := s.rewards[got.Revision]
	if !ok {
		return fmt.Errorf("revision %q was never good", got.Revision)
	}
	if len(got.Data) != 1 || math.Float32bits(got.Data[0].Reward) != math.Float32bits(want[input]) {
		return fmt.Errorf("revision %s: input %d: %v, want %v", got.Revision, input, got.Data, want[input])
	}
	return nil
}

// ask scores one input on a connection of its own.
func ask(ctx context.Context, url string, ids []int32) (*reply, int, error) {
	body, err := json.Marshal(map[string]any{"inputs": []any{map[string]any{"input_ids": ids}}})
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/reward", bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer r.Body.Close()
	got := new(reply)
	return got, r.StatusCode, json.NewDecoder(r.Body).Decode(got)
}

// putModel makes a checkpoint live as m.
func putModel(url, dir string) (status int, body string, err error) {
	req, err := http.NewRequest("PUT", url+"/v1/models/m?wait=true", strings.NewReader(fmt.Sprintf(`{"members":[%q]}`, dir)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+testAdminKey)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	return r.StatusCode, string(data), err
}

// heap returns the bytes that are in use once the collector has been through,
// without the server's log, which the test alone keeps.
func heap(w *instance) uint64 {
	w.stderr.mu.Lock()
	w.stderr.buf = bytes.Buffer{}
	w.stderr.mu.Unlock()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestTwoHundredSwapsUnderLoadLoseNothing swaps two revisions back and forth
// while clients ask on connections of their own: no request fails, and every
// reward is to the bit that of the revision which its reply names. Broken
// checkpoints in between are refused each time.
func TestTwoHundredSwapsUnderLoadLoseNothing(t *testing.T) {
	swaps := 200
	if testing.Short() {
		swaps = 20
	}
	s := newStore(t, "x", "y")
	broken := s.breakSome(t)
	before := runtime.NumGoroutine()
	w := startServe(t, append(s.flags(t), "--model", "m="+filepath.Join(s.root, "x"), "--keep-previous", "0")...)
	one := heap(w)

	stop := make(chan struct{})
	var clients sync.WaitGroup
	var asked, failed atomic.Int64
	var seen sync.Map
	for c := range 8 {
		clients.Go(func() {
			for n := c; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				input := n % len(s.inputs)
				got, status, err := ask(t.Context(), w.url, s.inputs[input])
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("status %d: %+v", status, got.Error)
				}
				if err == nil {
					err = s.check(got, input)
				}
				asked.Add(1)
				if err != nil {
					failed.Add(1)
					t.Error(err)
					return
				}
				seen.Store(got.Revision, true)
			}
		})
	}
	most, refused := uint64(0), 0
	start := time.Now()
	for n := range swaps {
		status, body, err := putModel(w.url, []string{"y", "x"}[n%2])
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, body)
		if n%10 == 9 {
			bad := broken[n/10%len(broken)]
			status, body, err := putModel(w.url, bad)
			require.NoError(t, err)
			assert.Equal(t, http.StatusUnprocessableEntity, status, "%s: %s", bad, body)
			refused++
			most = max(most, heap(w))
		}
	}
	took := time.Since(start)
	close(stop)
	clients.Wait()
	http.DefaultClient.CloseIdleConnections()
	end := heap(w)
	revisions := 0
	seen.Range(func(any, any) bool { revisions++; return true })
	t.Logf("%d swaps in %v, %d refused, %d requests, %d failed; heap with one model %d KB, most seen %d KB, at the end %d KB",
		swaps, took.Round(time.Millisecond), refused, asked.Load(), failed.Load(), one>>10, most>>10, end>>10)
	assert.Equal(t, 2, revisions, "the load saw both revisions")
	assert.Zero(t, failed.Load())
	// Less than one more model than at the start; with all 200 it would be 500 MB.
	const size = 2600 << 10
	assert.Less(t, end, one+size)
	assert.Equal(t, exitOK, w.stop())
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 5*time.Second, 10*time.Millisecond,
		"goroutines return: %d before, %d after", before, runtime.NumGoroutine())
}
