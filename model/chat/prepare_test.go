package chat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func parsed(tb testing.TB, data string) []Message {
	tb.Helper()
	ms, err := ParseMessages([]byte(data))
	require.NoError(tb, err)
	return ms
}

// The right side is what _normalize_chat_messages and _alias_reasoning_fields of transformers 5.24.0
// made of the left.
func TestReasoningHasTheNamesThatTransformersGivesIt(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"none":                           {`{"role": "assistant", "content": "a"}`, `{"role": "assistant", "content": "a"}`},
		"reasoning":                      {`{"role": "assistant", "reasoning": "r", "content": "a"}`, `{"thinking": "r", "role": "assistant", "reasoning": "r", "content": "a", "reasoning_content": "r"}`},
		"thinking":                       {`{"role": "assistant", "thinking": "t", "content": "a"}`, `{"thinking": "t", "role": "assistant", "content": "a", "reasoning_content": "t"}`},
		"reasoning_content":              {`{"role": "assistant", "reasoning_content": "c", "content": "a"}`, `{"thinking": "c", "role": "assistant", "reasoning_content": "c", "content": "a"}`},
		"the first of three":             {`{"role": "assistant", "reasoning": "r", "thinking": "t", "reasoning_content": "c"}`, `{"thinking": "t", "role": "assistant", "reasoning": "r", "reasoning_content": "c"}`},
		"null is not there":              {`{"role": "assistant", "reasoning_content": null, "thinking": null, "reasoning": "r"}`, `{"thinking": "r", "role": "assistant", "reasoning": "r", "reasoning_content": "r"}`},
		"all null":                       {`{"role": "assistant", "reasoning_content": null, "thinking": null}`, `{"role": "assistant"}`},
		"an empty text is there":         {`{"role": "assistant", "thinking": "", "reasoning": "r"}`, `{"thinking": "", "role": "assistant", "reasoning": "r", "reasoning_content": ""}`},
		"thinking before reasoning":      {`{"role": "assistant", "reasoning": "r", "thinking": "t"}`, `{"thinking": "t", "role": "assistant", "reasoning": "r", "reasoning_content": "t"}`},
		"a user's, and not a string":     {`{"role": "user", "reasoning": ["r", 1]}`, `{"thinking": ["r", 1], "role": "user", "reasoning": ["r", 1], "reasoning_content": ["r", 1]}`},
		"a false one is there, as false": {`{"role": "user", "reasoning": false}`, `{"thinking": false, "role": "user", "reasoning": false, "reasoning_content": false}`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := mustParse(t, "{{ messages[0]|tojson }}", nil).Render(parsed(t, "["+c.in+"]"), Options{})
			require.NoError(t, err)
			assert.Equal(t, c.want, r.Text)
		})
	}
	r, err := mustParse(t, "<{{ messages[0].reasoning_content }}|{{ messages[0].thinking }}>", nil).Render(parsed(t, `[{"role": "assistant", "reasoning": "why"}]`), Options{})
	require.NoError(t, err)
	assert.Equal(t, "<⟨0.reasoning:why⟩|⟨0.reasoning:why⟩>", marked(r), "it came under its own name")
}

func TestReasoningReachesATemplateUnderAnyName(t *testing.T) {
	tpl := parseGolden(t, "qwen3")
	var texts []string
	for _, key := range reasoningFields {
		r, err := tpl.Render(parsed(t, `[{"role": "user", "content": "q"}, {"role": "assistant", "`+key+`": "because", "content": "a"}]`), Options{})
		require.NoError(t, err)
		assert.Contains(t, r.Text, "<think>\nbecause\n</think>")
		texts = append(texts, r.Text)
	}
	assert.Equal(t, texts[0], texts[1])
	assert.Equal(t, texts[0], texts[2])
}

func callMessages(arguments string) string {
	call := `{"id": "1", "type": "function", "function": {"name": "get", "arguments": ` + arguments + `}}`
	return `[{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [` + call + `]}, {"role": "tool", "content": "5", "tool_call_id": "1"}, {"role": "assistant", "content": "a"}]`
}

func TestArgumentsAsAnObjectAndAsAStringGiveTheSameText(t *testing.T) {
	pairs := [][2]string{
		{`{"city": "Ghent", "n": [1, 2.50, null, true], "o": {}}`, `"{\"city\":\"Ghent\",\"n\":[1,2.50,null,true],\"o\":{}}"`},
		{`{"city": "é \" \\ \n"}`, `"  {\"city\": \"\\u00e9 \\\" \\\\ \\n\"}\n"`},
		{`{}`, `"{}"`}, {`{}`, `""`}, {`{}`, `" "`}, {`{}`, `null`},
	}
	for _, name := range []string{"qwen3", "qwen2.5", "llama3.1", "hermes-tool"} {
		tpl := parseGolden(t, name)
		for _, p := range pairs {
			o := Options{Tools: []any{}}
			object, err := tpl.Render(parsed(t, callMessages(p[0])), o)
			require.NoError(t, err, name)
			str, err := tpl.Render(parsed(t, callMessages(p[1])), o)
			require.NoError(t, err, name)
			assert.Equal(t, object, str, name)
		}
	}
	flat := mustParse(t, "{{ messages[0].tool_calls[0].arguments.a }}{{ messages[0].tool_calls|tojson }}", nil)
	r, err := flat.Render(parsed(t, `[{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{\"a\": 1}"}, "odd", {"function": 5}, {"arguments": "[1]"}, {"arguments": "{"}]}]`), Options{})
	require.NoError(t, err)
	assert.Equal(t, `1[{"name": "f", "arguments": {"a": 1}}, "odd", {"function": 5}, {"arguments": "[1]"}, {"arguments": "{"}]`, r.Text, "what spells no object stays")
}

