package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// marked shows where a text came from: what is not the template's own stands in ⟨source:…⟩, where
// the source is the index of a message and its field, or R for the request.
func marked(r Rendered) string {
	var b strings.Builder
	begin := 0
	for _, p := range r.Pieces {
		part := r.Text[begin:p.End]
		begin = p.End
		switch p.Source.Message {
		case Own:
			b.WriteString(part)
		case Request:
			fmt.Fprintf(&b, "⟨R:%s⟩", part)
		default:
			fmt.Fprintf(&b, "⟨%d.%s:%s⟩", p.Source.Message, p.Source.Field, part)
		}
	}
	return b.String()
}

// requirePieces holds what is true of the pieces of every render.
func requirePieces(tb testing.TB, r Rendered) {
	tb.Helper()
	begin := 0
	for i, p := range r.Pieces {
		require.GreaterOrEqual(tb, p.End, begin, "pieces are in order")
		require.False(tb, p.End == begin && p.Source.Message == Own, "an empty piece of the template's own")
		require.False(tb, i > 0 && r.Pieces[i-1].Source == p.Source, "neighbours differ")
		require.True(tb, p.End == len(r.Text) || utf8.RuneStart(r.Text[p.End]), "a piece ends between characters")
		begin = p.End
	}
	require.Equal(tb, len(r.Text), begin, "the pieces cover the text")
}

const originMessages = `[
	{"role": "system", "content": ""},
	{"role": "user", "content": "  a\tB c\n", "name": "Élan"},
	{"role": "assistant", "content": "x</think>\n\ny", "reasoning_content": "why", "tool_calls": [{"name": "f", "arguments": {"k\"": "v\n", "n": [1, true, null]}}]},
	{"role": "user", "content": 5, "list": ["p", "q"], "empty": [], "word": "ΑΣ", "half": "%s-", "braces": "{}!"}
]`

// originPrefix names the messages' values: S is "", U "  a\tB c\n", A "x</think>\n\ny", M a sum of the
// template's text and U.
const originPrefix = `{%- set S = messages[0].content %}{% set U = messages[1].content %}{% set A = messages[2].content -%}
{%- set N = messages[1].name %}{% set C = messages[2].tool_calls %}{% set L = messages[3].list %}{% set W = messages[3].word -%}
{%- set M = 'Pre ' + U + 'Post' -%}`

