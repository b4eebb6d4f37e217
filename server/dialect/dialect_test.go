package dialect_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
)

// decode sends a body to a path, which may have a query.
func decode(t testing.TB, path, body string, cfg ...dialect.Config) (*dialect.Call, error) {
	t.Helper()
	u, err := url.Parse(path)
	require.NoError(t, err)
	var c dialect.Config
	if len(cfg) > 0 {
		c = cfg[0]
	}
	for _, r := range dialect.Routes(c) {
		if r.Path == u.Path {
			return r.Decode([]byte(body), dialect.Target{Query: u.Query(), Model: "m"})
		}
	}
	t.Fatalf("no route %s", path)
	return nil, nil
}

// result answers a call with the rewards 0.5, -1.5, 2.5, -3.5, … and their spread.
func result(c *dialect.Call) *dialect.Result {
	out := &api.RewardResponse{ID: "rwd-abc", Object: "reward.list", Created: 1_780_000_000, Model: "m", Revision: "sha256:0123456789abcdef0123", Mode: "wa"}
	if c.Request != nil {
		for i := range c.Request.Inputs {
			for j := range c.Request.Inputs[i].Count() {
				k := len(out.Data)
				reward := float32(k) + 0.5
				if k%2 == 1 {
					reward = -reward
				}
				out.Data = append(out.Data, api.Reward{Index: k, Input: i, Answer: j, Reward: reward, Tokens: 7, Truncated: k == 1})
				out.Usage.PromptTokens += 7
				out.Usage.TotalTokens += 7
			}
		}
	}
	return &dialect.Result{RewardResponse: out, Label: "LABEL_0"}
}

// answer decodes a request that is right and returns its reply.
func answer(t *testing.T, path, body string, cfg ...dialect.Config) string {
	t.Helper()
	c, err := decode(t, path, body, cfg...)
	require.NoError(t, err)
	if c.Request != nil {
		require.NoError(t, c.Request.Validate(100))
	}
	v, err := c.Reply(result(c))
	require.NoError(t, err)
	data, err := api.Encode(v)
	require.NoError(t, err)
	return string(data)
}

