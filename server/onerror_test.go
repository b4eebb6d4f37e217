package server_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/servertest"
)

// TestABadAnswerCostsItselfAlone sends each bad input between good ones: the
// good ones have the rewards that they have alone, the bad one its error and no
// reward.
func TestABadAnswerCostsItselfAlone(t *testing.T) {
	m := servertest.New("m")
	m.BeforePrepare = func(in *api.Input) error {
		if in.Messages != nil && in.Messages[0].Role == "wizard" {
			return api.Errorf(api.CodeTemplateError, "messages", "the chat template refuses the messages: no wizards")
		}
		return nil
	}
	h := start(t, server.Config{}, m)
	long := strings.Repeat("x", 100)
	for _, c := range []struct {
		name, input string
		answers     int // of the bad input
		bad         int // which of them is bad; -1 is all
		code        api.Code
		param       string
	}{
		{"an answer of a group over the context", `{"prompt":"q","responses":["a","` + long + `","b"]}`, 3, 1, "too_long", "inputs[1].responses[1]"},
		{"a response over the context", `{"prompt":"q","response":"` + long + `"}`, 1, 0, "too_long", "inputs[1].response"},
		{"a prompt without messages", `{"prompt":[],"responses":["a","b"]}`, 2, -1, "empty_input", "inputs[1].prompt"},
		{"no responses", `{"prompt":"q","responses":[]}`, 1, 0, "empty_input", "inputs[1].responses"},
		{"empty text", `{"text":""}`, 1, 0, "empty_input", "inputs[1].text"},
		{"an id outside the vocabulary", `{"input_ids":[1,9999]}`, 1, 0, "token_out_of_range", "inputs[1].input_ids[1]"},
		{"an id below 0", `{"input_ids":[1,-1]}`, 1, 0, "token_out_of_range", "inputs[1].input_ids[1]"},
		{"a user's turn at the end", `{"messages":[{"role":"user","content":"a"}]}`, 1, 0, "last_message_not_assistant", "inputs[1].messages[0].role"},
		{"messages that the template refuses", `{"messages":[{"role":"wizard","content":"a"},{"role":"assistant","content":"b"}]}`, 1, 0, "template_error", "inputs[1].messages"},
		{"an image", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]},{"role":"assistant","content":"b"}]}`, 1, 0, "unsupported_input", "inputs[1].messages[0].content[0].type"},
		{"two forms", `{"text":"a","input_ids":[1]}`, 1, 0, "conflicting_fields", "inputs[1].input_ids"},
		{"no form", `{}`, 1, 0, "missing_field", "inputs[1]"},
		{"null", `null`, 1, 0, "missing_field", "inputs[1]"},
		{"an unknown field", `{"txt":"a"}`, 1, 0, "unknown_field", "inputs[1].txt"},
		{"a null answer", `{"prompt":"q","responses":["a",null]}`, 1, 0, "invalid_value", "inputs[1].responses[1]"},
		{"a number for a text", `{"text":7}`, 1, 0, "invalid_value", "inputs[1].text"},
	} {
		for _, mode := range []string{"wa", "ens", "both", "member:two"} {
			t.Run(c.name+", "+mode, func(t *testing.T) {
				const good = `{"prompt":"hello","responses":["x","yy"]}`
				fields := `"mode":"` + mode + `","truncate":"error","return":["tokens"],`
				whole := h.post(`{` + fields + `"inputs":[` + good + `,` + c.input + `,` + good + `]}`)
				assert.GreaterOrEqual(t, whole.status, 400, "without on_error the request is refused")
				got := h.post(`{` + fields + `"on_error":"item","inputs":[` + good + `,` + c.input + `,` + good + `]}`).rewards(t)
				alone := h.post(`{` + fields + `"inputs":[` + good + `]}`).rewards(t)
				require.Len(t, got.Data, 4+c.answers)
				tokens := 0
				for i, d := range got.Data {
					input, answer := 1, i-2
					switch {
					case i < 2:
						input, answer = 0, i
					case i >= 2+c.answers:
						input, answer = 2, i-2-c.answers
					}
					assert.Equal(t, [3]int{i, input, answer}, [3]int{d.Index, d.Input, d.Answer})
					tokens += d.Tokens
					if input == 1 && (c.bad < 0 || c.bad == answer) {
						require.NotNil(t, d.Error)
						assert.Equal(t, api.Reward{Index: i, Input: 1, Answer: answer, Error: d.Error}, d)
						assert.Equal(t, c.code, d.Error.Code)
						assert.Equal(t, c.param, d.Error.Param)
						assert.Equal(t, c.code.Type(), d.Error.Type)
						continue
					}
					require.Nil(t, d.Error)
					if input != 1 {
						want := alone.Data[answer]
						want.Index, want.Input = i, input
						assert.Equal(t, want, d)
					}
				}
				assert.Equal(t, tokens, got.Usage.TotalTokens)
			})
		}
	}
	metrics := string(h.get("/metrics").body)
	assert.Contains(t, metrics, `warm_refused_answers_total{code="too_long",model="m"} 8`)
	assert.Contains(t, metrics, `warm_refused_answers_total{code="unsupported_input",model="m"} 4`)
	assert.Contains(t, h.log.String(), `"refused":1`)
}

func TestARequestOfBadAnswersAloneIsAnswered(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	r := h.post(`{"on_error":"item","mode":"both","inputs":[{"text":""},{"input_ids":[]}]}`)
	got := r.rewards(t)
	require.Len(t, got.Data, 2)
	assert.NotContains(t, string(r.body), `"reward":`)
	assert.Equal(t, api.Usage{}, got.Usage)
}

func TestErrorsOfTheRequestStayTheRequests(t *testing.T) {
	h := start(t, server.Config{MaxRequestTokens: 50, MaxSequences: 3}, servertest.New("m"))
	for body, code := range map[string]string{
		`{"on_error":"item","model":"nobody","inputs":[{"text":"a"}]}`:                                     "unknown_model",
		`{"on_error":"item","inputs":[{"text":"a"}]`:                                                       "invalid_json",
		`{"on_error":"item","inputs":[{"text":"a","text":"b"}]}`:                                           "invalid_json",
		`{"on_error":"item","inputs":[]}`:                                                                  "empty_input",
		`{"on_error":"item","inputs":{}}`:                                                                  "invalid_value",
		`{"on_error":"item"}`:                                                                              "missing_field",
		`{"on_error":"item","inputs":[{}],"temperature":1}`:                                                "unknown_field",
		`{"on_error":"item","inputs":[{},{},{},{}]}`:                                                       "too_many_sequences",
		`{"on_error":"item","mode":"best","inputs":[{"text":""}]}`:                                         "invalid_value",
		`{"on_error":"item","inputs":[{"text":"` + strings.Repeat("x", 40) + `"},{"text":"aaaaaaaaaaa"}]}`: "too_many_tokens",
		`{"inputs":[{}],"on_error":"request"}`:                                                             "missing_field",
	} {
		t.Run(body, func(t *testing.T) {
			assert.Equal(t, code, h.post(body).error(t).Error.Code)
		})
	}
}

// A model that answers one text with NaN has a fault, which is logged; the
// other answers have their rewards.
func TestANaNOfTheModelCostsItsAnswerAlone(t *testing.T) {
	m := servertest.New("m")
	m.Fakes["wa"].Reward = func(s batch.Sequence) (float32, bool) { return float32(math.NaN()), len(s.IDs) == 3 }
	h := start(t, server.Config{}, m)
	got := h.post(`{"on_error":"item","inputs":[{"text":"a"},{"text":"bbb"},{"text":"c"}]}`).rewards(t)
	require.Len(t, got.Data, 3)
	require.NotNil(t, got.Data[1].Error)
	assert.Equal(t, "non_finite inputs[1]", fmt.Sprint(got.Data[1].Error.Code, " ", got.Data[1].Error.Param))
	assert.NotZero(t, got.Data[2].Reward)
	assert.Contains(t, h.log.String(), `"msg":"fault"`)
	assert.Equal(t, http.StatusInternalServerError, h.post(`{"inputs":[{"text":"a"},{"text":"bbb"}]}`).status)
}

// TestDialectsThatCanSayThatOneAnswerIsBadDo sends a bad answer among good ones,
// asking for it where the protocol's own servers void the batch.
func TestDialectsThatCanSayThatOneAnswerIsBadDo(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	long := strings.Repeat("x", 100)
	const chatml = `<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n`
	for _, c := range []struct{ name, path, body, bad string }{
		{"OpenRLHF", "/get_reward", `{"query":["a","","b"]}`,
			`"errors":[null,{"type":"invalid_request","message":"text is empty","param":"query[1]","code":"empty_input"},null]`},
		{"OpenRLHF, items that are no strings", "/get_reward", `{"query":["a",null,"b",7]}`, `"errors":[null,{"type":"invalid_request","message":"null, want a string","param":"query[1]","code":"invalid_value"},null,{`},
		{"OpenRLHF, no item that is a string", "/get_reward", `{"query":[[false],{"a":1}]}`, `"rewards":[null,null]`},
		{"OpenRLHF's markup", "/get_reward?retemplate=chatml", `{"query":["` + chatml + `a","plain","` + chatml + `b"]}`, `"param":"query[1]"`},
		{"vLLM", "/classify?on_error=item", `{"input":["a","","b"]}`, `{"index":1,"error":{"message":"input[1]: text is empty","type":"BadRequestError","param":"input[1]","code":400}}`},
		{"vLLM's pooling", "/pooling?on_error=item", `{"input":[[1],[999],[2]]}`, `{"index":1,"error":{"message":"input[1]: id 999`},
		{"vLLM's embeddings", "/v1/embeddings?on_error=item", `{"input":["a","","b"]}`, `{"index":1,"error":{`},
		{"SGLang", "/classify?on_error=item", `{"text":["a","","b"]}`, `{"error":{"message":"text[1]: text is empty"}}`},
		{"TEI", "/predict?on_error=item", `{"inputs":[["a"],[""],["b"]]}`, `{"error":"inputs[1]: text is empty","error_type":"Empty"}`},
		{"TEI, over the context", "/predict?on_error=item", `{"truncate":false,"inputs":[["a"],["` + long + `"],["q","b"]]}`, `"error":"inputs[1]: 101 tokens`},
		{"TEI's rerank", "/rerank?on_error=item", `{"query":"q","texts":["a","` + long + `","b"],"truncate":false}`, `{"index":1,"error":"texts[1]: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := h.send(c.path, c.body)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			assert.Contains(t, string(r.body), c.bad)
			path, _, _ := strings.Cut(c.path, "?")
			query := "?on_error=request"
			if strings.Contains(c.path, "retemplate") {
				query += "&retemplate=chatml"
			}
			assert.Contains(t, []int{400, 422}, h.send(path+query, c.body).status)
		})
	}
	for _, path := range []string{"/v1/score-one", "/v2/models/m/infer"} {
		assert.Contains(t, string(h.send(path+"?on_error=item", `{}`).body), "unknown query parameter")
	}
	assert.Contains(t, string(h.send("/classify?on_error=skip", `{"input":["a"]}`).body), "want one of request, item")
	r := h.send("/get_reward", `{"query":[""]}`)
	assert.Equal(t, http.StatusBadRequest, r.status, "OpenRLHF's client sends one, and reads no null")
}

// A rollout that cannot be scored is told as NeMo Gym's own servers tell of a
// judge that failed: its client ends the run at any other status.
func TestNeMoGymIsToldOfARolloutThatCannotBeScored(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	long := strings.Repeat("x", 100)
	for name, output := range map[string]string{
		"an item of another type": `[{"type":"web_search_call"}]`,
		"an image":                `[{"type":"message","role":"assistant","content":[{"type":"output_image"}]}]`,
		"a message without role":  `[{"type":"message","content":"a"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			r := h.send("/verify", `{"extra":1,"instance_config":{"k":2},"reward":9,"responses_create_params":{"input":"q"},"response":{"output":`+output+`}}`)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			var got map[string]any
			require.NoError(t, json.Unmarshal(r.body, &got))
			assert.Equal(t, "judge_failed", got["_ng_failure_class"])
			assert.Equal(t, true, got["mask_sample"])
			assert.Equal(t, map[string]any{"k": 2.0, "mask_sample": true}, got["instance_config"])
			assert.Contains(t, got["failure_reason"], "response.output[0]")
			assert.EqualValues(t, 0, got["reward"])
			assert.EqualValues(t, 1, got["extra"])
			assert.NotContains(t, got, "reward_components")
		})
	}
	r := h.send("/verify", `{"responses_create_params":{"input":"`+long+`"},"response":{"output":[{"role":"assistant","content":"a"}]}}`)
	assert.NotContains(t, string(r.body), "_ng_failure_class", "a rollout over the context is truncated")
	assert.Equal(t, http.StatusNotFound, h.send("/verify?model=nobody", `{"responses_create_params":{"input":"q"},"response":{"output":[]}}`).status)
}

// A model without a chat template reads no messages at all: that ends the run
// with its reason, and is not a batch of bad answers.
func TestAModelThatCannotReadTheFormFailsTheRequest(t *testing.T) {
	m := named("m")
	m.BeforePrepare = func(in *api.Input) error {
		if in.Messages != nil {
			return api.Errorf(api.CodeUnsupportedInput, "messages", "the model has no chat template")
		}
		return nil
	}
	h := start(t, server.Config{}, m)
	const turn = `<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na`
	for path, body := range map[string]string{
		"/get_reward?retemplate=chatml": `{"query":["` + turn + `","plain","` + turn + `"]}`,
		"/verify":                       `{"responses_create_params":{"input":"q"},"response":{"output":[]}}`,
		"/classify?on_error=item":       `{"messages":[{"role":"assistant","content":"a"}]}`,
	} {
		r := h.send(path, body)
		assert.Equal(t, http.StatusBadRequest, r.status, path)
		assert.Contains(t, string(r.body), "the model has no chat template")
	}
}
