package jinja

import "strings"

// testFunc is one test: what follows is.
type testFunc func(st *state, in Value, a *args) bool

// tests are the tests of Jinja2.
var tests = map[string]testFunc{
	"odd":         parity(1),
	"even":        parity(0),
	"divisibleby": takes(func(st *state, in Value, b []Value) bool { return divides(st, in, b[0], 0) }, "divisibleby", 1, "num"),
	"defined":     plain(func(v Value) bool { return !isType[*Undefined](v) }),
	"undefined":   plain(isType[*Undefined]),
	"none":        plain(func(v Value) bool { return v == nil }),
	"boolean":     plain(isType[bool]),
	"true":        plain(func(v Value) bool { b, ok := v.(bool); return ok && b }),
	"false":       plain(func(v Value) bool { b, ok := v.(bool); return ok && !b }),
	"integer":     plain(func(v Value) bool { return typeName(v) == "int" }),
	"float":       plain(isType[float64]),
	"number":      plain(func(v Value) bool { _, ok := number(v); return ok }),
	"string":      plain(func(v Value) bool { _, ok := text(v); return ok }),
	"mapping":     plain(isType[*Dict]),
	"sequence":    plain(isSequence),
	"iterable":    plain(func(v Value) bool { _, _, ok := iterable(v); return ok }),
	"callable":    plain(isCallable),
	"escaped":     plain(isType[Markup]),
	"lower":       caseTest("islower"),
	"upper":       caseTest("isupper"),
	"in":          takes(func(st *state, in Value, b []Value) bool { return st.contains(b[0], in) }, "in", 1, "seq"),
	"sameas":      takes(testSameAs, "sameas", 1, "other"),
	"filter":      func(st *state, in Value, _ *args) bool { return named(st.filters, in) },
	"test":        func(st *state, in Value, _ *args) bool { return named(st.tests, in) },
	"==":          comparison("=="), "eq": comparison("=="), "equalto": comparison("=="),
	"!=": comparison("!="), "ne": comparison("!="),
	"<": comparison("<"), "lt": comparison("<"), "lessthan": comparison("<"),
	"<=": comparison("<="), "le": comparison("<="),
	">": comparison(">"), "gt": comparison(">"), "greaterthan": comparison(">"),
	">=": comparison(">="), "ge": comparison(">="),
}

func isType[T any](v Value) bool { _, ok := v.(T); return ok }

// plain is a test without arguments.
func plain(f func(Value) bool) testFunc {
	return takes(func(_ *state, in Value, _ []Value) bool { return f(in) }, "test", 0)
}

func isSequence(v Value) bool {
	if _, ok := sequence(v); ok {
		return true
	}
	switch v.(type) {
	case Text, Markup, *Dict, *Range, *Undefined:
		return true
	}
	return false
}

func isCallable(v Value) bool {
	switch v.(type) {
	case *Callable, *Macro, *loopContext, *joiner, *Undefined:
		return true
	}
	return false
}

func named[T any](table map[string]T, v Value) bool {
	name, ok := text(v)
	_, has := table[name]
	return ok && has
}

func comparison(op string) testFunc {
	return takes(func(st *state, in Value, b []Value) bool { return st.compare(op, in, b[0]) }, op, 1, "other")
}

func parity(rest int64) testFunc {
	return takes(func(st *state, in Value, _ []Value) bool { return divides(st, in, int64(2), rest) },
		"test", 0)
}

// divides tells whether in modulo n is rest.
func divides(st *state, in, n Value, rest int64) bool {
	return equal(st.m, st.binary("%", in, n), rest)
}

// testSameAs is Python's identity: the same object. Equal strings and numbers of one type count as
// one object, as they mostly are in Python.
func testSameAs(_ *state, in Value, b []Value) bool {
	if l, ok := text(in); ok {
		r, ok := text(b[0])
		return ok && l == r && typeName(in) == typeName(b[0])
	}
	return in == b[0]
}

// caseTest is a test that a method of str answers.
func caseTest(method string) testFunc {
	return takes(func(st *state, in Value, _ []Value) bool {
		s := str(st.m, in).Peek()
		st.m.scan(len(s))
		if method == "islower" {
			return cased(s) && strings.ToLower(s) == s
		}
		return cased(s) && strings.ToUpper(s) == s
	}, "test", 0)
}
