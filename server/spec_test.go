package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

func TestTheDocumentIsValid(t *testing.T) {
	// Validation holds every example against its schema, too.
	assert.NoError(t, document().Validate(t.Context()))
}

func TestTheDocumentAndTheRoutesAreTheSame(t *testing.T) {
	h := start(t, server.Config{})
	documented := map[string]bool{}
	for path, item := range document().Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+path] = true
		}
	}
	routed := map[string]bool{}
	err := chi.Walk(h.server.Handler().(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed[method+" "+route] = true
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, documented, routed)
}

func TestEveryDocumentedRequestDecodesAndIsValid(t *testing.T) {
	media := document().Paths.Find("/v1/reward").Post.RequestBody.Value.Content.Get("application/json")
	require.NotEmpty(t, media.Examples)
	for name, example := range media.Examples {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(example.Value.Value)
			require.NoError(t, err)
			req, err := api.DecodeRewardRequest(body)
			require.NoError(t, err)
			assert.NoError(t, req.Validate(api.DefaultMaxSequences))
		})
	}
}

func TestEveryDocumentedReplyDecodesStrictly(t *testing.T) {
	targets := map[string]func() any{
		"reward":      func() any { return new(api.RewardResponse) },
		"compare":     func() any { return new(api.CompareResponse) },
		"listModels":  func() any { return new(api.ModelList) },
		"deleteModel": func() any { return new(api.Deleted) },
		"livez":       func() any { return new(api.Status) },
		"readyz":      func() any { return new(api.Status) },
	}
	seen := 0
	for _, item := range document().Paths.Map() {
		for _, op := range item.Operations() {
			for status, ref := range op.Responses.Map() {
				media := ref.Value.Content.Get("application/json")
				if media == nil {
					continue
				}
				for name, example := range media.Examples {
					body, err := json.Marshal(example.Value.Value)
					require.NoError(t, err)
					var into any = new(wireError)
					if status == "200" {
						require.Contains(t, targets, op.OperationID)
						into = targets[op.OperationID]()
					}
					d := json.NewDecoder(strings.NewReader(string(body)))
					d.DisallowUnknownFields()
					assert.NoError(t, d.Decode(into), "%s %s %s", op.OperationID, status, name)
					if status == "200" {
						again, err := api.Encode(into)
						require.NoError(t, err)
						assert.JSONEq(t, string(body), string(again), "%s %s: decoded and encoded again", op.OperationID, name)
					}
					seen++
				}
			}
		}
	}
	assert.Greater(t, seen, 10)
}

func TestTheDocumentedCodesAndTheTableAreTheSame(t *testing.T) {
	schema := document().Components.Schemas["ErrorCode"].Value
	var documented []string
	for _, v := range schema.Enum {
		documented = append(documented, v.(string))
	}
	var known []string
	for _, c := range api.Codes() {
		known = append(known, string(c))
		assert.Contains(t, schema.Description, "| "+string(c)+" | "+statusOf(c)+" |", "the description's table")
	}
	assert.ElementsMatch(t, known, documented)
	var types []string
	for _, v := range document().Components.Schemas["Error"].Value.Properties["error"].Value.Properties["type"].Value.Enum {
		types = append(types, v.(string))
	}
	for _, c := range api.Codes() {
		assert.Contains(t, types, c.Type())
	}
}

func statusOf(c api.Code) string {
	b, _ := json.Marshal(c.Status())
	return string(b)
}

// TestDocumentedExamplesAreAnswered sends each documented request to a server
// that offers what it asks for.
func TestDocumentedExamplesAreAnswered(t *testing.T) {
	m := servertest.New("helpful", func(i *live.Info) {
		i.Members, i.Modes = []string{"seed-1", "seed-2"}, []string{"wa", "ens", "both", "member:seed-1"}
		i.ContextLength = 4096
	})
	for _, fake := range m.Fakes {
		fake.Vocab = 0
	}
	h := start(t, server.Config{}, m)
	examples := document().Paths.Find("/v1/reward").Post.RequestBody.Value.Content.Get("application/json").Examples
	for name, example := range examples {
		t.Run(name, func(t *testing.T) {
			if name == "token_ids" {
				t.Skip("the fake's vocabulary has 259 ids, the example's are BERT's")
			}
			body, err := json.Marshal(example.Value.Value)
			require.NoError(t, err)
			assert.Equal(t, http.StatusOK, h.post(string(body)).status)
		})
	}
}

