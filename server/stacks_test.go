package server_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tinylib/msgp/msgp"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/servertest"
)

// texts is a BYTES tensor in its binary form.
func texts(list ...string) string {
	var b []byte
	for _, s := range list {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return string(b)
}

// binaryInfer sends what tritonclient does: JSON, and tensors behind it.
func (h *harness) binaryInfer(head, tensors string, header ...string) *reply {
	h.t.Helper()
	return h.send("/v2/models/m/infer", head+tensors, append([]string{"Content-Type", "", "Inference-Header-Content-Length", strconv.Itoa(len(head))}, header...)...)
}

func tensor(name, datatype, shape string, size int) string {
	return `{"name":"` + name + `","shape":` + shape + `,"datatype":"` + datatype + `","parameters":{"binary_data_size":` + strconv.Itoa(size) + `}}`
}

// TestBinaryTensorsGoBothWays replays tritonclient's default, which asks for
// binary outputs, and the other combinations.
func TestBinaryTensorsGoBothWays(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	want := h.native(`{"inputs":[{"prompt":"q","responses":["a","bb ü"]}]}`)
	prompts, responses := texts("q", "q"), texts("a", "bb ü")
	inputs := `"inputs":[` + tensor("PROMPT", "BYTES", "[2]", len(prompts)) + `,` + tensor("RESPONSE", "BYTES", "[2,1]", len(responses)) + `]`
	for _, c := range []struct {
		name, head string
		raw        bool
	}{
		{"all binary", `{` + inputs + `,"parameters":{"binary_data_output":true}}`, true},
		{"binary in, JSON out", `{` + inputs + `}`, false},
		{"an output that asks for it", `{` + inputs + `,"outputs":[{"name":"rewards","parameters":{"binary_data":true}}]}`, true},
		{"an output that does not want it", `{` + inputs + `,"outputs":[{"name":"rewards","parameters":{"binary_data":false}}],"parameters":{"binary_data_output":true}}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := h.binaryInfer(c.head, prompts+responses)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			rewards, head := []float32(nil), r.body
			if size := r.header.Get("Inference-Header-Content-Length"); c.raw {
				n, err := strconv.Atoi(size)
				require.NoError(t, err)
				head = r.body[:n]
				assert.Equal(t, "application/octet-stream", r.header.Get("Content-Type"))
				for rest := r.body[n:]; len(rest) > 0; rest = rest[4:] {
					rewards = append(rewards, math.Float32frombits(binary.LittleEndian.Uint32(rest)))
				}
			} else {
				assert.Empty(t, size)
			}
			var got struct {
				Outputs []struct {
					Name       string
					Shape      []int
					Data       []float32
					Parameters struct {
						Size *int `json:"binary_data_size"`
					}
				}
			}
			require.NoError(t, json.Unmarshal(head, &got))
			require.Len(t, got.Outputs, 1)
			assert.Equal(t, []int{2, 1}, got.Outputs[0].Shape)
			if c.raw {
				assert.Equal(t, 8, *got.Outputs[0].Parameters.Size)
				assert.Nil(t, got.Outputs[0].Data)
			} else {
				rewards = got.Outputs[0].Data
			}
			assert.Equal(t, want, rewards)
		})
	}
	ids := make([]byte, 0, 24)
	for _, id := range []uint64{7, 8, 9} {
		ids = binary.LittleEndian.AppendUint64(ids, id)
	}
	length := string(binary.LittleEndian.AppendUint32(nil, 3))
	r := h.binaryInfer(`{"inputs":[`+tensor("tokens", "INT64", "[1,3]", 24)+`,`+tensor("sequence_lengths", "INT32", "[1]", 4)+`]}`, string(ids)+length, "Content-Type", "application/octet-stream")
	assert.Contains(t, string(r.body), shortest(t, h.native(`{"inputs":[{"input_ids":[7,8,9]}]}`)[0]))
	assert.Equal(t, http.StatusUnsupportedMediaType, h.send("/classify", `{"input":"a"}`, "Content-Type", "application/octet-stream").status, "other routes take JSON alone")
}

func TestBinaryTensorsThatAreWrongAreRefused(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	one := func(shape string, size int) string {
		return `{"inputs":[` + tensor("TEXT", "BYTES", shape, size) + `]}`
	}
	for _, c := range []struct{ name, head, tensors, want string }{
		{"shorter than it says", one("[1]", 9), texts("a"), "5 bytes are left behind the JSON"},
		{"longer than it says", one("[1]", 5), texts("a") + "x", "1 bytes behind the tensors belong to none"},
		{"fewer elements than the shape", one("[2]", 5), texts("a"), "element 1: the binary data ends before it"},
		{"more elements than the shape", one("[1]", 10), texts("a", "b"), "more binary data than the shape"},
		{"an element beyond the end", one("[1]", 5), "\xff\xff\xff\xffa", "element 0: it is longer than the binary data"},
		{"no UTF-8", one("[1]", 5), texts("\xff"), "element 0: it is not UTF-8"},
		{"more rows than anyone takes", one("[65537]", 4*65537), strings.Repeat("\x00", 4*65537), "more than 65536 rows"},
		{"more rows of tokens", `{"inputs":[` + tensor("tokens", "INT32", "[65537,1]", 4*65537) + `,` + tensor("sequence_lengths", "INT32", "[65537]", 4*65537) + `]}`, strings.Repeat("\x01\x00\x00\x00", 2*65537), "more than 65536 rows"},
		{"an output twice", `{"inputs":[` + tensor("TEXT", "BYTES", "[1]", 5) + `],"outputs":[{"name":"rewards"},{"name":"rewards"}]}`, texts("a"), "outputs[1].name"},
		{"a negative size", one("[1]", -1), texts("a"), "-1, and"},
		{"data beside it", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"],"parameters":{"binary_data_size":5}}]}`, texts("a"), "data and binary_data_size together"},
		{"a number over 32 bits", `{"inputs":[` + tensor("tokens", "INT64", "[1,1]", 8) + `,{"name":"sequence_lengths","shape":[1],"datatype":"INT64","data":[1]}]}`, "\x00\x00\x00\x00\x01\x00\x00\x00", "is no token"},
		{"half a number", `{"inputs":[` + tensor("tokens", "INT64", "[1,1]", 4) + `,{"name":"sequence_lengths","shape":[1],"datatype":"INT64","data":[1]}]}`, "\x00\x00\x00\x00", "want 8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := h.binaryInfer(c.head, c.tensors)
			assert.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, r.status)
			assert.Contains(t, string(r.body), c.want)
		})
	}
	for _, length := range []string{"0", "-1", "x", "99999"} {
		r := h.send("/v2/models/m/infer", one("[1]", 5)+texts("a"), "Inference-Header-Content-Length", length)
		assert.Equal(t, http.StatusBadRequest, r.status, length)
		assert.Contains(t, string(r.body), "Inference-Header-Content-Length")
	}
	r := h.send("/v2/models/m/infer", one("[1]", 5)+texts("a"))
	assert.Equal(t, http.StatusBadRequest, r.status)
	r = h.send("/v2/models/m/infer", one("[1]", 0))
	assert.Contains(t, string(r.body), "binary data needs the header Inference-Header-Content-Length")
}

