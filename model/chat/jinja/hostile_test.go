package jinja

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// small limits keep the tests quick; the defaults are tested where they matter.
var small = Limits{Steps: 200_000, Bytes: 1 << 20}

func renderWith(l Limits, source string) (Text, error) {
	t, err := Parse(source, l)
	if err != nil {
		return Text{}, err
	}
	return t.Render(NewDict(0), time.Time{})
}

func requireKind(t *testing.T, want Kind, err error) *Error {
	t.Helper()
	var e *Error
	require.True(t, errors.As(err, &e), "want a %v error, got %v", want, err)
	require.Equal(t, want, e.Kind, e.Message)
	return e
}

func TestHostileTemplatesMeetALimit(t *testing.T) {
	double := func(expr string) string {
		return `{% set ns = namespace(s="aaaaaaaaaa", l=[1]) %}{% for i in range(64) %}{% set ` + expr + ` %}{% endfor %}`
	}
	for name, source := range map[string]string{
		"a range is too long":                     `{% for i in range(10**9) %}{% endfor %}`,
		"loops are nested":                        `{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}`,
		"a macro calls itself":                    `{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}`,
		"two macros call each other":              `{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}`,
		"a call block calls itself":               `{% macro r() %}{{ caller }}{% call r() %}{% endcall %}{% endmacro %}{{ r() }}`,
		"a default argument calls its macro":      `{% macro f(a=f()) %}{% endmacro %}{{ f() }}`,
		"a recursive loop never ends":             `{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}`,
		"a string is multiplied":                  `{{ "a" * 10**9 }}`,
		"a string is multiplied beyond an int":    `{{ "ab" * 9223372036854775807 }}`,
		"a list is multiplied":                    `{{ [1] * 10**9 }}`,
		"a string doubles with ~":                 double(`ns.s = ns.s ~ ns.s`),
		"a string doubles with +":                 double(`ns.s = ns.s + ns.s`),
		"a list doubles":                          double(`ns.l = ns.l + ns.l`),
		"a nested list is printed":                double(`ns.l = [ns.l, ns.l]`) + `{{ ns.l }}`,
		"a nested list is serialised":             double(`ns.l = [ns.l, ns.l]`) + `{{ ns.l|tojson }}`,
		"nested lists are compared":               double(`ns.l = [ns.l, ns.l]`) + `{% set a = ns.l %}` + double(`ns.l = [ns.l, ns.l]`) + `{{ a == ns.l }}`,
		"a nested tuple is a key":                 `{% set ns = namespace(t=(1,)) %}{% for i in range(64) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}`,
		"a namespace holds itself":                `{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}`,
		"replace grows a string":                  `{% set ns = namespace(s="aa") %}{% for i in range(40) %}{% set ns.s = ns.s|replace("a", "aa") %}{% endfor %}`,
		"replace of nothing grows a string":       `{{ ("a" * 1000).replace("", "b" * 100000) }}`,
		"join grows a string":                     `{% set s = "a" * 100000 %}{{ range(99999)|join(s) }}`,
		"indent grows a string":                   `{{ ("\n" * 10000)|indent(60000, blank=true) }}`,
		"padding is wide":                         `{{ "a".center(10**9) }}`,
		"zfill is wide":                           `{{ "a".zfill(10**9) }}`,
		"a percent width is wide":                 `{{ "%999999999d" % 1 }}`,
		"a percent width given by star is wide":   `{{ "%*d" % (10**9, 1) }}`,
		"a format width is wide":                  `{{ "{:999999999}".format(1) }}`,
		"tabs are wide":                           `{{ "\t".expandtabs(10**9) }}`,
		"a generator is chained onto itself":      `{% set ns = namespace(g=[1]) %}{% for i in range(9999) %}{% set ns.g = ns.g|map("string") %}{% endfor %}{{ ns.g|list }}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}`,
		"a power is large":                        `{{ 10 ** 10 ** 10 }}`,
		"a product is large":                      `{{ 9223372036854775807 * 2 }}`,
		"a negation leaves 64 bits":               `{{ -(-9223372036854775807 - 1) }}`,
		"a quotient leaves 64 bits":               `{{ (-9223372036854775807 - 1) // -1 }}`,
		"the output is long":                      `{% for i in range(99999) %}{{ "a" * 100 }}{% endfor %}`,
		"brackets are nested":                     `{{ ` + strings.Repeat("(", 10000) + `1` + strings.Repeat(")", 10000) + ` }}`,
		"lists are nested":                        `{{ ` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + ` }}`,
		"not is repeated":                         `{{ ` + strings.Repeat("not ", 10000) + `1 }}`,
		"minus is repeated":                       `{{ ` + strings.Repeat("-", 10000) + `1 }}`,
		"a sum is long":                           `{{ 1` + strings.Repeat("+1", 10000) + ` }}`,
		"an attribute chain is long":              `{{ a` + strings.Repeat(".a", 10000) + ` }}`,
		"a filter chain is long":                  `{{ 1` + strings.Repeat("|string", 10000) + ` }}`,
		"a conditional chain is long":             `{{ 1` + strings.Repeat(" if 1 else 1", 10000) + ` }}`,
		"blocks are nested":                       strings.Repeat(`{% if 1 %}`, 10000) + strings.Repeat(`{% endif %}`, 10000),
		"targets are nested":                      `{% set ` + strings.Repeat("(", 10000) + `a` + strings.Repeat(")", 10000) + ` = 1 %}`,
		"a split of much text runs often":         `{% set s = "a " * 100000 %}{% for i in range(99999) %}{% set x = s.split() %}{% endfor %}`,
		"a search of much text runs often":        `{% set s = "a" * 500000 %}{% for i in range(99999) %}{% set x = "b" in s %}{% endfor %}`,
		"a sort of many items runs often":         `{% for i in range(99999) %}{% set x = range(1000)|sort %}{% endfor %}`,
		"a comparison of much text runs often":    `{% set s = "a" * 400000 %}{% set t = "a" ~ ("a" * 399999) %}{% for i in range(99999) %}{% set x = s == t %}{% endfor %}`,
		"a length of much text is taken often":    `{% set s = "é" * 200000 %}{% for i in range(99999) %}{% set x = s|length %}{% endfor %}`,
		"unique over many items runs often":       `{% for i in range(99999) %}{% set x = range(1000)|unique|list %}{% endfor %}`,
		"json of much text is written":            `{% set s = "a" * 500000 %}{{ [s, s, s]|tojson }}`,
		"slices of much text are taken often":     `{% set s = "é" * 100000 %}{% for i in range(99999) %}{% set x = s[::-1] %}{% endfor %}`,
		"strip with many characters runs often":   `{% set s = "a" * 200000 %}{% set c = "b" * 200000 ~ "a" %}{% for i in range(99999) %}{% set x = s.strip(c) %}{% endfor %}`,
		"the last item of a long string is taken": `{% set s = "a" * 100000 %}{% for i in range(99999) %}{% set x = s|last %}{% endfor %}`,
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := renderWith(small, source)
			requireKind(t, LimitError, err)
			// Far above what any case takes (tens of milliseconds), far below what no limit would.
			assert.Less(t, time.Since(begin), 20*time.Second)
		})
	}
}

