package jinja

func (s *dataStmt) exec(st *state) flow {
	st.out.write(s.text)
	return flowNext
}

func (s *printStmt) exec(st *state) flow {
	st.begin(s.line)
	st.out.write(str(st.m, s.x.eval(st)))
	st.end(nil)
	return flowNext
}

func (s *ifStmt) exec(st *state) flow {
	for i, test := range s.tests {
		if truth(test.eval(st)) {
			return st.run(s.bodies[i])
		}
	}
	return st.run(s.other)
}

func (s *flowStmt) exec(*state) flow { return s.f }

func (s *scopeStmt) exec(st *state) flow {
	st.out.write(st.capture(newScope(st.scope), s.body))
	return flowNext
}

func (s *setStmt) exec(st *state) flow {
	st.begin(s.line)
	st.assign(st.scope, &s.target, s.x.eval(st))
	st.end(nil)
	return flowNext
}

func (s *setBlockStmt) exec(st *state) flow {
	st.begin(s.line)
	inner := newScope(st.scope)
	t := st.capture(inner, s.body)
	v := Value(t)
	if s.filter != nil {
		v = st.piped(inner, s.filter, t)
	}
	st.assign(st.scope, &s.target, v)
	st.end(nil)
	return flowNext
}

func (s *filterBlockStmt) exec(st *state) flow {
	st.begin(s.line)
	inner := newScope(st.scope)
	t := st.capture(inner, s.body)
	st.out.write(str(st.m, st.piped(inner, s.filter, t)))
	st.end(nil)
	return flowNext
}

// piped evaluates a filter chain whose innermost filter takes the text of a block.
func (st *state) piped(sc *scope, filter expr, in Text) Value {
	outer := st.scope
	st.scope = newScope(sc)
	st.scope.set(blockBody, in)
	v := filter.eval(st)
	st.scope = outer
	return v
}

// blockBody is the name under which a filter block's body reaches its first filter. No template can
// spell it.
const blockBody = "\x00body"

func (s *withStmt) exec(st *state) flow {
	inner := newScope(st.scope)
	st.begin(s.line)
	for i, x := range s.vals {
		st.assign(inner, &s.targets[i], x.eval(st))
	}
	st.end(nil)
	return st.within(inner, s.body)
}

// assign stores v in sc. Every namespace of a tuple is checked before anything is stored.
func (st *state) assign(sc *scope, t *target, v Value) {
	st.checkNamespaces(sc, t)
	st.store(sc, t, v)
}

func (st *state) checkNamespaces(sc *scope, t *target) {
	if t.attr != "" {
		t.namespace(sc)
	}
	for i := range t.items {
		st.checkNamespaces(sc, &t.items[i])
	}
}

// namespace is the one whose attribute is assigned to.
func (t *target) namespace(sc *scope) *Namespace {
	ns, ok := sc.lookup(t.name).(*Namespace)
	if !ok {
		panic(newError(TypeError, "cannot assign attribute on non-namespace object").at(t.line))
	}
	return ns
}

func (st *state) store(sc *scope, t *target, v Value) {
	switch {
	case t.items != nil:
		st.begin(t.line)
		vals := st.unpack(v, len(t.items))
		for i := range t.items {
			st.store(sc, &t.items[i], vals[i])
		}
		st.end(nil)
	case t.attr != "":
		// A target before it in a tuple may have put something else in the namespace's place.
		t.namespace(sc).attrs.own(t.attr, v)
	default:
		sc.set(t.name, v)
	}
}

// unpack takes exactly n values out of v.
func (st *state) unpack(v Value, n int) []Value {
	it, _, ok := iterable(v)
	if !ok {
		panic(typeErrorf("cannot unpack non-iterable %s object", typeName(v)))
	}
	vals := make([]Value, 0, n)
	for len(vals) < n {
		item, ok := it.next(st)
		if !ok {
			panic(valueErrorf("not enough values to unpack (expected %d, got %d)", n, len(vals)))
		}
		vals = append(vals, item)
	}
	if _, more := it.next(st); more {
		panic(valueErrorf("too many values to unpack (expected %d)", n))
	}
	return vals
}

func (s *forStmt) exec(st *state) flow {
	st.begin(s.line)
	v := s.iter.eval(st)
	if !s.recursive {
		s.loop(st, st.scope, v, nil, 0)
		st.end(nil)
		return flowNext
	}
	home := st.scope
	var recurse func(v Value, depth int) Text
	recurse = func(v Value, depth int) Text {
		st.m.enter()
		defer st.m.leave()
		outer, sc := st.out, st.scope
		st.out, st.scope = &output{m: st.m}, home
		s.loop(st, home, v, recurse, depth)
		t := st.out.b.Text()
		st.out, st.scope = outer, sc
		return t
	}
	st.out.write(recurse(v, 0))
	st.end(nil)
	return flowNext
}

// loop runs the body for every item of v, in a new scope each time.
func (s *forStmt) loop(st *state, home *scope, v Value, recurse func(Value, int) Text, depth int) {
	st.begin(s.line).on(s.iter, v)
	it, size := iterate(v)
	st.end(nil)
	if s.test != nil {
		it, size = s.filtered(home, it), -1
	}
	lc := &loopContext{it: it, size: size, index0: -1, recurse: recurse, depth0: depth}
	for {
		st.m.step(1)
		item, ok := lc.next(st)
		if !ok {
			break
		}
		sc := newScope(home)
		sc.set("loop", lc)
		st.store(sc, &s.target, item)
		if st.within(sc, s.body) == flowBreak {
			break
		}
	}
	if lc.index0 < 0 {
		st.within(newScope(home), s.other)
	}
}

// filtered yields the items for which the loop's test holds, each tested when the loop asks for it.
func (s *forStmt) filtered(home *scope, it iterator) iterator {
	return &generator{kind: "generator", pull: func(st *state) (Value, bool) {
		for {
			item, ok := it.next(st)
			if !ok {
				return nil, false
			}
			sc := newScope(home)
			st.store(sc, &s.target, item)
			outer := st.scope
			st.scope = sc
			v := s.test.eval(st)
			st.scope = outer
			if truth(v) {
				return item, true
			}
			st.m.step(1)
		}
	}}
}
