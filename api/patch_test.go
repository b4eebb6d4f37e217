package api_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

func TestAPatchKeepsWhatItDoesNotName(t *testing.T) {
	const full = `{"members":[{"name":"one","path":"a","mean":1,"std":2},{"name":"two","path":"b","mean":3,"std":4}],` +
		`"weights":[1,2],"base":"s","alpha":0.5,"extrapolate":true,"mode":"both","dtype":"bfloat16","pooling":"last","ending":"eos","double_bos":true,"max_tokens":9,"ab_sample":0.5,"guard":{"pairs":"g","max_loss":2}}`
	const own = `{"members":[{"path":"a","weight":1},{"path":"b","weight":2}],"dtype":"int8"}`
	for _, c := range []struct {
		name, base, patch, want string
		kept, reset             []string
	}{
		{"nothing", full, `{}`, full, []string{"members", "weights", "base", "alpha", "extrapolate", "mode", "dtype", "pooling", "ending", "double_bos", "max_tokens", "ab_sample", "guard"}, nil},
		{"new members of other paths", full, `{"members":["c","d"]}`,
			`{"members":["c","d"],"base":"s","alpha":0.5,"extrapolate":true,"mode":"both","dtype":"bfloat16","pooling":"last","ending":"eos","double_bos":true,"max_tokens":9,"ab_sample":0.5,"guard":{"pairs":"g","max_loss":2}}`,
			[]string{"base", "alpha", "extrapolate", "mode", "dtype", "pooling", "ending", "double_bos", "max_tokens", "ab_sample", "guard"}, []string{"members[].mean and std", "weights"}},
		{"the same paths", full, `{"members":["a","b"]}`, full,
			[]string{"members[].mean and std", "weights", "base", "alpha", "extrapolate", "mode", "dtype", "pooling", "ending", "double_bos", "max_tokens", "ab_sample", "guard"}, nil},
		{"the same paths in another order", own, `{"members":["b","a"]}`, `{"members":["b","a"],"dtype":"int8"}`, []string{"dtype"}, []string{"members[].weight"}},
		{"one path more", own, `{"members":["a","b","c"]}`, `{"members":["a","b","c"],"dtype":"int8"}`, []string{"dtype"}, []string{"members[].weight"}},
		{"members' own weights stay", own, `{"members":["a","b"],"dtype":null}`, `{"members":[{"path":"a","weight":1},{"path":"b","weight":2}]}`, []string{"members[].weight"}, []string{"dtype"}},
		{"a list of weights takes the place of the members' own", own, `{"weights":[5,6]}`, `{"members":["a","b"],"weights":[5,6],"dtype":"int8"}`, []string{"members", "dtype"}, nil},
		{"null is the default", full, `{"weights":null,"base":null,"alpha":null,"extrapolate":null,"mode":null,"dtype":null,"pooling":null,"ending":null,"double_bos":null,"max_tokens":null,"ab_sample":null,"guard":null}`,
			`{"members":[{"name":"one","path":"a","mean":1,"std":2},{"name":"two","path":"b","mean":3,"std":4}]}`,
			[]string{"members"}, []string{"weights", "base", "alpha", "extrapolate", "mode", "dtype", "pooling", "ending", "double_bos", "max_tokens", "ab_sample", "guard"}},
		{"null of a member's fields", full, `{"members":[{"path":"a","name":null,"mean":null,"std":null},"b"],"weights":null,"base":null,"alpha":null,"extrapolate":null,"mode":null,"dtype":null,"pooling":null,"ending":null,"double_bos":null,"max_tokens":null,"ab_sample":null,"guard":null}`,
			`{"members":["a",{"name":"two","path":"b","mean":3,"std":4}]}`,
			nil, []string{"members[].mean and std", "weights", "base", "alpha", "extrapolate", "mode", "dtype", "pooling", "ending", "double_bos", "max_tokens", "ab_sample", "guard"}},
		{"zero is a value", full, `{"alpha":0,"max_tokens":0,"ab_sample":0,"extrapolate":false}`,
			`{"members":[{"name":"one","path":"a","mean":1,"std":2},{"name":"two","path":"b","mean":3,"std":4}],"weights":[1,2],"base":"s","alpha":0,"mode":"both","dtype":"bfloat16","pooling":"last","ending":"eos","double_bos":true,"guard":{"pairs":"g","max_loss":2}}`,
			[]string{"members", "weights", "base", "mode", "dtype", "pooling", "ending", "double_bos", "guard"}, nil},
		{"one field of the guard", full, `{"guard":{"max_loss":0}}`,
			`{"members":[{"name":"one","path":"a","mean":1,"std":2},{"name":"two","path":"b","mean":3,"std":4}],"weights":[1,2],"base":"s","alpha":0.5,"extrapolate":true,"mode":"both","dtype":"bfloat16","pooling":"last","ending":"eos","double_bos":true,"max_tokens":9,"ab_sample":0.5,"guard":{"pairs":"g"}}`,
			[]string{"members", "weights", "base", "alpha", "extrapolate", "mode", "dtype", "pooling", "ending", "double_bos", "max_tokens", "ab_sample"}, nil},
		{"the other field of the guard", full, `{"guard":{"pairs":"h"},"weights":null}`,
			`{"members":[{"name":"one","path":"a","mean":1,"std":2},{"name":"two","path":"b","mean":3,"std":4}],"base":"s","alpha":0.5,"extrapolate":true,"mode":"both","dtype":"bfloat16","pooling":"last","ending":"eos","double_bos":true,"max_tokens":9,"ab_sample":0.5,"guard":{"pairs":"h","max_loss":2}}`,
			[]string{"members", "base", "alpha", "extrapolate", "mode", "dtype", "pooling", "ending", "double_bos", "max_tokens", "ab_sample"}, []string{"weights"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := func(text string) *api.ModelSpec {
				p, err := api.DecodeModelPatch([]byte(text))
				require.NoError(t, err, text)
				return p.Over(nil).Spec
			}
			base := read(c.base)
			patch, err := api.DecodeModelPatch([]byte(c.patch))
			require.NoError(t, err)
			got := patch.Over(base)
			assert.Equal(t, read(c.want), got.Spec)
			assert.Equal(t, c.kept, got.Kept)
			assert.Equal(t, c.reset, got.Reset)
			assert.Equal(t, read(c.base), base, "the model as it was is not changed")
		})
	}
}
