package chat

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func mustParse(t *testing.T, template string, tokens map[string]string) *Template {
	t.Helper()
	tpl, err := Parse(template, tokens)
	require.NoError(t, err)
	return tpl
}

func TestVariablesOfATemplate(t *testing.T) {
	for name, c := range map[string]struct {
		template string
		o        Options
		want     string
	}{
		"tools and documents are None by default":       {"{{ tools is none }}{{ documents is none }}", Options{}, "TrueTrue"},
		"Unset leaves them undefined":                   {"{{ tools is defined }}{{ documents is defined }}", Options{Tools: Unset, Documents: Unset}, "FalseFalse"},
		"tools keep the order of raw JSON":              {"{{ tools|tojson }}", Options{Tools: json.RawMessage(`[{"z": 1, "a": {"y": 2.0, "b": "<é>"}}]`)}, `[{"z": 1, "a": {"y": 2.0, "b": "<é>"}}]`},
		"Go values become template values":              {"{{ x }}", Options{Extra: map[string]any{"x": map[string]any{"b": []string{"q"}, "a": 1}}}, "{'a': 1, 'b': ['q']}"},
		"extra wins over a special token":               {"{{ bos_token }}", Options{Extra: map[string]any{"bos_token": "X"}}, "X"},
		"tools given in extra stay":                     {"{{ tools }}", Options{Extra: map[string]any{"tools": []any{1}}}, "[1]"},
		"special tokens are variables":                  {"{{ bos_token }}{{ eos_token is defined }}", Options{}, "<s>False"},
		"the generation prompt is asked for":            {"{{ add_generation_prompt }}", Options{AddGenerationPrompt: true}, "True"},
		"the clock is the one given":                    {"{{ strftime_now('%d %b %Y') }}", Options{Now: time.Date(2024, 7, 6, 0, 0, 0, 0, time.UTC)}, "06 Jul 2024"},
		"the newline that ends a template is dropped":   {"a\n", Options{}, "a"},
		"a nil and a false extra are values themselves": {"{{ a is none }}{{ b is false }}", Options{Extra: map[string]any{"a": nil, "b": false}}, "TrueTrue"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := mustParse(t, c.template, map[string]string{"bos_token": "<s>"}).Render(nil, c.o)
			require.NoError(t, err)
			assert.Equal(t, c.want, got.Text)
		})
	}
}

func TestAnOptionThatIsNoValueIsNamed(t *testing.T) {
	_, err := mustParse(t, "", nil).Render(nil, Options{Extra: map[string]any{"f": func() {}}})
	assert.ErrorContains(t, err, "chat: f:")
	_, err = mustParse(t, "", nil).Render(nil, Options{Tools: json.RawMessage(`[`)})
	assert.ErrorContains(t, err, "chat: tools:")
}

func TestARaisedErrorGivesItsOwnText(t *testing.T) {
	_, err := mustParse(t, "\n{{ raise_exception('Only ' ~ 1 ~ \" role\") }}", nil).Render(nil, Options{})
	var te *TemplateError
	require.True(t, errors.As(err, &te))
	assert.Equal(t, Raised, te.Kind)
	assert.Equal(t, "Only 1 role", te.Message)
	assert.Equal(t, 2, te.Line)
	assert.Equal(t, "chat template line 2: Only 1 role", err.Error())
}

func TestMessagesKeepUnknownKeysAndOrder(t *testing.T) {
	data := `[{"role": "assistant", "content": [null], "zeta": 1.0, "tool_calls": [{"function": {"name": "f", "arguments": {"z": 1, "a": [true, null]}}}], "alpha": "é"}]`
	ms, err := ParseMessages([]byte(data))
	require.NoError(t, err)
	out, err := ms[0].MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, strings.Trim(data, "[]"), strings.Trim(string(out), "[]"))
	text, err := mustParse(t, "{{ messages|tojson }}", nil).Render(ms, Options{})
	require.NoError(t, err)
	assert.Equal(t, data, text.Text)
	var again Message
	require.NoError(t, json.Unmarshal(out, &again))
	assert.True(t, again.Equal(ms[0]))
	assert.False(t, again.Equal(NewMessage("assistant", "")))
}

