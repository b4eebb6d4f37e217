package serve

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/trainer/data"
)

func pairsIn(t *testing.T, name, content string) ([]api.Pair, error) {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return (&builder{}).Pairs(path)
}

func TestPairsOfAGuardAreThoseOfTraining(t *testing.T) {
	lines := []string{
		`{"id":"x","prompt":"p","chosen":"good","rejected":"bad"}`,
		`{"chosen":"good","rejected":"bad"}`,
		`{"prompt":[{"role":"user","content":"p"}],"chosen":[{"role":"assistant","content":"good"}],"rejected":[{"role":"assistant","content":"bad"}]}`,
		`{"chosen":[{"role":"user","content":"p"},{"role":"assistant","content":"good"}],"rejected":[{"role":"user","content":"p"},{"role":"assistant","content":"bad"}]}`,
		`{"prompt":"p","chosen":[{"role":"assistant","content":[{"type":"text","text":"good"}]}],"rejected":[{"role":"assistant","content":"bad"}]}`,
		`{"chosen":"\n\nHuman: p\n\nAssistant: good","rejected":"\n\nHuman: p\n\nAssistant: bad"}`,
	}
	all := strings.Join(lines, "\n") + "\n"
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for name, content := range map[string]string{
		"pairs.jsonl": all, "pairs.json": "[" + strings.Join(lines, ",") + "]", "pairs.jsonl.zst": string(z.EncodeAll([]byte(all), nil)),
	} {
		pairs, err := pairsIn(t, name, content)
		require.NoError(t, err, name)
		require.Len(t, pairs, len(lines), name)
		require.NoError(t, (&api.CompareRequest{Pairs: pairs}).Validate(2*len(pairs)), name)
		assert.Equal(t, []api.Input{api.Answers("p", "good", "bad")}, pairs[0].Inputs())
		assert.Equal(t, []api.Input{api.Answers("", "good", "bad")}, pairs[1].Inputs(), "as training and warm eval have it")
		for _, k := range []int{2, 3} {
			assert.Equal(t, []api.Input{
				api.Conversation(api.Says("user", "p"), api.Says("assistant", "good")),
				api.Conversation(api.Says("user", "p"), api.Says("assistant", "bad")),
			}, pairs[k].Inputs(), "line %d", k)
		}
		assert.Equal(t, "good", pairs[4].Inputs()[0].Messages[1].Content.Parts[0].Text)
		assert.Equal(t, []api.Input{api.Answers("\n\nHuman: p\n\nAssistant: ", "good", "bad")}, trimmed(pairs[5].Inputs()))
	}
}

// trimmed moves a space that begins every answer to the end of the prompt.
func trimmed(in []api.Input) []api.Input {
	for i := range in {
		for k, r := range in[i].Responses {
			if rest, ok := strings.CutPrefix(r, " "); ok {
				in[i].Responses[k] = rest
				in[i].Prompt.Text = strings.TrimSuffix(in[i].Prompt.Text, " ") + " "
			}
		}
	}
	return in
}

func TestFilesOfPairsThatCannotBeRead(t *testing.T) {
	good := `{"chosen":"SECRET","rejected":"b"}` + "\n"
	for _, c := range []struct{ name, content, want string }{
		{"not JSON", good + "SECRET", "pairs.jsonl:2"},
		{"a list", good + good + "[]", "pairs.jsonl:3:1: not a JSON object"},
		{"no rejected", `{"chosen":"SECRET"}`, "pairs.jsonl:1: rejected: missing"},
		{"no chosen", `{"rejected":"SECRET"}`, "pairs.jsonl:1: chosen: missing"},
		{"two forms", `{"chosen":[{"role":"assistant","content":"SECRET"}],"rejected":"b"}`, "pairs.jsonl:1: rejected: wrong form"},
		{"a conversation that the user ends", `{"chosen":[{"role":"user","content":"SECRET"}],"rejected":[{"role":"user","content":"b"}]}`, "want assistant"},
		{"a part that is no text", `{"chosen":[{"role":"assistant","content":[{"type":"text","text":"SECRET"},{"type":"image","text":"x"}]}],"rejected":[{"role":"assistant","content":"b"}]}`, "pairs.jsonl:1: a message that no request could have"},
		{"half a line", good + good[:20], "pairs.jsonl:2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := pairsIn(t, "pairs.jsonl", c.content)
			assert.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "SECRET")
		})
	}
	pairs, err := pairsIn(t, "pairs.jsonl", "\n\n")
	assert.NoError(t, err)
	assert.Empty(t, pairs)
}

// FuzzPairs holds the reader of a guard's pairs to its word: a pair is one that a
// request could have, and an error repeats nothing of the line.
func FuzzPairs(f *testing.F) {
	for _, seed := range []string{
		`{"chosen":"a","rejected":"b"}`, `{"prompt":"p","chosen":"a","rejected":"b","id":1}`,
		`{"prompt":[{"role":"user","content":"p"}],"chosen":[{"role":"assistant","content":"a"}],"rejected":[{"role":"assistant","content":[]}]}`,
		`{"chosen":[],"rejected":null}`, `{"chosen":[{"role":"user","content":"SECRET"}],"rejected":1}`, `{`, `[]`, `null`,
		`{"chosen":[{"role":"assistant","content":null,"tool_calls":[{"a":"SECRET"}]}],"rejected":[{"role":"assistant","content":"b"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := data.NewReader(bytes.NewReader(line), data.Options{MaxLine: maxPairLine})
		if err != nil {
			return
		}
		defer r.Close()
		pairs, err := readPairs("x", r)
		if err != nil {
			return
		}
		for i := range pairs {
			assert.NoError(t, (&api.CompareRequest{Pairs: pairs[i : i+1]}).Validate(2))
		}
	})
}
