package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/chat/jinja"
	"github.com/warmserve/warmserve/model/chat/origin"
)

// alphabets gives each source letters of its own: ideographs, which have no case, are neither space
// nor escaped in JSON or by repr, and stand in no template here.
type alphabets struct {
	r    *rand.Rand
	next rune
	of   map[rune]Source
	// ascii is what else the values of a source hold.
	ascii map[Source]string
}

const (
	firstLetter = 0x4e00
	lastLetter  = 0x9fff
)

func newAlphabets(r *rand.Rand) *alphabets {
	return &alphabets{r: r, next: firstLetter, of: map[rune]Source{}, ascii: map[Source]string{}}
}

// between is what stands between letters: what templates look for, trim, split at or escape.
var between = []string{
	"", "", "", " ", "\n", "\n\n", "\t", "</think>", "<think>", "\n</think>\n\n", "'", `"`, `\`, "\r\n", "<tool_response>", "%s", "{}", "{0}", "&", ",", ".", "a",
	"<|im_end|>", "</s>", "\u00a0", "ß", "É",
}

// value is a text of a source: often empty, white space alone or a mixture.
func (a *alphabets) value(s Source) string {
	var b strings.Builder
	for range a.r.IntN(5) {
		b.WriteString(pick(a.r, between...))
		if a.r.IntN(4) > 0 && a.next <= lastLetter {
			a.of[a.next] = s
			b.WriteRune(a.next)
			a.next++
		}
	}
	b.WriteString(pick(a.r, between...))
	a.ascii[s] += b.String()
	return b.String()
}

// json is a value of any shape with texts of a source.
func (a *alphabets) json(s Source, depth int) any {
	switch n := a.r.IntN(7); {
	case depth > 0 && n == 0:
		return []any{a.json(s, depth-1), a.json(s, depth-1)}
	case depth > 0 && n < 3:
		return map[string]any{a.value(s): a.json(s, depth-1), "a": a.json(s, depth-1)}
	case n == 3:
		return pick[any](a.r, nil, true, 1, -2.5, []any{}, map[string]any{})
	}
	return a.value(s)
}

// message is a message of a random shape.
func (a *alphabets) message(i int) map[string]any {
	in := func(field string) Source { return Source{i, field} }
	m := map[string]any{"role": pick(a.r, "user", "assistant", "assistant", "system", "tool"), "content": a.value(in("content"))}
	a.ascii[in("role")] = m["role"].(string)
	if i > 0 && a.r.IntN(3) == 0 {
		m["role"] = pick(a.r, "user", "assistant")
		a.ascii[in("role")] = m["role"].(string)
	}
	switch a.r.IntN(8) {
	case 0:
		m["reasoning_content"] = a.value(in("reasoning_content"))
	case 1:
		m["thinking"], m["reasoning_content"] = a.value(in("thinking")), nil
	case 2:
		m["reasoning"] = a.value(in("reasoning"))
	}
	if a.r.IntN(4) == 0 {
		m["name"] = a.value(in("name"))
	}
	if a.r.IntN(6) == 0 {
		m["content"] = a.json(in("content"), 2)
	}
	if a.r.IntN(4) == 0 {
		args := any(map[string]any{a.value(in("tool_calls")): a.json(in("tool_calls"), 2)})
		if a.r.IntN(3) == 0 {
			data, _ := json.Marshal(args)
			args = string(data)
		}
		call := map[string]any{"name": a.value(in("tool_calls")), "arguments": args}
		if a.r.IntN(2) == 0 {
			call = map[string]any{"type": "function", "id": "1", "function": call}
		}
		m["tool_calls"] = []any{call}
		a.ascii[in("tool_calls")] += "namefunctionargumentstypeid"
		if a.r.IntN(2) == 0 {
			m["content"] = nil
		}
	}
	for key := range m {
		a.ascii[in(key)] += key + " thinking reasoning_content" // the reasoning gets other keys too
	}
	return m
}

// structure is what the engine itself writes around or for the characters of a value: brackets and
// quotes, numbers and the names of constants, escapes.
const structure = "[]{}(),:'\" \n\\&#;<>.-+_0123456789abcdefxntruelsoaiqgmprkup"

// checkOrigins holds a render to what the alphabets allow.
func (a *alphabets) check(tb testing.TB, r Rendered) {
	tb.Helper()
	requirePieces(tb, r)
	begin := 0
	for _, p := range r.Pieces {
		for _, c := range r.Text[begin:p.End] {
			if want, ok := a.of[c]; ok {
				require.Equal(tb, want, p.Source, "%q in %q", c, r.Text)
				continue
			}
			if p.Source.Message < 0 || p.Source.Field == "" || strings.ContainsRune(structure, unicode.ToLower(c)) {
				continue
			}
			has := a.ascii[p.Source]
			has += strings.ToUpper(has) + strings.ToLower(has) + strings.ToTitle(has)
			require.Contains(tb, has, string(c), "%+v in %q", p.Source, r.Text)
		}
		begin = p.End
	}
}

// texts builds random expressions of text out of the messages' values and every operation on text.
type texts struct {
	r *rand.Rand
	n int // messages
}

func (g texts) literal() string {
	return pick(g.r, "''", "' '", "'a'", "'\\n'", "'x y'", "'</think>'", "'\"'", "'<|im_end|>'", "'ß'", "'%'")
}

func (g texts) expr(depth int) string {
	if depth == 0 {
		if g.r.IntN(4) == 0 {
			return g.literal()
		}
		return fmt.Sprintf("(messages[%d].%s|string)", g.r.IntN(g.n), pick(g.r, "content", "content", "role", "reasoning_content", "name", "tool_calls"))
	}
	e := func() string { return g.expr(depth - 1 - g.r.IntN(depth)) }
	num := func() int { return g.r.IntN(14) - 4 }
	switch g.r.IntN(16) {
	case 0, 1:
		return fmt.Sprintf("(%s + %s + %s)", e(), e(), e())
	case 2:
		return fmt.Sprintf("(%s ~ %s)", e(), e())
	case 3:
		return fmt.Sprintf("('%s' %% (%s, %s))", pick(g.r, "%s|%s", "%r%5s", "%.2s%%%-4s"), e(), e())
	case 4:
		return fmt.Sprintf("'%s'.format(%s, %s)", pick(g.r, "{}-{}", "{1}{0!r}", "{:>6}{:.1}", "{{{}}}{}"), e(), e())
	case 5:
		return fmt.Sprintf("%s.replace(%s, %s)", e(), g.literal(), e())
	case 6:
		return fmt.Sprintf("([%s, %s, %s]|join(%s))", e(), e(), e(), e())
	case 7:
		return fmt.Sprintf("%s[%d:%d]", e(), num(), num())
	case 8:
		return fmt.Sprintf("%s[::%d]", e(), pick(g.r, -1, 2, -2, 3))
	case 9:
		return fmt.Sprintf("({%s: %s}|tojson%s)", e(), e(), pick(g.r, "", "(indent=2)", "(ensure_ascii=false)"))
	case 10:
		return fmt.Sprintf("([%s, (%s,)]|string)", e(), e())
	case 11:
		return fmt.Sprintf("(%s.%s(%s)|join(%s))", e(), pick(g.r, "split", "rsplit", "partition", "rpartition"), pick(g.r, "' '", "'a'", "'</think>'"), g.literal())
	case 12:
		return fmt.Sprintf("%s.%s(%s)", e(), pick(g.r, "strip", "lstrip", "rstrip", "removeprefix", "removesuffix"), pick(g.r, "' '", "'a'", "'</think>'", "'\\n '"))
	case 13:
		return fmt.Sprintf("(%s|%s)", e(), pick(g.r, "trim", "upper", "lower", "title", "capitalize", "tojson", "e", "indent", "indent(2, true)", "truncate(5, true, '..', 0)",
			"list|join('/')", "reverse", "sort|join", "unique|join", "batch(2)|map('join')|join('.')", "slice(2)|map('join')|join('.')", "center(9)", "string", "safe", "replace('a', '')",
			"replace('', '-', 2)", "map('upper')|join", "default('x', true)"))
	case 14:
		return fmt.Sprintf("(%s.%s)", e(), pick(g.r, "strip()", "upper()", "lower()", "title()", "swapcase()", "capitalize()", "casefold()", "splitlines()|join('-')", "splitlines(true)|join",
			"split()|join(' ')", "rsplit(none, 1)|join('+')", "zfill(5)", "center(7, '*')", "expandtabs(3)", "ljust(6)"))
	}
	return fmt.Sprintf("f(%s, %s)", e(), e())
}

func (g texts) template() string {
	a, b := g.expr(1+g.r.IntN(3)), g.expr(1+g.r.IntN(2))
	head := "{% macro f(a, b) %}<{{ a }}{{ caller() if caller is defined }}{{ b }}>{% endmacro -%}"
	switch g.r.IntN(7) {
	case 0:
		return head + "{% set x %} {{ " + a + " }}\n{% endset %}{{ x|trim }}|{{ x }}"
	case 1:
		return head + "{% filter " + pick(g.r, "upper", "trim", "replace('a', '')", "indent") + " %}{{ " + a + " }}x{{ " + b + " }}{% endfilter %}"
	case 2:
		return head + "{% for c in " + a + " %}{{ c }}{% if loop.first %}-{% endif %}{% endfor %}"
	case 3:
		return head + "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + m.role + " + a + " %}{% endfor %}{{ ns.t.strip() }}"
	case 4:
		return head + "{% call f(" + a + ", 1) %}{{ " + b + " }}{% endcall %}"
	}
	return head + "{{ " + a + " }}{{ " + b + " }}"
}

// randomRender renders a random conversation with a random template.
func randomRender(tb testing.TB, seed uint64, templates []*Template) {
	r := rand.New(rand.NewPCG(7, seed))
	a := newAlphabets(r)
	raw := make([]map[string]any, r.IntN(5))
	for i := range raw {
		raw[i] = a.message(i)
	}
	data, err := json.Marshal(raw)
	require.NoError(tb, err)
	messages, err := ParseMessages(data)
	require.NoError(tb, err)
	outside := Source{Message: Request}
	o := Options{AddGenerationPrompt: r.IntN(2) == 0, Now: oracleTime, Extra: map[string]any{
		"lines": "\n" + a.value(outside) + "\n b ", "uni": a.value(outside), "obj": a.json(outside, 3), "flt": 1e-7, "nil": nil,
	}}
	if r.IntN(2) == 0 {
		o.Tools = []any{map[string]any{"type": "function", "function": map[string]any{"name": a.value(outside), "description": a.value(outside), "parameters": map[string]any{
			"type": "object", "properties": map[string]any{a.value(outside): map[string]any{"type": "string", "description": a.value(outside)}},
		}}}}
	}
	tpl := (*Template)(nil)
	switch kind := r.IntN(4); {
	case kind == 0 && len(templates) > 0:
		tpl = pick(r, templates...)
	case kind == 1 || len(raw) == 0:
		source := "{% set msgs = messages %}{% set msg = messages|last %}" + expressions{r}.template()
		if tpl, err = Parse(source, nil); err != nil {
			return
		}
	default:
		tpl, err = Parse(texts{r, len(raw)}.template(), nil)
		require.NoError(tb, err)
	}
	got, err := tpl.Render(messages, o)
	if err != nil {
		var te *TemplateError
		require.True(tb, errors.As(err, &te), "%T %v", err, err)
		return
	}
	a.check(tb, got)
	require.Equal(tb, got.Text, renderWithoutOrigins(tb, tpl, messages, o), "origins change the text")
}

// renderWithoutOrigins renders with everything counted as the template's own.
func renderWithoutOrigins(tb testing.TB, tpl *Template, messages []Message, o Options) string {
	tb.Helper()
	f := form{nullContent: tpl.t.TestsNone("content")}
	_, err := tpl.render(messages, o, f)
	f.argumentsText = err != nil
	list := &jinja.List{}
	for _, m := range messages {
		d := jinja.NewDict(0)
		for _, e := range m.forTemplates(nil, f) {
			d.Add(e.key, e.value, origin.Template)
		}
		list.Items = append(list.Items, d)
	}
	vars := jinja.NewDict(0)
	for _, tok := range tpl.tokens {
		vars.Set(tok.name, tok.text)
	}
	require.NoError(tb, setVar(vars, "tools", o.Tools))
	require.NoError(tb, setVar(vars, "documents", o.Documents))
	for name, v := range o.Extra {
		require.NoError(tb, setVar(vars, name, v))
	}
	vars.Set("messages", list)
	vars.Set("add_generation_prompt", o.AddGenerationPrompt)
	own := jinja.Tag(vars, origin.Template).(*jinja.Dict)
	text, err := tpl.t.Render(own, o.Now)
	require.NoError(tb, err)
	for _, from := range text.Runs() {
		if from != origin.Template {
			require.Equal(tb, origin.Request, from, "an origin that nothing has")
		}
	}
	return text.Peek()
}

// FuzzOrigins renders random conversations with real and random templates: every letter must be
// reported with exactly its source, nothing with a source that does not hold it, and the text must
// be what it is without origins.
func FuzzOrigins(f *testing.F) {
	var templates []*Template
	for _, name := range goldenTemplates {
		templates = append(templates, parseGolden(f, name))
	}
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { randomRender(t, seed, templates) })
}

// FuzzOriginsOfATemplate renders one conversation with any template.
func FuzzOriginsOfATemplate(f *testing.F) {
	for _, s := range snippetTemplates(f) {
		f.Add(s)
	}
	for _, c := range originCases {
		f.Add(originPrefix + c.template)
	}
	f.Fuzz(func(t *testing.T, source string) {
		for _, c := range source {
			if c >= firstLetter && c <= lastLetter || c == utf8.RuneError {
				return // the template's own letters would be taken for a message's
			}
		}
		p, err := jinja.Parse(source, jinja.Limits{Steps: 20_000, Bytes: 1 << 18, Depth: 50})
		if err != nil {
			return
		}
		a := newAlphabets(rand.New(rand.NewPCG(7, 7)))
		raw := []map[string]any{a.message(0), a.message(1), a.message(2), a.message(3), a.message(4)}
		data, err := json.Marshal(raw)
		require.NoError(t, err)
		messages, err := ParseMessages(data)
		require.NoError(t, err)
		tpl := &Template{t: p}
		got, err := tpl.Render(messages, Options{Now: oracleTime})
		if err != nil {
			return
		}
		begin := 0
		for _, p := range got.Pieces {
			for _, c := range got.Text[begin:p.End] {
				if want, ok := a.of[c]; ok && p.Source != want {
					// A number made into a character is nobody's.
					require.Equal(t, Request, p.Source.Message, "%q of %s in %q", c, fmt.Sprint(want), got.Text)
				}
			}
			begin = p.End
		}
		requirePieces(t, got)
	})
}

func TestRandomRendersCarryOrigins(t *testing.T) {
	var templates []*Template
	for _, name := range goldenTemplates {
		templates = append(templates, parseGolden(t, name))
	}
	for s := range uint64(*rounds) {
		randomRender(t, *seed<<32+s, templates)
	}
}
