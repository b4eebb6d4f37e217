package jinja

func (s *dataStmt) exec(st *state) (flow, error) { return flowNext, st.out.write(s.text) }

func (s *printStmt) exec(st *state) (flow, error) {
	v, err := s.x.eval(st)
	if err != nil {
		return flowNext, at(err, s.line)
	}
	t, err := str(st.m, v)
	if err != nil {
		return flowNext, at(err, s.line)
	}
	return flowNext, at(st.out.write(t), s.line)
}

func (s *ifStmt) exec(st *state) (flow, error) {
	for i, test := range s.tests {
		v, err := test.eval(st)
		if err != nil {
			return flowNext, err
		}
		if truth(v) {
			return st.run(s.bodies[i])
		}
	}
	return st.run(s.other)
}

func (s *flowStmt) exec(*state) (flow, error) { return s.f, nil }

func (s *scopeStmt) exec(st *state) (flow, error) {
	t, err := st.capture(newScope(st.scope), s.body)
	if err != nil {
		return flowNext, err
	}
	return flowNext, st.out.write(t)
}

func (s *setStmt) exec(st *state) (flow, error) {
	v, err := s.x.eval(st)
	if err != nil {
		return flowNext, at(err, s.line)
	}
	return flowNext, at(st.assign(st.scope, &s.target, v), s.line)
}

func (s *setBlockStmt) exec(st *state) (flow, error) {
	inner := newScope(st.scope)
	t, err := st.capture(inner, s.body)
	if err != nil {
		return flowNext, err
	}
	v := Value(t)
	if s.filter != nil {
		if v, err = st.piped(inner, s.filter, t); err != nil {
			return flowNext, at(err, s.line)
		}
	}
	return flowNext, at(st.assign(st.scope, &s.target, v), s.line)
}

func (s *filterBlockStmt) exec(st *state) (flow, error) {
	inner := newScope(st.scope)
	t, err := st.capture(inner, s.body)
	if err != nil {
		return flowNext, err
	}
	v, err := st.piped(inner, s.filter, t)
	if err != nil {
		return flowNext, at(err, s.line)
	}
	if t, err = str(st.m, v); err != nil {
		return flowNext, at(err, s.line)
	}
	return flowNext, st.out.write(t)
}

// piped evaluates a filter chain whose innermost filter takes the text of a block.
func (st *state) piped(sc *scope, filter expr, in Text) (Value, error) {
	outer := st.scope
	st.scope = newScope(sc)
	st.scope.set(blockBody, in)
	v, err := filter.eval(st)
	st.scope = outer
	return v, err
}

// blockBody is the name under which a filter block's body reaches its first filter. No template can
// spell it.
const blockBody = "\x00body"

func (s *withStmt) exec(st *state) (flow, error) {
	inner := newScope(st.scope)
	for i, x := range s.vals {
		v, err := x.eval(st)
		if err == nil {
			err = st.assign(inner, &s.targets[i], v)
		}
		if err != nil {
			return flowNext, at(err, s.line)
		}
	}
	return st.within(inner, s.body)
}

// assign stores v in sc. Every namespace of a tuple is checked before anything is stored.
func (st *state) assign(sc *scope, t *target, v Value) error {
	if err := st.checkNamespaces(sc, t); err != nil {
		return err
	}
	return st.store(sc, t, v)
}

