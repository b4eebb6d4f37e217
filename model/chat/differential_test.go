package chat

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	rounds = flag.Int("rounds", 400, "random cases of each differential test")
	seed   = flag.Uint64("seed", 1, "seed of the random cases")
)

// pick returns one of the values.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// randomConversation is a conversation as clients send them, sometimes broken.
func randomConversation(r *rand.Rand) []map[string]any {
	words := []string{
		"", " ", "hello", "two words", "\n\nlines\n", "  padded\t", "<think>\nwhy\n</think>\n\nbecause", "</think>x", "<tool_response>r</tool_response>",
		"{{ x }}", "{% if %}", "漢字 é 😀", "a\u00a0b\u200b", `"quotes" \ 'and'`, "<|im_end|>", "\r\n", "0", "None",
	}
	text := func() string { return pick(r, words...) + pick(r, words...) }
	call := func() map[string]any {
		c := map[string]any{"name": pick(r, "search", "été"), "arguments": map[string]any{"q": text(), "n": r.IntN(9) - 3, "f": r.Float64(), "l": []any{nil, true, map[string]any{}}}}
		if r.IntN(2) == 0 {
			c["arguments"] = `{"q": 1}`
		}
		if r.IntN(2) == 0 {
			return map[string]any{"type": "function", "id": "1", "function": c}
		}
		return c
	}
	var out []map[string]any
	for range r.IntN(6) {
		m := map[string]any{"role": pick(r, "user", "user", "assistant", "assistant", "system", "tool"), "content": text()}
		switch r.IntN(12) {
		case 0:
			m["tool_calls"] = []any{call()}
		case 1:
			m["tool_calls"], m["content"] = []any{call(), call()}, nil
		case 2:
			m["reasoning_content"] = pick[any](r, text(), nil)
		case 3:
			m["content"] = []any{map[string]any{"type": "text", "text": text()}}
		case 4:
			delete(m, "content")
		case 5:
			m["name"] = text()
		}
		out = append(out, m)
	}
	return out
}

// randomVars is what a render of a conversation gets.
func randomVars(r *rand.Rand) map[string]any {
	messages := randomConversation(r)
	if messages == nil {
		messages = []map[string]any{}
	}
	vars := map[string]any{"messages": messages, "add_generation_prompt": r.IntN(2) == 0}
	tool := map[string]any{"type": "function", "function": map[string]any{
		"name": "get", "description": "gets\nit", "parameters": map[string]any{"type": "object", "properties": map[string]any{
			"a": map[string]any{"type": "string", "description": " d "}, "b": map[string]any{"type": []any{"integer", "null"}, "description": ""},
			"c": map[string]any{"type": "array", "items": map[string]any{"type": "number"}, "description": "x"},
			"o": map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "boolean"}, "description": "y"},
		}, "required": []any{"a"}},
		"return": map[string]any{"type": "string", "description": "what"},
	}}
	switch r.IntN(4) {
	case 0:
		vars["tools"] = []any{tool, tool["function"]}
	case 1:
		vars["tools"] = nil
	case 2:
		vars["tools"] = []any{}
	}
	if r.IntN(4) == 0 {
		vars["enable_thinking"] = r.IntN(2) == 0
	}
	if r.IntN(4) == 0 {
		vars["tools_in_user_message"] = r.IntN(2) == 0
	}
	if r.IntN(6) == 0 {
		vars["builtin_tools"] = []any{"search", "code_interpreter"}
	}
	if r.IntN(6) == 0 {
		vars["date_string"] = "today"
	}
	return vars
}

// expressions builds random expressions out of what chat templates use.
type expressions struct{ r *rand.Rand }

func (g expressions) atom() string {
	return pick(g.r, "msg", "msgs", "obj", "uni", "lines", "nope", "nil", "flt", "msg.content", "msgs[0]", "msgs[-1].role", "obj.a.b.c", "nope.x",
		"1", "0", "-3", "2.5", "1e3", "'a'", "''", "' pad '", "'a,b,c'", "'<é>'", "true", "false", "none", "[]", "[1, 2, 3]", "['b', 'A', 'a']", "{}",
		"{'k': 1, 'a': [2]}", "(1, 'x')", "range(4)", "msg.items()|list", "loop.index", "'%s-%s'")
}

