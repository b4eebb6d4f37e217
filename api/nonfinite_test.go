package api_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

func TestNumbersThatAreNotFiniteAreReadWhereNobodyReadsThem(t *testing.T) {
	for body, want := range map[string]string{
		`{"text":"a","labels":[NaN]}`:                                "a",
		`{"labels":{"x":[Infinity,-Infinity,NaN]},"text":"a"}`:       "a",
		`{"labels":NaN ,"text":"NaN, Infinity and -Infinity"}`:       "NaN, Infinity and -Infinity",
		`{"labels":[NaN],"text":"\\\"[NaN,"}`:                        `\"[NaN,`,
		`{"labels":` + "\n" + `NaN` + "\n" + `,"text":"[Infinity]"}`: "[Infinity]",
	} {
		t.Run(body, func(t *testing.T) {
			var v struct {
				Text string `json:"text"`
			}
			require.NoError(t, api.DecodeLenient([]byte(body), &v))
			assert.Equal(t, want, v.Text)
		})
	}
	assert.Equal(t, `{"a":[null,"NaN",null]}`, string(api.NullNonFinite([]byte(`{"a":[NaN,"NaN",-Infinity]}`))))
}

func TestBodiesWithoutThemAreNotCopied(t *testing.T) {
	body := []byte(`{"text":"NaN is a word"}`)
	assert.Same(t, &body[0], &api.NullNonFinite(body)[0])
	long := []byte(`{"text":"` + strings.Repeat("x", 1<<16) + `"}`)
	assert.Zero(t, testing.AllocsPerRun(10, func() { api.NullNonFinite(long) }))
}
