package chat

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The templates that TRL carries render as transformers renders them, a text or a failure.
// deploy/goldens/trl_templates.py writes the goldens.
func TestTRLTemplatesRenderAsInTransformers(t *testing.T) {
	path := os.Getenv("WARM_TRL_GOLDENS")
	if path == "" {
		t.Skip("WARM_TRL_GOLDENS names no file: deploy/goldens/trl_templates.py writes one")
	}
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	var tpl *Template
	var now time.Time
	templates, texts, failures, differ := 0, 0, 0, 0
	for dec := json.NewDecoder(bufio.NewReader(f)); dec.More(); {
		var g struct {
			Template, Source, Error string
			Tokens                  map[string]string
			Now                     time.Time
			Given                   json.RawMessage
			Tools                   json.RawMessage
			Generation              bool
			Text                    *string
		}
		require.NoError(t, dec.Decode(&g))
		if g.Given == nil {
			tpl, now = mustParse(t, g.Source, g.Tokens), g.Now
			templates++
			continue
		}
		messages, err := ParseMessages(g.Given)
		require.NoError(t, err)
		r, err := tpl.Render(messages, Options{AddGenerationPrompt: g.Generation, Tools: g.Tools, Now: now})
		same := g.Text == nil && err != nil || g.Text != nil && err == nil && *g.Text == r.Text
		if g.Text == nil {
			failures++
		} else {
			texts++
		}
		if err == nil {
			requirePieces(t, r)
		}
		if same {
			continue
		}
		if differ++; differ <= 10 {
			want := g.Error
			if g.Text != nil {
				want = *g.Text
			}
			assert.Failf(t, "another text", "%s, generation %v, tools %.20s, of %s\ntransformers %q\nours         %q, %v", g.Template, g.Generation, g.Tools, g.Given, want, r.Text, err)
		}
	}
	t.Logf("%d templates: %d texts, %d failures, %d differ", templates, texts, failures, differ)
	require.Zero(t, differ)
	require.Positive(t, texts)
}