func (g expressions) expr(depth int) string {
	if depth == 0 {
		return g.atom()
	}
	e := func() string { return g.expr(depth - 1 - g.r.IntN(depth)) }
	switch g.r.IntN(12) {
	case 0, 1:
		return fmt.Sprintf("%s %s %s", e(), pick(g.r, "+", "-", "*", "/", "//", "%", "~", "~", "+"), e())
	case 2:
		return fmt.Sprintf("(%s) %s (%s)", e(), pick(g.r, "==", "!=", "<", ">", "<=", ">=", "in", "not in"), e())
	case 3:
		return fmt.Sprintf("(%s) %s (%s)", e(), pick(g.r, "and", "or"), e())
	case 4:
		return fmt.Sprintf("(%s) if (%s) else (%s)", e(), e(), e())
	case 5, 6:
		return fmt.Sprintf("(%s)|%s", e(), pick(g.r, "length", "upper", "lower", "trim", "title", "capitalize", "first", "last", "list", "join", "join(',')", "string",
			"int", "float", "round", "abs", "default('d')", "default('d', true)", "tojson", "tojson(indent=2)", "sort", "reverse", "unique|list", "sum", "min", "max",
			"map('string')|list", "map('length')|list", "map(attribute='role')|list", "select|list", "select('string')|list", "reject('none')|list",
			"selectattr('role')|list", "selectattr('role', 'equalto', 'user')|list", "rejectattr('content', 'defined')|list", "items|list", "dictsort", "replace('a', 'b')",
			"batch(2)|list", "slice(2)|list", "indent", "truncate(5)", "wordcount", "safe", "e", "format(1, 2)", "count", "groupby('role')"))
	case 7:
		return fmt.Sprintf("(%s) is %s%s", e(), pick(g.r, "", "", "not "), pick(g.r, "defined", "undefined", "none", "string", "mapping", "sequence", "iterable", "number",
			"integer", "float", "boolean", "true", "false", "callable", "odd", "even", "divisibleby 2", "lower", "upper", "eq 1", "in [1, 'a']", "sameas none"))
	case 8:
		// Jinja2 folds a slice of literals by other rules than it slices; msg keeps it from folding.
		return fmt.Sprintf("((%s) if msg else 0)[%s]", e(), pick(g.r, "0", "-1", "1", "5", "'role'", "'a'", "'items'", ":", "1:", ":-1", "::-1", "::2", "-2:", "1:3", "true", "nope", e()))
	case 9:
		return fmt.Sprintf("(%s).%s", e(), pick(g.r, "role", "content", "a", "k", "x.y", "upper()", "lower()", "strip()", "lstrip('a')", "rstrip()", "split()", "split(',')", "split(',', 1)",
			"rsplit(' ', 1)", "splitlines()", "startswith('a')", "endswith(('a', 'i'))", "replace('a', '')", "find('a')", "count('a')", "title()", "join(['x', 'y'])",
			"items()|list", "keys()|list", "get('role')", "get('zz', 1)", "append(1)", "format(1, 2)", "isdigit()", "partition(',')", "zfill(4)", "center(6)", "index(1)", "pop()"))
	case 10:
		return "not " + e()
	}
	return fmt.Sprintf("[%s, %s]", e(), e())
}