func TestRepliesHaveTheKeysOfTheirProtocols(t *testing.T) {
	const usage7 = `"usage":{"prompt_tokens":7,"total_tokens":7,"completion_tokens":0,"prompt_tokens_details":null}`
	const usage14 = `"usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0,"prompt_tokens_details":null}`
	for _, c := range []struct{ name, path, body, want string }{
		{"OpenRLHF, one sample", "/get_reward", `{"query":["<s>p a</s>"],"prompts":["<s>p "],"labels":[null]}`,
			`{"rewards":[0.5],"scores":[0.62245935],"extra_logs":{"reward_std":[0],"reward_tokens":[7],"truncated":[0]}}`},
		{"OpenRLHF, several", "/get_reward", `{"query":["a","b"]}`,
			`{"rewards":[0.5,-1.5],"scores":[0.62245935,0.18242553],"extra_logs":{"reward_std":[0,0],"reward_tokens":[7,7],"truncated":[0,1]}}`},
		{"OpenRLHF, no sample", "/get_reward", `{"query":[],"prompts":[],"labels":[]}`,
			`{"rewards":[],"scores":[],"extra_logs":{"reward_std":[],"reward_tokens":[],"truncated":[]}}`},
		{"OpenRLHF, raw scores", "/get_reward?scores=raw", `{"query":["a"],"labels":["x"]}`,
			`{"rewards":[0.5],"scores":[0.5],"extra_logs":{"reward_std":[0],"reward_tokens":[7],"truncated":[0]}}`},
		{"verl on vLLM", "/classify", `{"model":"m","input":"templated","use_activation":false}`,
			`{"id":"classify-abc","object":"list","created":1780000000,"model":"m","data":[{"index":0,"label":"LABEL_0","probs":[0.5],"num_classes":1}],` + usage7 + `}`},
		{"verl of January 2026", "/v1/classify", `{"model":"m","input":"templated","activation":false}`,
			`{"id":"classify-abc","object":"list","created":1780000000,"model":"m","data":[{"index":0,"label":"LABEL_0","probs":[0.5],"num_classes":1}],` + usage7 + `}`},
		{"vLLM, with activation, and truncated", "/classify", `{"input":["a","b"],"use_activation":true,"priority":0,"user":"u"}`,
			`{"id":"classify-abc","object":"list","created":1780000000,"model":"m","data":[{"index":0,"label":"LABEL_0","probs":[0.62245935],"num_classes":1},{"index":1,"label":"LABEL_0","probs":[0.18242553],"num_classes":1,"truncated":true}],` + usage14 + `}`},
		{"vLLM, token ids", "/pooling", `{"input":[[1,2],[3]],"task":"classify"}`,
			`{"id":"pool-abc","object":"list","created":1780000000,"model":"m","data":[{"index":0,"object":"pooling","data":[0.5]},{"index":1,"object":"pooling","data":[-1.5],"truncated":true}],` + usage14 + `}`},
		{"vLLM, messages in base64", "/pooling", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"encoding_format":"base64"}`,
			`{"id":"pool-abc","object":"list","created":1780000000,"model":"m","data":[{"index":0,"object":"pooling","data":"AAAAPw=="}],` + usage7 + `}`},
		{"verl on SGLang", "/v1/embeddings", `{"model":"m","input":"templated"}`,
			`{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[0.5]}],` + usage7 + `}`},
		{"the OpenAI package, which asks for base64", "/v1/embeddings", `{"input":"a","encoding_format":"base64"}`,
			`{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":"AAAAPw=="}],` + usage7 + `}`},
		{"vLLM score, one to N", "/score", `{"queries":"q","documents":["a","b"]}`,
			`{"id":"score-abc","object":"list","created":1780000000,"model":"m","data":[{"index":0,"object":"score","score":0.5},{"index":1,"object":"score","score":-1.5,"truncated":true}],` + usage14 + `}`},
		{"vLLM score, N to N under the older names", "/v1/score", `{"text_1":["q","r"],"text_2":["a","b"],"use_activation":true}`,
			`{"id":"score-abc","object":"list","created":1780000000,"model":"m","data":[{"index":0,"object":"score","score":0.62245935},{"index":1,"object":"score","score":0.18242553,"truncated":true}],` + usage14 + `}`},
		{"vLLM rerank, the best two", "/v1/rerank", `{"query":"q","documents":["a","b","c"],"top_n":2}`,
			`{"id":"rerank-abc","model":"m","usage":{"prompt_tokens":21,"total_tokens":21},"results":[{"index":2,"document":{"text":"c"},"relevance_score":2.5},{"index":0,"document":{"text":"a"},"relevance_score":0.5}]}`},
		{"Cohere's, without the texts", "/v2/rerank", `{"query":"q","documents":["a"],"return_documents":false}`,
			`{"id":"rerank-abc","model":"m","usage":{"prompt_tokens":7,"total_tokens":7},"results":[{"index":0,"relevance_score":0.5}]}`},
		{"SGLang, one text", "/classify", `{"model":"ignored","text":"a"}`, `{"embedding":[0.5],"meta_info":{"id":"abc","prompt_tokens":7}}`},
		{"SGLang, the list of Skywork's README", "/classify", `{"model":"Skywork/x","text":["a","b"]}`,
			`[{"embedding":[0.5],"meta_info":{"id":"abc","prompt_tokens":7}},{"embedding":[-1.5],"meta_info":{"id":"abc","prompt_tokens":7,"truncated":true}}]`},
		{"SGLang, token ids", "/classify", `{"input_ids":[[1,2]]}`, `[{"embedding":[0.5],"meta_info":{"id":"abc","prompt_tokens":7}}]`},
		{"TEI predict, one text", "/predict", `{"inputs":"a","raw_scores":true}`, `[{"score":0.5,"label":"LABEL_0"}]`},
		{"TEI predict, a list of two is one pair", "/predict", `{"inputs":["q","a"],"raw_scores":true}`, `[{"score":0.5,"label":"LABEL_0"}]`},
		{"TEI predict, a batch of both", "/predict", `{"inputs":[["a"],["q","a"]],"truncate":null}`, `[[{"score":0.62245935,"label":"LABEL_0"}],[{"score":0.18242553,"label":"LABEL_0"}]]`},
		{"TEI predict at the root", "/", `{"inputs":"a","raw_scores":true}`, `[{"score":0.5,"label":"LABEL_0"}]`},
		{"TEI rerank", "/rerank", `{"query":"q","texts":["b","a","c"]}`, `[{"index":2,"score":0.9241418},{"index":0,"score":0.62245935},{"index":1,"score":0.18242553}]`},
		{"TEI rerank at the root, with texts", "/", `{"query":"q","texts":["a"],"return_text":true,"raw_scores":true}`, `[{"index":0,"text":"a","score":0.5}]`},
		{"vLLM rerank on TEI's path", "/rerank", `{"query":"q","documents":["a"]}`,
			`{"id":"rerank-abc","model":"m","usage":{"prompt_tokens":7,"total_tokens":7},"results":[{"index":0,"document":{"text":"a"},"relevance_score":0.5}]}`},
		{"slime with --reward-key", "/v1/score-one", `{"prompt":"q","response":"a","label":"x"}`, `{"score":0.5,"reward":0.5}`},
		{"slime without", "/v1/score-one?bare=1", `{"prompt":[{"role":"user","content":"q"}],"response":"a","label":null}`, `0.5`},
		{"NeMo Gym", "/verify", `{"extra":[1.0,{"b":2,"a":1}],"responses_create_params":{"input":"q"},"response":{"id":"r","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}]},"reward":9}`,
			`{"extra":[1.0,{"b":2,"a":1}],"responses_create_params":{"input":"q"},"response":{"id":"r","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}]},"reward":0.5,"reward_components":{"wa":0.5}}`},
		{"Open Inference Protocol, TEXT", "/v2/models/{name}/infer", `{"id":"7","inputs":[{"name":"TEXT","shape":[2],"datatype":"BYTES","data":["a","b"]}]}`,
			`{"model_name":"m","model_version":"0123456789ab","id":"7","outputs":[{"name":"rewards","shape":[2,1],"datatype":"FP32","data":[0.5,-1.5]}]}`},
		{"NeMo-Aligner's tokens", "/v2/models/{name}/infer", `{"inputs":[{"name":"tokens","shape":[2,3],"datatype":"INT64","data":[[1,2,0],[3,4,5]]},{"name":"sequence_lengths","shape":[2,1],"datatype":"INT64","data":[2,3]}],"outputs":[{"name":"rewards"}]}`,
			`{"model_name":"m","model_version":"0123456789ab","outputs":[{"name":"rewards","shape":[2,1],"datatype":"FP32","data":[0.5,-1.5]}]}`},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, answer(t, c.path, c.body)) })
	}
}

func TestAServerMayChooseTheOtherDefaults(t *testing.T) {
	cfg := dialect.Config{Scores: "raw", Activation: true}
	require.NoError(t, cfg.Validate())
	assert.Contains(t, answer(t, "/get_reward", `{"query":["a"]}`, cfg), `"scores":[0.5]`)
	assert.Contains(t, answer(t, "/get_reward?scores=sigmoid", `{"query":["a"]}`, cfg), `"scores":[0.62245935]`)
	assert.Contains(t, answer(t, "/classify", `{"input":"a"}`, cfg), `"probs":[0.62245935]`)
	assert.Contains(t, answer(t, "/classify", `{"input":"a","use_activation":false}`, cfg), `"probs":[0.5]`)
	assert.EqualError(t, dialect.Config{Scores: "softmax"}.Validate(), `dialect: Scores is "softmax", want sigmoid or raw`)
}

func ptr[T any](v T) *T { return &v }