// TestOatSpeaksMessagePack replays both calls of oat's oracle.
func TestOatSpeaksMessagePack(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	want := h.native(`{"inputs":[{"prompt":"q","responses":["a","bb"]}]}`)
	list := func(b []byte, name string, values ...string) []byte {
		b = msgp.AppendArrayHeader(msgp.AppendString(b, name), uint32(len(values)))
		for _, v := range values {
			b = msgp.AppendString(b, v)
		}
		return b
	}
	reward := list(list(list(msgp.AppendMapHeader(nil, 3), "batch_prompt", "q", "q"), "batch_response", "a", "bb"), "batch_candidates")
	compare := list(list(msgp.AppendMapHeader(nil, 3), "batch_prompt", "q"), "batch_response")
	compare = msgp.AppendArrayHeader(msgp.AppendString(compare, "batch_candidates"), 1)
	compare = msgp.AppendArrayHeader(compare, 2)
	compare = msgp.AppendString(msgp.AppendString(compare, "a"), "bb")
	type answer struct {
		Score []float32 `json:"batch_score"`
		Win   []float32 `json:"batch_first_win_prob"`
	}
	ask := func(body []byte) (a answer) {
		r := h.send("/get_feedback", string(body), "Content-Type", "")
		require.Equal(t, http.StatusOK, r.status, "%s", r.body)
		assert.Equal(t, "application/msgpack", r.header.Get("Content-Type"))
		var b strings.Builder
		_, err := msgp.UnmarshalAsJSON(&b, r.body)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal([]byte(b.String()), &a), b.String())
		return a
	}
	assert.Equal(t, answer{want, []float32{}}, ask(reward))
	assert.Equal(t, answer{[]float32{}, []float32{logistic(want[0] - want[1])}}, ask(compare))

	many := msgp.AppendArrayHeader(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "batch_prompt"), 70000)
	many = append(many, strings.Repeat("\xa0", 70000)...)
	for name, c := range map[string]struct {
		body string
		code int
	}{
		"cut":                      {string(reward[:len(reward)-20]), http.StatusBadRequest},
		"a count without elements": {"\x81\xacbatch_prompt\xdd\xff\xff\xff\xff", http.StatusBadRequest},
		"no map":                   {"\x93\x01\x02\x03", http.StatusBadRequest},
		"numbers for texts":        {string(msgp.AppendInt(msgp.AppendArrayHeader(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "batch_prompt"), 1), 7)), http.StatusBadRequest},
		"nothing":                  {"\x80", http.StatusBadRequest},
		"too many":                 {string(many), http.StatusRequestEntityTooLarge},
		"no UTF-8":                 {"\x82\xacbatch_prompt\x91\xa1q\xaebatch_response\x91\xa1\xff", http.StatusBadRequest},
		"no UTF-8 in a pair":       {"\x82\xacbatch_prompt\x91\xa1q\xb0batch_candidates\x91\x92\xa1a\xa1\xff", http.StatusBadRequest},
		"three candidates":         {"\x82\xacbatch_prompt\x91\xa1q\xb0batch_candidates\x91\x93\xa1a\xa1b\xa1c", http.StatusBadRequest},
		"a pair of very many":      {"\x82\xacbatch_prompt\x91\xa1q\xb0batch_candidates\x91\xdd\x00\x02\x00\x00" + strings.Repeat("\xa0", 1<<17), http.StatusBadRequest},
		"a response too few":       {`{"batch_prompt":["q","r"],"batch_response":["a"]}`, http.StatusBadRequest},
		"one candidate":            {`{"batch_prompt":["q"],"batch_candidates":[["a"]]}`, http.StatusBadRequest},
		"both":                     {`{"batch_prompt":["q"],"batch_response":["a"],"batch_candidates":[["a","b"]]}`, http.StatusBadRequest},
	} {
		assert.Equal(t, c.code, h.send("/get_feedback", c.body, "Content-Type", "application/msgpack").status, name)
	}
}

