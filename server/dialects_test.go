package server_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// send posts a body to a path; harness.do holds the reply against the document.
func (h *harness) send(path, body string, header ...string) *reply {
	h.t.Helper()
	return h.do(http.MethodPost, path, body, header...)
}

// named is a model whose revision is a real one.
func named(name string) *servertest.Model {
	return servertest.New(name, func(i *live.Info) {
		i.Revision, i.Label = "sha256:0123456789abcdef"+strings.Repeat("0", 48), "LABEL_0"
	})
}

// native returns the rewards that the native route gives.
func (h *harness) native(body string) (out []float32) {
	h.t.Helper()
	for _, d := range h.post(body).rewards(h.t).Data {
		out = append(out, d.Reward)
	}
	return out
}

// shortest writes rewards as the server writes them, for bodies that are
// compared as text: nothing in between may round.
func shortest(t *testing.T, f float32) string {
	b, err := api.Encode(f)
	require.NoError(t, err)
	return string(b)
}

func logistic(f float32) float32 { return float32(1 / (1 + math.Exp(-float64(f)))) }

// TestEveryDialectAnswersTheNativeReward replays what each client sends, and
// looks for the native route's reward, to the bit, where that client reads it.
func TestEveryDialectAnswersTheNativeReward(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	text := h.native(`{"inputs":[{"text":"hello"}]}`)[0]
	special := h.native(`{"inputs":[{"text":"hello","add_special_tokens":true}]}`)[0]
	ids := h.native(`{"inputs":[{"input_ids":[7,8,9]}]}`)[0]
	pair := h.native(`{"inputs":[{"prompt":"q","responses":["a","bb"]}]}`)
	require.NotEqual(t, text, special)
	for _, c := range []struct {
		name, path, body string
		at               func(v any) any // where the client looks
		want             float32
	}{
		{"OpenRLHF", "/get_reward", `{"query":["hello"],"prompts":["hel"],"labels":[null]}`, in("rewards", 0), text},
		{"OpenRLHF's scores", "/get_reward", `{"query":["hello"],"prompts":["hel"],"labels":[null]}`, in("scores", 0), logistic(text)},
		{"verl on vLLM", "/classify", `{"model":"m","input":"hello","use_activation":false}`, in("data", -1, "probs", -1), special},
		{"verl on SGLang", "/v1/embeddings", `{"model":"m","input":"hello"}`, in("data", -1, "embedding", -1), special},
		{"vLLM without special tokens", "/v1/classify", `{"input":["hello"],"add_special_tokens":false}`, in("data", 0, "probs", 0), text},
		{"vLLM's messages", "/pooling", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, in("data", 0, "data", 0), pair[0]},
		{"vLLM's token ids", "/pooling", `{"input":[[1],[7,8,9]]}`, in("data", 1, "data", 0), ids},
		{"vLLM's score", "/score", `{"queries":"q","documents":["a","bb"]}`, in("data", 1, "score"), pair[1]},
		{"vLLM's score of pairs", "/v1/score", `{"text_1":["x","q"],"text_2":["y","bb"]}`, in("data", 1, "score"), pair[1]},
		{"SGLang's one text", "/classify", `{"text":"hello"}`, in("embedding", 0), special},
		{"SGLang's texts", "/classify", `{"model":"Skywork/x","text":["x","hello"]}`, in(1, "embedding", 0), special},
		{"SGLang's ids", "/classify", `{"input_ids":[[7,8,9]]}`, in(0, "embedding", 0), ids},
		{"TEI's text", "/predict", `{"inputs":"hello","raw_scores":true}`, in(0, "score"), special},
		{"TEI's pair, as a probability", "/predict", `{"inputs":["q","a"]}`, in(0, "score"), logistic(pair[0])},
		{"TEI's batch", "/predict", `{"inputs":[["hello"],["q","bb"]],"raw_scores":true}`, in(1, 0, "score"), pair[1]},
		{"slime", "/v1/score-one", `{"prompt":"q","response":"a","label":"x"}`, in("score"), pair[0]},
		{"slime without a key", "/v1/score-one?bare=1", `{"prompt":[{"role":"user","content":"q"}],"response":"a"}`, in(), pair[0]},
		{"NeMo Gym", "/verify", `{"responses_create_params":{"input":[{"role":"user","content":"q"}]},"response":{"output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}]}}`, in("reward"), pair[0]},
		{"LLaMA-Factory", "/v1/score/evaluation", `{"model":"model","messages":["x","hello"]}`, in("scores", 1), text},
		{"oat, in JSON", "/get_feedback", `{"batch_prompt":["q","q"],"batch_response":["a","bb"],"batch_candidates":[]}`, in("batch_score", 1), pair[1]},
		{"oat's preference", "/get_feedback", `{"batch_prompt":["q"],"batch_response":[],"batch_candidates":[["a","bb"]]}`, in("batch_first_win_prob", 0), logistic(pair[0] - pair[1])},
		{"infinity's classification", "/classify", `{"model":"default/not-specified","input":["x","hello"],"raw_scores":true}`, in("data", 1, 0, "score"), special},
		{"infinity's default", "/classify", `{"input":["hello"],"raw_scores":false}`, in("data", 0, 0, "score"), logistic(special)},
		{"text classification under vLLM's path", "/classify", `{"inputs":"hello","parameters":{"function_to_apply":"none"}}`, in(0, 0, "score"), special},
		{"NeMo Gym behind a rollout", "/ng-rollout/3-0/verify", gymRow, in("reward"), pair[0]},
		{"Open Inference Protocol", "/v2/models/m/infer", `{"inputs":[{"name":"PROMPT","shape":[1],"datatype":"BYTES","data":["q"]},{"name":"RESPONSE","shape":[1],"datatype":"BYTES","data":["a"]}]}`, in("outputs", 0, "data", 0), pair[0]},
		{"Open Inference Protocol, of a version", "/v2/models/m/versions/0123456789ab/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["hello"]}]}`, in("outputs", 0, "data", 0), text},
		{"NeMo-Aligner", "/v2/models/m/infer", `{"inputs":[{"name":"tokens","shape":[1,4],"datatype":"INT64","data":[7,8,9,0]},{"name":"sequence_lengths","shape":[1,1],"datatype":"INT64","data":[3]}]}`, in("outputs", 0, "data", 0), ids},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := h.send(c.path, c.body)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			d := json.NewDecoder(strings.NewReader(string(r.body)))
			d.UseNumber()
			var v any
			require.NoError(t, d.Decode(&v))
			assert.Equal(t, shortest(t, c.want), fmt.Sprint(c.at(v)))
			assert.Equal(t, "sha256:0123456789abcdef"+strings.Repeat("0", 48), r.header.Get("X-Model-Revision"))
		})
	}
}

