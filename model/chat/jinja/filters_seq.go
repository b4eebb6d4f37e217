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
func (p path) get(st *state, v Value, def Value) Value {
	for _, part := range p {
		st.m.step(1)
		v = st.getitem(v, part)
		if _, undef := v.(*Undefined); undef && def != nil {
			v = def
		}
	}
	return v
}

// keyed returns the function that sort, unique, min, max and groupby compare by.
func (st *state) keyed(attribute Value, caseSensitive bool, def Value) func(Value) Value {
	var p path
	if attribute != nil {
		p = newPath(attribute)
	}
	return func(v Value) Value {
		v = p.get(st, v, def)
		if caseSensitive {
			return v
		}
		if t, ok := chars(v); ok {
			st.m.grow(t.Cost())
			return t.Map(lower)
		}
		return v
	}
}

func filterList(st *state, in Value, _ []Value) Value {
	return &List{Items: st.collect(in)}
}

func filterFirst(st *state, in Value, _ *args) Value {
	it, _ := iterate(in)
	v, ok := it.next(st)
	if !ok {
		return undefinedHint("No first item, sequence was empty.")
	}
	return v
}

func filterLast(st *state, in Value, _ *args) Value {
	if g, ok := in.(*generator); ok {
		panic(typeErrorf("'%s' object is not reversible", g.kind))
	}
	items := st.collect(in)
	if len(items) == 0 {
		return undefinedHint("No last item, sequence was empty.")
	}
	return items[len(items)-1]
}

func filterReverse(st *state, in Value, _ *args) Value {
	if t, ok := chars(in); ok {
		r := st.sliceText(t, [3]Value{nil, nil, int64(-1)})
		return sameKind(in, r)
	}
	items := st.collect(in)
	out := slices.Clone(items)
	slices.Reverse(out)
	if _, ok := in.(*generator); ok {
		st.m.items(len(out))
		return &List{Items: out}
	}
	it := &sliceIter{items: out}
	st.m.items(len(out))
	return &generator{kind: "list_reverseiterator", pull: it.next}
}

func filterItems(_ *state, in Value, _ []Value) Value {
	switch v := in.(type) {
	case *Undefined:
		return &generator{kind: "generator", pull: (&sliceIter{}).next}
	case *Dict:
		view := &dictView{'i', v}
		it := &indexIter{n: v.Len(), at: view.at}
		return &generator{kind: "generator", pull: it.next}
	}
	return lazyError(typeErrorf("Can only get item pairs from a mapping."))
}

// lazyError is a generator that fails when it is first asked, as Python's do.
func lazyError(err error) *generator {
	return &generator{kind: "generator", pull: func(*state) (Value, bool) { panic(err) }}
}

func filterJoin(st *state, in Value, b []Value) Value {
	sep := str(st.m, orDefault(b[0], Text{}))
	items := st.collect(in)
	var p path
	if attr := orDefault(b[1], nil); attr != nil {
		p = newPath(attr)
	}
	parts := make([]Text, len(items))
	for i, v := range items {
		parts[i] = str(st.m, p.get(st, v, nil))
	}
	return st.join(parts, sep)
}

// mapped is lazily, of what is empty none.
func mapped(in Value, f func(st *state, v Value) (Value, bool)) Value {
	if !truth(in) {
		in = &List{}
	}
	return lazily(in, f)
}

// lazily is a generator of what f makes of the items of in, without those of which it makes nothing.
func lazily(in Value, f func(st *state, v Value) (Value, bool)) *generator {
	var it iterator
	return &generator{kind: "generator", pull: func(st *state) (Value, bool) {
		if it == nil {
			it, _ = iterate(in)
		}
		for {
			v, ok := it.next(st)
			if !ok {
				return nil, false
			}
			st.m.step(1)
			if v, ok = f(st, v); ok {
				return v, true
			}
		}
	}}
}

func filterMap(_ *state, in Value, a *args) Value {
	if i := a.name("attribute"); i >= 0 && len(a.pos) == 0 {
		b, err := a.bind("map", 0, "attribute", "default")
		if err != nil {
			return lazyError(err)
		}
		p, def := newPath(b[0]), orDefault(b[1], nil)
		return mapped(in, func(st *state, v Value) (Value, bool) {
			return p.get(st, v, def), true
		})
	}
	if len(a.pos) == 0 {
		return lazyError(typeErrorf("map requires a filter argument"))
	}
	rest := &args{a.pos[1:], a.names, a.named}
	return mapped(in, func(st *state, v Value) (Value, bool) {
		name, _ := text(a.pos[0])
		f := st.filters[name]
		if f == nil {
			panic(newError(SyntaxError, "No filter named %s.", reprString(name)))
		}
		return f(st, v, rest), true
	})
}

// choose is select and reject (keep false), of the items or of one of their attributes.
func choose(keep, attr bool) filterFunc {
	return func(_ *state, in Value, a *args) Value {
		rest := *a
		var p path
		if attr {
			if len(rest.pos) == 0 {
				return lazyError(typeErrorf("Missing parameter for attribute name"))
			}
			p, rest.pos = newPath(rest.pos[0]), rest.pos[1:]
		}
		name := Value(nil)
		if len(rest.pos) > 0 {
			name, rest.pos = rest.pos[0], rest.pos[1:]
		}
		return mapped(in, func(st *state, item Value) (Value, bool) {
			v := p.get(st, item, nil)
			ok := truth(v)
			if name != nil {
				s, _ := text(name)
				test := st.tests[s]
				if test == nil {
					panic(newError(SyntaxError, "No test named %s.", reprString(s)))
				}
				ok = test(st, v, &rest)
			}
			return item, ok == keep
		})
	}
}