// TestTheSchemaRefusesWhatTheDecoderRefuses keeps the two from drifting apart
// on form: bodies that one refuses and the other takes.
func TestTheSchemaRefusesWhatTheDecoderRefuses(t *testing.T) {
	schema := document().Components.Schemas["RewardRequest"].Value
	for body, ok := range map[string]bool{
		`{"inputs":[{"text":"a"}]}`: true,
		`{"inputs":[{"text":"a"}],"mode":null,"aggregate":null,"truncate":null,"lambda":null}`:   true,
		`{"inputs":[{"text":"a","add_special_tokens":null}],"return":null,"parse_special":null}`: true,
		`{"inputs":[{"messages":[{"role":"assistant","content":null,"tool_calls":[]}]}]}`:        true,
		`{"inputs":[{"text":"a"}],"unknown":1}`:                                                  false,
		`{"inputs":[]}`:                                                                          false,
		`{}`:                                                                                     false,
		`{"inputs":[{}]}`:                                                                        false,
		`{"inputs":[null]}`:                                                                      false,
		`{"inputs":[{"text":"a","input_ids":[1]}]}`:                                              false,
		`{"inputs":[{"prompt":"a"}]}`:                                                            false,
		`{"inputs":[{"prompt":"a","response":"b","responses":["c"]}]}`:                           false,
		`{"inputs":[{"prompt":[],"response":"b"}]}`:                                              false,
		`{"inputs":[{"prompt":"a","responses":[]}]}`:                                             false,
		`{"inputs":[{"prompt":"a","responses":[null]}]}`:                                         false,
		`{"inputs":[{"input_ids":[]}]}`:                                                          false,
		`{"inputs":[{"input_ids":[1.5]}]}`:                                                       false,
		`{"inputs":[{"input_ids":[-1]}]}`:                                                        false,
		`{"inputs":[{"messages":[{"role":"assistant","content":[{"type":"image","text":"x"}]}]}]}`: false,
		`{"inputs":[{"messages":[{"content":"x"}]}]}`:                                              false,
		`{"inputs":[{"text":"a"}],"mode":"average"}`:                                               false,
		`{"inputs":[{"text":"a"}],"mode":"member:"}`:                                               false,
		`{"inputs":[{"text":"a"}],"mode":"ens","aggregate":"max"}`:                                 false,
		`{"inputs":[{"text":"a"}],"truncate":"middle"}`:                                            false,
		`{"inputs":[{"text":"a"}],"on_error":"item"}`:                                              true,
		`{"inputs":[{"text":"a"}],"on_error":null}`:                                                true,
		`{"inputs":[{"text":"a"}],"on_error":"skip"}`:                                              false,
		`{"inputs":[{"text":"a"}],"return":["logits"]}`:                                            false,
		`{"inputs":[{"text":"a"}],"return":["tokens","tokens"]}`:                                   false,
		`{"inputs":[{"text":"a"}],"mode":"ens","aggregate":"mean_minus_std","lambda":-1}`:          false,
	} {
		t.Run(body, func(t *testing.T) {
			var v any
			require.NoError(t, json.Unmarshal([]byte(body), &v))
			bySchema := schema.VisitJSON(v, openapi3.VisitAsRequest())
			req, byDecoder := api.DecodeRewardRequest([]byte(body))
			if byDecoder == nil {
				byDecoder = req.Validate(api.DefaultMaxSequences)
			}
			assert.Equal(t, ok, bySchema == nil, "schema: %v", bySchema)
			assert.Equal(t, ok, byDecoder == nil, "decoder: %v", byDecoder)
		})
	}
}

