package jinja

import (
	"slices"
	"strconv"
)

// path is an attribute path such as "a.b.0": what map, sort and their like look up in each item.
type path []Value

func newPath(v Value) path {
	t, ok := chars(v)
	if !ok {
		return path{v}
	}
	var p path
	for _, part := range cutAll(t, ".", -1) {
		s := part.Peek()
		if i, err := strconv.ParseInt(s, 10, 64); err == nil && isDecimal(s[0]) {
			p = append(p, i)
		} else {
			p = append(p, part)
		}
	}
	return p
}

// get looks the path up; def, when not nil, stands in for what is undefined on the way.
func (p path) get(st *state, v Value, def Value) (Value, error) {
	for _, part := range p {
		if err := st.m.step(1); err != nil {
			return nil, err
		}
		var err error
		if v, err = st.getitem(v, part); err != nil {
			return nil, err
		}
		if _, undef := v.(*Undefined); undef && def != nil {
			v = def
		}
	}
	return v, nil
}

// keyed returns the function that sort, unique, min, max and groupby compare by.
func (st *state) keyed(attribute Value, caseSensitive bool, def Value) func(Value) (Value, error) {
	var p path
	if attribute != nil {
		p = newPath(attribute)
	}
	return func(v Value) (Value, error) {
		v, err := p.get(st, v, def)
		if err != nil || caseSensitive {
			return v, err
		}
		if t, ok := chars(v); ok {
			return t.Map(lower), st.m.grow(t.Cost())
		}
		return v, nil
	}
}

func filterList(st *state, in Value, _ []Value) (Value, error) {
	items, err := st.collect(in)
	if err != nil {
		return nil, err
	}
	return &List{Items: items}, nil
}

func filterFirst(st *state, in Value, _ *args) (Value, error) {
	it, _, err := iterate(in)
	if err != nil {
		return nil, err
	}
	v, ok, err := it.next(st)
	if err == nil && !ok {
		return undefinedHint("No first item, sequence was empty."), nil
	}
	return v, err
}

func filterLast(st *state, in Value, _ *args) (Value, error) {
	if g, ok := in.(*generator); ok {
		return nil, typeErrorf("'%s' object is not reversible", g.kind)
	}
	items, err := st.collect(in)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefinedHint("No last item, sequence was empty."), nil
	}
	return items[len(items)-1], nil
}

func filterReverse(st *state, in Value, _ *args) (Value, error) {
	if t, ok := chars(in); ok {
		r, err := st.sliceText(t, [3]Value{nil, nil, int64(-1)})
		return sameKind(in, r), err
	}
	items, err := st.collect(in)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(items)
	slices.Reverse(out)
	if _, ok := in.(*generator); ok {
		return &List{Items: out}, st.m.items(len(out))
	}
	it := &sliceIter{items: out}
	return &generator{kind: "list_reverseiterator", pull: it.next}, st.m.items(len(out))
}

func filterItems(_ *state, in Value, _ []Value) (Value, error) {
	switch v := in.(type) {
	case *Undefined:
		return &generator{kind: "generator", pull: (&sliceIter{}).next}, nil
	case *Dict:
		view := &dictView{'i', v}
		it := &indexIter{n: v.Len(), at: view.at}
		return &generator{kind: "generator", pull: it.next}, nil
	}
	return lazyError(typeErrorf("Can only get item pairs from a mapping.")), nil
}

// lazyError is a generator that fails when it is first asked, as Python's do.
func lazyError(err error) *generator {
	return &generator{kind: "generator", pull: func(*state) (Value, bool, error) { return nil, false, err }}
}

func filterJoin(st *state, in Value, b []Value) (Value, error) {
	sep, err := str(st.m, orDefault(b[0], Text{}))
	if err != nil {
		return nil, err
	}
	items, err := st.collect(in)
	if err != nil {
		return nil, err
	}
	var p path
	if attr := orDefault(b[1], nil); attr != nil {
		p = newPath(attr)
	}
	parts := make([]Text, len(items))
	for i, v := range items {
		if v, err = p.get(st, v, nil); err != nil {
			return nil, err
		}
		if parts[i], err = str(st.m, v); err != nil {
			return nil, err
		}
	}
	return st.join(parts, sep)
}

// mapped is lazily, of what is empty none.
func mapped(in Value, f func(st *state, v Value) (Value, bool, error)) (Value, error) {
	if !truth(in) {
		in = &List{}
	}
	return lazily(in, f), nil
}

// lazily is a generator of what f makes of the items of in, without those of which it makes nothing.
func lazily(in Value, f func(st *state, v Value) (Value, bool, error)) *generator {
	var it iterator
	return &generator{kind: "generator", pull: func(st *state) (Value, bool, error) {
		if it == nil {
			var err error
			if it, _, err = iterate(in); err != nil {
				return nil, false, err
			}
		}
		for {
			v, ok, err := it.next(st)
			if err != nil || !ok {
				return nil, false, err
			}
			if err := st.m.step(1); err != nil {
				return nil, false, err
			}
			if v, ok, err = f(st, v); ok || err != nil {
				return v, ok, err
			}
		}
	}}
}

func filterMap(_ *state, in Value, a *args) (Value, error) {
	if i := a.name("attribute"); i >= 0 && len(a.pos) == 0 {
		b, err := a.bind("map", 0, "attribute", "default")
		if err != nil {
			return lazyError(err), nil
		}
		p, def := newPath(b[0]), orDefault(b[1], nil)
		return mapped(in, func(st *state, v Value) (Value, bool, error) {
			v, err := p.get(st, v, def)
			return v, true, err
		})
	}
	if len(a.pos) == 0 {
		return lazyError(typeErrorf("map requires a filter argument")), nil
	}
	rest := &args{a.pos[1:], a.names, a.named}
	return mapped(in, func(st *state, v Value) (Value, bool, error) {
		name, _ := text(a.pos[0])
		f := st.filters[name]
		if f == nil {
			return nil, false, newError(SyntaxError, "No filter named %s.", reprString(name))
		}
		v, err := f(st, v, rest)
		return v, true, err
	})
}

// choose is select and reject (keep false), of the items or of one of their attributes.
func choose(keep, attr bool) filterFunc {
	return func(_ *state, in Value, a *args) (Value, error) {
		rest := *a
		var p path
		if attr {
			if len(rest.pos) == 0 {
				return lazyError(typeErrorf("Missing parameter for attribute name")), nil
			}
			p, rest.pos = newPath(rest.pos[0]), rest.pos[1:]
		}
		name := Value(nil)
		if len(rest.pos) > 0 {
			name, rest.pos = rest.pos[0], rest.pos[1:]
		}
		return mapped(in, func(st *state, item Value) (Value, bool, error) {
			v, err := p.get(st, item, nil)
			if err != nil {
				return nil, false, err
			}
			ok := truth(v)
			if name != nil {
				s, _ := text(name)
				test := st.tests[s]
				if test == nil {
					return nil, false, newError(SyntaxError, "No test named %s.", reprString(s))
				}
				if ok, err = test(st, v, &rest); err != nil {
					return nil, false, err
				}
			}
			return item, ok == keep, nil
		})
	}
}