// in walks a decoded reply: strings are keys, numbers places, from the end when
// below 0.
func in(path ...any) func(any) any {
	return func(v any) any {
		for _, p := range path {
			switch p := p.(type) {
			case string:
				v = v.(map[string]any)[p]
			case int:
				list := v.([]any)
				v = list[(p+len(list))%len(list)]
			}
		}
		return v
	}
}

func TestRankingsPutTheBestFirst(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	rewards := h.native(`{"inputs":[{"prompt":"q","responses":["a","b","c","d"]}]}`)
	best := 0
	for i := range rewards {
		if rewards[i] > rewards[best] {
			best = i
		}
	}
	for _, c := range []struct{ path, body, score string }{
		{"/rerank", `{"query":"q","documents":["a","b","c","d"]}`, "relevance_score"},
		{"/v1/rerank", `{"query":"q","documents":["a","b","c","d"],"top_n":1}`, "relevance_score"},
		{"/v2/rerank", `{"query":"q","documents":["a","b","c","d"],"return_documents":false}`, "relevance_score"},
		{"/rerank", `{"query":"q","texts":["a","b","c","d"],"raw_scores":true}`, "score"},
		{"/", `{"query":"q","texts":["a","b","c","d"],"raw_scores":true,"return_text":true}`, "score"},
	} {
		r := h.send(c.path, c.body)
		require.Equal(t, http.StatusOK, r.status, "%s", r.body)
		var v any
		require.NoError(t, json.Unmarshal(r.body, &v))
		if m, ok := v.(map[string]any); ok {
			v = m["results"]
		}
		list := v.([]any)
		assert.EqualValues(t, best, in(0, "index")(v))
		for i := 1; i < len(list); i++ {
			assert.GreaterOrEqual(t, in(i-1, c.score)(v).(float64), in(i, c.score)(v).(float64))
		}
	}
}

