package jinja

import "github.com/warmserve/warmserve/model/chat/origin"

func (x *constExpr) eval(*state) (Value, error) { return x.val, nil }

func (x *nameExpr) eval(st *state) (Value, error) { return st.scope.lookup(x.name), st.m.step(1) }

func (x *listExpr) eval(st *state) (Value, error) {
	items, err := st.evalAll(x.items)
	if x.tuple {
		return &Tuple{items}, err
	}
	return &List{Items: items}, err
}

func (st *state) evalAll(xs []expr) ([]Value, error) {
	if err := st.m.items(len(xs)); err != nil {
		return nil, err
	}
	out := make([]Value, len(xs))
	for i, x := range xs {
		v, err := x.eval(st)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (x *dictExpr) eval(st *state) (Value, error) {
	if err := st.m.items(2 * len(x.keys)); err != nil {
		return nil, err
	}
	d := NewDict(len(x.keys))
	for i := range x.keys {
		k, err := x.keys[i].eval(st)
		if err != nil {
			return nil, err
		}
		v, err := x.vals[i].eval(st)
		if err != nil {
			return nil, err
		}
		if err := d.set(k, v); err != nil {
			return nil, at(err, x.line)
		}
	}
	return d, nil
}

func (x *attrExpr) eval(st *state) (Value, error) {
	obj, err := x.obj.eval(st)
	if err != nil {
		return nil, err
	}
	if err := st.m.step(1); err != nil {
		return nil, err
	}
	v, err := st.getattr(obj, x.name)
	return v, at(blame(err, x.obj, obj), x.line)
}

func (x *itemExpr) eval(st *state) (Value, error) {
	obj, err := x.obj.eval(st)
	if err != nil {
		return nil, err
	}
	key, err := x.key.eval(st)
	if err != nil {
		return nil, err
	}
	v, err := st.getitem(obj, key)
	return v, at(blame(err, x.obj, obj), x.line)
}

func (x *sliceExpr) eval(st *state) (Value, error) {
	obj, err := x.obj.eval(st)
	if err != nil {
		return nil, err
	}
	var parts [3]Value
	for i, p := range []expr{x.lo, x.hi, x.step} {
		if p != nil {
			if parts[i], err = p.eval(st); err != nil {
				return nil, err
			}
		}
	}
	v, err := st.slice(obj, parts)
	return v, at(blame(err, x.obj, obj), x.line)
}

func (x *unaryExpr) eval(st *state) (Value, error) {
	v, err := x.x.eval(st)
	if err != nil {
		return nil, err
	}
	if x.op == "not" {
		return !truth(v), nil
	}
	r, err := unary(x.op, v)
	return r, at(err, x.line)
}

func (x *binaryExpr) eval(st *state) (Value, error) {
	if x.op == "+" {
		var room [8]Text
		v, parts, err := x.sum(st, room[:0])
		if err != nil || len(parts) == 0 {
			return v, err
		}
		t, err := st.join(parts, Text{})
		return t, at(err, x.line)
	}
	l, err := x.l.eval(st)
	if err != nil {
		return nil, err
	}
	r, err := x.r.eval(st)
	if err != nil {
		return nil, err
	}
	v, err := st.binary(x.op, l, r)
	return v, at(blameOne(err, x.l, l, x.r, r), x.line)
}

// sum evaluates a chain of additions. A sum of texts is returned in parts, which are to be joined
// at once, so that a long chain is not copied again for each of its operands.
func (x *binaryExpr) sum(st *state, parts []Text) (Value, []Text, error) {
	var l Value
	var err error
	if inner, ok := x.l.(*binaryExpr); ok && inner.op == "+" {
		l, parts, err = inner.sum(st, parts)
	} else if l, err = x.l.eval(st); err == nil {
		if t, ok := l.(Text); ok {
			parts = append(parts, t)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	r, err := x.r.eval(st)
	if err != nil {
		return nil, nil, err
	}
	if len(parts) > 0 {
		if t, ok := r.(Text); ok {
			return nil, append(parts, t), at(st.m.step(1), x.line)
		}
		t, err := st.join(parts, Text{})
		if err != nil {
			return nil, nil, at(err, x.line)
		}
		l = t
	}
	v, err := st.binary("+", l, r)
	return v, nil, at(blameOne(err, x.l, l, x.r, r), x.line)
}

func (x *logicExpr) eval(st *state) (Value, error) {
	l, err := x.l.eval(st)
	if err != nil || truth(l) == x.or {
		return l, err
	}
	return x.r.eval(st)
}

func (x *compareExpr) eval(st *state) (Value, error) {
	l, err := x.first.eval(st)
	if err != nil {
		return nil, err
	}
	for i, op := range x.ops {
		r, err := x.rest[i].eval(st)
		if err != nil {
			return nil, err
		}
		ok, err := st.compare(op, l, r)
		if err != nil {
			if op == "in" || op == "not in" {
				err = blame(err, x.rest[i], r)
			} else if i == 0 {
				err = blameOne(err, x.first, l, x.rest[i], r)
			}
			return nil, at(err, x.line)
		}
		if !ok {
			return false, nil
		}
		l = r
	}
	return true, nil
}

func (x *concatExpr) eval(st *state) (Value, error) {
	parts := make([]Text, len(x.parts))
	for i, p := range x.parts {
		v, err := p.eval(st)
		if err != nil {
			return nil, err
		}
		if parts[i], err = str(st.m, v); err != nil {
			return nil, at(err, x.line)
		}
	}
	n := 0
	for _, t := range parts {
		n += t.Cost()
	}
	if err := st.m.grow(n); err != nil {
		return nil, at(err, x.line)
	}
	return origin.Join(parts, Text{}), nil
}

func (x *condExpr) eval(st *state) (Value, error) {
	v, err := x.test.eval(st)
	switch {
	case err != nil:
		return nil, err
	case truth(v):
		return x.then.eval(st)
	case x.other == nil:
		return undefinedHint("the inline if-expression on line " + itoa(int64(x.line)) +
			" evaluated to false and no else section was defined."), nil
	}
	return x.other.eval(st)
}

func (x *callExpr) eval(st *state) (Value, error) { return x.call(st, nil) }

// call evaluates the call; caller is the macro of a call block around it, or nil.
func (x *callExpr) call(st *state, caller *Macro) (Value, error) {
	fn, err := x.fn.eval(st)
	if err != nil {
		return nil, err
	}
	a, err := x.args.eval(st)
	if err != nil {
		return nil, at(err, x.line)
	}
	if caller != nil {
		a.names, a.named = append(a.names, origin.Own("caller")), append(a.named, caller)
	}
	if err := st.m.step(1); err != nil {
		return nil, at(err, x.line)
	}
	v, err := st.invoke(fn, a)
	if err != nil {
		return nil, at(blameCall(err, x.fn, fn), x.line)
	}
	return v, nil
}

func (st *state) invoke(fn Value, a *args) (Value, error) {
	switch fn := fn.(type) {
	case *Callable:
		return fn.call(st, a)
	case *Macro:
		return fn.call(st, a)
	case *loopContext:
		return fn.call(a)
	case *joiner:
		return fn.next(), nil
	case *Undefined:
		return nil, fn.err()
	}
	return nil, typeErrorf("'%s' object is not callable", typeName(fn))
}

func (x *filterExpr) eval(st *state) (Value, error) {
	var in Value
	var err error
	if x.in == nil {
		in = st.scope.lookup(blockBody)
	} else if in, err = x.in.eval(st); err != nil {
		return nil, err
	}
	if x.fn == nil {
		return nil, at(newError(SyntaxError, "No filter named '%s' found.", x.name), x.line)
	}
	a, err := x.args.eval(st)
	if err != nil {
		return nil, at(err, x.line)
	}
	if err := st.m.step(1); err != nil {
		return nil, at(err, x.line)
	}
	v, err := x.fn(st, in, a)
	if x.in != nil {
		err = blame(err, x.in, in)
	}
	return v, at(err, x.line)
}

func (x *testExpr) eval(st *state) (Value, error) {
	in, err := x.in.eval(st)
	if err != nil {
		return nil, err
	}
	if x.fn == nil {
		return nil, at(newError(SyntaxError, "No test named '%s' found.", x.name), x.line)
	}
	a, err := x.args.eval(st)
	if err != nil {
		return nil, at(err, x.line)
	}
	ok, err := x.fn(st, in, a)
	return ok, at(err, x.line)
}