func (st *state) checkNamespaces(sc *scope, t *target) error {
	if t.attr != "" {
		if _, ok := sc.lookup(t.name).(*Namespace); !ok {
			return at(newError(TypeError, "cannot assign attribute on non-namespace object"), t.line)
		}
	}
	for i := range t.items {
		if err := st.checkNamespaces(sc, &t.items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (st *state) store(sc *scope, t *target, v Value) error {
	switch {
	case t.items != nil:
		vals, err := st.unpack(v, len(t.items))
		if err != nil {
			return at(err, t.line)
		}
		for i := range t.items {
			if err := st.store(sc, &t.items[i], vals[i]); err != nil {
				return err
			}
		}
	case t.attr != "":
		// A target before it in a tuple may have put something else in the namespace's place.
		ns, ok := sc.lookup(t.name).(*Namespace)
		if !ok {
			return at(newError(TypeError, "cannot assign attribute on non-namespace object"), t.line)
		}
		ns.attrs.own(t.attr, v)
	default:
		sc.set(t.name, v)
	}
	return nil
}

// unpack takes exactly n values out of v.
func (st *state) unpack(v Value, n int) ([]Value, error) {
	it, _, err := iterate(v)
	if err != nil {
		if _, ok := v.(*Undefined); !ok {
			return nil, typeErrorf("cannot unpack non-iterable %s object", typeName(v))
		}
		return nil, err
	}
	vals := make([]Value, 0, n)
	for len(vals) < n {
		item, ok, err := it.next(st)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, valueErrorf("not enough values to unpack (expected %d, got %d)", n, len(vals))
		}
		vals = append(vals, item)
	}
	if _, ok, err := it.next(st); err != nil {
		return nil, err
	} else if ok {
		return nil, valueErrorf("too many values to unpack (expected %d)", n)
	}
	return vals, nil
}

func (s *forStmt) exec(st *state) (flow, error) {
	v, err := s.iter.eval(st)
	if err != nil {
		return flowNext, at(err, s.line)
	}
	if !s.recursive {
		return flowNext, at(s.loop(st, st.scope, v, nil, 0), s.line)
	}
	home := st.scope
	var recurse func(v Value, depth int) (Text, error)
	recurse = func(v Value, depth int) (Text, error) {
		if err := st.m.enter(); err != nil {
			return Text{}, err
		}
		defer st.m.leave()
		outer, sc := st.out, st.scope
		st.out, st.scope = &output{m: st.m}, home
		err := s.loop(st, home, v, recurse, depth)
		t := st.out.b.Text()
		st.out, st.scope = outer, sc
		return t, err
	}
	t, err := recurse(v, 0)
	if err != nil {
		return flowNext, at(err, s.line)
	}
	return flowNext, st.out.write(t)
}

// loop runs the body for every item of v, in a new scope each time.
func (s *forStmt) loop(st *state, home *scope, v Value, recurse func(Value, int) (Text, error),
	depth int) error {
	it, size, err := iterate(v)
	if err != nil {
		return blame(err, s.iter, v)
	}
	if s.test != nil {
		it, size = s.filtered(home, it), -1
	}
	lc := &loopContext{it: it, size: size, index0: -1, recurse: recurse, depth0: depth}
	ran := false
	for {
		if err := st.m.step(1); err != nil {
			return err
		}
		item, ok, err := lc.next(st)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		ran = true
		sc := newScope(home)
		sc.set("loop", lc)
		if err := st.store(sc, &s.target, item); err != nil {
			return err
		}
		f, err := st.within(sc, s.body)
		if err != nil {
			return err
		}
		if f == flowBreak {
			break
		}
	}
	if !ran {
		_, err = st.within(newScope(home), s.other)
	}
	return err
}

// filtered yields the items for which the loop's test holds, each tested when the loop asks for it.
func (s *forStmt) filtered(home *scope, it iterator) iterator {
	return &generator{kind: "generator", pull: func(st *state) (Value, bool, error) {
		for {
			item, ok, err := it.next(st)
			if err != nil || !ok {
				return nil, false, err
			}
			sc := newScope(home)
			if err := st.store(sc, &s.target, item); err != nil {
				return nil, false, err
			}
			outer := st.scope
			st.scope = sc
			v, err := s.test.eval(st)
			st.scope = outer
			if err != nil {
				return nil, false, err
			}
			if truth(v) {
				return item, true, nil
			}
			if err := st.m.step(1); err != nil {
				return nil, false, err
			}
		}
	}}
}
