package jinja

import "strings"

// testFunc is one test: what follows is.
type testFunc func(st *state, in Value, a *args) (bool, error)

// tests are the tests of Jinja2.
var tests = map[string]testFunc{
	"odd":         func(st *state, in Value, a *args) (bool, error) { return divides(st, in, a, 2, 1) },
	"even":        func(st *state, in Value, a *args) (bool, error) { return divides(st, in, a, 2, 0) },
	"divisibleby": testDivisibleBy,
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
	"iterable":    plain(func(v Value) bool { _, _, err := iterate(v); return err == nil }),
	"callable":    plain(isCallable),
	"escaped":     plain(isType[Markup]),
	"lower":       caseTest("islower"),
	"upper":       caseTest("isupper"),
	"in":          testIn,
	"sameas":      testSameAs,
	"filter":      func(st *state, in Value, _ *args) (bool, error) { return named(st.filters, in), nil },
	"test":        func(st *state, in Value, _ *args) (bool, error) { return named(st.tests, in), nil },
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
	return func(_ *state, in Value, a *args) (bool, error) {
		if _, err := a.bind("test", 0); err != nil {
			return false, err
		}
		return f(in), nil
	}
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
	return func(st *state, in Value, a *args) (bool, error) {
		b, err := a.bind(op, 1, "other")
		if err != nil {
			return false, err
		}
		return st.compare(op, in, b[0])
	}
}

func testIn(st *state, in Value, a *args) (bool, error) {
	b, err := a.bind("in", 1, "seq")
	if err != nil {
		return false, err
	}
	return st.contains(b[0], in)
}

// divides tells whether in modulo n is rest.
func divides(st *state, in Value, a *args, n, rest int64) (bool, error) {
	if _, err := a.bind("test", 0); err != nil {
		return false, err
	}
	m, err := st.binary("%", in, n)
	if err != nil {
		return false, err
	}
	return equal(st.m, m, rest)
}

func testDivisibleBy(st *state, in Value, a *args) (bool, error) {
	b, err := a.bind("divisibleby", 1, "num")
	if err != nil {
		return false, err
	}
	m, err := st.binary("%", in, b[0])
	if err != nil {
		return false, err
	}
	return equal(st.m, m, int64(0))
}

// testSameAs is Python's identity: the same object. Equal strings and numbers of one type count as
// one object, as they mostly are in Python.
func testSameAs(_ *state, in Value, a *args) (bool, error) {
	b, err := a.bind("sameas", 1, "other")
	if err != nil {
		return false, err
	}
	if l, ok := text(in); ok {
		r, ok := text(b[0])
		return ok && l == r && typeName(in) == typeName(b[0]), nil
	}
	return in == b[0], nil
}

// caseTest is a test that a method of str answers.
func caseTest(method string) testFunc {
	return func(st *state, in Value, a *args) (bool, error) {
		if _, err := a.bind("test", 0); err != nil {
			return false, err
		}
		t, err := str(st.m, in)
		if err != nil {
			return false, err
		}
		s := t.Peek()
		if err := st.m.scan(len(s)); err != nil {
			return false, err
		}
		if method == "islower" {
			return cased(s) && strings.ToLower(s) == s, nil
		}
		return cased(s) && strings.ToUpper(s) == s, nil
	}
}
