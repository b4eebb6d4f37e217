package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// called returns the status of a request that names the model so, and what the
// reply calls it.
func (h *harness) called(name string) (int, string) {
	h.t.Helper()
	r := h.send("/classify", `{"model":"`+name+`","input":"hello"}`)
	if r.status != http.StatusOK {
		return r.status, ""
	}
	var got struct{ Model string }
	require.NoError(h.t, json.Unmarshal(r.body, &got))
	return r.status, got.Model
}

// gymRow is a rollout as NeMo Gym sends it.
const gymRow = `{"responses_create_params":{"input":[{"role":"user","content":"q"}]},"response":{"output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}]}}`

func aliased(name string, aliases ...string) *servertest.Model {
	return servertest.New(name, func(i *live.Info) {
		i.Revision, i.Aliases = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", aliases
	})
}

func TestAnAliasNamesItsModelOnEveryRoute(t *testing.T) {
	h := start(t, server.Config{}, aliased("m", "gpt-4", "/ckpt/policy"), servertest.New("other"))
	want := h.post(`{"model":"m","inputs":[{"text":"hello"}]}`).rewards(t)
	for _, name := range []string{"gpt-4", "/ckpt/policy"} {
		got := h.post(`{"model":"` + name + `","inputs":[{"text":"hello"}]}`).rewards(t)
		assert.Equal(t, want.Data, got.Data)
		assert.Equal(t, name, got.Model, "the reply names what was asked")
		assert.Equal(t, want.Revision, got.Revision)
	}
	got := h.post(`{"model":"gpt-4@01234567","inputs":[{"text":"hello"}]}`).rewards(t)
	assert.Equal(t, "gpt-4", got.Model, "without its pin")
	assert.Equal(t, http.StatusConflict, h.post(`{"model":"gpt-4@99999999","inputs":[{"text":"hello"}]}`).status)
	assert.Equal(t, http.StatusOK, h.send("/verify?model=gpt-4", gymRow).status)
	assert.Equal(t, http.StatusOK, h.get("/info?model=gpt-4").status)
	r := h.send("/v2/models/gpt-4/infer", `{"inputs":[{"name":"TEXT","shape":[1],"datatype":"BYTES","data":["hello"]}]}`)
	assert.Contains(t, string(r.body), `"model_name":"gpt-4"`)
	assert.Contains(t, string(h.get("/v2/models/gpt-4").body), `"name":"gpt-4"`)
	assert.Contains(t, string(h.send("/v1/compare", `{"model":"gpt-4","pairs":[{"prompt":"q","chosen":"a","rejected":"b"}]}`).body), `"model":"gpt-4"`)

	var list api.ModelList
	h.get("/v1/models").json(t, &list)
	require.Len(t, list.Data, 2)
	assert.Equal(t, []string{"gpt-4", "/ckpt/policy"}, list.Data[0].Aliases)
	assert.Nil(t, list.Data[1].Aliases)
	var detail api.ModelDetail
	h.get("/v1/models/gpt-4").json(t, &detail)
	assert.Equal(t, "m", detail.ID)
	assert.NotContains(t, string(h.get("/metrics").body), "gpt-4", "labels come from a closed set")

	status, _ := h.called("gpt-5")
	assert.Equal(t, http.StatusNotFound, status)
}

func TestAnAliasOfTwoModelsIsRefusedByRequests(t *testing.T) {
	h := start(t, server.Config{}, aliased("a", "x", "b"), aliased("b", "x"))
	status, _ := h.called("x")
	assert.Equal(t, http.StatusBadRequest, status)
	status, as := h.called("b")
	assert.Equal(t, http.StatusOK, status, "a name counts before an alias")
	assert.Equal(t, "b", as)
}