// TestSchemasOfDialectsSayWhatTheServerDoes sends bodies that the schema allows
// and the server takes, or that both refuse.
func TestSchemasOfDialectsSayWhatTheServerDoes(t *testing.T) {
	h := startLive(t, server.Config{}, &factory{})
	_, err := h.models.Swap(named("m"))
	require.NoError(t, err)
	tensor := func(shape string) string {
		return `{"inputs":[{"name":"TEXT","shape":` + shape + `,"datatype":"BYTES","data":["a"]}]}`
	}
	for _, c := range []struct {
		path, body string
		ok         bool
	}{
		{"/seed_session", `{}`, true},
		{"/seed_session", `null`, true},
		{"/seed_session", `{"resources_session_id":7}`, false},
		{"/v2/repository/index", `null`, true},
		{"/v2/repository/index", `{"ready":null}`, true},
		{"/v2/repository/index", `{"ready":"yes"}`, false},
		{"/decode", `{"ids":[1],"skip_special_tokens":null}`, true},
		{"/decode", `{"ids":[1],"skip_special_tokens":"yes"}`, false},
		{"/decode", `{"ids":[]}`, false},
		{"/decode", `{"ids":[-1]}`, false},
		{"/tokenize", `{"inputs":"a","add_special_tokens":null}`, true},
		{"/tokenize", `{"inputs":"a","add_special_tokens":"yes"}`, false},
		{"/tokenize", `{"inputs":[]}`, false},
		{"/get_reward", `{"query":[]}`, true},
		{"/get_reward", `{"query":""}`, false},
		{"/classify", `{}`, false},
		{"/classify", `{"input":null}`, false},
		{"/classify", `{"input":"a","messages":null}`, true},
		{"/classify", `{"input":"a","messages":[]}`, false},
		{"/classify", `{"input":""}`, false},
		{"/classify", `{"input":[""]}`, false},
		{"/classify", `{"input":[]}`, false},
		{"/classify", `{"input":"a","truncate_prompt_tokens":0}`, false},
		{"/classify", `{"input":"a","truncate_prompt_tokens":-1}`, true},
		{"/classify", `{"input":"a","truncate_prompt_tokens":null}`, true},
		{"/classify", `{"input":"a","use_activation":"no"}`, false},
		{"/classify", `{"text":"a","input_ids":null}`, true},
		{"/classify", `{"text":""}`, false},
		{"/pooling", `{}`, false},
		{"/pooling", `{"input":"a","task":"token_classify"}`, false},
		{"/score", `{"queries":"q"}`, false},
		{"/score", `{"queries":"q","documents":[""]}`, true},
		{"/score", `{"queries":"q","documents":[]}`, false},
		{"/rerank", `{"query":"","documents":["a"],"top_n":null}`, true},
		{"/rerank", `{"query":"q","documents":["a"],"top_n":-1}`, false},
		{"/predict", `{"inputs":""}`, false},
		{"/predict", `{"inputs":["",""]}`, true},
		{"/predict", `{"inputs":[]}`, false},
		{"/predict", `{"inputs":"a","truncation_direction":"up"}`, false},
		{"/predict", `{"inputs":"a","raw_scores":null}`, true},
		{"/verify", `{"responses_create_params":{"input":null},"response":{"output":[]}}`, false},
		{"/verify", `{"responses_create_params":{"input":[]},"response":{"output":[]}}`, true},
		{"/v2/models/m/infer", tensor("[1]"), true},
		{"/v2/models/m/infer", tensor("[0]"), false},
		{"/v2/models/m/infer", strings.Replace(tensor("[1]"), `{`, `{"parameters":null,`, 1), true},
		{"/v2/models/m/infer", strings.Replace(tensor("[1]"), `{`, `{"parameters":{"x":1},`, 1), false},
	} {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			var v any
			require.NoError(t, json.Unmarshal([]byte(c.body), &v))
			schema := operation(http.MethodPost, c.path).RequestBody.Value.Content.Get("application/json").Schema.Value
			bySchema := schema.VisitJSON(v, openapi3.VisitAsRequest())
			assert.Equal(t, c.ok, bySchema == nil, "schema: %v", bySchema)
			r := h.send(c.path, c.body)
			assert.Equal(t, c.ok, r.status < 400, "server: %d %s", r.status, r.body)
		})
	}
}

// A header or a query that is wrong is found before anything is changed.
func TestAPutIsRefusedForItsHeaderOrQueryBeforeItLoads(t *testing.T) {
	h := startLive(t, server.Config{}, &factory{})
	for _, c := range []struct{ query, timeout string }{{"", "soon"}, {"", "0"}, {"", "-1"}, {"", "1e3"}, {"", "0x10"}, {"?wait=maybe", "1"}, {"?wait=", "1"}} {
		r := h.do(http.MethodPut, "/v1/models/m"+c.query, `{"members":["a"]}`, "Authorization", "Bearer "+adminKey, "X-Request-Timeout", c.timeout, "Content-Type", "application/json")
		assert.Equal(t, http.StatusBadRequest, r.status, "%v %s", c, r.body)
	}
	assert.Equal(t, http.StatusBadRequest, h.do(http.MethodPut, "/v1/models/m", `null`, "Authorization", "Bearer "+adminKey, "Content-Type", "application/json").status)
	assert.Equal(t, http.StatusNotFound, h.get("/v1/models/m").status)
}