// statement wraps random expressions in a random template.
func (g expressions) template() string {
	a, b := g.expr(3), g.expr(2)
	ws := func() string { return pick(g.r, "", "", " ", "\n", "\n  ", "  \n", "\t") }
	o := func() string { return pick(g.r, "{%", "{%-", "{%+") }
	c := func() string { return pick(g.r, "%}", "-%}", "+%}") }
	switch g.r.IntN(8) {
	case 0:
		return ws() + o() + " for v in " + a + " " + c() + ws() + "{{ v }}{{ loop.index }}{{ loop.last }}" + ws() + o() + " else " + c() + "E" + o() + " endfor " + c() + ws()
	case 1:
		return ws() + o() + " if " + a + " " + c() + ws() + "T" + ws() + o() + " elif " + b + " " + c() + "B" + o() + " else " + c() + ws() + "F" + o() + " endif " + c() + ws() + "."
	case 2:
		return o() + " set v = " + a + " " + c() + ws() + "{{ v }}{{- v is string -}}" + ws()
	case 3:
		return "{% set ns = namespace(v=0) %}{% for i in " + a + " %}{% set ns.v = " + b + " %}{% endfor %}{{ ns.v }}"
	case 4:
		return "{% macro f(a, b=" + b + ") %}[{{ a }}|{{ b }}]{% endmacro %}{{ f(" + a + ") }}"
	case 5:
		return ws() + "{#" + pick(g.r, "", "-") + " c " + pick(g.r, "", "-") + "#}" + ws() + "{{" + pick(g.r, "", "-") + " " + a + " " + pick(g.r, "", "-") + "}}" + ws() + "."
	}
	return "{{ " + a + " }}|{{ " + b + " }}"
}

// runDifferential compares our answers with Jinja2's and fails on the first ones that differ.
func runDifferential(t *testing.T, jobs []job) {
	t.Helper()
	want := askJinja2(t, jobs)
	texts, failures, skipped, differ, messages := 0, 0, 0, 0, 0
	for i, j := range jobs {
		if want[i].Text != nil && strings.Contains(*want[i].Text, " at 0x") {
			skipped++ // a memory address, which we refuse to print
			continue
		}
		got := renderJob(t, j)
		if strings.Contains(got.Error, "memory address") {
			skipped++ // printed, but an error follows
			continue
		}
		if strings.Contains(got.Error, "'markupsafe.Markup object' has no attribute") {
			skipped++ // a method of Markup that we do not have
			continue
		}
		same := want[i].Text != nil && got.Text != nil && *want[i].Text == *got.Text
		if want[i].Text == nil {
			same = got.Text == nil && kindOf(want[i]) == got.Type
			failures++
			if same && want[i].Error == got.Error {
				messages++
			}
		} else {
			texts++
		}
		if same {
			continue
		}
		if differ++; differ <= 12 {
			w, _ := json.Marshal(want[i])
			g, _ := json.Marshal(got)
			t.Errorf("%.200s\nwith %.1500s\nJinja2 %.400s\nours   %.400s", j.Template, j.Vars, w, g)
		}
	}
	t.Logf("%d cases: %d texts, %d failures (%d with the very message), %d skipped, %d differ", len(jobs), texts, failures, messages, skipped, differ)
	require.Zero(t, differ)
}

func TestRandomConversationsRenderAsInJinja2(t *testing.T) {
	r := rand.New(rand.NewPCG(1, *seed))
	tokens := goldenTokens(t)
	var jobs []job
	for range *rounds {
		name := pick(r, goldenTemplates...)
		vars := randomVars(r)
		for k, v := range tokens[name] {
			vars[k] = v
		}
		data, err := json.Marshal(vars)
		require.NoError(t, err)
		jobs = append(jobs, job{string(readShared(t, "chat", name+".jinja")), data})
	}
	runDifferential(t, jobs)
}

func TestRandomTemplatesRenderAsInJinja2(t *testing.T) {
	r := rand.New(rand.NewPCG(3, *seed))
	var jobs []job
	for range *rounds {
		jobs = append(jobs, job{expressions{r}.template(), json.RawMessage(snippetVars)})
	}
	runDifferential(t, jobs)
}

func TestRandomTextsRenderAsInJinja2(t *testing.T) {
	r := rand.New(rand.NewPCG(5, *seed))
	var jobs []job
	for range *rounds {
		a := newAlphabets(r)
		messages := make([]map[string]any, 1+r.IntN(3))
		for i := range messages {
			messages[i] = a.message(i)
		}
		data, err := json.Marshal(map[string]any{"messages": messages})
		require.NoError(t, err)
		jobs = append(jobs, job{texts{r, len(messages)}.template(), data})
	}
	runDifferential(t, jobs)
}
