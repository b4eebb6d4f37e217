package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
)

func TestWhoMayChangeModels(t *testing.T) {
	routes := [][2]string{{"PUT", "/v1/models/m"}, {"DELETE", "/v1/models/m"}, {"POST", "/v1/models/m/rollback"}}
	for _, c := range []struct {
		name        string
		keys, admin []string
		sent        string
		status      int
		code        string
	}{
		{"nobody without an administrator's key configured", nil, []string{}, "Bearer " + adminKey, 403, "admin_disabled"},
		{"not without a key", nil, []string{adminKey}, "", 401, "unauthorized"},
		{"not with a wrong key", nil, []string{adminKey}, "Bearer admin-key-2", 401, "unauthorized"},
		{"not with a client's key", []string{"client-key"}, []string{adminKey}, "Bearer client-key", 403, "forbidden"},
		{"not with a key that is neither", []string{"client-key"}, []string{adminKey}, "Bearer other-key", 401, "unauthorized"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := startLive(t, server.Config{Keys: c.keys, AdminKeys: c.admin}, nil)
			for _, r := range routes {
				got := l.do(r[0], r[1], `{"members":["a"]}`, "Authorization", c.sent)
				assert.Equal(t, c.status, got.status, "%s %s", r[0], r[1])
				assert.Equal(t, c.code, got.error(t).Error.Code)
			}
			assert.Zero(t, l.factory.builds())
		})
	}
	t.Run("with an administrator's key, which opens the other routes too", func(t *testing.T) {
		l := startLive(t, server.Config{Keys: []string{"client-key"}}, nil)
		assert.Equal(t, http.StatusOK, l.put("a").status)
		assert.Equal(t, http.StatusUnauthorized, l.post(one).status)
		assert.Equal(t, http.StatusOK, l.post(one, "Authorization", "Bearer "+adminKey).status)
		assert.NotContains(t, l.log.String(), adminKey)
	})
	t.Run("a server without a builder changes nothing", func(t *testing.T) {
		h := start(t, server.Config{AdminKeys: []string{adminKey}})
		assert.Equal(t, "admin_disabled", h.do("DELETE", "/v1/models/m", "", "Authorization", "Bearer "+adminKey).error(t).Error.Code)
	})
}

