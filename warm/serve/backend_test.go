package serve

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/warm/backend/backendtest"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// remotely is a model on an SGLang server.
func remotely(t *testing.T, s *backendtest.Server, members ...string) *api.ModelSpec {
	spec := &api.ModelSpec{DType: "float32", Backend: &api.BackendSpec{SGLang: s.URL, Directory: t.TempDir()}}
	for _, m := range members {
		spec.Members = append(spec.Members, api.MemberSpec{Path: m})
	}
	return spec
}

// withBackend starts a server of models and returns its administrator's client, once it is
// ready, and its address.
func withBackend(t *testing.T, models map[string]*api.ModelSpec) (*api.Client, string) {
	const key = "administrator"
	client, ln, _ := running(t, Config{Models: models, Server: server.Config{AdminKeys: []string{key}, ModelRoot: "/"}})
	require.Eventually(t, func() bool { return client.Ready(t.Context()) == nil }, 20*time.Second, 5*time.Millisecond)
	url := "http://" + ln.Addr().String()
	admin, err := api.NewClient(url, api.WithKey(key))
	require.NoError(t, err)
	return admin, url
}

// rewardHere is the reward of members by the CPU.
func rewardHere(t *testing.T, members ...string) (float32, string) {
	spec := &api.ModelSpec{}
	for _, m := range members {
		spec.Members = append(spec.Members, api.MemberSpec{Path: m})
	}
	// SGLang leaves room in its context, which decides how texts are cut.
	spec.MaxTokens = 57
	client, _, _ := running(t, Config{Models: map[string]*api.ModelSpec{"m": spec}})
	require.Eventually(t, func() bool { return client.Ready(t.Context()) == nil }, 20*time.Second, 5*time.Millisecond)
	r, err := client.Reward(t.Context(), question)
	require.NoError(t, err)
	return r.Data[0].Reward, r.Revision
}

func started(t *testing.T) (s *backendtest.Server, a, b, c string) {
	a, b, c = rewardtest.Checkpoint(t, "a", nil), rewardtest.Checkpoint(t, "b", nil), rewardtest.Checkpoint(t, "c", nil)
	s = backendtest.New(t, "sglang", a)
	s.Longest = 57
	return s, a, b, c
}

func TestModelOnAnEngineOfOthersIsServedAndSwapped(t *testing.T) {
	s, a, b, c := started(t)
	admin, _ := withBackend(t, map[string]*api.ModelSpec{"m": remotely(t, s, a, b)})
	want, revision := rewardHere(t, a, b)
	r, err := admin.Reward(t.Context(), question)
	require.NoError(t, err)
	assert.InDelta(t, want, r.Data[0].Reward, 1e-6)
	assert.Equal(t, revision, r.Revision)
	models, err := admin.Models(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "sglang "+s.URL, models.Data[0].Device)

	// What is not named stays, the engine too. Requests meanwhile are answered by one or the other.
	var all sync.WaitGroup
	stop := make(chan struct{})
	revisions := make(chan string, 1000)
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := admin.Reward(t.Context(), question)
				if assert.NoError(t, err) {
					select {
					case revisions <- r.Revision:
					default:
					}
				}
			}
		})
	}
	_, err = admin.PutModel(t.Context(), "m", &api.ModelSpec{Members: []api.MemberSpec{{Path: b}, {Path: c}}}, true)
	require.NoError(t, err)
	close(stop)
	all.Wait()
	close(revisions)
	want, next := rewardHere(t, b, c)
	for r := range revisions {
		assert.Contains(t, []string{revision, next}, r)
	}
	r, err = admin.Reward(t.Context(), question)
	require.NoError(t, err)
	assert.Equal(t, next, r.Revision)
	assert.InDelta(t, want, r.Data[0].Reward, 1e-6)
	_, err = admin.RollbackModel(t.Context(), "m", true)
	require.NoError(t, err)
	r, err = admin.Reward(t.Context(), question)
	require.NoError(t, err)
	assert.Equal(t, revision, r.Revision)
}