func TestOpenRLHFsEmptyListsNeedNoModel(t *testing.T) {
	h := start(t, server.Config{})
	r := h.send("/get_reward", `{"query":[],"prompts":[],"labels":[]}`)
	require.Equal(t, http.StatusOK, r.status)
	assert.JSONEq(t, `{"rewards":[],"scores":[],"extra_logs":{"reward_std":[],"reward_tokens":[],"truncated":[]}}`, string(r.body))
}

func TestTheQueryChoosesModelAndEnsemble(t *testing.T) {
	h := start(t, server.Config{}, named("one"), named("two"))
	ens := h.post(`{"model":"two","mode":"ens","aggregate":"min","inputs":[{"text":"hello"}]}`).rewards(t).Data[0]
	r := h.send("/get_reward?model=two&mode=ens&aggregate=min&scores=raw", `{"query":["hello"]}`)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	assert.JSONEq(t, fmt.Sprintf(`{"rewards":[%s],"scores":[%[1]s],"extra_logs":{"reward_std":[%s],"reward_tokens":[5],"truncated":[0]}}`, shortest(t, ens.Reward), shortest(t, *ens.Std)), string(r.body))
	r = h.send("/get_reward", `{"query":["hello"]}`)
	assert.Equal(t, http.StatusBadRequest, r.status)
	assert.Equal(t, "several models are served: name one", r.error(t).Error.Message)
	r = h.send("/classify", `{"model":"three","input":"hello"}`)
	assert.Equal(t, http.StatusNotFound, r.status)
	assert.JSONEq(t, `{"error":{"message":"model: model \"three\" is not served here","type":"NotFoundError","param":"model","code":404}}`, string(r.body))
}

func TestTextOverTheContextIsCutOrRefused(t *testing.T) {
	h := start(t, server.Config{}, named("m")) // of 64 tokens
	long := strings.Repeat("x", 60) + "0123456789"
	tail := h.native(`{"inputs":[{"text":"` + long[6:] + `"}]}`)[0]
	r := h.send("/get_reward", `{"query":["`+long+`"]}`)
	assert.Contains(t, string(r.body), `"rewards":[`+shortest(t, tail)+`]`, "the end is kept")
	assert.Contains(t, string(r.body), `"truncated":[1]`)
	r = h.send("/classify", `{"input":"`+long+`","add_special_tokens":false}`)
	assert.Contains(t, string(r.body), `"probs":[`+shortest(t, tail)+`],"num_classes":1,"truncated":true`)
	end := h.native(`{"inputs":[{"text":"6789"}]}`)[0]
	r = h.send("/classify", `{"input":"`+long+`","add_special_tokens":false,"truncate_prompt_tokens":4}`)
	assert.Contains(t, string(r.body), `"probs":[`+shortest(t, end)+`]`)
	begin := h.native(`{"inputs":[{"text":"xxxx"}]}`)[0]
	r = h.send("/classify", `{"input":"`+long+`","add_special_tokens":false,"truncate_prompt_tokens":4,"truncation_side":"right"}`)
	assert.Contains(t, string(r.body), `"probs":[`+shortest(t, begin)+`]`)
	r = h.send("/predict", `{"inputs":"`+long+`","truncate":false}`)
	assert.Equal(t, http.StatusUnprocessableEntity, r.status)
	assert.Contains(t, string(r.body), `"error_type":"Validation"`)
}

