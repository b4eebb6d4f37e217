package server_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

func TestAClientHasItsTokensOfAMinuteAndThenIsToldWhenToComeAgain(t *testing.T) {
	h := start(t, server.Config{Keys: []string{"key-number-1", "key-number-2"}, ClientTokensPerMinute: 100}, servertest.New("m", func(i *live.Info) { i.ContextLength = 1000 }))
	ids := func(n int) string {
		body := `{"inputs":[{"input_ids":[1`
		for i := 1; i < n; i++ {
			body += fmt.Sprint(",", i)
		}
		return body + `]}]}`
	}
	one, two := []string{"Authorization", "Bearer key-number-1"}, []string{"Authorization", "Bearer key-number-2"}
	assert.Equal(t, 200, h.post(ids(60), one...).status)
	r := h.post(ids(60), one...)
	require.Equal(t, 429, r.status, "%s", r.body)
	assert.Equal(t, "rate_limited", r.error(t).Error.Code)
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	require.NoError(t, err)
	assert.InDelta(t, 12, seconds, 2, "20 tokens are missing, and 100 come in a minute")
	r = h.post(`{"return":["steps"],`+ids(30)[1:], one...)
	assert.Equal(t, 400, r.status, "%s", r.body)
	assert.Equal(t, 200, h.post(ids(30), one...).status, "what was refused costs nothing")
	assert.Equal(t, 200, h.post(ids(60), two...).status, "another client has its own")
	r = h.post(ids(101), two...)
	assert.Equal(t, 413, r.status)
	assert.Equal(t, "too_many_tokens", r.error(t).Error.Code)

	for _, route := range []struct{ path, body string }{
		{"/get_reward", `{"query":["` + longText + `"]}`}, {"/v1/classify", `{"input":"` + longText + `"}`}, {"/predict", `{"inputs":"` + longText + `"}`},
		{"/v2/models/m/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["` + longText + `"]}]}`},
	} {
		r := h.do("POST", route.path, route.body, one...)
		assert.Equal(t, 429, r.status, "%s: %s", route.path, r.body)
		assert.NotEmpty(t, r.header.Get("Retry-After"), route.path)
	}
}

const longText = "sixty characters of text, more than the client has left now."

func TestWithoutAQuotaNobodyIsCounted(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	for range 5 {
		assert.Equal(t, 200, h.post(textOf(60)).status)
	}
}