func TestRequestsAreReadAsTheirOwnServersReadThem(t *testing.T) {
	says := func(text ...string) []api.Message {
		var out []api.Message
		for i := 0; i < len(text); i += 2 {
			out = append(out, api.Says(text[i], text[i+1]))
		}
		return out
	}
	qa := says("user", "q", "assistant", "a")
	const chatml = `<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n`
	for _, c := range []struct {
		name, path, body string
		want             api.RewardRequest
		reading          dialect.Reading
	}{
		{"OpenRLHF: text as it stands, its last token scored, cut at the left", "/get_reward", `{"query":["a"],"prompts":["p"],"labels":[{}]}`,
			api.RewardRequest{Inputs: []api.Input{api.Text("a")}}, dialect.Reading{Pooling: "last"}},
		{"OpenRLHF: a policy's markup read back", "/get_reward?retemplate=chatml", `{"query":["` + chatml + `a<|im_end|>"]}`,
			api.RewardRequest{Inputs: []api.Input{{Messages: says("system", "s", "user", "q", "assistant", "a")}}}, dialect.Reading{}},
		{"OpenRLHF: markup in the answer is the answer's where the prompt is known", "/get_reward?retemplate=chatml", `{"query":["` + chatml + `a<|im_end|>\n<|im_start|>user\nx"],"prompts":["` + chatml + `"]}`,
			api.RewardRequest{Inputs: []api.Input{{Messages: says("system", "s", "user", "q", "assistant", "a<|im_end|>\n<|im_start|>user\nx")}}}, dialect.Reading{}},
		{"OpenRLHF: Llama 3's markup", "/get_reward?retemplate=llama3", `{"query":["<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nq<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\na<|eot_id|>"]}`,
			api.RewardRequest{Inputs: []api.Input{{Messages: qa}}}, dialect.Reading{}},
		{"the query chooses model and ensemble", "/get_reward?model=h&mode=ens&aggregate=mean_minus_std&lambda=0.5", `{"query":["a"]}`,
			api.RewardRequest{Model: "h", Mode: "ens", Aggregate: "mean_minus_std", Lambda: ptr(0.5), Inputs: []api.Input{api.Text("a")}}, dialect.Reading{Pooling: "last"}},
		{"vLLM: text gets the tokeniser's special tokens", "/classify", `{"model":"h","input":"a"}`,
			api.RewardRequest{Model: "h", Inputs: []api.Input{{Text: ptr("a"), AddSpecialTokens: ptr(true)}}}, dialect.Reading{}},
		{"vLLM: unless told otherwise", "/classify", `{"input":["a"],"add_special_tokens":false,"truncate_prompt_tokens":128,"truncation_side":"right"}`,
			api.RewardRequest{Truncate: "right", Inputs: []api.Input{{Text: ptr("a"), AddSpecialTokens: ptr(false)}}}, dialect.Reading{MaxTokens: 128}},
		{"vLLM: -1 is the context", "/classify", `{"input":[1,2,3],"truncate_prompt_tokens":-1}`,
			api.RewardRequest{Inputs: []api.Input{api.Tokens(1, 2, 3)}}, dialect.Reading{}},
		{"vLLM: messages do not get special tokens", "/classify", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`,
			api.RewardRequest{Inputs: []api.Input{{Messages: qa}}}, dialect.Reading{}},
		{"vLLM: unless told, and the template's variables", "/classify", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"add_special_tokens":true,"continue_final_message":true,"chat_template_kwargs":{"enable_thinking":false}}`,
			api.RewardRequest{Inputs: []api.Input{{Messages: qa}}, ChatTemplateKwargs: api.Fields{{Name: "enable_thinking", Value: []byte("false")}}},
			dialect.Reading{AddSpecial: true, ContinueFinal: true}},
		{"vLLM score: pairs go through the template", "/score", `{"data_1":["q","r"],"data_2":["a","b"]}`,
			api.RewardRequest{Inputs: []api.Input{{Prompt: &api.Prompt{Text: "q"}, Response: ptr("a")}, {Prompt: &api.Prompt{Text: "r"}, Response: ptr("b")}}}, dialect.Reading{}},
		{"vLLM rerank: the prompt is shared", "/v1/rerank", `{"query":"q","documents":["a","b"]}`,
			api.RewardRequest{Inputs: []api.Input{api.Answers("q", "a", "b")}}, dialect.Reading{}},
		{"SGLang: text gets special tokens", "/classify?model=h", `{"model":"x","text":"a"}`,
			api.RewardRequest{Model: "h", Inputs: []api.Input{{Text: ptr("a"), AddSpecialTokens: ptr(true)}}}, dialect.Reading{}},
		{"TEI: a pair keeps its answer", "/predict", `{"inputs":["q","a"]}`,
			api.RewardRequest{Inputs: []api.Input{{Prompt: &api.Prompt{Text: "q"}, Response: ptr("a")}}}, dialect.Reading{}},
		{"TEI: truncate false refuses", "/predict", `{"inputs":"a","truncate":false}`,
			api.RewardRequest{Truncate: "error", Inputs: []api.Input{{Text: ptr("a"), AddSpecialTokens: ptr(true)}}}, dialect.Reading{}},
		{"TEI: a side that is asked for", "/rerank", `{"query":"q","texts":["a"],"truncate":true,"truncation_direction":"right"}`,
			api.RewardRequest{Truncate: "right", Inputs: []api.Input{api.Answers("q", "a")}}, dialect.Reading{}},
		{"slime: a prompt with the policy's template", "/v1/score-one?retemplate=chatml", `{"prompt":"` + chatml + `","response":"a"}`,
			api.RewardRequest{Inputs: []api.Input{{Messages: says("system", "s", "user", "q", "assistant", "a")}}}, dialect.Reading{}},
		{"slime: a template that is the reward model's, too", "/v1/score-one?retemplate=none", `{"prompt":"[q]","response":"a"}`,
			api.RewardRequest{Inputs: []api.Input{api.Text("[q]a")}}, dialect.Reading{}},
		{"NeMo Gym: every kind of item", "/verify", `{"responses_create_params":{"instructions":"s","input":[{"role":"developer","content":"d"},{"role":"user","content":[{"type":"input_text","text":"q"}]}]},
			"response":{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"t"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call","call_id":"d","name":"g","arguments":{"x":1.0}},{"type":"function_call_output","call_id":"c","output":"o"},{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"u"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"},{"type":"refusal","refusal":"!"}]}]}}`,
			api.RewardRequest{OnError: "item", Inputs: []api.Input{{Messages: []api.Message{
				api.Says("system", "s\n\nd"), api.Says("user", "q"),
				{Role: "assistant", Content: api.Content{Null: true}, Extra: []api.Field{{Name: "reasoning_content", Value: []byte(`"t"`)},
					{Name: "tool_calls", Value: []byte(`[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"d","type":"function","function":{"name":"g","arguments":{"x":1.0}}}]`)}}},
				{Role: "tool", Content: api.Content{Text: "o"}, Extra: []api.Field{{Name: "tool_call_id", Value: []byte(`"c"`)}}},
				{Role: "assistant", Content: api.Content{Text: "a!"}, Extra: []api.Field{{Name: "reasoning_content", Value: []byte(`"u"`)}}},
			}}}}, dialect.Reading{}},
		{"NeMo Gym: tools reach the template", "/verify", `{"responses_create_params":{"input":"q","tools":[{"type":"function","name":"f","description":null,"parameters":{"z":1,"a":2},"strict":true}]},"response":{"output":[{"role":"assistant","content":"a"}]}}`,
			api.RewardRequest{OnError: "item", Inputs: []api.Input{{Messages: qa}}, ChatTemplateKwargs: api.Fields{{Name: "tools", Value: []byte(`[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2},"strict":true}}]`)}}}, dialect.Reading{}},
		{"NeMo Gym: an answer that says nothing is empty", "/verify", `{"responses_create_params":{"input":"q"},"response":{"output":[]}}`,
			api.RewardRequest{OnError: "item", Inputs: []api.Input{{Messages: says("user", "q", "assistant", "")}}}, dialect.Reading{}},
		{"Open Inference Protocol: parameters and pairs", "/v2/models/{name}/infer", `{"parameters":{"mode":"ens","aggregate":"min","truncate":"error"},"inputs":[{"name":"RESPONSE","shape":[1,1],"datatype":"BYTES","data":["a"]},{"name":"PROMPT","shape":[1],"datatype":"BYTES","data":["q"]}]}`,
			api.RewardRequest{Model: "m", Mode: "ens", Aggregate: "min", Truncate: "error", Inputs: []api.Input{{Prompt: &api.Prompt{Text: "q"}, Response: ptr("a")}}}, dialect.Reading{}},
		{"NeMo-Aligner's sentences", "/v2/models/{name}/infer", `{"inputs":[{"name":"sentences","shape":[1,1],"datatype":"BYTES","data":[["a"]]}]}`,
			api.RewardRequest{Model: "m", Inputs: []api.Input{{Text: ptr("a")}}}, dialect.Reading{}},
		{"LLaMA-Factory", "/v1/score/evaluation", `{"model":"model","messages":["a"]}`, api.RewardRequest{Inputs: []api.Input{{Text: ptr("a")}}}, dialect.Reading{Pooling: "last"}},
		{"LLaMA-Factory in another template", "/v1/score/evaluation?retemplate=chatml", `{"model":"m","messages":["<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>"]}`,
			api.RewardRequest{Model: "m", Inputs: []api.Input{api.Conversation(api.Says("user", "q"), api.Says("assistant", "a"))}}, dialect.Reading{}},
		{"infinity without a model", "/classify", `{"model":"default/not-specified","input":["a"],"raw_scores":false}`,
			api.RewardRequest{Inputs: []api.Input{{Text: ptr("a"), AddSpecialTokens: ptr(true)}}}, dialect.Reading{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			call, err := decode(t, c.path, c.body)
			require.NoError(t, err)
			require.NoError(t, call.Request.Validate(10))
			assert.Equal(t, &c.want, call.Request)
			assert.Equal(t, c.reading, call.Reading)
		})
	}
}