func TestMessagesThatAreNone(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"no JSON":                {`[`, "messages"},
		"an object":              {`{}`, "want an array"},
		"a string inside":        {`["hi"]`, "messages[0]: want an object"},
		"a missing role":         {`[{"role": "user"}, {"content": "x"}]`, "messages[1]: role is missing"},
		"a role that is no text": {`[{"role": 1}]`, "role: want a string"},
		"invalid UTF-8":          {"[{\"role\": \"\xff\"}]", "invalid UTF-8"},
		"a lone surrogate":       {`[{"role": "\ud800"}]`, "lone surrogate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseMessages([]byte(c.data))
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestContentMayBeAListOfTextParts(t *testing.T) {
	ms, err := ParseMessages([]byte(`[
		{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "n"},
		{"role": "user", "content": [{"type": "image"}]},
		{"role": "user", "content": 5},
		{"role": "user"}]`))
	require.NoError(t, err)
	text, ok := ms[0].Content()
	assert.True(t, ok)
	assert.Equal(t, "ab", text)
	flat, err := ms[0].Flattened().MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, `{"role": "user", "content": "ab", "name": "n"}`, string(flat))
	for _, m := range ms[1:] {
		_, ok := m.Content()
		assert.False(t, ok)
		assert.True(t, m.Equal(m.Flattened()))
	}
	assert.Equal(t, "", Message{}.Role())
}

func TestSpecialTokensFollowTransformers(t *testing.T) {
	for name, c := range map[string]struct {
		config, legacy string
		want           map[string]string
	}{
		"nothing":                                 {"", "", map[string]string{}},
		"strings and objects":                     {`{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null, "add_bos_token": true}`, "", map[string]string{"bos_token": "<s>", "eos_token": "</s>"}},
		"an old checkpoint follows the map":       {`{"bos_token": "<s>"}`, `{"bos_token": "[B]", "unk_token": "[U]", "additional_special_tokens": ["a"]}`, map[string]string{"bos_token": "[B]", "unk_token": "[U]"}},
		"a new checkpoint ignores the map":        {`{"bos_token": "<s>", "added_tokens_decoder": {}}`, `{"bos_token": "[B]", "unk_token": "[U]"}`, map[string]string{"bos_token": "<s>"}},
		"named extra tokens are variables":        {`{"extra_special_tokens": {"image_token": "<img>"}}`, "", map[string]string{"image_token": "<img>"}},
		"a list of extra tokens names none":       {`{"extra_special_tokens": ["<img>"]}`, "", map[string]string{}},
		"the text of a token is kept as it is":    {`{"bos_token": "<｜begin▁of▁sentence｜>"}`, "", map[string]string{"bos_token": "<｜begin▁of▁sentence｜>"}},
		"false stands for none, as some write it": {`{"bos_token": false}`, "", map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := SpecialTokens([]byte(c.config), []byte(c.legacy))
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
	for _, bad := range []string{`[`, `[]`, `{"bos_token": 1}`, `{"bos_token": {"special": true}}`, `{"bos_token": true}`, `{"bos_token": ["x"]}`} {
		_, err := SpecialTokens([]byte(bad), nil)
		assert.ErrorContains(t, err, "tokenizer_config.json", bad)
	}
	_, err := SpecialTokens(nil, []byte(`{"eos_token": 1}`))
	assert.ErrorContains(t, err, "special_tokens_map.json: eos_token")
}

func TestRenderIsSafeForManyGoroutines(t *testing.T) {
	tpl := parseGolden(t, "qwen3")
	messages := longConversation(20)
	want, err := tpl.Render(messages, Options{})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				got, err := tpl.Render(messages, Options{})
				assert.NoError(t, err)
				assert.Equal(t, want, got)
			}
		})
	}
	wg.Wait()
}