// encoder writes a member of a class of encoders, with random weights.
func encoder(t *testing.T, name, config string, tokenizer []byte) string {
	return rewardtest.Checkpoint(t, name, func(c *loader.Contents) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(config), &fields))
		fields["id2label"], fields["label2id"] = map[string]string{"0": "LABEL_0"}, map[string]int{"LABEL_0": 0}
		c.Config, _ = json.Marshal(fields)
		cfg, err := model.ParseConfig(c.Config)
		require.NoError(t, err)
		c.Source, c.Tokenizer, c.ChatTemplate = model.NewRandom(cfg, uint64(name[0])), tokenizer, ""
		c.TokenizerConfig = []byte(`{"tokenizer_class":"PreTrainedTokenizerFast"}`)
	})
}

// TEI is started on what warm writes, and scores no tokens that no text has: a model is probed
// with texts there.
func TestModelOnTEIIsServedOnceItIsStartedOnTheAverage(t *testing.T) {
	const bert = `{"architectures":["BertForSequenceClassification"],"model_type":"bert","vocab_size":300,"hidden_size":32,"intermediate_size":48,` +
		`"num_hidden_layers":2,"num_attention_heads":2,"max_position_embeddings":64,"hidden_act":"gelu","type_vocab_size":2,"layer_norm_eps":1e-12,` +
		`"pad_token_id":299,"hidden_dropout_prob":0.1,"initializer_range":0.02}`
	a, b := encoder(t, "a", bert, rewardtest.PairTokenizer(1, 1)), encoder(t, "b", bert, rewardtest.PairTokenizer(1, 1))
	s := backendtest.New(t, "tei", a)
	there := &api.ModelSpec{Members: []api.MemberSpec{{Path: a}, {Path: b}}, DType: "float32", Backend: &api.BackendSpec{TEI: s.URL, Directory: t.TempDir()}}
	here := &api.ModelSpec{Members: there.Members}
	admin, _ := withBackend(t, map[string]*api.ModelSpec{"here": here})
	_, err := admin.PutModel(t.Context(), "there", there, true)
	require.Error(t, err)
	folder := regexp.MustCompile(`start it with text-embeddings-router --dtype float32 --model-id (\S+), and load`).FindStringSubmatch(err.Error())
	require.NotNil(t, folder, "%v", err)
	s.Restart(folder[1])
	_, err = admin.PutModel(t.Context(), "there", there, true)
	require.NoError(t, err)
	inputs := []api.Input{api.Answers("question", "yes", "", "a longer one"), api.Text("a text")}
	want, err := admin.Reward(t.Context(), &api.RewardRequest{Model: "here", Inputs: inputs})
	require.NoError(t, err)
	got, err := admin.Reward(t.Context(), &api.RewardRequest{Model: "there", Inputs: inputs})
	require.NoError(t, err)
	assert.Equal(t, want.Revision, got.Revision)
	for i := range want.Data {
		assert.InDelta(t, want.Data[i].Reward, got.Data[i].Reward, 1e-6)
	}
}

// A swap that the engine fails leaves the old revision live, which it is given again.
func TestSwapThatTheEngineFailsGoesBack(t *testing.T) {
	s, a, b, c := started(t)
	admin, _ := withBackend(t, map[string]*api.ModelSpec{"m": remotely(t, s, a, b)})
	before, err := admin.Reward(t.Context(), question)
	require.NoError(t, err)
	served := s.Serves()
	s.Break(func(w http.ResponseWriter, r *http.Request, body string) bool {
		if r.URL.Path != "/update_weights_from_disk" || strings.Contains(body, served) {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"success":false,"message":"out of memory"}`))
		return true
	})
	_, err = admin.PutModel(t.Context(), "m", &api.ModelSpec{Members: []api.MemberSpec{{Path: c}}}, true)
	assert.ErrorContains(t, err, "out of memory")
	r, err := admin.Reward(t.Context(), question)
	require.NoError(t, err)
	assert.Equal(t, before.Revision, r.Revision)
	assert.Equal(t, before.Data[0].Reward, r.Data[0].Reward)

	// Where the engine takes neither, the model is gone and the server says so.
	s.Break(func(w http.ResponseWriter, r *http.Request, _ string) bool {
		if r.URL.Path != "/update_weights_from_disk" {
			return false
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"success":false,"message":"out of memory"}`))
		return true
	})
	_, err = admin.PutModel(t.Context(), "m", &api.ModelSpec{Members: []api.MemberSpec{{Path: c}}}, true)
	assert.ErrorContains(t, err, "which was live, cannot be loaded again")
	assert.Error(t, admin.Ready(t.Context()))
}

