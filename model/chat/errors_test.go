package chat

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAFailureSaysWhatTheTemplateNeeds(t *testing.T) {
	for name, c := range map[string]struct{ template, messages, want string }{
		"tools that are not given":          {"{% for t in tools %}{% endfor %}", `[]`, "chat template line 1: it needs tools, which the request does not give"},
		"the length of such tools":          {"\n{{ tools|length }}", `[]`, "chat template line 2: it needs tools, which the request does not give"},
		"documents":                         {"{{ 'a' + documents }}", `[]`, "chat template line 1: it needs documents, which the request does not give"},
		"no messages":                       {"{{ messages[0].role }}", `[]`, "chat template line 1: it needs messages[0], which is missing"},
		"a null content":                    {"{% for m in messages %}{% if '<' in m.content %}{% endif %}{% endfor %}", `[{"role": "user", "content": null}]`, "chat template line 1: it needs m.content, which is null"},
		"a method of it":                    {"{{ messages[0].content.strip() }}", `[{"role": "user", "content": null}]`, "chat template line 1: it needs messages[0].content, which is null"},
		"a sum with it":                     {"{{ '<' + messages[0]['content'] + '>' }}", `[{"role": "user", "content": null}]`, "chat template line 1: it needs messages[0]['content'], which is null"},
		"a missing content":                 {"{{ '<' + messages[0].content }}", `[{"role": "user"}]`, "chat template line 1: it needs messages[0].content, which is missing"},
		"a missing key of a missing one":    {"{{ messages[0].tool_calls[0].function.name }}", `[{"role": "user"}]`, "chat template line 1: it needs messages[0].tool_calls, which is missing"},
		"a missing token":                   {"{{ bos_token + 'a' }}", `[]`, "chat template line 1: it needs bos_token, which is missing"},
		"a list where text is wanted":       {"{{ 'a' + messages[0].content }}", `[{"role": "user", "content": [{"type": "image"}]}]`, `chat template line 1: it cannot use messages[0].content, which is a list (can only concatenate str (not "list") to str)`},
		"a number where a list is wanted":   {"{% for x in messages[0].content %}{% endfor %}", `[{"role": "user", "content": 5}]`, "chat template line 1: it cannot use messages[0].content, which is a number ('int' object is not iterable)"},
		"what it raised stays in its words": {"{{ raise_exception('Only user and assistant roles are supported') }}", `[]`, "chat template line 1: Only user and assistant roles are supported"},
		"a failure about nothing in sight":  {"{{ 1 // 0 }}", `[]`, "chat template line 1: integer division or modulo by zero"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mustParse(t, c.template, nil).Render(parsed(t, c.messages), Options{})
			assert.EqualError(t, err, c.want)
		})
	}
	_, err := parseGolden(t, "hermes-tool").Render(parsed(t, `[{"role": "user", "content": "q"}]`), Options{})
	assert.ErrorContains(t, err, "it needs tools, which the request does not give")
}