func TestAnEnsembleShowsItsSpread(t *testing.T) {
	spread := func(path, body string) string {
		c, err := decode(t, path, body)
		require.NoError(t, err)
		res := result(c)
		res.Mode = "both"
		for i := range res.Data {
			res.Data[i].Std, res.Data[i].Ensemble = ptr(float32(0.25)), ptr(float32(0.75))
		}
		v, err := c.Reply(res)
		require.NoError(t, err)
		data, err := api.Encode(v)
		require.NoError(t, err)
		return string(data)
	}
	assert.Contains(t, spread("/get_reward", `{"query":["a"]}`), `"reward_std":[0.25]`)
	assert.Contains(t, spread("/verify", `{"responses_create_params":{"input":"q"},"response":{"output":[]}}`), `"reward_components":{"ens":0.75,"std":0.25,"wa":0.5}`)
	assert.Contains(t, spread("/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}]}`), `{"name":"std","shape":[1,1],"datatype":"FP32","data":[0.25]}`)
}

func TestTheBestIsFirstWhereSigmoidsDoNotTell(t *testing.T) {
	for path, body := range map[string]string{
		"/v1/rerank": `{"query":"q","documents":["a","b","c"],"use_activation":true,"return_documents":false}`,
		"/":          `{"query":"q","texts":["a","b","c"]}`,
		"/rerank":    `{"query":"q","documents":["a","b","c"],"raw_scores":false}`,
	} {
		c, err := decode(t, path, body)
		require.NoError(t, err)
		res := result(c)
		res.Data[0].Reward, res.Data[1].Reward, res.Data[2].Reward = 20, 30, 40
		v, err := c.Reply(res)
		require.NoError(t, err)
		data, err := api.Encode(v)
		require.NoError(t, err)
		var order []string
		for _, m := range regexp.MustCompile(`"index":(\d)`).FindAllStringSubmatch(string(data), -1) {
			order = append(order, m[1])
		}
		assert.Equal(t, []string{"2", "1", "0"}, order, "%s %s", path, data)
	}
}

func TestWarningsSayWhatAnOperatorShouldKnow(t *testing.T) {
	c, err := decode(t, "/predict", `{"inputs":"a"}`)
	require.NoError(t, err)
	assert.Contains(t, c.Warn(result(c)), "raw_scores: true")
	c, err = decode(t, "/predict", `{"inputs":"a","raw_scores":true}`)
	require.NoError(t, err)
	assert.Nil(t, c.Warn)
	c, err = decode(t, "/get_reward", `{"query":["a"]}`)
	require.NoError(t, err)
	res := result(c)
	assert.Empty(t, c.Warn(res))
	res.Data[0].Reward = -10.5
	assert.Contains(t, c.Warn(res), "clip_range")
}

func TestErrorsNameTheCulprit(t *testing.T) {
	many := `"` + strings.Repeat("x", 200) + `"`
	for _, c := range []struct{ path, body, want string }{
		{"/get_reward", `{}`, `missing_field: query: query is missing`},
		{"/get_reward", `[]`, `invalid_value: a list, want an object`},
		{"/get_reward", `{"query":{"a":1}}`, `invalid_value: query: want a string or a list of strings`},
		{"/get_reward", `{"query":["a"],"query":["b"]}`, `invalid_json: query: the field "query" is given twice`},
		{"/get_reward?scores=softmax", `{"query":["a"]}`, `invalid_value: scores: want sigmoid or raw`},
		{"/get_reward?lambda=x", `{"query":["a"]}`, `invalid_value: lambda: want a number`},
		{"/get_reward?retemplate=vicuna", `{"query":["a"]}`, `invalid_value: retemplate: want chatml, llama3 or none`},
		{"/get_reward?retemplate=chatml", `{"query":["a"],"prompts":[]}`, `invalid_value: prompts: 0 prompts for 1 queries`},
		{"/classify", `{}`, `missing_field: input: input or messages is missing`},
		{"/classify", `{"input":null}`, `missing_field: input: input or messages is missing`},
		{"/classify", `{"input":[]}`, `empty_input: input: input is empty`},
		{"/classify", `{"input":"a","messages":[]}`, `conflicting_fields: messages: input and messages together`},
		{"/classify", `{"input":[1.5]}`, `invalid_value: input[0]: the number 1.5 is not a 32-bit integer`},
		{"/classify", `{"input":[[1],["a"]]}`, `invalid_value: input[1][0]: a string, want a token id`},
		{"/classify", `{"input":["a",1]}`, `invalid_value: input[1]: a number, want a string`},
		{"/classify", `{"input":"a","normalize":true}`, `invalid_value: normalize: normalize is not supported any more, use use_activation instead`},
		{"/classify", `{"input":"a","truncate_prompt_tokens":0}`, `invalid_value: truncate_prompt_tokens: 0, want 1 or more, or -1 for the model's context`},
		{"/classify", `{"input":"a","truncation_side":"both"}`, `invalid_value: truncation_side: want left or right`},
		{"/classify", `{"input":"a","encoding_format":"hex"}`, `invalid_value: encoding_format: want float or base64`},
		{"/classify", `{"messages":[{"role":"assistant","content":"a"}],"chat_template":"{{x}}"}`, `invalid_value: chat_template: templates are not taken from requests: the model's own is used`},
		{"/classify", `{"messages":[{"role":"assistant","content":"a"}],"add_generation_prompt":true,"continue_final_message":true}`, `conflicting_fields: continue_final_message: add_generation_prompt and continue_final_message together`},
		{"/classify", `{"messages":[{"role":"assistant","content":"a"}],"chat_template_kwargs":[]}`, `invalid_value: chat_template_kwargs: a list, want an object`},
		{"/classify", `{"text":"a","input":"b"}`, `conflicting_fields: text: input and text are fields of different protocols`},
		{"/classify", `{"text":"a","input_ids":[1]}`, `conflicting_fields: input_ids: text and input_ids together`},
		{"/classify", `{"text":[]}`, `empty_input: text: text is empty`},
		{"/classify", `{"input_ids":["a"]}`, `invalid_value: input_ids: want text for text, and token ids for input_ids`},
		{"/pooling", `{"input":"a","task":"token_classify"}`, `invalid_value: task: a reward model has one score for a text, and none for each token: want classify`},
		{"/score", `{"documents":"a"}`, `missing_field: queries: queries is missing`},
		{"/score", `{"queries":"a"}`, `missing_field: documents: documents is missing`},
		{"/score", `{"queries":"a","text_1":"b","documents":"c"}`, `conflicting_fields: text_1: queries and text_1 together`},
		{"/score", `{"queries":["a","b"],"documents":["c","d","e"]}`, `invalid_value: documents: 3 documents for 2 queries: want one for each, or one of queries alone`},
		{"/score", `{"queries":[],"documents":["c"]}`, `empty_input: queries: queries is empty`},
		{"/rerank", `{"query":"q"}`, `missing_field: documents: documents is missing`},
		{"/rerank", `{"documents":["a"]}`, `missing_field: query: query is missing`},
		{"/rerank", `{"query":"q","documents":[]}`, `empty_input: documents: documents is empty`},
		{"/rerank", `{"query":"q","documents":["a"],"texts":["b"]}`, `conflicting_fields: documents: texts (of text-embeddings-inference) and documents (of vLLM) together`},
		{"/rerank", `{"query":"q","documents":["a"],"top_n":-1}`, `invalid_value: top_n: -1, want 0 for all or more`},
		{"/rerank", `{"texts":["a"]}`, `missing_field: query: query is missing`},
		{"/rerank", `{"query":"q","texts":[]}`, "empty_input: texts: `texts` cannot be empty"},
		{"/predict", `{}`, `missing_field: inputs: inputs is missing`},
		{"/predict", `{"inputs":["a","b","c"]}`, `invalid_value: inputs: want a string, a pair of strings [string, string] or a batch of mixed strings and pairs [[string], [string, string], ...]`},
		{"/predict", `{"inputs":[["a","b","c"]]}`, `invalid_value: inputs: want a string, a pair of strings [string, string] or a batch of mixed strings and pairs [[string], [string, string], ...]`},
		{"/predict", `{"inputs":[]}`, `invalid_value: inputs: want a string, a pair of strings [string, string] or a batch of mixed strings and pairs [[string], [string, string], ...]`},
		{"/predict", `{"inputs":"a","truncation_direction":"up"}`, `invalid_value: truncation_direction: want left or right`},
		{"/v1/score-one", `{"response":"a"}`, `missing_field: prompt: prompt is missing`},
		{"/v1/score-one", `{"prompt":"a"}`, `missing_field: response: response is missing`},
		{"/v1/score-one?bare=yes", `{"prompt":"a","response":"b"}`, `invalid_value: bare: want 0 or 1`},
		{"/verify", `{"response":{"output":[]}}`, `missing_field: responses_create_params: responses_create_params is missing`},
		{"/verify", `{"responses_create_params":{},"response":{"output":[]}}`, `missing_field: responses_create_params.input: input is missing`},
		{"/verify", `{"responses_create_params":{"input":"q"}}`, `missing_field: response: response is missing`},
		{"/verify", `{"responses_create_params":{"input":"q"},"response":{}}`, `missing_field: response.output: output is missing`},
		{"/v2/models/{name}/infer", `{"inputs":[]}`, `invalid_value: inputs: want the tensor TEXT, or PROMPT and RESPONSE, or tokens and sequence_lengths`},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[2],"datatype":"BYTES","data":["a"]}]}`, `invalid_value: TEXT: 1 elements for the shape [2]`},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"FP32","data":["a"]}]}`, `invalid_value: TEXT: want the datatype BYTES`},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":[1]}]}`, `invalid_value: TEXT: data: want a list of elements of the datatype BYTES`},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":9}}]}`, `invalid_value: inputs[0].parameters.binary_data_size: binary data needs the header Inference-Header-Content-Length: how many bytes of the body are JSON`},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[0],"datatype":"BYTES","data":[]}]}`, `invalid_value: TEXT: shape [0], want 1 or more and at most 67108864 elements`},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[9223372036854775807,3],"datatype":"BYTES","data":[]}]}`, `invalid_value: TEXT: shape [9223372036854775807 3], want 1 or more and at most 67108864 elements`},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"tokens","shape":[1,2],"datatype":"INT64","data":[1,2]},{"name":"sequence_lengths","shape":[1],"datatype":"INT64","data":[3]}]}`, `invalid_value: sequence_lengths[0]: 3, want 1 to 2, the width of tokens`},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}],"outputs":[{"name":` + many + `}]}`, `invalid_value: outputs[0].name: want rewards or std`},
	} {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			_, err := decode(t, c.path, c.body)
			assert.EqualError(t, err, c.want)
		})
	}
}

func TestPlacesAreTheClientsOwn(t *testing.T) {
	for _, c := range []struct{ path, body, want string }{
		{"/get_reward?on_error=request", `{"query":["a",""]}`, "query[1]"},
		{"/get_reward", `{"query":[""]}`, "query[0]"},
		{"/verify?on_error=request", `{"responses_create_params":{"input":[{"role":"user","content":[{"type":"input_image"}]}]},"response":{"output":[]}}`, "responses_create_params.input[0].content[0].type"},
		{"/verify?on_error=request", `{"responses_create_params":{"instructions":"s","input":"q"},"response":{"output":[{"type":"web_search_call"}]}}`, "response.output[0].type"},
		{"/verify?on_error=request", `{"responses_create_params":{"input":"q","tools":[{"type":"web_search"}]},"response":{"output":[]}}`, "responses_create_params.tools[0].type"},
		{"/classify", `{"input":""}`, "input"},
		{"/classify", `{"input":["a",""]}`, "input[1]"},
		{"/classify", `{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"q"}]}`, "messages[1].role"},
		{"/classify", `{"text":["",""]}`, "text[0]"},
		{"/predict", `{"inputs":[["a"],[""]]}`, "inputs[1]"},
		{"/v1/score-one", `{"prompt":[],"response":"a"}`, "prompt"},
		{"/v1/score-one?retemplate=llama3", `{"prompt":"q","response":"a"}`, "prompt"},
		{"/get_reward?retemplate=chatml&on_error=request", `{"query":["<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na","plain"]}`, "query[1]"},
		{"/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":[""]}]}`, "TEXT[0]"},
	} {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			call, err := decode(t, c.path, c.body)
			require.NoError(t, err)
			e, ok := errors.AsType[*api.Error](call.Request.Validate(100))
			require.True(t, ok)
			assert.Equal(t, c.want, call.Param(e.Param))
		})
	}
	rerank, err := decode(t, "/rerank", `{"query":"q","texts":["a"]}`)
	require.NoError(t, err)
	assert.Equal(t, "texts[0]", rerank.Param("inputs[0].responses[0]"))
	assert.Equal(t, "query", rerank.Param("inputs[0].prompt"))
	assert.Equal(t, "mode", rerank.Param("mode"))
}