func TestAnyNameMeansTheOnlyModelWhereTheOperatorSaysSo(t *testing.T) {
	strict := start(t, server.Config{}, aliased("m"))
	status, _ := strict.called("gpt-4")
	assert.Equal(t, http.StatusNotFound, status, "by default a name is one")

	h := start(t, server.Config{AnyModelName: true}, aliased("m"))
	for _, name := range []string{"gpt-4", "/ckpt/policy", "me@example.org", "@", "x@", "m"} {
		status, as := h.called(name)
		assert.Equal(t, http.StatusOK, status, name)
		assert.Equal(t, name, as)
	}
	status, as := h.called("gpt-4@sha256:01234567")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "gpt-4", as, "a pin is one whatever the name")
	status, _ = h.called("gpt-4@sha256:99999999")
	assert.Equal(t, http.StatusConflict, status, "and holds")
	assert.Equal(t, http.StatusNotFound, h.get("/v1/models/gpt-4").status, "which models there are stays to be seen")

	_, err := h.models.Swap(aliased("n"))
	require.NoError(t, err)
	status, _ = h.called("gpt-4")
	assert.Equal(t, http.StatusNotFound, status, "there are two now")
}

// Where any name will do, a name is the client's own words.
func TestANameOfNoModelIsInNoLogAndNoMetric(t *testing.T) {
	h := start(t, server.Config{AnyModelName: true}, aliased("m"))
	for _, r := range []struct{ path, body string }{
		{"/v1/reward", `{"model":"my secret","inputs":[{"text":"hello"}]}`},
		{"/v1/compare", `{"model":"my secret","pairs":[{"prompt":"q","chosen":"a","rejected":"b"}]}`},
		{"/classify", `{"model":"my secret","input":"hello","raw_scores":false}`},
		{"/get_reward?model=my+secret", `{"query":"hello"}`},
	} {
		assert.Equal(t, http.StatusOK, h.send(r.path, r.body).status, r.path)
	}
	assert.Contains(t, h.log.String(), "infinity's clients", "what an operator should know is told")
	assert.NotContains(t, h.log.String(), "secret")
	assert.NotContains(t, string(h.get("/metrics").body), "secret")
}

// A name that another model will have must not be answered by the first that is live.
func TestAnyNameWaitsForTheModelsThatAreWanted(t *testing.T) {
	loading, goOn := make(chan struct{}), make(chan struct{})
	l := startLive(t, server.Config{AnyModelName: true}, &factory{before: func(_ context.Context, name string, _ *api.ModelSpec, _ func(string, float64)) error {
		if name == "n" {
			close(loading)
			<-goOn
		}
		return nil
	}})
	require.Equal(t, http.StatusOK, l.put("a").status)
	status, _ := l.called("n")
	assert.Equal(t, http.StatusOK, status)
	require.Equal(t, http.StatusAccepted, l.admin("PUT", "/v1/models/n", `{"members":["b"]}`).status)
	<-loading
	status, _ = l.called("n")
	assert.Equal(t, http.StatusNotFound, status)
	close(goOn)
}

func TestAliasesChangeWithoutANewRevision(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	require.Equal(t, http.StatusOK, l.put("a").status)
	put := func(model, body string) *reply { return l.admin("PUT", "/v1/models/"+model+"?wait=true", body) }
	r := put("m", `{"aliases":["gpt-4"]}`)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	assert.Equal(t, []string{"gpt-4"}, l.detail("m").Aliases)
	assert.Equal(t, rev("a"), l.detail("gpt-4").Revision)
	require.Equal(t, http.StatusOK, l.put("b").status)
	assert.Equal(t, []string{"gpt-4"}, l.detail("m").Aliases, "kept with new members")
	for _, c := range []struct{ model, body string }{
		{"gpt-4", `{"members":["c"]}`},
		{"n", `{"members":["c"],"aliases":["m"]}`},
		{"n", `{"members":["c"],"aliases":["x","gpt-4"]}`},
		{"n", `{"members":["c"],"aliases":["with a space"]}`},
		{"n", `{"members":["c"],"aliases":["x","x"]}`},
	} {
		r := put(c.model, c.body)
		assert.Equal(t, http.StatusBadRequest, r.status, "%s %s %s", c.model, c.body, r.body)
	}
	require.Equal(t, http.StatusOK, put("m", `{"aliases":null}`).status)
	assert.Nil(t, l.detail("m").Aliases)
	status, _ := l.called("gpt-4")
	assert.Equal(t, http.StatusNotFound, status)
}