func TestDefaultLimitsHoldAgainstTheWorstCases(t *testing.T) {
	for name, source := range map[string]string{
		"a failure within many nodes": `{% macro f(n) %}{{ ` + strings.Repeat("{1: ", 100) + `f(n + 1)` + strings.Repeat("}", 100) + ` }}{% endmacro %}{{ f(0) }}`,
		"recursion":                   `{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}`,
		"doubling":                    `{% set ns = namespace(s="aaaaaaaa") %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`,
		"a loop":                      `{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`,
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := renderWith(Limits{}, source)
			requireKind(t, LimitError, err)
			assert.Less(t, time.Since(begin), 20*time.Second)
		})
	}
}

func TestASourceThatIsTooLongIsRefused(t *testing.T) {
	_, err := Parse(strings.Repeat("a", 11), Limits{Source: 10})
	requireKind(t, LimitError, err)
	_, err = Parse(strings.Repeat("a", 10), Limits{Source: 10})
	assert.NoError(t, err)
}

func TestTheSandboxHidesWhatChangesOrReveals(t *testing.T) {
	for _, source := range []string{
		`{{ [1].append(2) }}`, `{{ [1].clear() }}`, `{{ {}.update({}) }}`, `{{ {"a": 1}.pop("a") }}`, `{{ {}.setdefault("a", 1) }}`,
		`{{ "".__class__.__mro__ }}`, `{{ [].__class__() }}`, `{{ ""["__class__"].x }}`, `{{ (""|attr("__class__")).x }}`, `{{ namespace.__globals__["x"] }}`,
	} {
		t.Run(source, func(t *testing.T) {
			_, err := renderWith(small, source)
			requireKind(t, SecurityError, err)
		})
	}
}

func TestANamespaceThatIsReplacedInItsOwnTupleIsAnError(t *testing.T) {
	_, err := renderWith(small, `{% set s = namespace() %}{% set s, s.a = 0, 0 %}`)
	requireKind(t, TypeError, err)
}

func TestTagsThatWouldReachFilesAreRefused(t *testing.T) {
	for _, source := range []string{
		`{% include "/etc/passwd" %}`, `{% import "x" as y %}`, `{% from "x" import y %}`, `{% extends "x" %}`, `{% block a %}{% endblock %}`,
	} {
		t.Run(source, func(t *testing.T) {
			_, err := Parse(source, Limits{})
			requireKind(t, SyntaxError, err)
		})
	}
}

func TestErrorsNameTheirLine(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		line   int
	}{
		"a syntax error":               {"a\nb\n{{ 1 + }}", 3},
		"an unclosed block":            {"a\n{% if 1 %}\nb", 3},
		"an unclosed comment":          {"a\n{# b\nc", 2},
		"an undefined value":           {"a\n\n{{ x.y }}", 3},
		"a raised error":               {"a\n{%- if true -%}\n\n{{ raise_exception('no') }}{% endif %}", 4},
		"an error inside a macro":      {"{% macro m() %}\n{{ x.y }}\n{% endmacro %}\n\n{{ m() }}", 2},
		"an error in a multi-line tag": {"{{ [1,\n2] + \n3 }}", 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := renderWith(Limits{}, c.source)
			var e *Error
			require.True(t, errors.As(err, &e), "%v", err)
			assert.Equal(t, c.line, e.Line, e.Message)
			assert.Contains(t, e.Error(), "line")
		})
	}
}
