package server_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
)

// recording is a factory that keeps the specs that it was asked for.
func recording() (*factory, *[]*api.ModelSpec) {
	specs := new([]*api.ModelSpec)
	return &factory{before: func(_ context.Context, _ string, spec *api.ModelSpec, _ func(string, float64)) error {
		*specs = append(*specs, spec)
		return nil
	}}, specs
}

func TestAPutKeepsTheModelsSettings(t *testing.T) {
	f, specs := recording()
	l := startLive(t, server.Config{}, f)
	last := func() *api.ModelSpec { return (*specs)[len(*specs)-1] }
	put := func(body string) api.ModelDetail {
		t.Helper()
		r := l.admin("PUT", "/v1/models/m?wait=true", body)
		require.Equal(t, http.StatusOK, r.status, "%s", r.body)
		var d api.ModelDetail
		r.json(t, &d)
		return d
	}
	configured := of(l.root, "a", "b")
	configured.Mode, configured.DType, configured.MaxTokens, configured.Pooling = "both", "bfloat16", 32, "last"
	require.NoError(t, l.server.Changes().Start(t.Context(), map[string]*api.ModelSpec{"m": configured}))

	d := put(`{"members":["c","d"]}`)
	assert.Equal(t, rev2("both", "c", "d"), d.Revision, "the configuration's mode is kept")
	want := of(l.root, "c", "d")
	want.Mode, want.DType, want.MaxTokens, want.Pooling = "both", "bfloat16", 32, "last"
	assert.Equal(t, want, last())
	event := d.History[len(d.History)-1]
	assert.Equal(t, []string{"mode", "dtype", "pooling", "max_tokens"}, event.Kept)
	assert.Empty(t, event.Reset)
	assert.Contains(t, l.log.String(), `"kept":"mode,dtype,pooling,max_tokens"`)

	d = put(`{"dtype":null,"max_tokens":null}`)
	want.DType, want.MaxTokens = "", 0
	assert.Equal(t, want, last())
	assert.Equal(t, []string{"dtype", "max_tokens"}, d.History[len(d.History)-1].Reset)

	put(`{"ab_sample":0.5}`)
	r := l.admin("PUT", "/v1/models/m", `{"mode":"wa"}`)
	assert.Equal(t, http.StatusBadRequest, r.status)
	e := r.error(t).Error
	assert.Equal(t, "ab_sample", *e.Param)
	assert.Contains(t, e.Message, "ab_sample is kept from the model as it is; null gives it its default")
	put(`{"mode":"wa","ab_sample":null}`)
	assert.Equal(t, "wa", last().Mode)

	r = l.admin("PUT", "/v1/models/other", `{"mode":"wa"}`)
	assert.Equal(t, "members", *r.error(t).Error.Param, "a new model needs members")
}

// rev2 is rev of a mode.
func rev2(mode string, members ...string) string {
	s := of("", members...)
	s.Mode = mode
	return revisionOf(s)
}

func TestAPutChangesWhatWasLastAskedFor(t *testing.T) {
	f, specs := recording()
	l := startLive(t, server.Config{}, f)
	record, entered, leave := f.before, make(chan struct{}, 8), make(chan struct{})
	f.before = func(ctx context.Context, name string, spec *api.ModelSpec, progress func(string, float64)) error {
		entered <- struct{}{}
		<-leave
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return record(ctx, name, spec, progress)
	}
	require.Equal(t, http.StatusAccepted, l.admin("PUT", "/v1/models/m", `{"members":["a"],"mode":"both"}`).status)
	<-entered
	r := l.admin("PUT", "/v1/models/m", `{"dtype":"int8"}`)
	require.Equal(t, http.StatusAccepted, r.status)
	assert.Contains(t, string(r.body), `"kept":["members","mode"]`, "202 says it too")
	require.Equal(t, http.StatusAccepted, l.admin("PUT", "/v1/models/m", `{"max_tokens":7}`).status)
	close(leave)
	eventually(t, "the last is live", func() bool { return l.detail("m").State == api.StateLive })
	want := of(l.root, "a")
	want.Mode, want.DType, want.MaxTokens = "both", "int8", 7
	assert.Equal(t, []*api.ModelSpec{want}, *specs)
}

func TestAPutKeepsPathsOutsideTheFolderOfModelsAndNamesNone(t *testing.T) {
	f, specs := recording()
	l := startLive(t, server.Config{}, f)
	outside := filepath.Join(t.TempDir(), "conf")
	require.NoError(t, os.Mkdir(outside, 0o700))
	configured := of(outside, "x")
	configured.Base = filepath.Join(outside, "base")
	half := 0.5
	configured.Alpha = &half
	require.NoError(t, l.server.Changes().Start(t.Context(), map[string]*api.ModelSpec{"m": configured}))
	require.Equal(t, http.StatusOK, l.put("a").status, "the base that the configuration named stays")
	assert.Equal(t, configured.Base, (*specs)[1].Base)
	r := l.admin("PUT", "/v1/models/n", `{"members":["`+strings.ReplaceAll(configured.Base, `\`, `\\`)+`"]}`)
	assert.Equal(t, "path_refused", r.error(t).Error.Code, "of another model it is no way out")
}

func TestTheGoClientResetsFields(t *testing.T) {
	f, specs := recording()
	l := startLive(t, server.Config{}, f)
	c, err := api.NewClient(l.url, api.WithKey(adminKey))
	require.NoError(t, err)
	spec := of(l.root, "a")
	spec.DType, spec.Mode = "int8", "both"
	_, err = c.PutModel(t.Context(), "m", spec, true)
	require.NoError(t, err)
	_, err = c.PutModel(t.Context(), "m", &api.ModelSpec{}, true, "dtype")
	require.NoError(t, err)
	spec.DType = ""
	assert.Equal(t, spec, (*specs)[1])
}
