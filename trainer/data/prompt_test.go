package data

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPromptsOfEveryKindOfLine(t *testing.T) {
	r, err := NewReader(strings.NewReader(`{"prompt":"a","stance":"no"}
{"id":"x","prompt":"b","chosen":"c","rejected":"d"}
{"chosen":"\n\nHuman: hi\n\nAssistant: yes","rejected":"\n\nHuman: hi\n\nAssistant: no"}
{"prompt":[{"role":"user","content":"e"}]}
{"chosen":"c","rejected":"d"}
{"prompt":7}
`), Options{Name: "p.jsonl"})
	require.NoError(t, err)
	var got []Prompt
	var errs []string
	for p, err := range r.Prompts() {
		if err != nil {
			errs = append(errs, err.Error())
			continue
		}
		got = append(got, p)
	}
	require.Len(t, got, 4)
	assert.Equal(t, "a", got[0].Prompt.Plain)
	assert.JSONEq(t, `"no"`, string(got[0].Meta["stance"]))
	assert.Equal(t, "x", got[1].ID)
	assert.Equal(t, "\n\nHuman: hi\n\nAssistant:", got[2].Prompt.Plain)
	assert.True(t, got[3].Prompt.IsChat())
	require.Len(t, errs, 2)
	assert.Contains(t, errs[0], "p.jsonl:5")
	assert.Contains(t, errs[1], "want a string or a list of messages")
}