func TestErrorsHaveTheShapeOfTheirDialect(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/get_reward?on_error=request", `{"query":["a",""]}`, 400, `{"error":{"type":"invalid_request","message":"text is empty","param":"query[1]","code":"empty_input"}}`},
		{"/get_reward", `{"query"`, 400, `{"error":{"type":"invalid_request","message":"the body ends in the middle of a value, at byte 8","param":"query","code":"invalid_json"}}`},
		{"/classify", `{"input":["a",""]}`, 400, `{"error":{"message":"input[1]: text is empty","type":"BadRequestError","param":"input[1]","code":400}}`},
		{"/classify", `{"messages":[{"role":"user","content":"q"}]}`, 400, `{"error":{"message":"messages[0].role: the role of the last message is \"user\", want \"assistant\"","type":"BadRequestError","param":"messages[0].role","code":400}}`},
		{"/classify", `{"text":["a",""]}`, 400, `{"error":{"message":"text[1]: text is empty"}}`},
		{"/classify", `{"text":7}`, 400, `{"error":{"message":"text: want a string or a list of strings"}}`},
		{"/classify", `{"input_ids":[[300]]}`, 400, `{"error":{"message":"input_ids[0]: id 300, the vocabulary has 259"}}`},
		{"/predict", `{"inputs":["a","b","c"]}`, 422, `{"error":"inputs: want a string, a pair of strings [string, string] or a batch of mixed strings and pairs [[string], [string, string], ...]","error_type":"Validation"}`},
		{"/predict", `{"inputs":""}`, 400, `{"error":"inputs: text is empty","error_type":"Empty"}`},
		{"/rerank", `{"query":"q","texts":[]}`, 400, `{"error":"texts: ` + "`texts`" + ` cannot be empty","error_type":"Empty"}`},
		{"/rerank", `{"query":"q","documents":[]}`, 400, `{"error":{"message":"documents: documents is empty","type":"BadRequestError","param":"documents","code":400}}`},
		{"/v1/score-one", `{"prompt":"q"}`, 400, `{"error":{"type":"invalid_request","message":"response is missing","param":"response","code":"missing_field"}}`},
		{"/v2/models/other/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}]}`, 404, `{"error":"model: model \"other\" is not served here"}`},
		{"/v2/models/m/versions/ffffffff/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}]}`, 409, `{"error":"model: revision ffffffff is not held; the live one is sha256:0123456789abcdef` + strings.Repeat("0", 48) + `"}`},
		{"/v2/models/m/infer", `{"inputs":[]}`, 400, `{"error":"inputs: want the tensor TEXT, or PROMPT and RESPONSE, or tokens and sequence_lengths"}`},
	} {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			r := h.send(c.path, c.body)
			assert.Equal(t, c.status, r.status)
			assert.JSONEq(t, c.want, string(r.body))
		})
	}
}

func TestDialectsAskForTheKeyInTheirOwnShape(t *testing.T) {
	h := start(t, server.Config{Keys: []string{"sk-12345678"}}, named("m"))
	for path, want := range map[string]string{
		"/classify": `{"error":"Unauthorized"}`, "/predict": ``, "/v2/models/m/infer": `{"error":"send the key as \"Authorization: Bearer KEY\""}`,
	} {
		r := h.send(path, `{}`)
		assert.Equal(t, http.StatusUnauthorized, r.status)
		assert.Equal(t, want, string(r.body), path)
	}
	for _, path := range []string{"/", "/health", "/ping", "/v2/health/live", "/v2/health/ready"} {
		assert.Equal(t, http.StatusOK, h.get(path).status, "%s is a probe's", path)
	}
	for _, path := range []string{"/info", "/v2", "/v2/models/m", "/get_model_info", "/reverify_mode"} {
		assert.Equal(t, http.StatusUnauthorized, h.get(path).status, path)
	}
	assert.Equal(t, http.StatusUnauthorized, h.send("/", `{}`).status, "POST / scores")
	assert.Equal(t, http.StatusOK, h.send("/get_reward?key=sk-12345678", `{"query":["a"]}`).status)
}

// busy is a model whose queue is full until release is called.
func busy(t *testing.T, cfg server.Config) (h *harness, release func()) {
	m := named("m")
	gate, entered := make(chan struct{}), make(chan struct{}, 100)
	m.Fakes["wa"].Before = func([]batch.Sequence) error {
		entered <- struct{}{}
		<-gate
		return nil
	}
	cfg.Queue = batch.Config{MaxQueuedTokens: 8, MaxBatchTokens: 8}
	h = start(t, cfg, m)
	var done sync.WaitGroup
	var once sync.Once
	release = func() { once.Do(func() { close(gate) }) }
	t.Cleanup(func() {
		release()
		done.Wait()
	})
	occupy := func() { // outlives the test's context
		done.Go(func() {
			r, err := http.Post(h.url+"/v1/reward", "application/json", strings.NewReader(`{"inputs":[{"text":"12345678"}]}`))
			if assert.NoError(t, err) {
				r.Body.Close()
				assert.Equal(t, http.StatusOK, r.StatusCode)
			}
		})
	}
	occupy() // this one computes
	<-entered
	occupy() // and this one waits
	require.Eventually(t, func() bool {
		return strings.Contains(string(h.get("/metrics").body), "warm_queue_tokens 8")
	}, 5*time.Second, time.Millisecond)
	return h, release
}

