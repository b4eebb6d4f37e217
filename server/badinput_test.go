package server_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

func gzipped(t *testing.T, body string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(body))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

func zstdded(t *testing.T, body string, opts ...zstd.EOption) string {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, opts...)
	require.NoError(t, err)
	_, err = z.Write([]byte(body))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

func plainText(t *testing.T, encoding string, body []byte) string {
	var r io.Reader
	var err error
	if encoding == "gzip" {
		r, err = gzip.NewReader(bytes.NewReader(body))
	} else {
		r, err = zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1))
	}
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(data)
}

func TestBadInputIsRefusedByNameAndTheServerGoesOn(t *testing.T) {
	const good = `{"inputs":[{"text":"x"}]}`
	bomb := strings.Repeat(" ", 10<<20)
	long := strings.Repeat("x", 100)
	h := start(t, server.Config{MaxBodyBytes: 64 << 10, MaxSequences: 8, MaxRequestTokens: 100},
		servertest.New("m"), servertest.New("lean", func(i *live.Info) { i.Modes = []string{"wa"} }))
	tests := []struct {
		name    string
		body    string
		header  []string
		status  int
		code    string
		param   string
		message string
	}{
		{"a body over the limit", `{"inputs":[{"text":"` + strings.Repeat("x", 64<<10) + `"}]}`, nil, 413, "body_too_large", "", "65536 bytes"},
		{"a gzip bomb", gzipped(t, bomb), []string{"Content-Encoding", "gzip"}, 413, "body_too_large", "", "65536 bytes"},
		{"a zstd bomb", zstdded(t, bomb), []string{"Content-Encoding", "zstd"}, 413, "body_too_large", "", "65536 bytes"},
		{"gzip that is none", good, []string{"Content-Encoding", "gzip"}, 400, "invalid_encoding", "Content-Encoding", "gzip"},
		{"gzip cut short", gzipped(t, good)[:20], []string{"Content-Encoding", "gzip"}, 400, "invalid_encoding", "Content-Encoding", "EOF"},
		{"zstd that is none", good, []string{"Content-Encoding", "zstd"}, 400, "invalid_encoding", "Content-Encoding", "magic"},
		{"an encoding unknown", good, []string{"Content-Encoding", "br"}, 415, "unsupported_encoding", "Content-Encoding", "gzip"},
		{"two encodings", good, []string{"Content-Encoding", "gzip, zstd"}, 415, "unsupported_encoding", "Content-Encoding", "one"},
		{"a form", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", "Content-Type", "-H 'Content-Type: application/json'"},
		{"text", good, []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type", "Content-Type", "application/json"},
		{"another charset", good, []string{"Content-Type", "application/json; charset=latin1"}, 415, "unsupported_media_type", "Content-Type", "utf-8"},
		{"an empty body", ``, nil, 400, "invalid_json", "", "empty"},
		{"half a body", `{"inputs":[{"text":"x"}`, nil, 400, "invalid_json", "inputs", "ends"},
		{"no JSON", `inputs=x`, nil, 400, "invalid_json", "", "byte 0"},
		{"two values", good + good, nil, 400, "invalid_json", "", "after top-level value"},
		{"a field twice", `{"inputs":[{"text":"x"}],"inputs":[{"text":"y"}]}`, nil, 400, "invalid_json", "inputs", "twice"},
		{"a field twice in a message", `{"inputs":[{"messages":[{"role":"user","role":"assistant","content":"x"}]}]}`, nil, 400, "invalid_json", "inputs[0].messages[0].role", "twice"},
		{"NaN", `{"inputs":[{"text":"x"}],"lambda":NaN}`, nil, 400, "invalid_json", "lambda", "NaN is not JSON"},
		{"Infinity for a text", `{"inputs":[{"text":Infinity}]}`, nil, 400, "invalid_json", "inputs[0].text", "Infinity is not JSON"},
		{"-Infinity for an id", `{"inputs":[{"input_ids":[1,-Infinity]}]}`, nil, 400, "invalid_json", "inputs[0].input_ids[1]", "-Infinity is not JSON"},
		{"NaN for the body", `NaN`, nil, 400, "invalid_json", "", "NaN is not JSON"},
		{"NaN in a field that the template may read", `{"inputs":[{"messages":[{"role":"assistant","content":"a","score":[1,NaN]}]}]}`, nil, 400, "invalid_json", "inputs[0].messages[0].score", "not JSON"},
		{"NaN in a variable of the template", `{"chat_template_kwargs":{"x":NaN},"inputs":[{"text":"x"}]}`, nil, 400, "invalid_json", "chat_template_kwargs.x", "not JSON"},
		{"a word that begins as NaN", `{"inputs":[{"text":"x"}],"lambda":NaNs}`, nil, 400, "invalid_json", "lambda", "'N'"},
		{"a depth bomb", `{"inputs":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, nil, 400, "invalid_json", "", "deeper than 64"},
		{"invalid UTF-8", "{\"inputs\":[{\"text\":\"\xff\"}]}", nil, 400, "invalid_utf8", "", "byte 20"},
		{"half a surrogate pair", `{"inputs":[{"text":"\ud800"}]}`, nil, 400, "invalid_json", "inputs[0].text", "surrogate"},
		{"an unknown field", `{"inputs":[{"text":"x"}],"temperature":1}`, nil, 400, "unknown_field", "temperature", `"temperature"`},
		{"an unknown field of an input", `{"inputs":[{"text":"x"},{"txt":"x"}]}`, nil, 400, "unknown_field", "inputs[1].txt", `"txt"`},
		{"another case", `{"Inputs":[{"text":"x"}]}`, nil, 400, "unknown_field", "Inputs", `"Inputs"`},
		{"an unknown model", `{"model":"nobody","inputs":[{"text":"x"}]}`, nil, 404, "unknown_model", "model", `"nobody"`},
		{"no inputs", `{"model":"m"}`, nil, 400, "missing_field", "inputs", "missing"},
		{"inputs null", `{"inputs":null}`, nil, 400, "missing_field", "inputs", "missing"},
		{"empty inputs", `{"inputs":[]}`, nil, 400, "empty_input", "inputs", "empty"},
		{"an input null", `{"inputs":[null]}`, nil, 400, "missing_field", "inputs[0]", "nothing to score"},
		{"an input empty", `{"inputs":[{"text":"x"},{}]}`, nil, 400, "missing_field", "inputs[1]", "nothing to score"},
		{"text empty", `{"inputs":[{"text":""}]}`, nil, 400, "empty_input", "inputs[0].text", "empty"},
		{"input_ids empty", `{"inputs":[{"input_ids":[]}]}`, nil, 400, "empty_input", "inputs[0].input_ids", "empty"},
		{"an id negative", `{"inputs":[{"input_ids":[1,-1]}]}`, nil, 400, "token_out_of_range", "inputs[0].input_ids[1]", "-1"},
		{"an id over the vocabulary", `{"model":"m","inputs":[{"input_ids":[1,2,259]}]}`, nil, 400, "token_out_of_range", "inputs[0].input_ids[2]", "259"},
		{"an id over 32 bits", `{"inputs":[{"input_ids":[4294967296]}]}`, nil, 400, "invalid_value", "inputs[0].input_ids[0]", "4294967296"},
		{"an id not whole", `{"inputs":[{"input_ids":[1.5]}]}`, nil, 400, "invalid_value", "inputs[0].input_ids[0]", "1.5"},
		{"an id null", `{"inputs":[{"input_ids":[null]}]}`, nil, 400, "invalid_value", "inputs[0].input_ids[0]", "null"},
		{"prompt and text", `{"inputs":[{"prompt":"a","response":"b","text":"c"}]}`, nil, 400, "conflicting_fields", "inputs[0].text", "prompt, response, text"},
		{"response and responses", `{"inputs":[{"prompt":"a","response":"b","responses":["c"]}]}`, nil, 400, "conflicting_fields", "inputs[0].responses", "response, responses"},
		{"a prompt without a response", `{"inputs":[{"prompt":"a"}]}`, nil, 400, "missing_field", "inputs[0].response", "needs a response"},
		{"a response without a prompt", `{"inputs":[{"response":"a"}]}`, nil, 400, "missing_field", "inputs[0].prompt", "needs a prompt"},
		{"a response null", `{"inputs":[{"prompt":"a","responses":["b",null]}]}`, nil, 400, "invalid_value", "inputs[0].responses[1]", "null"},
		{"responses empty", `{"inputs":[{"prompt":"a","responses":[]}]}`, nil, 400, "empty_input", "inputs[0].responses", "empty"},
		{"add_special_tokens alone", `{"inputs":[{"add_special_tokens":true}]}`, nil, 400, "missing_field", "inputs[0].text", "belongs to text"},
		{"add_special_tokens with ids", `{"inputs":[{"input_ids":[1],"add_special_tokens":true}]}`, nil, 400, "conflicting_fields", "inputs[0].input_ids", "add_special_tokens"},
		{"the last message a user's", `{"inputs":[{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"b"}]}]}`, nil, 400, "last_message_not_assistant", "inputs[0].messages[1].role", `"user"`},
		{"messages empty", `{"inputs":[{"messages":[]}]}`, nil, 400, "empty_input", "inputs[0].messages", "empty"},
		{"a message without a role", `{"inputs":[{"messages":[{"content":"a"}]}]}`, nil, 400, "missing_field", "inputs[0].messages[0].role", "role"},
		{"a message without content", `{"inputs":[{"messages":[{"role":"assistant"}]}]}`, nil, 400, "missing_field", "inputs[0].messages[0].content", "content"},
		{"a role that is a number", `{"inputs":[{"messages":[{"role":1,"content":"a"}]}]}`, nil, 400, "invalid_value", "inputs[0].messages[0].role", "a number, want a string"},
		{"an image", `{"inputs":[{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}]}`, nil, 400, "unsupported_input", "inputs[0].messages[0].content[0].type", `"image_url"`},
		{"a prompt that is a number", `{"inputs":[{"prompt":1,"response":"b"}]}`, nil, 400, "invalid_value", "inputs[0].prompt", "a number"},
		{"text over the context", `{"model":"m","truncate":"error","inputs":[{"text":"x"},{"text":"` + long + `"}]}`, nil, 422, "too_long", "inputs[1].text", "100 tokens"},
		{"an answer over the context", `{"model":"m","truncate":"error","inputs":[{"prompt":"q","response":"` + long + `"}]}`, nil, 422, "too_long", "inputs[0].response", "the context has 64"},
		{"too many answers", `{"model":"m","inputs":[{"prompt":"q","responses":["1","2","3","4","5","6","7","8"]},{"text":"9"}]}`, nil, 413, "too_many_sequences", "inputs", "8"},
		{"too many tokens", `{"model":"m","inputs":[{"text":"` + long + `"},{"text":"` + long + `"}]}`, nil, 413, "too_many_tokens", "inputs[1]", "100"},
		{"a mode that is none", `{"mode":"average","inputs":[{"text":"x"}]}`, nil, 400, "invalid_value", "mode", `"average"`},
		{"a mode of the wrong type", `{"mode":1,"inputs":[{"text":"x"}]}`, nil, 400, "invalid_value", "mode", "a number, want a string"},
		{"a mode that the model lacks", `{"model":"lean","mode":"ens","inputs":[{"text":"x"}]}`, nil, 400, "unsupported_mode", "mode", `"ens"`},
		{"a member that the model lacks", `{"model":"m","mode":"member:three","inputs":[{"text":"x"}]}`, nil, 400, "unsupported_mode", "mode", `"member:three"`},
		{"an aggregate that is none", `{"mode":"ens","aggregate":"max","inputs":[{"text":"x"}]}`, nil, 400, "invalid_value", "aggregate", `"max"`},
		{"an aggregate that nothing reads", `{"mode":"wa","aggregate":"min","inputs":[{"text":"x"}]}`, nil, 400, "conflicting_fields", "aggregate", `"wa"`},
		{"an aggregate that the default mode does not read", `{"model":"m","aggregate":"min","inputs":[{"text":"x"}]}`, nil, 400, "conflicting_fields", "aggregate", `"wa"`},
		{"members that nothing returns", `{"model":"m","return":["members"],"inputs":[{"text":"x"}]}`, nil, 400, "conflicting_fields", "return", "members"},
		{"a lambda below 0", `{"mode":"ens","aggregate":"mean_minus_std","lambda":-1,"inputs":[{"text":"x"}]}`, nil, 400, "invalid_value", "lambda", "-1"},
		{"a lambda out of range", `{"lambda":1e999,"inputs":[{"text":"x"}]}`, nil, 400, "invalid_value", "lambda", "1e999"},
		{"a lambda that nothing reads", `{"mode":"ens","lambda":1,"inputs":[{"text":"x"}]}`, nil, 400, "conflicting_fields", "lambda", "mean_minus_std"},
		{"a truncation that is none", `{"truncate":"middle","inputs":[{"text":"x"}]}`, nil, 400, "invalid_value", "truncate", `"middle"`},
		{"a return that is none", `{"return":["tokens","logits"],"inputs":[{"text":"x"}]}`, nil, 400, "invalid_value", "return[1]", `"logits"`},
		{"a timeout that is none", good, []string{"X-Request-Timeout", "soon"}, 400, "invalid_value", "X-Request-Timeout", "seconds"},
		{"a timeout of 0", good, []string{"X-Request-Timeout", "0"}, 400, "invalid_value", "X-Request-Timeout", "above 0"},
		{"a timeout of NaN", good, []string{"X-Request-Timeout", "NaN"}, 400, "invalid_value", "X-Request-Timeout", "above 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := h.post(test.body, test.header...)
			assert.Equal(t, test.status, r.status, "%s", r.body)
			e := r.error(t)
			assert.Equal(t, test.code, e.Error.Code)
			assert.Contains(t, e.Error.Message, test.message)
			if test.param == "" {
				assert.Nil(t, e.Error.Param)
			} else if assert.NotNil(t, e.Error.Param, "%s", r.body) {
				assert.Equal(t, test.param, *e.Error.Param)
			}
			h.post(`{"model":"m","inputs":[{"text":"still here"}]}`).rewards(t)
		})
	}
	assert.NotContains(t, h.log.String(), "panic")
}

func TestWrongPathsAndMethods(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/v1/reward", 405, "POST"},
		{"HEAD", "/v1/reward", 405, "POST"},
		{"DELETE", "/v1/models", 405, "GET, HEAD"},
		{"POST", "/livez", 405, "GET, HEAD"},
		{"POST", "/v1/models/a%2Fb", 405, "GET, HEAD, PUT, DELETE"},
		{"BREW", "/v1/reward", 405, "POST"},
		{"GET", "/v1", 404, ""},
		{"GET", "/v1/rewards", 404, ""},
		{"POST", "/v1/reward/x", 404, ""},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			r := h.do(test.method, test.path, "")
			assert.Equal(t, test.status, r.status)
			assert.Equal(t, test.allow, r.header.Get("Allow"))
			if test.method != "HEAD" {
				assert.NotEmpty(t, r.error(t).Error.Message)
			}
		})
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	for _, path := range []string{"/livez", "/readyz", "/v1/models", "/v1/models/m", "/openapi.yaml", "/metrics"} {
		t.Run(path, func(t *testing.T) {
			r := h.do(http.MethodHead, path, "")
			assert.Equal(t, http.StatusOK, r.status)
			assert.Empty(t, r.body)
			assert.Equal(t, h.get(path).header.Get("Content-Type"), r.header.Get("Content-Type"))
		})
	}
}

func TestGoodBodiesOfEveryEncodingAreRead(t *testing.T) {
	const body = `{"inputs":[{"text":"x"}]}`
	h := start(t, server.Config{}, servertest.New("m"))
	want := h.post(body).rewards(t).Data
	for name, test := range map[string]struct {
		body   string
		header []string
	}{
		"gzip":                {gzipped(t, body), []string{"Content-Encoding", "gzip"}},
		"x-gzip in capitals":  {gzipped(t, body), []string{"Content-Encoding", "X-GZIP"}},
		"gzip of two members": {gzipped(t, body[:10]) + gzipped(t, body[10:]), []string{"Content-Encoding", "gzip"}},
		"zstd":                {zstdded(t, body), []string{"Content-Encoding", "zstd"}},
		"zstd at its best":    {zstdded(t, body, zstd.WithEncoderLevel(zstd.SpeedBestCompression)), []string{"Content-Encoding", "zstd"}},
		"identity":            {body, []string{"Content-Encoding", "identity"}},
		"no content type":     {body, []string{"Content-Type", ""}},
		"a charset":           {body, []string{"Content-Type", "application/json; charset=UTF-8"}},
		"space around":        {"\n\t " + body + " \r\n", nil},
		"a field null":        {`{"inputs":[{"text":"x"}],"mode":null}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 { // the readers are used again
				assert.Equal(t, want, h.post(test.body, test.header...).rewards(t).Data)
			}
		})
	}
}

func TestRepliesAreCompressedWhenAskedFor(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	body := `{"inputs":[{"prompt":"q","responses":["` + strings.Repeat(`a","`, 99) + `a"]}]}`
	plain := h.post(body, "Accept-Encoding", "identity")
	assert.Empty(t, plain.header.Get("Content-Encoding"))
	idEnd := strings.Index(string(plain.body), `"model"`)
	for accept, want := range map[string]string{"gzip": "gzip", "zstd": "zstd", "gzip, zstd": "zstd", "gzip, zstd;q=0": "gzip"} {
		t.Run(accept, func(t *testing.T) {
			r := h.post(body, "Accept-Encoding", accept)
			assert.Equal(t, want, r.header.Get("Content-Encoding"))
			assert.Less(t, len(r.body), len(plain.body)/3)
			assert.Equal(t, plainText(t, want, r.body)[idEnd:], string(plain.body)[idEnd:], "all but the id")
		})
	}
	assert.Empty(t, h.get("/livez", "Accept-Encoding", "gzip").header.Get("Content-Encoding"), "a short reply is left alone")
}
