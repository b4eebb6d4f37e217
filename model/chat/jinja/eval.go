package jinja

import "github.com/warmserve/warmserve/model/chat/origin"

func (x *constExpr) eval(*state) Value { return x.val }

func (x *nameExpr) eval(st *state) Value {
	st.m.step(1)
	return st.scope.lookup(x.name)
}

func (x *listExpr) eval(st *state) Value {
	items := st.evalAll(x.items)
	if x.tuple {
		return &Tuple{items}
	}
	return &List{Items: items}
}

func (st *state) evalAll(xs []expr) []Value {
	st.m.items(len(xs))
	out := make([]Value, len(xs))
	for i, x := range xs {
		out[i] = x.eval(st)
	}
	return out
}

func (x *dictExpr) eval(st *state) Value {
	st.begin(x.line)
	st.m.items(2 * len(x.keys))
	d := NewDict(len(x.keys))
	for i, key := range x.keys {
		k := key.eval(st)
		d.set(k, x.vals[i].eval(st))
	}
	return st.end(d)
}

func (x *attrExpr) eval(st *state) Value {
	obj := x.obj.eval(st)
	st.begin(x.line).on(x.obj, obj)
	st.m.step(1)
	return st.end(st.getattr(obj, x.name))
}

func (x *itemExpr) eval(st *state) Value {
	obj, key := x.obj.eval(st), x.key.eval(st)
	st.begin(x.line).on(x.obj, obj)
	return st.end(st.getitem(obj, key))
}

func (x *sliceExpr) eval(st *state) Value {
	obj := x.obj.eval(st)
	var parts [3]Value
	for i, p := range []expr{x.lo, x.hi, x.step} {
		if p != nil {
			parts[i] = p.eval(st)
		}
	}
	st.begin(x.line).on(x.obj, obj)
	return st.end(st.slice(obj, parts))
}

func (x *unaryExpr) eval(st *state) Value {
	v := x.x.eval(st)
	if x.op == "not" {
		return !truth(v)
	}
	st.begin(x.line)
	return st.end(unary(x.op, v))
}

func (x *binaryExpr) eval(st *state) Value {
	if x.op == "+" {
		var room [8]Text
		v, parts := x.sum(st, room[:0])
		if len(parts) == 0 {
			return v
		}
		st.begin(x.line)
		return st.end(st.join(parts, Text{}))
	}
	l, r := x.l.eval(st), x.r.eval(st)
	st.begin(x.line).either(x.l, l, x.r, r)
	return st.end(st.binary(x.op, l, r))
}

// sum evaluates a chain of additions. A sum of texts is returned in parts, which are to be joined
// at once, so that a long chain is not copied again for each of its operands.
func (x *binaryExpr) sum(st *state, parts []Text) (Value, []Text) {
	var l Value
	if inner, ok := x.l.(*binaryExpr); ok && inner.op == "+" {
		l, parts = inner.sum(st, parts)
	} else {
		l = x.l.eval(st)
		if t, ok := l.(Text); ok {
			parts = append(parts, t)
		}
	}
	r := x.r.eval(st)
	st.begin(x.line)
	if len(parts) > 0 {
		if t, ok := r.(Text); ok {
			st.m.step(1)
			return st.end(nil), append(parts, t)
		}
		l = st.join(parts, Text{})
	}
	st.node().either(x.l, l, x.r, r)
	return st.end(st.binary("+", l, r)), nil
}

func (x *logicExpr) eval(st *state) Value {
	if l := x.l.eval(st); truth(l) == x.or {
		return l
	}
	return x.r.eval(st)
}

func (x *compareExpr) eval(st *state) Value {
	l := x.first.eval(st)
	for i, op := range x.ops {
		r := x.rest[i].eval(st)
		switch n := st.begin(x.line); {
		case op == "in" || op == "not in":
			n.on(x.rest[i], r)
		case i == 0:
			n.either(x.first, l, x.rest[i], r)
		}
		holds := st.compare(op, l, r)
		if st.end(nil); !holds {
			return false
		}
		l = r
	}
	return true
}

func (x *concatExpr) eval(st *state) Value {
	st.begin(x.line)
	parts := make([]Text, len(x.parts))
	n := 0
	for i, p := range x.parts {
		parts[i] = str(st.m, p.eval(st))
		n += parts[i].Cost()
	}
	st.m.grow(n)
	return st.end(origin.Join(parts, Text{}))
}

func (x *condExpr) eval(st *state) Value {
	switch {
	case truth(x.test.eval(st)):
		return x.then.eval(st)
	case x.other == nil:
		return undefinedHint("the inline if-expression on line " + itoa(int64(x.line)) +
			" evaluated to false and no else section was defined.")
	}
	return x.other.eval(st)
}

func (x *callExpr) eval(st *state) Value { return x.call(st, nil) }

// call evaluates the call; caller is the macro of a call block around it, or nil.
func (x *callExpr) call(st *state, caller *Macro) Value {
	fn := x.fn.eval(st)
	st.begin(x.line)
	a := x.args.eval(st)
	if caller != nil {
		a.names, a.named = append(a.names, origin.Own("caller")), append(a.named, caller)
	}
	st.m.step(1)
	st.node().call(x.fn, fn)
	return st.end(st.invoke(fn, a))
}

func (st *state) invoke(fn Value, a *args) Value {
	switch fn := fn.(type) {
	case *Callable:
		return fn.call(st, a)
	case *Macro:
		return fn.call(st, a)
	case *loopContext:
		return fn.call(a)
	case *joiner:
		return fn.next()
	case *Undefined:
		panic(fn.err())
	}
	panic(typeErrorf("'%s' object is not callable", typeName(fn)))
}

func (x *filterExpr) eval(st *state) Value {
	var in Value
	if x.in == nil {
		in = st.scope.lookup(blockBody)
	} else {
		in = x.in.eval(st)
	}
	st.begin(x.line)
	if x.fn == nil {
		panic(newError(SyntaxError, "No filter named '%s' found.", x.name))
	}
	a := x.args.eval(st)
	st.m.step(1)
	st.node().on(x.in, in)
	return st.end(x.fn(st, in, a))
}

func (x *testExpr) eval(st *state) Value {
	in := x.in.eval(st)
	st.begin(x.line)
	if x.fn == nil {
		panic(newError(SyntaxError, "No test named '%s' found.", x.name))
	}
	return st.end(x.fn(st, in, x.args.eval(st)))
}
