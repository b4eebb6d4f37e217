package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/servertest"
)

// queryOf lists the query parameters that the document gives an operation.
func queryOf(op *openapi3.Operation) (names []string) {
	for _, p := range op.Parameters {
		if p.Value.In == "query" {
			names = append(names, p.Value.Name)
		}
	}
	return names
}

// TestEveryRouteTakesTheQueryParametersThatAreDocumentedAndNoOthers asks each
// route for each parameter that any has, and for one that none has.
func TestEveryRouteTakesTheQueryParametersThatAreDocumentedAndNoOthers(t *testing.T) {
	h := startLive(t, server.Config{}, &factory{})
	all := []string{"nonsense", "Model"}
	for _, item := range document().Paths.Map() {
		for _, op := range item.Operations() {
			all = append(all, queryOf(op)...)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	require.Greater(t, len(all), 8)
	for pattern, item := range document().Paths.Map() {
		path := strings.NewReplacer("{name}", "m", "{version}", "0123456789ab").Replace(pattern)
		for method, op := range item.Operations() {
			for _, name := range all {
				t.Run(fmt.Sprint(method, " ", pattern, "?", name), func(t *testing.T) {
					r := h.do(method, path+"?key=k&"+name+"=1", "", "Authorization", "Bearer "+adminKey)
					said := strings.Contains(string(r.body), "unknown query parameter")
					if op.Security != nil && len(*op.Security) == 0 { // a probe
						assert.False(t, said, "%s", r.body)
						return
					}
					if slices.Contains(queryOf(op), name) {
						assert.False(t, said, "%s", r.body)
						return
					}
					assert.True(t, said, "%d %s", r.status, r.body)
					assert.Contains(t, []int{400, 422}, r.status)
					assert.Contains(t, string(r.body), name)
				})
			}
		}
	}
}

func TestAQueryIsReadWholeOrRefused(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	for query, want := range map[string]string{
		"?mode=wa&mode=ens":       "given twice",
		"?mode=%zz":               "not well formed",
		"?mode=wa;aggregate=min":  "not well formed",
		"?Mode=ens":               "unknown query parameter: this path takes model, mode, aggregate, lambda",
		"?mode=average":           `mode \"average\"`,
		"?lambda=x":               "want a number",
		"?mode=ens&aggregate=max": `\"max\", want one of`,
		"?model=nobody":           "nobody",
	} {
		t.Run(query, func(t *testing.T) {
			for _, path := range []string{"/v1/reward", "/verify"} {
				body := `{"inputs":[{"text":"x"}]}`
				want := want
				if path == "/verify" {
					body = `{"responses_create_params":{"input":"q"},"response":{"output":[]}}`
				}
				r := h.send(path+query, body)
				assert.Contains(t, []int{400, 404}, r.status)
				assert.Contains(t, string(r.body), want, path)
			}
		})
	}
}

func TestWhatAPathReadsInTheURLIsNotPassedOverInTheBody(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	for path, body := range map[string]string{
		"/get_reward":        `"query":["a b"],"labels":[NaN]`,
		"/classify":          `"model":"m","input":"a"`,
		"/classify?mode=wa":  `"text":["a"]`,
		"/pooling":           `"model":"m","input":"a"`,
		"/score":             `"model":"m","text_1":"a","text_2":"b"`,
		"/rerank":            `"query":"a","texts":["b"]`,
		"/v2/rerank":         `"query":"a","documents":["b"]`,
		"/v1/embeddings":     `"model":"m","input":"a"`,
		"/predict":           `"inputs":"a"`,
		"/v1/score-one":      `"prompt":"a","response":"b"`,
		"/v2/models/m/infer": `"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["a"]}]`,
	} {
		for _, field := range []string{`"mode":"ens"`, `"aggregate":"min"`, `"lambda":0.5`, `"mode":3`} {
			name := strings.Split(field, `"`)[1]
			r := h.send(path, "{"+body+","+field+"}")
			assert.Contains(t, []int{400, 422}, r.status, "%s %s: %s", path, field, r.body)
			assert.Contains(t, string(r.body), "this path reads "+name+" in the URL: ?"+name+"=", path)
			r = h.send(path, "{"+body+`,"`+name+`":null,"other":"`+name+`"}`)
			assert.Equal(t, http.StatusOK, r.status, "%s: %s", path, r.body)
		}
	}
	for field, path := range map[string]string{`"pooling":"hf"`: "/get_reward", `"scores":"raw"`: "/get_reward", `"retemplate":"chatml"`: "/get_reward", `"on_error":"item"`: "/get_reward", `"bare":true`: "/v1/score-one"} {
		r := h.send(path, `{"query":["a"],"prompt":"a","response":"b",`+field+"}")
		assert.Equal(t, http.StatusBadRequest, r.status, field)
	}
}

func TestTheNativeRouteTakesModelAndEnsembleFromTheURL(t *testing.T) {
	h := start(t, server.Config{}, named("m"), servertest.New("other"))
	const query = "?model=m&mode=ens&aggregate=mean_minus_std&lambda=0.5"
	inBody := h.post(`{"model":"m","mode":"ens","aggregate":"mean_minus_std","lambda":0.5,"inputs":[{"text":"x"}]}`).rewards(t)
	for _, body := range []string{`{"inputs":[{"text":"x"}]}`, `{"model":"m","mode":"ens","lambda":0.5,"inputs":[{"text":"x"}]}`} {
		inURL := h.send("/v1/reward"+query, body).rewards(t)
		assert.Equal(t, inBody.Data, inURL.Data)
		assert.Equal(t, "ens", inURL.Mode)
	}
	for field, value := range map[string]string{"model": `"other"`, "mode": `"wa"`, "aggregate": `"min"`, "lambda": `0.1`} {
		e := h.send("/v1/reward"+query, `{"`+field+`":`+value+`,"inputs":[{"text":"x"}]}`).error(t).Error
		assert.Equal(t, "conflicting_fields", e.Code, field)
		assert.Equal(t, field, *e.Param)
		assert.Contains(t, e.Message, "in the URL")
	}
	r := h.send("/classify?model=other", `{"model":"m","input":"x"}`)
	assert.Equal(t, http.StatusBadRequest, r.status, "dialects have the same rule")
}

func TestSlashesTooManyFindTheirRoute(t *testing.T) {
	h := start(t, server.Config{Keys: []string{"kkkkkkkk"}}, servertest.New("m"), servertest.New("a/b"))
	for _, c := range []struct{ method, path, body string }{
		{"POST", "//classify", `{"model":"m","input":"x"}`},
		{"POST", "/classify/", `{"model":"m","input":"x"}`},
		{"POST", "///v1//reward//", `{"model":"m","inputs":[{"text":"x"}]}`},
		{"POST", "/get_reward/?model=m", `{"query":["x"]}`},
		{"POST", "/v2/models/m/infer/", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["x"]}]}`},
		{"POST", "//?model=m", `{"inputs":"x"}`},
		{"GET", "/v1/models/a%2Fb/", ""},
		{"GET", "//v1/models/", ""},
	} {
		t.Run(c.path, func(t *testing.T) {
			assert.Equal(t, http.StatusOK, h.do(c.method, c.path, c.body, "Authorization", "Bearer kkkkkkkk").status)
		})
	}
	assert.Equal(t, http.StatusOK, h.get("//livez/").status, "a probe has no key")
	assert.Equal(t, http.StatusUnauthorized, h.get("//v1/models/").status)
	r := h.do("GET", "/v1/models/a%2F%2Fb", "", "Authorization", "Bearer kkkkkkkk")
	assert.Equal(t, http.StatusNotFound, r.status, "slashes of a name are the name's")
	assert.Equal(t, http.StatusMethodNotAllowed, h.do("GET", "/v1/reward/", "", "Authorization", "Bearer kkkkkkkk").status)
}

// TestTheRevisionIsNamedWhereverAModelIs: harness.do holds each reply against
// the document, which says where the header has to be.
func TestTheRevisionIsNamedWhereverAModelIs(t *testing.T) {
	m := named("m")
	h := start(t, server.Config{}, m)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/reward", `{"inputs":[{"text":"x"}]}`},
		{"POST", "/v1/reward", `{"inputs":[{"input_ids":[9999]}]}`},
		{"POST", "/v1/reward", `{"mode":"member:nobody","inputs":[{"text":"x"}]}`},
		{"POST", "/v1/compare", `{"pairs":[{"prompt":"q","chosen":"a","rejected":"b"}]}`},
		{"GET", "/v1/models/m", ""},
		{"GET", "/info", ""},
		{"GET", "/get_model_info", ""},
		{"POST", "/tokenize", `{"inputs":"x"}`},
		{"POST", "/decode", `{"ids":[1]}`},
		{"GET", "/v2/models/m", ""},
		{"GET", "/v2/models/m/ready", ""},
		{"POST", "/get_reward", `{"query":["x"]}`},
		{"POST", "/classify", `{"input":[9999]}`},
	} {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			assert.Equal(t, m.Info().Revision, h.do(c.method, c.path, c.body).header.Get("X-Model-Revision"))
		})
	}
	for _, path := range []string{"/livez", "/v1/models", "/v1/models/nobody"} {
		assert.Empty(t, h.get(path).header.Get("X-Model-Revision"), path)
	}
}

// TestAnAnswerOverTheContextIsScoredOnEveryRoute sends an answer that alone is
// over the context: no route refuses it, and each scores its end.
func TestAnAnswerOverTheContextIsScoredOnEveryRoute(t *testing.T) {
	h := start(t, server.Config{}, named("m"))
	long := strings.Repeat("x", 100) + "y"
	ids := strings.Repeat("7,", 100) + "8"
	tensor := func(name, datatype, shape, data string) string {
		return `{"name":"` + name + `","shape":` + shape + `,"datatype":"` + datatype + `","data":[` + data + `]}`
	}
	quoted := `"` + long + `"`
	chat := `[{"role":"user","content":"q"},{"role":"assistant","content":` + quoted + `}]`
	for _, c := range []struct{ path, body, refusing string }{
		{"/v1/reward", `{"inputs":[{"prompt":"q","response":` + quoted + `}]}`, `{"truncate":"error","inputs":[{"prompt":"q","response":` + quoted + `}]}`},
		{"/v1/reward", `{"inputs":[{"messages":` + chat + `}]}`, ""},
		{"/v1/reward", `{"inputs":[{"text":` + quoted + `},{"input_ids":[` + ids + `]}]}`, `{"truncate":"error","inputs":[{"input_ids":[` + ids + `]}]}`},
		{"/v1/reward", `{"truncate":"prompt_left","inputs":[{"text":` + quoted + `},{"prompt":"q","responses":["a",` + quoted + `]}]}`, ""},
		{"/v1/compare", `{"pairs":[{"prompt":"q","chosen":` + quoted + `,"rejected":"b"}]}`, ""},
		{"/get_reward", `{"query":[` + quoted + `]}`, ""},
		{"/get_reward?retemplate=chatml", `{"query":["<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n` + long + `<|im_end|>"]}`, ""},
		{"/classify", `{"input":` + quoted + `}`, ""},
		{"/classify", `{"messages":` + chat + `}`, ""},
		{"/classify", `{"text":[` + quoted + `]}`, ""},
		{"/classify", `{"input_ids":[[` + ids + `]]}`, ""},
		{"/v1/classify", `{"input":[` + ids + `]}`, ""},
		{"/pooling", `{"messages":` + chat + `}`, ""},
		{"/v1/embeddings", `{"input":` + quoted + `}`, ""},
		{"/score", `{"queries":"q","documents":["a",` + quoted + `]}`, ""},
		{"/v1/score", `{"text_1":["q"],"text_2":[` + quoted + `]}`, ""},
		{"/rerank", `{"query":"q","documents":["a",` + quoted + `]}`, ""},
		{"/v1/rerank", `{"query":"q","documents":[` + quoted + `]}`, ""},
		{"/v2/rerank", `{"query":"q","documents":[` + quoted + `]}`, ""},
		{"/rerank", `{"query":"q","texts":[` + quoted + `]}`, `{"query":"q","texts":[` + quoted + `],"truncate":false}`},
		{"/predict", `{"inputs":["q",` + quoted + `]}`, `{"inputs":["q",` + quoted + `],"truncate":false}`},
		{"/predict", `{"inputs":[[` + quoted + `],["q",` + quoted + `]]}`, ""},
		{"/", `{"inputs":` + quoted + `}`, ""},
		{"/v1/score-one", `{"prompt":"q","response":` + quoted + `}`, ""},
		{"/v1/score-one?retemplate=none", `{"prompt":"q","response":` + quoted + `}`, ""},
		{"/verify", `{"responses_create_params":{"input":"q"},"response":{"output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":` + quoted + `}]}]}}`, ""},
		{"/v2/models/m/infer", `{"inputs":[` + tensor("PROMPT", "BYTES", "[1]", `"q"`) + `,` + tensor("RESPONSE", "BYTES", "[1]", quoted) + `]}`,
			`{"parameters":{"truncate":"error"},"inputs":[` + tensor("TEXT", "BYTES", "[1]", quoted) + `]}`},
		{"/v2/models/m/versions/0123456789ab/infer", `{"inputs":[` + tensor("TEXT", "BYTES", "[1]", quoted) + `]}`, ""},
		{"/v2/models/m/infer", `{"inputs":[` + tensor("tokens", "INT64", "[1,101]", ids) + `,` + tensor("sequence_lengths", "INT64", "[1]", "101") + `]}`, ""},
	} {
		t.Run(c.path, func(t *testing.T) {
			r := h.send(c.path, c.body)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			if c.refusing != "" {
				r := h.send(c.path, c.refusing)
				assert.Contains(t, []int{400, 422}, r.status, "%s", r.body)
			}
		})
	}
	end := servertest.Encode(long[len(long)-64:], true)
	got := h.post(`{"return":["tokens"],"inputs":[{"prompt":"q","response":` + quoted + `},{"text":` + quoted + `}]}`).rewards(t)
	for _, d := range got.Data {
		assert.True(t, d.Truncated)
		assert.EqualValues(t, end, d.TokenIDs)
	}
}