func TestShapesOfErrors(t *testing.T) {
	for _, c := range []struct {
		path   string
		code   api.Code
		status int
		body   string
	}{
		{"/classify", api.CodeInvalidValue, 400, `{"error":{"message":"input[1]: bad","type":"BadRequestError","param":"input[1]","code":400}}`},
		{"/classify", api.CodeTooLong, 400, `{"error":{"message":"input[1]: bad","type":"BadRequestError","param":"input[1]","code":400}}`},
		{"/classify", api.CodeOverloaded, 503, `{"error":{"message":"input[1]: bad","type":"ServiceUnavailable","param":"input[1]","code":503}}`},
		{"/v1/embeddings", api.CodeUnknownModel, 404, `{"error":{"message":"input[1]: bad","type":"NotFoundError","param":"input[1]","code":404}}`},
		{"/pooling", api.CodeUnauthorized, 401, `{"error":"Unauthorized"}`},
		{"/pooling", api.CodeInternal, 500, `{"error":{"message":"input[1]: bad","type":"InternalServerError","param":"input[1]","code":500}}`},
		{"/predict", api.CodeInvalidValue, 422, `{"error":"input[1]: bad","error_type":"Validation"}`},
		{"/predict", api.CodeTooManySequences, 422, `{"error":"input[1]: bad","error_type":"Validation"}`},
		{"/predict", api.CodeUnsupportedInput, 422, `{"error":"input[1]: bad","error_type":"Tokenizer"}`},
		{"/predict", api.CodeEmptyInput, 400, `{"error":"input[1]: bad","error_type":"Empty"}`},
		{"/predict", api.CodeOverloaded, 429, `{"error":"Model is overloaded","error_type":"Overloaded"}`},
		{"/predict", api.CodeDeadlineExceeded, 429, `{"error":"Model is overloaded","error_type":"Overloaded"}`},
		{"/predict", api.CodeNotReady, 503, `{"error":"input[1]: bad","error_type":"Unhealthy"}`},
		{"/info", api.CodeNonFinite, 424, `{"error":"input[1]: bad","error_type":"Backend"}`},
		{"/v2/models/m/infer", api.CodeTooLong, 400, `{"error":"input[1]: bad"}`},
		{"/v2", api.CodeOverloaded, 503, `{"error":"input[1]: bad"}`},
	} {
		t.Run(fmt.Sprint(c.path, " ", c.code), func(t *testing.T) {
			status, body := dialect.ShapeOf(c.path).Error(api.Errorf(c.code, "input[1]", "bad"))
			data, err := json.Marshal(body)
			require.NoError(t, err)
			assert.Equal(t, c.status, status)
			assert.JSONEq(t, c.body, string(data))
		})
	}
	_, empty := dialect.ShapeOf("/predict").Error(api.Errorf(api.CodeUnauthorized, "", "bad"))
	assert.Nil(t, empty, "TEI's 401 has no body")
	for _, native := range []string{"/v1/reward", "/get_reward", "/v1/score-one", "/verify", "/v20"} {
		assert.Nil(t, dialect.ShapeOf(native), native)
	}
	call, err := decode(t, "/rerank", `{"query":"q","texts":["a"]}`)
	require.NoError(t, err)
	assert.Equal(t, "tei", call.Shape.Name, "texts are TEI's")
	call, err = decode(t, "/classify", `{"text":"a"}`)
	require.NoError(t, err)
	status, body := call.Shape.Error(api.Errorf(api.CodeTooLong, "", "bad"))
	assert.Equal(t, 400, status)
	data, err := json.Marshal(body)
	require.NoError(t, err)
	assert.JSONEq(t, `{"error":{"message":"bad"}}`, string(data))
}