func TestGuardJudgesOnTheEngine(t *testing.T) {
	s, a, b, _ := started(t)
	pairs := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(pairs, []byte(`{"prompt":"Q","chosen":"A","rejected":"B"}`+"\n"+`{"prompt":"Q","chosen":"yes","rejected":"no"}`+"\n"), 0o644))
	admin, _ := withBackend(t, map[string]*api.ModelSpec{"m": remotely(t, s, a)})
	_, err := admin.PutModel(t.Context(), "m", &api.ModelSpec{Members: []api.MemberSpec{{Path: a}, {Path: b}}, Guard: &api.GuardSpec{Pairs: pairs, MaxLoss: 100}}, true)
	require.NoError(t, err)
	detail, err := admin.ModelDetail(t.Context(), "m")
	require.NoError(t, err)
	last := detail.History[len(detail.History)-1]
	require.NotNil(t, last.Guard)
	assert.Len(t, last.Guard.Members, 2)
	_, revision := rewardHere(t, a, b)
	assert.Equal(t, revision, detail.Revision)
}

func TestReadinessSaysThatTheEngineIsAway(t *testing.T) {
	t.Parallel()
	s, a, _, _ := started(t)
	admin, url := withBackend(t, map[string]*api.ModelSpec{"m": remotely(t, s, a), "here": {Members: []api.MemberSpec{{Path: a}}}})
	ask := func(name string) *api.RewardRequest {
		return &api.RewardRequest{Model: name, Inputs: question.Inputs}
	}
	s.Break(func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	r, err := http.Post(url+"/v1/reward", "application/json", strings.NewReader(`{"model":"m","inputs":[{"prompt":"Q","response":"A"}]}`))
	require.NoError(t, err)
	defer r.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	assert.NotEmpty(t, r.Header.Get("Retry-After"))
	assert.ErrorContains(t, admin.Ready(t.Context()), "model m cannot be scored: sglang "+s.URL)
	_, err = admin.Reward(t.Context(), ask("here"))
	assert.NoError(t, err, "what is computed here is not held up")
	s.Break(nil)
	require.Eventually(t, func() bool { return admin.Ready(t.Context()) == nil }, 20*time.Second, 20*time.Millisecond)
	_, err = admin.Reward(t.Context(), ask("m"))
	assert.NoError(t, err)
}

func TestWhatAnEngineCannotBeAskedForIsRefused(t *testing.T) {
	s, a, b, _ := started(t)
	admin, url := withBackend(t, map[string]*api.ModelSpec{"m": remotely(t, s, a)})
	_, err := admin.PutModel(t.Context(), "second", remotely(t, s, b), true)
	assert.ErrorContains(t, err, `serves the model "m": an engine holds one`)
	spec := remotely(t, s, a, b)
	spec.Mode = "both"
	_, err = admin.PutModel(t.Context(), "second", spec, true)
	assert.ErrorContains(t, err, "an engine holds one set of weights")
	r, err := http.NewRequest(http.MethodPut, url+"/v1/models/m?dry_run=true", strings.NewReader(`{"alpha":null}`))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer administrator")
	r.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer reply.Body.Close()
	assert.Equal(t, http.StatusBadRequest, reply.StatusCode)

	_, err = New(Config{Models: map[string]*api.ModelSpec{"x": remotely(t, s, a), "y": remotely(t, s, b)}})
	assert.ErrorContains(t, err, `models.y: the engine at `+s.URL+` is that of the model "x", too: it holds one`)
}

func TestBackendIsReadFromYAML(t *testing.T) {
	var m manifest
	require.NoError(t, ParseYAML("m.yaml", []byte("models: {m: {members: [a], backend: {vllm: 'http://gpu:8000', directory: wa, verify: name, concurrency: 8}}}"), &m))
	assert.Equal(t, &api.BackendSpec{VLLM: "http://gpu:8000", Directory: "wa", Verify: "name", Concurrency: 8}, m.Models["m"].Backend)
	require.NoError(t, Sources{}.Resolve("/models", m.Models))
	assert.Equal(t, "/models/wa", m.Models["m"].Backend.Directory)
	c, err := RewardConfig(m.Models["m"], nil)
	require.NoError(t, err)
	assert.Equal(t, "bfloat16", c.DType.String())
	m.Models["m"].DType = "int8"
	_, err = RewardConfig(m.Models["m"], nil)
	assert.ErrorContains(t, err, "dtype int8 is not computed on vllm http://gpu:8000: want bfloat16 or float32")
}
