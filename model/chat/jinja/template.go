package jinja

import (
	"time"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	body   []stmt
	limits Limits
	nones  map[string]bool
}

// Parse reads a template. The error is an *[Error] of kind [SyntaxError] or [LimitError].
func Parse(source string, limits Limits) (_ *Template, err error) {
	defer catch(&err)
	limits = limits.withDefaults()
	if len(source) > limits.Source {
		panic(newError(LimitError, "template is %d bytes long, limit is %d", len(source), limits.Source))
	}
	p := &parser{toks: lex(source)}
	return &Template{body: p.parse(), limits: limits, nones: p.nones}, nil
}

// TestsNone tells whether the template tests somewhere whether a variable, attribute or item of that
// name is none.
func (t *Template) TestsNone(name string) bool { return t.nones[name] }

// Render evaluates the template with vars as its variables. now is the time that strftime_now
// tells. vars is only read. The error is an *[Error].
func (t *Template) Render(vars *Dict, now time.Time) (_ Text, err error) {
	out := &output{}
	st := &state{m: &meter{limits: t.limits}, out: out, now: now, nodes: make([]node, 16),
		filters: filters, tests: tests}
	out.m = st.m
	st.scope = &scope{vars: vars}
	st.scope = newScope(st.scope)
	defer func() {
		if e := failure(recover()); e != nil {
			err = st.explain(e)
		}
	}()
	st.run(t.body)
	return out.b.Text(), nil
}

// output is where statements write; its bytes are charged.
type output struct {
	b origin.Builder
	m *meter
}

func (o *output) write(t Text) {
	o.m.grow(t.Cost())
	o.b.Write(t)
}

// state is one render.
type state struct {
	m     *meter
	scope *scope
	out   *output
	now   time.Time
	nodes []node // of which the first begun are being evaluated, the innermost last
	begun int
	// the tables, for filters that take the name of another
	filters map[string]filterFunc
	tests   map[string]testFunc
}

// scope holds the variables of one level, innermost first through parent.
type scope struct {
	parent *scope
	names  []string
	vals   []Value
	vars   *Dict // of the outermost scope: the arguments of the render
	// room for the few names that most scopes hold
	names0 [4]string
	vals0  [4]Value
}

func newScope(parent *scope) *scope {
	s := &scope{parent: parent}
	s.names, s.vals = s.names0[:0], s.vals0[:0]
	return s
}

func (s *scope) set(name string, v Value) {
	for i, n := range s.names {
		if n == name {
			s.vals[i] = v
			return
		}
	}
	s.names = append(s.names, name)
	s.vals = append(s.vals, v)
}

// lookup finds a variable, or a builtin function, or returns undefined.
func (s *scope) lookup(name string) Value {
	for ; s != nil; s = s.parent {
		for i, n := range s.names {
			if n == name {
				return s.vals[i]
			}
		}
		if s.vars != nil {
			if v, ok := s.vars.Get(name); ok {
				return v
			}
		}
	}
	if c, ok := globals[name]; ok {
		return c
	}
	return undefinedName(name)
}

// run executes statements in the current scope.
func (st *state) run(body []stmt) flow {
	for _, s := range body {
		st.m.step(1)
		if f := s.exec(st); f != flowNext {
			return f
		}
	}
	return flowNext
}

// within runs body in scope and restores the current one.
func (st *state) within(sc *scope, body []stmt) flow {
	outer := st.scope
	st.scope = sc
	f := st.run(body)
	st.scope = outer
	return f
}

// capture runs body in scope and returns what it wrote.
func (st *state) capture(sc *scope, body []stmt) Text {
	outer := st.out
	st.out = &output{m: st.m}
	st.within(sc, body)
	s := st.out.b.Text()
	st.out = outer
	return s
}
