package api_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

func TestABackendIsOneAddressAndADirectory(t *testing.T) {
	for name, tc := range map[string]struct{ body, param, want string }{
		"none":                  {`{"directory":"d"}`, "backend", "want the address of one engine"},
		"two":                   {`{"vllm":"http://a","tei":"http://b","directory":"d"}`, "backend", "want the address of one engine"},
		"no address":            {`{"vllm":"gpu:8000","directory":"d"}`, "backend.vllm", `"gpu:8000", want an address as in http://host:8000`},
		"another scheme":        {`{"tei":"file:///x","directory":"d"}`, "backend.tei", "want an address"},
		"a query":               {`{"sglang":"http://a/?x=1","directory":"d"}`, "backend.sglang", "want an address"},
		"a password":            {`{"sglang":"http://me:secret@a","directory":"d"}`, "backend.sglang", "the variable WARM_BACKEND_KEY"},
		"no directory":          {`{"sglang":"http://a"}`, "backend.directory", "name one that it sees"},
		"a bucket":              {`{"sglang":"http://a","directory":"s3://b/c"}`, "backend.directory", "want a directory"},
		"a relative path there": {`{"sglang":"http://a","directory":"d","engine_directory":"d"}`, "backend.engine_directory", "want an absolute path"},
		"another check":         {`{"sglang":"http://a","directory":"d","verify":"no"}`, "backend.verify", `"no", want scores or name`},
		"no share":              {`{"sglang":"http://a","directory":"d","tolerance":2}`, "backend.tolerance", "want a share in [0, 1]"},
		"too many":              {`{"sglang":"http://a","directory":"d","concurrency":1000}`, "backend.concurrency", "want 1 to 256"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := api.DecodeModelPatch([]byte(`{"members":["a"],"backend":` + tc.body + `}`))
			require.NoError(t, err)
			err = p.Over(nil).Spec.Validate()
			var e *api.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tc.param, e.Param)
			assert.Contains(t, e.Message, tc.want)
			assert.NotContains(t, e.Message, "secret")
		})
	}
	for setting, param := range map[string]string{`"mode":"both"`: "backend", `"mode":"ens"`: "backend", `"swap":"beside"`: "swap"} {
		p, err := api.DecodeModelPatch([]byte(`{"members":["a"],"backend":{"vllm":"http://a","directory":"d"},` + setting + `}`))
		require.NoError(t, err)
		var e *api.Error
		require.ErrorAs(t, p.Over(nil).Spec.Validate(), &e, setting)
		assert.Equal(t, param, e.Param)
	}
}

func TestAPatchOfABackendKeepsWhatItDoesNotName(t *testing.T) {
	const base = `{"members":["a"],"backend":{"vllm":"http://a","directory":"d","engine_directory":"/m","verify":"name","tolerance":0.5,"concurrency":9}}`
	for name, tc := range map[string]struct{ patch, want string }{
		"nothing":              {`{}`, base},
		"another address":      {`{"backend":{"sglang":"http://b"}}`, `{"members":["a"],"backend":{"sglang":"http://b","directory":"d","engine_directory":"/m","verify":"name","tolerance":0.5,"concurrency":9}}`},
		"one field, and nulls": {`{"backend":{"directory":"e","verify":null,"engine_directory":null,"tolerance":null,"concurrency":null}}`, `{"members":["a"],"backend":{"vllm":"http://a","directory":"e"}}`},
		"none any more":        {`{"backend":null}`, `{"members":["a"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			read := func(text string) *api.ModelPatch {
				p, err := api.DecodeModelPatch([]byte(text))
				require.NoError(t, err)
				return p
			}
			assert.Equal(t, read(tc.want).Over(nil).Spec, read(tc.patch).Over(read(base).Over(nil).Spec).Spec)
		})
	}
}