// Each dialect says that the server is full as its clients expect it: a 4xx
// ends a verl run, and TEI's clients come again after a 429.
func TestAFullQueueAnswersAsEachClientExpects(t *testing.T) {
	h, _ := busy(t, server.Config{})
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"/get_reward", `{"query":["a"]}`, 503, `"code":"overloaded"`},
		{"/classify", `{"input":"a"}`, 503, `"type":"ServiceUnavailable","param":null,"code":503`},
		{"/v1/embeddings", `{"input":"a"}`, 503, `"type":"ServiceUnavailable"`},
		{"/classify", `{"text":"a"}`, 503, `{"error":{"message":`},
		{"/predict", `{"inputs":"a"}`, 429, `{"error":"Model is overloaded","error_type":"Overloaded"}`},
		{"/rerank", `{"query":"q","texts":["a"]}`, 429, `"Overloaded"`},
		{"/rerank", `{"query":"q","documents":["a"]}`, 503, `"ServiceUnavailable"`},
		{"/v1/score-one", `{"prompt":"q","response":"a"}`, 503, `"code":"overloaded"`},
		{"/v1/score/evaluation", `{"model":"model","messages":["a"]}`, 503, `"code":"overloaded"`},
		{"/get_feedback", `{"batch_prompt":["q"],"batch_response":["a"]}`, 503, `"code":"overloaded"`},
		{"/classify", `{"input":"a","raw_scores":true}`, 503, `"type":"ServiceUnavailable"`},
		{"/classify", `{"inputs":"a"}`, 503, `"type":"ServiceUnavailable"`},
		{"/verify", `{"responses_create_params":{"input":"q"},"response":{"output":[]}}`, 503, `"code":"overloaded"`},
		{"/v2/models/m/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}]}`, 503, `{"error":`},
	} {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			began := time.Now()
			r := h.send(c.path, c.body, "X-Request-Timeout", "0.05")
			assert.Equal(t, c.status, r.status)
			assert.Contains(t, string(r.body), c.want)
			if c.status == http.StatusServiceUnavailable {
				assert.NotEmpty(t, r.header.Get("Retry-After"))
			}
			if !strings.HasPrefix(c.path, "/v2/") {
				assert.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond, "it waited for room first")
			}
		})
	}
}

func TestAHeldRequestIsAnsweredOnceThereIsRoom(t *testing.T) {
	h, release := busy(t, server.Config{})
	answers := make(chan *reply, 20)
	for range cap(answers) {
		go func() { answers <- h.send("/get_reward", `{"query":["1234"]}`) }()
	}
	require.Eventually(t, func() bool {
		return strings.Contains(string(h.get("/metrics").body), fmt.Sprintf("warm_requests_held %d", cap(answers)))
	}, 5*time.Second, time.Millisecond, "all wait outside the queue")
	release()
	for range cap(answers) {
		assert.Equal(t, http.StatusOK, (<-answers).status)
	}
	assert.Contains(t, string(h.get("/metrics").body), "warm_requests_held 0")
}

// OpenRLHF tries five times within five seconds: a server that is still
// loading must not answer at once.
func TestARequestBeforeTheFirstModelIsHeld(t *testing.T) {
	h := start(t, server.Config{})
	answer := make(chan *reply)
	go func() { answer <- h.send("/get_reward", `{"query":["a"]}`) }()
	require.Eventually(t, func() bool {
		return strings.Contains(string(h.get("/metrics").body), "warm_requests_held 1")
	}, 5*time.Second, time.Millisecond)
	assert.Equal(t, http.StatusServiceUnavailable, h.post(one).status, "the native route says so at once")
	_, err := h.models.Swap(named("m"))
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, (<-answer).status)
}