func TestErrorsOfTheOtherRoutes(t *testing.T) {
	for _, c := range []struct {
		decode func([]byte) error
		body   string
		want   string
	}{
		{tokenizes, `{}`, `missing_field: inputs: inputs is missing`},
		{tokenizes, `{"inputs":[]}`, "empty_input: inputs: `inputs` cannot be empty"},
		{tokenizes, `{"inputs":[1]}`, `invalid_value: inputs[0]: a number, want a string`},
		{decodes, `{}`, `missing_field: ids: ids is missing`},
		{decodes, `{"ids":[]}`, "empty_input: ids: `input_ids` cannot be empty"},
		{decodes, `{"ids":["a"]}`, `invalid_value: ids[0]: a string, want a token id`},
		{decodes, `{"ids":[[1],2]}`, `invalid_value: ids[1]: a number, want a list`},
		{indexes, `{"ready":1}`, `invalid_value: ready: a number, want true or false`},
		{loads, `{"parameters":{"file:1/x":"b64"}}`, `unknown_field: parameters.file:1/x: want path or config`},
		{loads, `{"parameters":{"path":1}}`, `invalid_value: parameters.path: a number, want a string`},
		{loads, `{"parameters":{"path":"a","config":"{}"}}`, `conflicting_fields: parameters.config: path and config together`},
		{loads, `{"parameters":{"config":"{\"x\":1}"}}`, `unknown_field: parameters.config.x: unknown field "x"`},
		{updates, `{"model_path":""}`, `missing_field: model_path: model_path is missing`},
	} {
		t.Run(c.body, func(t *testing.T) { assert.EqualError(t, c.decode([]byte(c.body)), c.want) })
	}
}