// TestNeMoGymsSessionsAndMetrics follows an environment server of NeMo Gym 0.7.
func TestNeMoGymsSessionsAndMetrics(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	r := h.send("/seed_session", `{"resources_session_id":"s-1","episode_id":"e","task_id":"t","task_data":{}}`)
	assert.JSONEq(t, `{"resources_session_id":"s-1"}`, string(r.body))
	cookie := r.header.Get("Set-Cookie")
	assert.Contains(t, cookie, "warm_session=")
	r = h.send("/ng-rollout/e-1/seed_session", `{}`)
	assert.JSONEq(t, `{}`, string(r.body))
	assert.NotEmpty(t, r.header.Get("Set-Cookie"))
	assert.Equal(t, http.StatusOK, h.send("/verify", gymRow, "Cookie", strings.SplitN(cookie, ";", 2)[0]).status)
	r = h.send("/close_session", `{"resources_session_id":"s-1","episode_id":"e"}`)
	assert.JSONEq(t, `{"resources_session_id":"s-1"}`, string(r.body))
	assert.Equal(t, http.StatusNotFound, h.send("/ng-rollout/../verify", gymRow).status)

	r = h.send("/verify?mode=both", gymRow)
	var got map[string]any
	require.NoError(t, json.Unmarshal(r.body, &got))
	components := got["reward_components"].(map[string]any)
	require.Len(t, components, 3)
	for name, v := range components {
		assert.Equal(t, v, got["reward_"+name], "a number of the rollout itself, which metrics are made of")
	}
}