func TestPathsStayInTheFolderOfModels(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	outside := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(l.root, "leaves")))
	require.NoError(t, os.Symlink("a", filepath.Join(l.root, "stays")))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "pairs.jsonl"), []byte(`{"chosen":"a","rejected":"b"}`), 0o600))
	for _, c := range []struct{ name, body, param string }{
		{"an absolute path outside", `{"members":["a",` + quoted(outside) + `]}`, "members[1].path"},
		{"a path that climbs out", `{"members":["a/../../x"]}`, "members[0].path"},
		{"the folder above", `{"members":[".."]}`, "members[0].path"},
		{"a link that leaves", `{"members":["leaves"]}`, "members[0].path"},
		{"a file that is not there", `{"members":["nowhere"]}`, "members[0].path"},
		{"a neighbour whose name begins alike", `{"members":[` + quoted(l.root+"x") + `]}`, "members[0].path"},
		{"a base outside", `{"members":["a"],"base":` + quoted(outside) + `}`, "base"},
		{"pairs outside", `{"members":["a"],"guard":{"pairs":` + quoted(filepath.Join(outside, "pairs.jsonl")) + `}}`, "guard.pairs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := l.admin("PUT", "/v1/models/m?wait=true", c.body)
			assert.Equal(t, http.StatusForbidden, r.status)
			e := r.error(t).Error
			assert.Equal(t, "path_refused", e.Code)
			assert.Equal(t, c.param, *e.Param)
		})
	}
	for path, want := range map[string]string{
		"embedded:member-1": `"embedded:member-1" is neither a path in the folder of models nor a reference that is known here`,
		"nowhere/a:b":       `"nowhere/a:b" is outside the folder of models, or does not exist`,
	} {
		r := l.admin("PUT", "/v1/models/m", `{"members":[`+quoted(path)+`]}`)
		assert.Equal(t, http.StatusForbidden, r.status)
		assert.Contains(t, r.error(t).Error.Message, want)
	}
	assert.Zero(t, l.factory.builds())
	require.Equal(t, http.StatusOK, l.put("stays").status)
	assert.Equal(t, rev("a"), l.detail("m").Revision, "a link is resolved before it is loaded")
	require.Equal(t, http.StatusOK, l.put(filepath.Join(l.root, "b")).status, "an absolute path inside")

	h := start(t, server.Config{Builder: &factory{}, AdminKeys: []string{adminKey}})
	r := h.do("PUT", "/v1/models/m", `{"members":["a"]}`, "Authorization", "Bearer "+adminKey)
	assert.Equal(t, "admin_disabled", r.error(t).Error.Code, "no folder, no path")
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestSpecsThatCannotBeLoaded(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	for _, c := range []struct{ body, code, param string }{
		{``, "invalid_json", ""},
		{`{`, "invalid_json", ""},
		{`{"members":["a"],"members":["b"]}`, "invalid_json", "members"},
		{`[]`, "invalid_value", ""},
		{`{"members":["a"],"temperature":1}`, "unknown_field", "temperature"},
		{`{"members":[{"path":"a","speed":1}]}`, "unknown_field", "members[0].speed"},
		{`{}`, "missing_field", "members"},
		{`{"members":[]}`, "invalid_value", "members"},
		{`{"members":[1]}`, "invalid_value", "members[0]"},
		{`{"members":[""]}`, "missing_field", "members[0].path"},
		{`{"members":[{"name":"x"}]}`, "missing_field", "members[0].path"},
		{`{"members":[{"path":"a","mean":1}]}`, "missing_field", "members[0]"},
		{`{"members":[{"path":"a","mean":1,"std":0}]}`, "invalid_value", "members[0]"},
		{`{"members":["a"],"weights":[1,2]}`, "invalid_value", "weights"},
		{`{"members":[{"path":"a","weight":2}],"weights":[1]}`, "conflicting_fields", "weights"},
		{`{"members":["a"],"mode":"best"}`, "invalid_value", "mode"},
		{`{"members":["a"],"dtype":"float12"}`, "invalid_value", ""},
		{`{"members":["a"],"max_tokens":-1}`, "invalid_value", "max_tokens"},
		{`{"members":["a"],"max_tokens":"x"}`, "invalid_value", "max_tokens"},
		{`{"members":["a"],"alpha":1e999}`, "invalid_value", "alpha"},
		{`{"members":["a"],"guard":{}}`, "missing_field", "guard.pairs"},
		{`{"members":["a"],"guard":{"pairs":"a","max_loss":101}}`, "invalid_value", "guard.max_loss"},
		{`{"members":["a"],"mode":"ens","guard":{"pairs":"a"}}`, "conflicting_fields", "guard"},
	} {
		t.Run(c.body, func(t *testing.T) {
			r := l.admin("PUT", "/v1/models/m", c.body)
			assert.Equal(t, http.StatusBadRequest, r.status)
			e := r.error(t).Error
			assert.Equal(t, c.code, e.Code, e.Message)
			if c.param == "" {
				assert.Nil(t, e.Param)
			} else if assert.NotNil(t, e.Param) {
				assert.Equal(t, c.param, *e.Param)
			}
		})
	}
	assert.Equal(t, "invalid_value", l.admin("PUT", "/v1/models/a%20b", `{"members":["a"]}`).error(t).Error.Code)
	assert.Zero(t, l.factory.builds())
}

func TestTheGoClientChangesModels(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	c, err := api.NewClient(l.url, api.WithKey(adminKey))
	require.NoError(t, err)
	ctx := t.Context()
	d, err := c.PutModel(ctx, "a/b", of(l.root, "a", "b"), true)
	require.NoError(t, err)
	assert.Equal(t, rev("a", "b"), d.Revision)
	assert.Equal(t, "a/b", d.Model.ID)
	weighted := of(l.root, "c", "d")
	weighted.Weights = []float64{1, 2}
	_, err = c.PutModel(ctx, "a/b", weighted, true)
	require.NoError(t, err)
	reply, err := c.Reward(ctx, &api.RewardRequest{Model: "a/b@" + rev("a", "b"), Inputs: []api.Input{api.Text("x")}})
	require.NoError(t, err)
	assert.Equal(t, rev("a", "b"), reply.Revision)
	d, err = c.RollbackModel(ctx, "a/b", true)
	require.NoError(t, err)
	assert.Equal(t, rev("a", "b"), d.Revision)
	d, err = c.ModelDetail(ctx, "a/b")
	require.NoError(t, err)
	assert.Len(t, d.History, 3)
	_, err = c.RollbackModel(ctx, "a/b", true)
	assert.True(t, api.IsCode(err, api.CodeNoPrevious))
	require.NoError(t, c.DeleteModel(ctx, "a/b"))
	_, err = c.ModelDetail(ctx, "a/b")
	assert.True(t, api.IsCode(err, api.CodeUnknownModel))
	l.factory.before = func(context.Context, string, *api.ModelSpec, func(string, float64)) error {
		time.Sleep(100 * time.Millisecond)
		return nil
	}
	d, err = c.PutModel(ctx, "a/b", of(l.root, "a"), false)
	require.NoError(t, err)
	assert.Equal(t, api.StateLoading, d.State)
	assert.Nil(t, d.Model)
}
