package dialect_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/dialect"
)

// fuzz feeds a route's decoder: whatever comes, it answers with an error of the
// client's or with a call that replies.
func fuzz(f *testing.F, path string, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s), "")
		f.Add([]byte(s), "head="+strconv.Itoa(strings.LastIndexByte(s, '}')+1))
	}
	f.Add([]byte(`{}`), "mode=ens&lambda=1&bare=1&scores=raw&retemplate=chatml")
	f.Add([]byte(seeds[0]), "retemplate=none")
	var route dialect.Route
	for _, r := range dialect.Routes(dialect.Config{}) {
		if r.Path == path {
			route = r
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, query string) {
		q, _ := url.ParseQuery(query)
		head, _ := strconv.Atoi(q.Get("head"))
		call, err := route.Decode(body, dialect.Target{Query: q, Model: "m", Version: "0123456789ab", Head: max(head, 0)})
		if err != nil {
			e, ok := errors.AsType[*api.Error](err)
			if !ok || e.Code.Status() >= 500 {
				t.Fatalf("%q is answered by %v", body, err)
			}
			return
		}
		if call.Request != nil {
			if err := call.Request.Validate(64); err != nil {
				e, _ := errors.AsType[*api.Error](err)
				if call.Param != nil {
					call.Param(e.Param)
				}
				return
			}
		}
		res := result(call)
		v, err := call.Reply(res)
		if e, ok := errors.AsType[*api.Error](err); ok && e.Code == api.CodeUnsupportedMode {
			return // an output that the mode does not have
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := v.(*dialect.Encoded); ok {
			if e.Head > len(e.Body) || !json.Valid(e.Body[:e.Head]) && e.Head > 0 {
				t.Fatalf("%q has no JSON in its first %d bytes", e.Body, e.Head)
			}
			return
		}
		data, err := api.Encode(v)
		if err != nil || !json.Valid(data) {
			t.Fatalf("%q does not encode: %v", data, err)
		}
		if call.Warn != nil {
			call.Warn(res)
		}
	})
}

func FuzzOpenRLHF(f *testing.F) {
	fuzz(f, "/get_reward", `{"query":["<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na"],"prompts":["<|im_start|>user\nq"],"labels":[null]}`, `{"query":[]}`)
}

func FuzzClassify(f *testing.F) {
	fuzz(f, "/classify", `{"model":"m","input":"a","use_activation":false}`, `{"input":[[1,2]],"truncate_prompt_tokens":1}`, `{"text":["a","b"]}`, `{"input_ids":[[1]]}`,
		`{"messages":[{"role":"assistant","content":[{"type":"text","text":"a"}]}],"chat_template_kwargs":{"x":1}}`)
}

func FuzzPooling(f *testing.F) { fuzz(f, "/pooling", `{"input":["a"],"encoding_format":"base64"}`) }

func FuzzEmbeddings(f *testing.F) { fuzz(f, "/v1/embeddings", `{"input":[1,2]}`) }

func FuzzScore(f *testing.F) {
	fuzz(f, "/score", `{"queries":["q","r"],"documents":["a","b"]}`, `{"text_1":"q","text_2":["a","b"]}`)
}

func FuzzRerank(f *testing.F) {
	fuzz(f, "/rerank", `{"query":"q","documents":["a","b"],"top_n":1}`, `{"query":"q","texts":["a"],"return_text":true}`)
}

func FuzzPredict(f *testing.F) {
	fuzz(f, "/", `{"inputs":[["a"],["q","a"]]}`, `{"inputs":"a","raw_scores":true}`, `{"inputs":["q","a"],"truncate":false}`)
}

func FuzzLLaMAFactory(f *testing.F) {
	fuzz(f, "/v1/score/evaluation", `{"model":"model","messages":["<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na"]}`)
}

func FuzzOat(f *testing.F) {
	fuzz(f, "/get_feedback", `{"batch_prompt":["q"],"batch_response":["a"]}`, "\x82\xacbatch_prompt\x91\xa1q\xaebatch_response\x91\xa1a", "\x82\xacbatch_prompt\x91\xa1q\xb0batch_candidates\x91\x92\xa1a\xa1b")
}

func FuzzInfinity(f *testing.F) {
	fuzz(f, "/classify", `{"input":["a"],"raw_scores":false}`, `{"inputs":"a"}`)
}

func FuzzInferBinary(f *testing.F) {
	fuzz(f, "/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}}],"parameters":{"binary_data_output":true}}`+"\x01\x00\x00\x00a",
		`{"inputs":[{"name":"tokens","shape":[1,1],"datatype":"INT64","parameters":{"binary_data_size":8}},{"name":"sequence_lengths","shape":[1],"datatype":"INT64","data":[1]}]}`+"\x07\x00\x00\x00\x00\x00\x00\x00")
}

func FuzzSlime(f *testing.F) {
	fuzz(f, "/v1/score-one", `{"prompt":"<|im_start|>user\nq","response":"a"}`, `{"prompt":[{"role":"user","content":"q"}],"response":"a"}`)
}

func FuzzNeMoGym(f *testing.F) {
	fuzz(f, "/verify", `{"responses_create_params":{"input":"q"},"response":{"output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}]}}`,
		`{"responses_create_params":{"instructions":"s","input":[{"role":"user","content":"q"}]},"response":{"output":[{"type":"function_call","name":"f","arguments":"{}","call_id":"c"},{"type":"function_call_output","call_id":"c","output":"o"}]}}`)
}

func FuzzInfer(f *testing.F) {
	fuzz(f, "/v2/models/{name}/infer", `{"inputs":[{"name":"TEXT","shape":[2],"datatype":"BYTES","data":["a","b"]}]}`,
		`{"inputs":[{"name":"tokens","shape":[1,2],"datatype":"INT64","data":[[1,2]]},{"name":"sequence_lengths","shape":[1],"datatype":"INT64","data":[1]}],"outputs":[{"name":"std"}]}`,
		`{"inputs":[{"name":"PROMPT","shape":[1],"datatype":"BYTES","data":["a"]},{"name":"RESPONSE","shape":[1],"datatype":"BYTES","data":["b"]}]}`)
}

// FuzzOthers feeds the decoders of the routes that do not score.
func FuzzOthers(f *testing.F) {
	for _, seed := range []string{
		`{"resources_session_id":"a"}`, `{"inputs":["a"],"add_special_tokens":false}`, `{"ids":[[1],[2]]}`, `{"ids":[1]}`, `{"ready":true}`,
		`{"parameters":{"path":"a"}}`, `{"parameters":{"config":"{\"members\":[\"a\"]}"}}`, `{"model_path":"a"}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, seed := dialect.DecodeSession(body)
		_, tokenize := dialect.DecodeTEITokenize(body)
		_, decode := dialect.DecodeTEIDecode(body)
		_, index := dialect.DecodeIndex(body)
		if g, err := dialect.DecodeGymRollouts(body); err == nil {
			if _, err := api.Encode(g.Metrics()); err != nil {
				t.Fatal(err)
			}
		}
		_, load := dialect.DecodeLoad(body)
		_, update := dialect.DecodeSGLangUpdate(body)
		for _, err := range []error{seed, tokenize, decode, index, load, update} {
			if e, ok := errors.AsType[*api.Error](err); err != nil && (!ok || e.Code.Status() != 400) {
				t.Fatalf("%q is answered by %v", body, err)
			}
		}
	})
}
