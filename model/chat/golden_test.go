package chat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goldenTemplates are the templates of the reference material.
var goldenTemplates = []string{"qwen3", "qwen2.5", "llama3.1", "gemma2", "hermes-tool"}

func parseGolden(tb testing.TB, name string) *Template {
	tb.Helper()
	t, err := Parse(string(readShared(tb, "chat", name+".jinja")), goldenTokens(tb)[name])
	require.NoError(tb, err)
	return t
}

func goldenTokens(tb testing.TB) map[string]map[string]string {
	tb.Helper()
	var raw map[string]map[string]*string
	require.NoError(tb, json.Unmarshal(readShared(tb, "chat", "special_tokens.json"), &raw))
	out := map[string]map[string]string{}
	for name, tokens := range raw {
		out[name] = map[string]string{}
		for k, v := range tokens {
			if v != nil {
				out[name][k] = *v
			}
		}
	}
	return out
}

func goldenConversations(tb testing.TB) [][]Message {
	tb.Helper()
	var raw []json.RawMessage
	require.NoError(tb, json.Unmarshal(readShared(tb, "chat", "conversations.json"), &raw))
	out := make([][]Message, len(raw))
	for i, data := range raw {
		var err error
		out[i], err = ParseMessages(data)
		require.NoError(tb, err)
	}
	return out
}

// The goldens were rendered by Jinja2 without tools and documents, hence Unset.
func TestTemplatesRenderWhatJinja2Renders(t *testing.T) {
	convs := goldenConversations(t)
	templates := map[string]*Template{}
	for _, name := range goldenTemplates {
		templates[name] = parseGolden(t, name)
	}
	lines := 0
	sc := bufio.NewScanner(bytes.NewReader(readShared(t, "chat", "golden.jsonl")))
	sc.Buffer(nil, 1<<20)
	for ; sc.Scan(); lines++ {
		var g struct {
			Template     string
			Conversation int
			Add          bool `json:"add_generation_prompt"`
			Text         *string
			Error        *string
		}
		require.NoError(t, json.Unmarshal(sc.Bytes(), &g))
		t.Run(fmt.Sprintf("%s conversation %d generation %v", g.Template, g.Conversation, g.Add), func(t *testing.T) {
			got, err := templates[g.Template].Render(convs[g.Conversation], Options{AddGenerationPrompt: g.Add, Tools: Unset, Documents: Unset})
			if g.Error != nil {
				var te *TemplateError
				require.True(t, errors.As(err, &te), "%v", err)
				assert.Equal(t, Raised, te.Kind)
				assert.Equal(t, *g.Error, te.Message)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, *g.Text, got.Text)
		})
	}
	require.NoError(t, sc.Err())
	assert.Equal(t, 180, lines, "goldens read")
}