// The numbers are what nemo_gym 0.7.0's compute_aggregate_metrics has of the same rollouts, beside
// those across repeats.
func TestNeMoGymsAggregatesAreItsOwn(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	r := h.send("/aggregate_metrics", gymRollouts)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	assert.JSONEq(t, gymAggregates, string(r.body))
	for _, body := range []string{`{}`, `{"verify_responses":3}`, `{"verify_responses":[1]}`, `{"verify_responses":[null]}`} {
		assert.Equal(t, http.StatusBadRequest, h.send("/aggregate_metrics", body).status, body)
	}
	assert.JSONEq(t, `{"group_level_metrics":[],"agent_metrics":{},"key_metrics":{}}`, string(h.send("/aggregate_metrics", `{"verify_responses":[]}`).body))
}

func TestInfinitysRankingAndModels(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	rewards := h.native(`{"inputs":[{"prompt":"q","responses":["a","bb"]}]}`)
	best := 0
	if rewards[1] > rewards[0] {
		best = 1
	}
	r := h.send("/rerank", `{"query":"q","documents":["a","bb"],"raw_scores":true,"return_documents":true,"top_n":1,"model":"default/not-specified"}`)
	var got struct {
		Object  string
		Results []struct {
			Score    float32 `json:"relevance_score"`
			Index    int
			Document string
		}
	}
	require.NoError(t, json.Unmarshal(r.body, &got), "%s", r.body)
	assert.Equal(t, "rerank", got.Object)
	require.Len(t, got.Results, 1)
	assert.Equal(t, rewards[best], got.Results[0].Score)
	assert.Equal(t, []string{"a", "bb"}[best], got.Results[0].Document)
	assert.Contains(t, string(h.send("/rerank", `{"query":"q","documents":["a"],"raw_scores":false}`).body), `"document":null`)
	assert.Contains(t, string(h.get("/models").body), `"owned_by":"infinity"`)
	assert.Equal(t, http.StatusBadRequest, h.send("/classify?on_error=item", `{"input":"a","raw_scores":true}`).status)
}

func TestServersThatGenerateAreElsewhere(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	for _, path := range []string{"/generate", "/v1/chat/completions"} {
		r := h.send(path, `{}`)
		assert.Equal(t, http.StatusNotFound, r.status)
		assert.Contains(t, r.error(t).Error.Message, "score text and generate none")
	}
}

const gymRollouts = `{"verify_responses":[{"_ng_task_index":1,"_ng_rollout_index":0,"reward":1.5,"reward_wa":1.5,"ok":true,"name":"x","mask_sample":false,"response":{"usage":{"input_tokens":3,"total_tokens":5}}},{"_ng_task_index":0,"_ng_rollout_index":1,"reward":-0.5,"ok":false,"response":{"usage":{"total_tokens":7}}},{"_ng_task_index":0,"_ng_rollout_index":0,"reward":2.25,"ok":true,"list":[1]},{"_ng_task_index":2,"reward":0,"mask_sample":true,"_ng_failure_terminal":true}]}`