func TestATemplateThatPutsArgumentsIntoTextGetsText(t *testing.T) {
	tpl := mustParse(t, "{% for m in messages %}{% for c in m.tool_calls %}{{ '<' + c.function.arguments + '>' }}{% endfor %}{% endfor %}", nil)
	for _, arguments := range []string{`{"a": [1, "é"]}`, `"{\"a\":[1,\"\\u00e9\"]}"`} {
		r, err := tpl.Render(parsed(t, callMessages(arguments)), Options{})
		require.NoError(t, err)
		assert.Equal(t, `<⟨1.tool_calls:{"a": [1, "é"]}⟩>`, marked(r))
	}
	_, err := mustParse(t, "{{ 1 + messages[1].tool_calls }}", nil).Render(parsed(t, callMessages("{}")), Options{})
	assert.ErrorContains(t, err, "it cannot use messages[1].tool_calls, which is a list", "the failure is the first one's")
}

func TestNullBesideToolCallsOrReasoningReadsAsText(t *testing.T) {
	calls := `"tool_calls": [{"function": {"name": "f", "arguments": {}}}]`
	for name, c := range map[string]struct{ template, message, want string }{
		"it is text":                         {`{{ messages[0].content is string }}{{ 'x' in messages[0].content }}{{ messages[0].content }}.`, `"content": null, ` + calls, "TrueFalse⟨0.content:⟩."},
		"beside an empty list of them":       {`{{ messages[0].content }}.`, `"content": null, "tool_calls": []`, "⟨0.content:⟩."},
		"beside reasoning":                   {`{{ messages[0].content is string }}`, `"content": null, "reasoning": "r"`, "True"},
		"beside reasoning without calls":     {`{% if messages[0].content is none %}none{% endif %}`, `"content": null, "thinking": "r"`, ""},
		"not where nothing was said":         {`{{ messages[0].content is string }}`, `"content": null`, "False"},
		"nor where that is null too":         {`{{ messages[0].content is string }}`, `"content": null, "reasoning": null, "tool_calls": null`, "False"},
		"nor where it is absent":             {`{{ messages[0].content is defined }}`, calls, "False"},
		"nor where the template asks":        {`{% if messages[0].content is none %}none{% endif %}`, `"content": null, ` + calls, "none"},
		"nor where it asks by key":           {`{{ messages[0]['content'] is not none }}`, `"content": null, ` + calls, "False"},
		"nor where it asks by get":           {`{{ messages[0].get('content') is none }}`, `"content": null, ` + calls, "True"},
		"nor where it compares":              {`{{ messages[0].content == none }}`, `"content": null, ` + calls, "True"},
		"nor where it asks of a variable":    {`{% set content = messages[0].content %}{{ content != none }}`, `"content": null, ` + calls, "False"},
		"but where it asks of another value": {`{{ messages[0].name is none }}{{ messages[0].content is string }}`, `"content": null, ` + calls, "FalseTrue"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := mustParse(t, c.template, nil).Render(parsed(t, `[{"role": "assistant", `+c.message+`}]`), Options{})
			require.NoError(t, err)
			assert.Equal(t, c.want, marked(r))
		})
	}
	for _, name := range goldenTemplates[:3] {
		data := strings.Replace(callMessages("{}"), `"content": ""`, `"content": null`, 1)
		null, err := parseGolden(t, name).Render(parsed(t, data), Options{})
		require.NoError(t, err, name)
		empty, err := parseGolden(t, name).Render(parsed(t, callMessages("{}")), Options{})
		require.NoError(t, err, name)
		assert.Equal(t, empty.Text, null.Text, name)
	}
}

// OpenAI's SDK writes every field of a message that it knows. Llama's template asks whether there
// are tool_calls, and others print what they find.
func TestAFieldThatIsNullIsNotThere(t *testing.T) {
	sdk := `, "refusal": null, "annotations": null, "audio": null, "function_call": null, "tool_calls": null, "name": null, "reasoning_content": null`
	for _, name := range goldenTemplates {
		o := Options{Tools: []any{}}
		plain, err := parseGolden(t, name).Render(parsed(t, `[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]`), o)
		require.NoError(t, err, name)
		nulls, err := parseGolden(t, name).Render(parsed(t, `[{"role": "user", "content": "q"`+sdk+`}, {"role": "assistant", "content": "a"`+sdk+`}]`), o)
		require.NoError(t, err, name)
		assert.Equal(t, plain.Text, nulls.Text, name)
	}
	r, err := mustParse(t, `{% for m in messages %}{{ m.name }}{{ 'name' in m }}{{ m.a }}{% endfor %}`, nil).Render(parsed(t, `[{"role": "user", "name": null, "a": {"b": null}}]`), Options{})
	require.NoError(t, err)
	assert.Equal(t, "False{'b': None}", r.Text, "null inside a field is the field's")
}