func TestTEIsTimesAndWarnings(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	for range 3 {
		r := h.send("/predict", `{"inputs":["qé","a"]}`)
		require.Equal(t, http.StatusOK, r.status)
		assert.Equal(t, "cpu", r.header.Get("X-Compute-Type"))
		assert.Equal(t, "3", r.header.Get("X-Compute-Characters"))
		assert.Equal(t, "21", r.header.Get("X-Compute-Tokens"))
		for _, name := range []string{"X-Compute-Time", "X-Total-Time", "X-Tokenization-Time", "X-Queue-Time", "X-Inference-Time"} {
			_, err := strconv.Atoi(r.header.Get(name))
			assert.NoError(t, err, name)
		}
	}
	assert.Equal(t, 1, strings.Count(h.log.String(), "raw_scores: true"), "said once")
}

func TestWhatClientsAskForBesidesScores(t *testing.T) {
	h := start(t, server.Config{Version: "1.2.3"}, named("m"))
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/info", "", `{"model_id":"m","model_sha":"sha256:0123456789abcdef` + strings.Repeat("0", 48) + `","model_dtype":"f32","served_model_name":"m","model_type":{"reranker":{"id2label":{"0":"LABEL_0"},"label2id":{"LABEL_0":0}}},
			"max_concurrent_requests":16384,"max_input_length":64,"max_batch_tokens":8192,"max_batch_requests":null,"max_client_batch_size":4096,"auto_truncate":true,"tokenization_workers":1,"version":"1.2.3","sha":null,"docker_label":null}`},
		{"POST", "/tokenize", `{"inputs":"a<|"}`, `[[{"id":256,"text":"<bos>","special":true,"start":null,"stop":null},{"id":97,"text":"a","special":false,"start":null,"stop":null},{"id":257,"text":"<|","special":true,"start":null,"stop":null}]]`},
		{"POST", "/tokenize", `{"inputs":["a","b"],"add_special_tokens":false}`, `[[{"id":97,"text":"a","special":false,"start":null,"stop":null}],[{"id":98,"text":"b","special":false,"start":null,"stop":null}]]`},
		{"POST", "/decode", `{"ids":[256,97,98]}`, `["ab"]`},
		{"POST", "/decode", `{"ids":[[256,97],[98]],"skip_special_tokens":false}`, `["<bos>a","b"]`},
		{"POST", "/seed_session", `{"anything":1}`, `{}`},
		{"POST", "/seed_session", `{"resources_session_id":"s"}`, `{"resources_session_id":"s"}`},
		{"GET", "/reverify_mode", "", `"stateless"`},
		{"GET", "/get_model_info", "", `{"model_path":"m","tokenizer_path":"m","is_generation":false,"weight_version":"sha256:0123456789abcdef` + strings.Repeat("0", 48) + `"}`},
		{"GET", "/v2", "", `{"name":"warmserve","version":"1.2.3","extensions":["model_repository","binary_tensor_data"]}`},
		{"GET", "/v2/health/live", "", `{"live":true}`},
		{"GET", "/v2/health/ready", "", `{"live":true,"ready":true}`},
		{"GET", "/v2/models/m", "", `{"name":"m","versions":["0123456789ab"],"platform":"warmserve","inputs":[{"name":"TEXT","datatype":"BYTES","shape":[-1]},{"name":"PROMPT","datatype":"BYTES","shape":[-1]},{"name":"RESPONSE","datatype":"BYTES","shape":[-1]},{"name":"tokens","datatype":"INT64","shape":[-1,-1]},{"name":"sequence_lengths","datatype":"INT64","shape":[-1]}],"outputs":[{"name":"rewards","datatype":"FP32","shape":[-1,1]},{"name":"std","datatype":"FP32","shape":[-1,1]}]}`},
		{"GET", "/v2/models/m/ready", "", `{"name":"m","ready":true}`},
		{"GET", "/v2/models/m/versions/01234567/ready", "", `{"name":"m","ready":true}`},
		{"POST", "/v2/repository/index", `{"ready":true}`, `[{"name":"m","version":"0123456789ab","state":"READY","reason":""}]`},
		{"POST", "/v2/repository/index", ``, `[{"name":"m","version":"0123456789ab","state":"READY","reason":""}]`},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			r := h.do(c.method, c.path, c.body)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			assert.JSONEq(t, c.want, string(r.body))
		})
	}
	for path, want := range map[string]int{"/v2/models/x": 404, "/v2/models/x/ready": 404, "/v2/models/m/versions/ffffffff": 409, "/v2/models/m/versions/x": 400, "/info?model=x": 404} {
		assert.Equal(t, want, h.get(path).status, path)
	}
	assert.Equal(t, 422, h.send("/decode", `{"ids":[[97],[300]]}`).status)
	assert.Contains(t, string(h.send("/decode", `{"ids":[[97],[300]]}`).body), "ids[1][0]")
	h.models.Remove("m")
	for path, want := range map[string]string{"/health": `{"error":"no model is live yet","error_type":"Unhealthy"}`, "/v2/health/ready": `{"error":"no model is live yet"}`} {
		r := h.get(path)
		assert.Equal(t, http.StatusServiceUnavailable, r.status)
		assert.JSONEq(t, want, string(r.body))
	}
}

// What changes models is closed without an administrator's key; cmd/warm tests
// what it does with one.
func TestRepositoryRoutesAreClosedByDefault(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	for _, path := range []string{"/v2/repository/models/m/load", "/v2/repository/models/m/unload", "/update_weights_from_disk"} {
		r := h.send(path, `{"model_path":"x"}`)
		assert.Equal(t, http.StatusForbidden, r.status)
		assert.Contains(t, string(r.body), "administrators' keys")
	}
}

func TestDocumentedRequestsOfDialectsAreAnswered(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("helpful", func(i *live.Info) { i.ContextLength = 4096 }))
	seen := 0
	for path, item := range document().Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody == nil || op.RequestBody.Value.Content.Get("application/json").Example == nil || op.Security != nil {
				continue
			}
			body, err := json.Marshal(op.RequestBody.Value.Content.Get("application/json").Example)
			require.NoError(t, err)
			path = strings.ReplaceAll(path, "{name}", "helpful")
			if strings.Contains(path, "{version}") {
				continue // the fake's revision is no hash
			}
			t.Run(path, func(t *testing.T) {
				r := h.do(method, path, string(body))
				assert.Equal(t, http.StatusOK, r.status, "%s", r.body)
			})
			seen++
		}
	}
	assert.Greater(t, seen, 9)
}

// Python's json.dumps writes NaN where a sample has no label.
func TestNaNInFieldsThatAreNotReadIsIgnored(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	for path, body := range map[string]string{
		"/get_reward":        `{"query":["a"],"prompts":["p"],"labels":[NaN]}`,
		"/v1/score-one":      `{"prompt":"q","response":"a","label":{"x":Infinity}}`,
		"/classify":          `{"input":"a","priority":NaN}`,
		"/predict":           `{"inputs":"a","extra":-Infinity}`,
		"/verify":            `{"extra":{"x":[NaN]},"responses_create_params":{"input":"q","temperature":NaN},"response":{"score":NaN,"output":[]}}`,
		"/v2/models/m/infer": `{"extra":NaN,"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}]}`,
	} {
		r := h.send(path, body)
		assert.Equal(t, http.StatusOK, r.status, "%s: %s", path, r.body)
		if path == "/verify" {
			assert.Contains(t, string(r.body), `"extra":{"x":[null]}`)
		}
	}
	for path, body := range map[string]string{
		"/get_reward":        `{"query":NaN}`,
		"/v1/score-one":      `{"prompt":"q","response":NaN}`,
		"/classify":          `{"input":["a",NaN]}`,
		"/rerank":            `{"query":"q","documents":["a"],"top_n":NaN}`,
		"/predict":           `{"inputs":"a","raw_scores":NaN}`,
		"/verify":            `{"responses_create_params":{"input":NaN},"response":{"output":[]}}`,
		"/v2/models/m/infer": `{"parameters":{"lambda":NaN},"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}]}`,
	} {
		r := h.send(path, body)
		assert.Contains(t, []int{400, 422}, r.status, path)
		assert.Contains(t, string(r.body), "NaN is not JSON", path)
	}
}