const gymAggregates = `{"group_level_metrics": [{"_ng_task_index": 0, "mean/reward": 0.875, "mean/ok": 0.5, "mean/total_tokens": 7.0, "max/reward": 2.25, "max/ok": 1.0, "max/total_tokens": 7.0, "min/reward": -0.5, "min/ok": 0.0, "min/total_tokens": 7.0, "median/reward": 0.875, "median/ok": 0.5, "median/total_tokens": 7.0, "std/reward": 1.9445436482630056, "std/ok": 0.7071067811865476, "sample": {"agent_ref": {"name": "agent"}}, "num_rollouts": 2, "expected_num_rollouts": 2, "missing_num_rollouts": 0, "reward_profile_completion_pct": 100.0, "rollout_infos": [{"rollout_id": "0:0", "_ng_task_index": 0, "_ng_rollout_index": 0, "reward": 2.25, "ok": 1}, {"rollout_id": "0:1", "_ng_task_index": 0, "_ng_rollout_index": 1, "reward": -0.5, "total_tokens": 7, "ok": 0}]}, {"_ng_task_index": 1, "mean/reward": 1.5, "mean/ok": 1.0, "mean/total_tokens": 5.0, "mean/reward_wa": 1.5, "mean/input_tokens": 3.0, "max/reward": 1.5, "max/ok": 1.0, "max/total_tokens": 5.0, "max/reward_wa": 1.5, "max/input_tokens": 3.0, "min/reward": 1.5, "min/ok": 1.0, "min/total_tokens": 5.0, "min/reward_wa": 1.5, "min/input_tokens": 3.0, "median/reward": 1.5, "median/ok": 1.0, "median/total_tokens": 5.0, "median/reward_wa": 1.5, "median/input_tokens": 3.0, "std/reward": 0.0, "std/ok": 0.0, "std/total_tokens": 0.0, "std/reward_wa": 0.0, "std/input_tokens": 0.0, "sample": {"agent_ref": {"name": "agent"}}, "num_rollouts": 1, "expected_num_rollouts": 1, "missing_num_rollouts": 0, "reward_profile_completion_pct": 100.0, "rollout_infos": [{"rollout_id": "1:0", "_ng_task_index": 1, "_ng_rollout_index": 0, "reward": 1.5, "input_tokens": 3, "total_tokens": 5, "reward_wa": 1.5, "ok": 1}]}], "agent_metrics": {"mean/reward": 1.0833333333333333, "mean/ok": 0.6666666666666666, "mean/total_tokens": 6.0, "mean/reward_wa": 1.5, "mean/input_tokens": 3.0, "max/reward": 2.25, "max/ok": 1.0, "max/total_tokens": 7.0, "max/reward_wa": 1.5, "max/input_tokens": 3.0, "min/reward": -0.5, "min/ok": 0.0, "min/total_tokens": 5.0, "min/reward_wa": 1.5, "min/input_tokens": 3.0, "median/reward": 1.5, "median/ok": 1.0, "median/total_tokens": 6.0, "median/reward_wa": 1.5, "median/input_tokens": 3.0, "std/reward": 1.4215601757693317, "std/ok": 0.5773502691896258, "std/total_tokens": 1.4142135623730951, "coverage/measured_rollouts": 3, "coverage/masked_rollouts": 1, "coverage/measured_tasks": 2, "coverage/fully_masked_tasks": 1, "num_repeats": 2}, "key_metrics": {"mean/reward": 1.0833333333333333, "mean/ok": 0.6666666666666666, "mean/total_tokens": 6.0, "mean/reward_wa": 1.5, "mean/input_tokens": 3.0, "coverage/measured_rollouts": 3, "coverage/masked_rollouts": 1, "coverage/measured_tasks": 2, "coverage/fully_masked_tasks": 1}}`
