package api_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// FuzzDecodeModelPatch holds the decoder of PUT /v1/models/{name} to its word: it
// ends with a spec or an error of the wire, and what is valid is the same after
// it was written and read again, as the state file does.
func FuzzDecodeModelPatch(f *testing.F) {
	for _, seed := range []string{
		`{"members":["a","b"]}`,
		`{"members":[{"name":"n","path":"p","weight":2,"mean":0.5,"std":1}],"mode":"both","guard":{"pairs":"x","max_loss":-1}}`,
		`{"members":["a"],"weights":[1],"base":"b","alpha":0.5,"extrapolate":true,"dtype":"int8","pooling":"last","max_tokens":3,"ab_sample":0.5}`,
		`{"members":null}`, `{"members":[null]}`, `{"members":[[]]}`, `{"alpha":1e999}`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		patch, err := api.DecodeModelPatch(body)
		var spec *api.ModelSpec
		if err == nil {
			spec = patch.Over(nil).Spec
			err = spec.Validate()
		}
		if err != nil {
			var e *api.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, 400, e.Code.Status())
			return
		}
		written, err := api.Encode(spec)
		require.NoError(t, err)
		again, err := api.DecodeModelPatch(written)
		require.NoError(t, err, "%s", written)
		require.NoError(t, again.Spec.Validate())
		assert.Equal(t, spec.Clone(), again.Spec.Clone())
		once := patch.Over(spec)
		assert.Equal(t, spec.Clone(), once.Spec.Clone(), "the same change again is none")
		assert.Equal(t, spec.Clone(), api.NewModelPatch(&api.ModelSpec{}).Over(spec).Spec.Clone(), "a change that names nothing keeps all")
	})
}