func tokenizes(b []byte) error { _, err := dialect.DecodeTEITokenize(b); return err }
func decodes(b []byte) error   { _, err := dialect.DecodeTEIDecode(b); return err }
func indexes(b []byte) error   { _, err := dialect.DecodeIndex(b); return err }
func loads(b []byte) error     { _, err := dialect.DecodeLoad(b); return err }
func updates(b []byte) error   { _, err := dialect.DecodeSGLangUpdate(b); return err }

// TestFieldsThatWouldChangeARewardAreHonouredOrRefused goes through the fields of
// the real protocols that are not ours: what asks for nothing more passes.
func TestFieldsThatWouldChangeARewardAreHonouredOrRefused(t *testing.T) {
	const (
		text   = `"input":"a"`
		chat   = `"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]`
		score  = `"queries":"q","documents":["a"]`
		rerank = `"query":"q","documents":["a"]`
		sglang = `"text":"a"`
		tei    = `"inputs":"a"`
		oip    = `"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}]`
		infer  = "/v2/models/{name}/infer"
	)
	for _, c := range []struct{ path, body, field, refused string }{
		{"/v1/embeddings", text, `"dimensions":256`, "dimensions: a reward has one dimension"},
		{"/v1/embeddings", text, `"dimensions":1`, ""},
		{"/v1/embeddings", text, `"dimensions":null,"user":"u"`, ""},
		{"/pooling", text, `"embed_dtype":"float16"`, "embed_dtype: rewards are float32"},
		{"/pooling", text, `"endianness":"big"`, "endianness: base64 is of little-endian floats"},
		{"/classify", text, `"priority":3,"request_id":"r","cache_salt":"s"`, ""},
		{"/classify", text, `"tools":[{}]`, "input: input has its template already"},
		{"/classify", text, `"chat_template_kwargs":{"enable_thinking":false}`, "input: input has its template already"},
		{"/classify", text, `"continue_final_message":true`, "input: input has its template already"},
		{"/classify", text, `"mm_processor_kwargs":{"x":1}`, "mm_processor_kwargs: images are not read"},
		{"/classify", chat, `"tools":[{}],"chat_template_kwargs":{"tools":[]}`, "tools: tools beside chat_template_kwargs.tools"},
		{"/rerank", rerank, `"max_tokens_per_doc":512`, "max_tokens_per_doc: an answer is not cut for itself"},
		{"/v2/rerank", rerank, `"max_tokens_per_doc":0`, ""},
		{"/v1/rerank", rerank, `"max_chunks_per_doc":10`, "max_chunks_per_doc: an answer is scored whole"},
		{"/v1/rerank", rerank, `"rank_fields":["title"]`, "rank_fields: documents are texts"},
		{"/v1/rerank", rerank, `"instruction":"judge"`, "instruction: the prompt is the query alone"},
		{"/score", score, `"add_special_tokens":false`, "add_special_tokens: pairs have the special tokens"},
		{"/score", score, `"chat_template":"{{x}}"`, "chat_template: templates are not taken from requests"},
		{"/classify", sglang, `"dimensions":8`, "dimensions: a reward has one dimension"},
		{"/classify", sglang, `"image_data":["x"]`, "image_data: images are not read"},
		{"/classify", sglang, `"lora_path":"x"`, "lora_path: adapters are not chosen by requests"},
		{"/classify", sglang, `"rid":"r","image_data":null,"log_metrics":true`, ""},
		{"/predict", tei, `"parameters":{"function_to_apply":"softmax"}`, "parameters.function_to_apply: want none"},
		{"/predict", tei, `"parameters":{"top_k":5}`, ""},
		{infer, oip, `"parameters":{"pooling":"hf"}`, `parameters.pooling: unknown field "pooling"`},
		{infer, oip, `"parameters":{"binary_data_output":true}`, ""},
		{infer, oip, `"parameters":{"sequence_id":0,"sequence_start":false,"sequence_end":false,"priority":0,"timeout":0}`, ""},
	} {
		t.Run(c.path+" "+c.field, func(t *testing.T) {
			_, err := decode(t, c.path, `{`+c.body+`,`+c.field+`}`)
			if c.refused == "" {
				assert.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, c.refused)
		})
	}
	call, err := decode(t, "/classify", `{`+chat+`,"tools":[{"x":1}],"chat_template_kwargs":{"y":2}}`)
	require.NoError(t, err)
	assert.Equal(t, api.Fields{{Name: "y", Value: []byte("2")}, {Name: "tools", Value: []byte(`[{"x":1}]`)}}, call.Request.ChatTemplateKwargs)
	assert.Contains(t, answer(t, "/predict", `{`+tei+`,"parameters":{"function_to_apply":"none","top_k":1}}`), `"score":0.5`)
	assert.Contains(t, answer(t, "/predict", `{`+tei+`,"parameters":{"function_to_apply":"sigmoid"}}`), `"score":0.62245935`)
	for field, want := range map[string]string{
		`"weight_version":"v2"`:       "weight_version: the version of weights is their revision",
		`"load_format":"dummy"`:       "load_format: checkpoints are safetensors",
		`"is_async":true`:             "is_async: ",
		`"abort_all_requests":true`:   "abort_all_requests: ",
		`"keep_pause":true`:           "keep_pause: ",
		`"flush_cache":false`:         "",
		`"weight_version":null`:       "",
		`"load_format":"safetensors"`: "",
	} {
		err := updates([]byte(`{"model_path":"p",` + field + `}`))
		if want == "" {
			assert.NoError(t, err, field)
		} else {
			assert.ErrorContains(t, err, want)
		}
	}
	assert.ErrorContains(t, tokenizes([]byte(`{"inputs":"a","prompt_name":"query"}`)), "prompt_name: there are no named prompts")
}

