package jinja

import (
	"slices"
	"strconv"

	"github.com/warmserve/warmserve/model/chat/origin"
)

func itoa(i int64) string { return strconv.FormatInt(i, 10) }

// args are evaluated arguments.
type args struct {
	pos   []Value
	names []Text // of named
	named []Value
}

func (c *callArgs) eval(st *state) *args {
	a := &args{}
	if len(c.pos) == 0 && len(c.named) == 0 && c.star == nil && c.starstar == nil {
		return a
	}
	a.pos = st.evalAll(c.pos)
	a.named = st.evalAll(c.named)
	for _, name := range c.names {
		a.names = append(a.names, origin.Literal(name))
	}
	if c.star != nil {
		a.pos = append(a.pos, st.collect(c.star.eval(st))...)
	}
	if c.starstar != nil {
		v := c.starstar.eval(st)
		d, ok := v.(*Dict)
		if !ok {
			panic(typeErrorf("argument after ** must be a mapping, not %s", typeName(v)))
		}
		for k, v := range d.All() {
			name, ok := chars(k)
			if !ok {
				panic(typeErrorf("keywords must be strings"))
			}
			if a.name(name.Peek()) >= 0 {
				panic(typeErrorf("got multiple values for keyword argument '%s'", name.Peek()))
			}
			a.names, a.named = append(a.names, name), append(a.named, v)
		}
	}
	return a
}

// name is the place among the named arguments of the one of that name, or -1.
func (a *args) name(name string) int {
	return slices.IndexFunc(a.names, func(t Text) bool { return t.Peek() == name })
}

// absent stands for a parameter that got no argument.
type absent struct{}

// bind assigns the arguments to params, of which the first need are required. A parameter without
// an argument is absent{}.
func (a *args) bind(fn string, need int, params ...string) ([]Value, error) {
	if len(a.pos) > len(params) {
		return nil, typeErrorf("%s() takes at most %d arguments (%d given)", fn, len(params), len(a.pos))
	}
	out := make([]Value, len(params))
	for i := range out {
		if i < len(a.pos) {
			out[i] = a.pos[i]
		} else {
			out[i] = absent{}
		}
	}
	for i, t := range a.names {
		name := t.Peek()
		j := slices.Index(params, name)
		switch {
		case j < 0:
			return nil, typeErrorf("%s() got an unexpected keyword argument '%s'", fn, name)
		case j < len(a.pos):
			return nil, typeErrorf("%s() got multiple values for argument '%s'", fn, name)
		}
		out[j] = a.named[i]
	}
	for i := range need {
		if isAbsent(out[i]) {
			return nil, typeErrorf("%s() missing required argument: '%s'", fn, params[i])
		}
	}
	return out, nil
}

// take is bind of arguments without which nothing goes on.
func (a *args) take(fn string, need int, params ...string) []Value {
	b, err := a.bind(fn, need, params...)
	check(err)
	return b
}

// takes is a filter, test or method of a value and its arguments, which are bound to params before f.
func takes[R any](f func(st *state, in Value, b []Value) R, fn string, need int,
	params ...string) func(*state, Value, *args) R {
	return func(st *state, in Value, a *args) R { return f(st, in, a.take(fn, need, params...)) }
}

func isAbsent(v Value) bool { _, ok := v.(absent); return ok }

// orDefault is v, or def when the parameter got no argument.
func orDefault(v, def Value) Value {
	if isAbsent(v) {
		return def
	}
	return v
}

// intArg reads an integer parameter.
func intArg(v Value, def int64) int64 {
	if isAbsent(v) {
		return def
	}
	if u, ok := v.(*Undefined); ok {
		panic(u.err())
	}
	i, ok := integer(v)
	if !ok {
		panic(typeErrorf("'%s' object cannot be interpreted as an integer", typeName(v)))
	}
	return i
}

// Macro is a macro with the scope it was defined in.
type Macro struct {
	def  *macroDef
	home *scope
}

func (s *macroStmt) exec(st *state) flow {
	st.scope.set(s.def.name, &Macro{s.def, st.scope})
	return flowNext
}

func (s *callBlockStmt) exec(st *state) flow {
	st.begin(s.line)
	st.out.write(str(st.m, s.call.call(st, &Macro{s.def, st.scope})))
	st.end(nil)
	return flowNext
}

// call runs the macro and returns what it wrote.
func (m *Macro) call(st *state, a *args) Value {
	st.m.enter()
	defer st.m.leave()
	return st.capture(m.bind(st, a), m.def.body)
}

// bind makes the scope of a call.
func (m *Macro) bind(st *state, a *args) *scope {
	def := m.def
	sc := newScope(m.home)
	used := make([]bool, len(a.names))
	for i, param := range def.params {
		if i < len(a.pos) {
			sc.set(param, a.pos[i])
			continue
		}
		if j := a.name(param); j >= 0 {
			sc.set(param, a.named[j])
			used[j] = true
			continue
		}
		d := i - (len(def.params) - len(def.defaults))
		if d < 0 {
			u := undefinedHint("parameter '" + param + "' was not provided")
			u.name = origin.Literal(param)
			sc.set(param, u)
			continue
		}
		outer := st.scope
		st.scope = sc
		v := def.defaults[d].eval(st)
		st.scope = outer
		sc.set(param, v)
	}
	if def.usesCaller {
		if j := a.name("caller"); j >= 0 {
			sc.set("caller", a.named[j])
			used[j] = true
		} else {
			sc.set("caller", undefinedHint("No caller defined"))
		}
	}
	m.rest(st, sc, a, used)
	return sc
}

// rest gives the arguments that no parameter took to kwargs and varargs, or refuses them.
func (m *Macro) rest(st *state, sc *scope, a *args, used []bool) {
	def := m.def
	kwargs := NewDict(0)
	for j, name := range a.names {
		if used[j] {
			continue
		}
		if !def.usesKwargs {
			if name.Peek() == "caller" {
				panic(typeErrorf("macro %s was invoked with two values for the special caller argument. This is most likely a bug.", m.repr()))
			}
			panic(typeErrorf("macro %s takes no keyword argument %s", m.repr(), reprString(name.Peek())))
		}
		kwargs.set(name, a.named[j])
	}
	if def.usesKwargs {
		sc.set("kwargs", kwargs)
	}
	extra := a.pos[min(len(a.pos), len(def.params)):]
	if def.usesVarargs {
		sc.set("varargs", &Tuple{extra})
	} else if len(extra) > 0 {
		panic(typeErrorf("macro %s takes not more than %d argument(s)", m.repr(), len(def.params)))
	}
	st.m.step(len(a.pos))
}

func (m *Macro) repr() string {
	if m.def.name == "" {
		return "None"
	}
	return reprString(m.def.name)
}
