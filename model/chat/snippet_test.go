package chat

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "ask Jinja2 again for the answers in testdata/snippets.json")

// snippetVars are the variables of every snippet.
const snippetVars = `{
	"msg": {"role": "user", "content": "hi"},
	"msgs": [{"role": "system", "content": "s"}, {"role": "user", "content": "u1"}, {"role": "assistant", "content": "a1"}, {"role": "user", "content": "u2"}],
	"shadow": {"items": "item", "keys": "key", "z": 1},
	"obj": {"z": 1, "a": {"b": {"c": [1, 2.50, null, true, "x"]}}, "m": {}},
	"tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}],
	"big": 123456789012345678901234567890, "flt": 1e-7, "nil": null,
	"lines": "\n a\n b \n", "uni": "é漢😀\u00a0\u200b"
}`

// The answers were given by Jinja2 3.1.6 on Python 3.11 through testdata/render.py.
func TestSnippetsRenderAsJinja2RendersThem(t *testing.T) {
	var jobs []job
	for _, s := range snippetTemplates(t) {
		jobs = append(jobs, job{s, json.RawMessage(snippetVars)})
	}
	if *update {
		data, err := json.MarshalIndent(askJinja2(t, jobs), "", " ")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile("testdata/snippets.json", append(data, '\n'), 0o644))
	}
	data, err := os.ReadFile("testdata/snippets.json")
	require.NoError(t, err)
	var want []answer
	require.NoError(t, json.Unmarshal(data, &want))
	require.Len(t, want, len(jobs), "run go test -run Snippets -update")
	for i, j := range jobs {
		t.Run(fmt.Sprintf("%d %.60s", i, j.Template), func(t *testing.T) {
			assertSame(t, want[i], renderJob(t, j))
		})
	}
}

// assertSame demands the same text, or a failure of the same kind. Messages must be the same where
// they are Jinja2's own or the template's; those of Python differ between its versions.
func assertSame(t *testing.T, want, got answer) {
	t.Helper()
	if want.Text != nil {
		if assert.NotNil(t, got.Text, "got error %q", got.Error) {
			assert.Equal(t, *want.Text, *got.Text)
		}
		return
	}
	if got.Text != nil {
		assert.Fail(t, "no error", "want %s %q, got %q", want.Type, want.Error, *got.Text)
		return
	}
	if kind := kindOf(want); assert.Equal(t, kind, got.Type, "want %s %q, got %q", want.Type, want.Error, got.Error) {
		switch kind {
		case "undefined", "raised", "security":
			assert.Equal(t, want.Error, got.Error)
		}
	}
}