// TestMessagesReachTheTemplateAsTheyWereSent: what a client says beside role and
// content (calls whose arguments are an object or a string, reasoning under any
// of its names) is the template's to read, on every route that takes messages.
func TestMessagesReachTheTemplateAsTheyWereSent(t *testing.T) {
	const turn = `{"role":"assistant","content":null,"reasoning_content":"t","thinking":"t","reasoning":"t","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":{"z":1.0,"a":"x"}}},{"id":"d","type":"function","function":{"name":"g","arguments":"{\"z\": 1}"}}]}`
	const prompt = `[{"role":"user","content":"q"},` + turn + `,{"role":"tool","tool_call_id":"c","content":"o"}]`
	var want api.Message
	native, err := api.DecodeRewardRequest([]byte(`{"inputs":[{"messages":[` + turn + `]}]}`))
	require.NoError(t, err)
	want = native.Inputs[0].Messages[0]
	require.Len(t, want.Extra, 4)
	assert.Equal(t, `[{"id":"c","type":"function","function":{"name":"f","arguments":{"z":1.0,"a":"x"}}},{"id":"d","type":"function","function":{"name":"g","arguments":"{\"z\": 1}"}}]`, string(want.Extra[3].Value))
	for path, body := range map[string]string{
		"/classify":      `{"messages":` + strings.TrimSuffix(prompt, "]") + `,{"role":"assistant","content":"a"}]}`,
		"/v1/embeddings": `{"messages":` + strings.TrimSuffix(prompt, "]") + `,{"role":"assistant","content":"a"}]}`,
		"/v1/score-one":  `{"prompt":` + prompt + `,"response":"a"}`,
	} {
		call, err := decode(t, path, body)
		require.NoError(t, err)
		require.NoError(t, call.Request.Validate(1))
		messages := call.Request.Inputs[0].Messages
		if messages == nil {
			messages = call.Request.Inputs[0].Prompt.Messages
		}
		assert.Equal(t, want, messages[1], path)
	}
}