var originCases = []struct{ name, template, want string }{
	{"a value is printed", `<{{ U }}>`, "<⟨1.content:  a\tB c\n⟩>"},
	{"a value is printed twice", `{{ N }}{{ N }}-{{ N }}`, "⟨1.name:ÉlanÉlan⟩-⟨1.name:Élan⟩"},
	{"an empty value keeps its place", `<{{ S }}>`, "<⟨0.content:⟩>"},
	{"an empty value alone", `{{ S }}`, "⟨0.content:⟩"},
	{"two empty values", `{{ S }}{{ U[:0] }}.`, "⟨0.content:⟩⟨1.content:⟩."},
	{"nothing at all", `{{ '' }}`, ""},
	{"roles", `{{ messages[0].role }}|{{ messages[0]['role'] }}`, "⟨0.role:system⟩|⟨0.role:system⟩"},
	{"a key is its field's", `{% for k, v in messages[1].items() %}{{ k }}={{ v|trim }};{% endfor %}`, "⟨1.role:role⟩=⟨1.role:user⟩;⟨1.content:content⟩=⟨1.content:a\tB c⟩;⟨1.name:name⟩=⟨1.name:Élan⟩;"},
	{"special tokens and extra variables", `{{ bos_token }}{{ extra }}{{ tools[0].name }}{{ documents[0] }}`, "<s>⟨R:moretd⟩"},
	// operators
	{"a sum", `{{ '<' + N + '>' + N }}`, "<⟨1.name:Élan⟩>⟨1.name:Élan⟩"},
	{"a concatenation", `{{ 1 ~ N ~ none ~ S }}`, "1⟨1.name:Élan⟩None⟨0.content:⟩"},
	{"a product", `{{ M[:6] * 2 }}`, "Pre ⟨1.content:  ⟩Pre ⟨1.content:  ⟩"},
	{"a product by nothing keeps the place", `{{ (M * 0) }}.`, "⟨1.content:⟩."},
	{"a percent format", `{{ '%s=%5s|%-6.2s|%r|%d' % (N, N, N, N, 3) }}`, "⟨1.name:Élan⟩= ⟨1.name:Élan⟩|⟨1.name:Él⟩    |'⟨1.name:Élan⟩'|3"},
	{"a percent format with names", `{{ '%(a)s!' % {'a': N} }}`, "⟨1.name:Élan⟩!"},
	{"a format that is a value", `{{ messages[3].half % 'x' }}`, "x⟨3.half:-⟩"},
	{"a character of a number is nobody's own", `{{ '%c' % 60 }}`, "⟨R:<⟩"},
	{"an index", `{{ M[4] }}{{ M[0] }}{{ N[0] }}{{ N[-1] }}`, "⟨1.content: ⟩P⟨1.name:Én⟩"},
	{"slices", `{{ M[2:7] }}|{{ M[::-1] }}|{{ N[1:3] }}|{{ M[1:8:3] }}`, "e ⟨1.content:  a⟩|tsoP⟨1.content:\nc B\ta  ⟩ erP|⟨1.name:la⟩|r⟨1.content: \t⟩"},
	{"a slice of nothing", `<{{ U[9:] }}{{ M[2:2] }}>`, "<⟨1.content:⟩>"},
	{"characters in a loop", `{% for c in M[2:7] %}{{ c }}{{ loop.index }}{% endfor %}`, "e1 2⟨1.content: ⟩3⟨1.content: ⟩4⟨1.content:a⟩5"},
	{"a conditional value", `{{ N if N == 'Élan' else 'no' }}{{ N or 'x' }}{{ S or 'y' }}`, "⟨1.name:ÉlanÉlan⟩y"},
	// methods of str
	{"case", `{{ (M + N).upper() }}|{{ (M + N).lower() }}|{{ (M + N).swapcase() }}|{{ N.casefold() }}`, "PRE ⟨1.content:  A\tB C\n⟩POST⟨1.name:ÉLAN⟩|pre ⟨1.content:  a\tb c\n⟩post⟨1.name:élan⟩|pRE ⟨1.content:  A\tb C\n⟩pOST⟨1.name:éLAN⟩|⟨1.name:élan⟩"},
	{"case that looks at neighbours", `{{ ('a' + U.strip() + 'ZED').title() }}|{{ ('a' + N).capitalize() }}|{{ (W + 'x').lower() }}|{{ (W + '.').lower() }}`, "A⟨1.content:a\tB C⟩zed|A⟨1.name:élan⟩|⟨3.word:ασ⟩x|⟨3.word:ας⟩."},
	{"strip", `<{{ U.strip() }}|{{ U.lstrip() }}|{{ U.rstrip() }}|{{ M.strip('Pt') }}>`, "<⟨1.content:a\tB c⟩|⟨1.content:a\tB c\n⟩|⟨1.content:  a\tB c⟩|re ⟨1.content:  a\tB c\n⟩Pos>"},
	{"what is stripped whole keeps its place", `{{ ('\n' + S + '\n').strip() }}.{{ (' ' + U[:2] + 'z').strip() }}`, "⟨0.content:⟩.⟨1.content:⟩z"},
	{"prefix and suffix", `{{ M.removeprefix('Pre ') }}|{{ N.removesuffix('an') }}|{{ N.removeprefix('x') }}`, "⟨1.content:  a\tB c\n⟩Post|⟨1.name:Él⟩|⟨1.name:Élan⟩"},
	{"split", `{{ M.split()|join('+') }}|{{ A.split('</think>')[-1] }}|{{ A.split('</think>', 1)[0] }}|{{ A.rsplit('y', 1)[-1] }}`, "Pre+⟨1.content:a⟩+⟨1.content:B⟩+⟨1.content:c⟩+Post|⟨2.content:\n\ny⟩|⟨2.content:x⟩|⟨2.content:⟩"},
	{"splitlines", `{{ M.splitlines()|join('+') }}|{{ A.splitlines(true)[1] }}`, "Pre ⟨1.content:  a\tB c⟩+Post|⟨2.content:\n⟩"},
	{"rsplit", `{{ M.rsplit(none, 1)|join('+') }}`, "Pre ⟨1.content:  a\tB c⟩+Post"},
	{"partition", `{{ A.partition('</think>')|join('+') }}|{{ A.rpartition('?')|join('+') }}`, "⟨2.content:x⟩+⟨2.content:</think>⟩+⟨2.content:\n\ny⟩|++⟨2.content:x</think>\n\ny⟩"},
	{"replace", `{{ N.replace('l', '<L>') }}|{{ M.replace('P', N) }}|{{ M.replace(' ', '', 2) }}|{{ N.replace('', '.', 2) }}`, "⟨1.name:É⟩<L>⟨1.name:an⟩|⟨1.name:Élan⟩re ⟨1.content:  a\tB c\n⟩⟨1.name:Élan⟩ost|Pre⟨1.content: a\tB c\n⟩Post|.⟨1.name:É⟩.⟨1.name:lan⟩"},
	{"what is replaced whole keeps its place", `{{ N.replace('Élan', '') }}.{{ N.replace('Élan', 'x') }}`, "⟨1.name:⟩.⟨1.name:⟩x"},
	{"join", `{{ N[:1].join(['a', 'b', N]) }}|{{ ', '.join(L) }}`, "a⟨1.name:É⟩b⟨1.name:ÉÉlan⟩|⟨3.list:p⟩, ⟨3.list:q⟩"},
	{"padding", `{{ N.center(8) }}|{{ N.ljust(6, '.') }}|{{ N.rjust(6, N[0]) }}|{{ ('-' + N).zfill(8) }}`, "  ⟨1.name:Élan⟩  |⟨1.name:Élan⟩..|⟨1.name:ÉÉÉlan⟩|-000⟨1.name:Élan⟩"},
	{"tabs", `{{ ('|' + U).expandtabs(4) }}`, "|⟨1.content:  a    B c\n⟩"},
	{"format", `{{ '{}/{0!r}/{n:>6}/{}'.format(N, 2, n=N) }}`, "⟨1.name:Élan⟩/'⟨1.name:Élan⟩'/  ⟨1.name:Élan⟩/2"},
	{"a format that is a value, with its fill", `{{ messages[3].braces.format('x') }}{{ ('{:' + N[0] + '>3}').format('x') }}`, "x⟨3.braces:!⟩⟨1.name:ÉÉ⟩x"},
	// filters
	{"trim", `<{{ U|trim }}|{{ M|trim('t') }}|{{ S|trim }}>`, "<⟨1.content:a\tB c⟩|Pre ⟨1.content:  a\tB c\n⟩Pos|⟨0.content:⟩>"},
	{"case filters", `{{ N|upper }}{{ N|lower }}{{ N|title }}{{ N|capitalize }}`, "⟨1.name:ÉLANélanÉlanÉlan⟩"},
	{"the title filter of mixed text", `{{ ('the ' + N + ' IS')|title }}`, "The ⟨1.name:Élan⟩ Is"},
	{"string, first, last, list", `{{ N|string }}{{ N|first }}{{ N|last }}{{ N|list|join('.') }}`, "⟨1.name:ÉlanÉnÉ⟩.⟨1.name:l⟩.⟨1.name:a⟩.⟨1.name:n⟩"},
	{"reverse, sort, unique", `{{ N|reverse }}{{ N|sort|join }}{{ (N ~ N)|unique|join }}`, "⟨1.name:nalÉalnÉÉlan⟩"},
	{"batch, slice, map, select", `{% for b in N|batch(3, '.') %}{{ b|join }}/{% endfor %}{% for b in N|slice(3) %}{{ b|join }}/{% endfor %}{{ L|map('upper')|join }}{{ L|reject('eq', 'p')|join }}`, "⟨1.name:Éla⟩/⟨1.name:n⟩../⟨1.name:Él⟩/⟨1.name:a⟩/⟨1.name:n⟩/⟨3.list:PQq⟩"},
	{"join with an attribute", `{{ messages|join('|', 'role') }}`, "⟨0.role:system⟩|⟨1.role:user⟩|⟨2.role:assistant⟩|⟨3.role:user⟩"},
	{"replace and indent", `{{ N|replace('l', N[0]) }}|{{ A|indent }}`, "⟨1.name:ÉÉan⟩|⟨2.content:x</think>\n\n⟩    ⟨2.content:y⟩"},
	{"truncate", `{{ A|truncate(4, true, '..', 0) }}`, "⟨2.content:x<⟩.."},
	{"default, escape, safe", `{{ nope|default(N) }}{{ (A|e)[:5] }}{{ ('<' ~ N)|e }}{{ N|safe }}{{ (N|safe) + '<' }}`, "⟨1.name:Élan⟩⟨2.content:x&lt;⟩&lt;⟨1.name:ÉlanÉlanÉlan⟩&lt;"},
	{"center and format", `{{ N|center(6) }}{{ '%s!'|format(N) }}`, " ⟨1.name:Élan⟩ ⟨1.name:Élan⟩!"},
	{"groupby, dictsort, min", `{% for r, ms in messages|groupby('role') %}{{ r }}{% endfor %}{{ {'b': N, 'a': S}|dictsort|map('last')|join('.') }}{{ L|max }}`, "⟨2.role:assistant⟩⟨0.role:system⟩⟨1.role:user⟩⟨0.content:⟩.⟨1.name:Élan⟩⟨3.list:q⟩"},
	// containers
	{"tojson of a text", `{{ N|tojson }}{{ N|tojson(ensure_ascii=true) }}{{ A[8:]|tojson }}`, `"⟨1.name:Élan⟩""⟨1.name:\u00c9lan⟩""⟨2.content:>\n\ny⟩"`},
	{"tojson of mixed text", `{{ ('"' + U + '"')|tojson }}`, `"\"⟨1.content:  a\tB c\n⟩\""`},
	{"tojson of a value", `[{{ C|tojson }}]`, `[⟨2.tool_calls:[{"name": "f", "arguments": {"k\"": "v\n", "n": [1, true, null]}}]⟩]`},
	{"tojson of a value, indented", `{{ C[0].arguments|tojson(indent=1) }}`, "⟨2.tool_calls:{\n \"k\\\"\": \"v\\n\",\n \"n\": [\n  1,\n  true,\n  null\n ]\n}⟩"},
	{"tojson of a list that the template made", `{{ {'name': C[0].name, 'n': 1, 'none': L}|tojson }}`, `{"name": "⟨2.tool_calls:f⟩", "n": 1, "none": ⟨3.list:["p", "q"]⟩}`},
	{"tojson of an empty value", `{{ messages[3].empty|tojson }}{{ []|tojson }}`, `⟨3.empty:[]⟩[]`},
	{"tojson of a message", `{{ messages[0]|tojson }}`, `⟨0.:{"⟩⟨0.role:role⟩⟨0.:": "⟩⟨0.role:system⟩⟨0.:", "⟩⟨0.content:content⟩⟨0.:": "⟩⟨0.content:⟩⟨0.:"}⟩`},
	{"repr of a value", `{{ C }}{{ [N, 1, 'a'] }}{{ (N,) }}`, `⟨2.tool_calls:[{'name': 'f', 'arguments': {'k"': 'v\n', 'n': [1, True, None]}}]⟩['⟨1.name:Élan⟩', 1, 'a']('⟨1.name:Élan⟩',)`},
	{"values, keys and slices of a list", `{{ C[0].keys()|join(',') }}{{ L[1:] }}{{ L + ['x'] }}`, `⟨2.tool_calls:name⟩,⟨2.tool_calls:arguments⟩⟨3.list:['q']['p', 'q', '⟩x⟨3.list:']⟩`},
	// statements
	{"a macro", `{% macro f(a, b='d') %}({{ a }}{{ b }}){% endmacro %}{{ f(N) }}{{ f(b=N, a=1)|upper }}`, "(⟨1.name:Élan⟩d)(1⟨1.name:ÉLAN⟩)"},
	{"the names of a macro's arguments", `{% macro f() %}{{ kwargs.items()|list|first|join('=') }}{{ varargs|join }}{% endmacro %}{{ f(N, **C[0]) }}`, "⟨2.tool_calls:name⟩=⟨2.tool_calls:f⟩⟨1.name:Élan⟩"},
	{"a dict of named arguments", `{% set d = dict(**C[0]) %}{{ d.keys()|first }}{{ namespace(**C[0]).name }}`, "⟨2.tool_calls:namef⟩"},
	{"a call block", `{% macro f() %}<{{ caller(N) }}>{% endmacro %}{% call(x) f() %}{{ x }}!{% endcall %}`, "<⟨1.name:Élan⟩!>"},
	{"a set block", `{% set x %}[{{ N }}{{ S }}]{% endset %}{{ x }}{{ x|length }}`, "[⟨1.name:Élan⟩⟨0.content:⟩]6"},
	{"a filtered set block", `{% set x | trim | upper %} {{ N }} {% endset %}{{ x }}`, "⟨1.name:ÉLAN⟩"},
	{"an empty value in a trimmed block", `{% set x %} {{ S }} {% endset %}{{ x|trim }}.`, "⟨0.content:⟩."},
	{"a filter block", `{% filter replace('a', '4') %}a{{ N }}{% endfilter %}`, "4⟨1.name:Él⟩4⟨1.name:n⟩"},
	{"a namespace", `{% set ns = namespace(t='', u=N) %}{% for m in messages[:2] %}{% set ns.t = ns.t ~ m.role ~ ',' %}{% endfor %}{{ ns.t }}{{ ns.u }}`, "⟨0.role:system⟩,⟨1.role:user⟩,⟨1.name:Élan⟩"},
	{"a recursive loop", `{% for x in [N, [N]] recursive %}{% if x is string %}<{{ x }}>{% else %}{{ loop(x) }}{% endif %}{% endfor %}`, "<⟨1.name:Élan⟩><⟨1.name:Élan⟩>"},
	{"loop helpers, cycler, joiner", `{% set j = joiner(N) %}{% for x in [1, 2] %}{{ j() }}{{ loop.cycle('a', N) }}{% endfor %}{{ cycler(N).next() }}`, "a⟨1.name:ÉlanÉlanÉlan⟩"},
	{"a generation block", `{% generation %}{{ N }}{% endgeneration %}.`, "⟨1.name:Élan⟩."},
	{"with and unpacking", `{% with a, b = [N, 'x'] %}{{ b }}{{ a }}{% endwith %}{% set p, q = L %}{{ q }}`, "x⟨1.name:Élan⟩⟨3.list:q⟩"},
	{"the clock and its format", `{{ strftime_now('%Y') }}{{ strftime_now(N ~ '%d') }}`, "2024⟨1.name:Élan⟩26"},
	{"a value decides, the template writes", `{{ {'Élan': '<t>'}[N] }}{{ '<u>' if N == 'Élan' }}{{ N|length }}{{ N == 'Élan' }}`, "<t><u>4True"},
	{"a number of a value is a number", `{{ messages[3].content }}{{ messages[3].content + 1 }}`, "56"},
}

func TestEveryOperationCarriesOrigins(t *testing.T) {
	messages, err := ParseMessages([]byte(originMessages))
	require.NoError(t, err)
	for _, c := range originCases {
		t.Run(c.name, func(t *testing.T) {
			r, err := mustParse(t, originPrefix+c.template, map[string]string{"bos_token": "<s>"}).Render(messages, Options{
				Tools: json.RawMessage(`[{"name": "t"}]`), Documents: []string{"d"}, Extra: map[string]any{"extra": "more"},
				Now: time.Date(2024, 7, 26, 9, 5, 3, 0, time.UTC),
			})
			require.NoError(t, err)
			requirePieces(t, r)
			assert.Equal(t, c.want, marked(r))
		})
	}
}
