package jinja

import (
	"html"
	"math"
	"math/big"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// binary is an arithmetic operator on any two values.
func (st *state) binary(op string, l, r Value) Value {
	st.m.step(1)
	if t, ok := chars(l); ok && op == "%" {
		if _, markup := l.(Markup); markup {
			panic(typeErrorf("formatting Markup with %% is not supported"))
		}
		return st.percent(t, r)
	}
	for _, v := range []Value{l, r} {
		if u, ok := v.(*Undefined); ok {
			panic(u.err())
		}
	}
	_, ln := number(l)
	_, rn := number(r)
	if ln && rn {
		return arith(op, l, r)
	}
	switch op {
	case "+":
		return st.add(l, r)
	case "*":
		if n, ok := integer(r); ok {
			if v := st.repeat(l, n); v != nil {
				return v
			}
		}
		if n, ok := integer(l); ok {
			if v := st.repeat(r, n); v != nil {
				return v
			}
		}
		for _, p := range [][2]Value{{l, r}, {r, l}} {
			_, isText := text(p[0])
			if _, isSeq := sequence(p[0]); isText || isSeq {
				panic(typeErrorf("can't multiply sequence by non-int of type '%s'", typeName(p[1])))
			}
		}
	case "**":
		op = "** or pow()"
	}
	panic(typeErrorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(l), typeName(r)))
}

// add joins two strings, lists or tuples.
func (st *state) add(l, r Value) Value {
	a, aok := chars(l)
	b, bok := chars(r)
	_, lm := l.(Markup)
	_, rm := r.(Markup)
	switch {
	case aok && bok:
		if lm && !rm {
			b = b.Map(escapeHTML)
		} else if rm && !lm {
			a = a.Map(escapeHTML)
		}
		st.m.grow(a.Cost() + b.Cost())
		sum := origin.Join([]Text{a, b}, Text{})
		if lm || rm {
			return Markup{sum}
		}
		return sum
	case aok:
		panic(typeErrorf(`can only concatenate str (not "%s") to str`, typeName(r)))
	}
	x, xok := sequence(l)
	if xok {
		y, _ := sequence(r)
		if typeName(l) != typeName(r) {
			panic(typeErrorf(`can only concatenate %s (not "%s") to %[1]s`, typeName(l), typeName(r)))
		}
		st.m.items(len(x) + len(y))
		return like(l, append(append(make([]Value, 0, len(x)+len(y)), x...), y...))
	}
	panic(typeErrorf("unsupported operand type(s) for +: '%s' and '%s'", typeName(l), typeName(r)))
}

// like wraps items of v in a list or tuple, whichever v is.
func like(v Value, items []Value) Value {
	if _, ok := v.(*Tuple); ok {
		return &Tuple{items}
	}
	return &List{Items: items, from: containerOrigin(v)}
}

// repeat is v * n for a string, list or tuple; nil for anything else.
func (st *state) repeat(v Value, n int64) Value {
	n = max(n, 0)
	if t, ok := chars(v); ok {
		size := t.Cost()
		if size > 0 && n > int64(math.MaxInt32)/int64(size) {
			st.m.grow(-1)
			return nil
		}
		st.m.grow(size * int(n))
		return sameKind(v, t.Repeat(int(n)))
	}
	items, ok := sequence(v)
	if !ok {
		return nil
	}
	if len(items) > 0 && n > int64(math.MaxInt32)/int64(len(items)) {
		st.m.grow(-1)
		return nil
	}
	st.m.items(len(items) * int(n))
	out := make([]Value, 0, len(items)*int(n))
	for range n {
		out = append(out, items...)
	}
	return like(v, out)
}

// escapeHTML is markupsafe.escape.
func escapeHTML(s string) string { return html.EscapeString(s) }

// equal is l == r.
func equal(m *meter, l, r Value) bool {
	m.step(1)
	if a, ok := text(l); ok {
		b, ok := text(r)
		m.scan(min(len(a), len(b)))
		return ok && a == b
	}
	if a, ok := sequence(l); ok {
		b, ok := sequence(r)
		if !ok || typeName(l) != typeName(r) {
			return false
		}
		return equalItems(m, a, b)
	}
	_, ln := number(l)
	_, rn := number(r)
	if ln || rn {
		if !ln || !rn {
			return false
		}
		c, unordered := compareNumbers(l, r)
		return c == 0 && !unordered
	}
	switch a := l.(type) {
	case nil:
		return r == nil
	case *Undefined:
		_, ok := r.(*Undefined)
		return ok
	case *Dict:
		b, ok := r.(*Dict)
		if !ok || a.Len() != b.Len() {
			return false
		}
		return equalDicts(m, a, b)
	case *Range:
		b, ok := r.(*Range)
		return ok && a.n == b.n && (a.n == 0 || a.start == b.start && (a.n == 1 || a.step == b.step))
	}
	return l == r
}

func equalItems(m *meter, a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	m.enter()
	defer m.leave()
	for i := range a {
		if ok := equal(m, a[i], b[i]); !ok {
			return false
		}
	}
	return true
}

func equalDicts(m *meter, a, b *Dict) bool {
	m.enter()
	defer m.leave()
	for k, v := range a.All() {
		w, ok := b.lookup(k)
		if !ok {
			return false
		}
		if ok := equal(m, v, w); !ok {
			return false
		}
	}
	return true
}

// compare is one comparison operator.
func (st *state) compare(op string, l, r Value) bool {
	switch op {
	case "==":
		return equal(st.m, l, r)
	case "!=":
		return !equal(st.m, l, r)
	case "in":
		return st.contains(r, l)
	case "not in":
		return !st.contains(r, l)
	}
	return less(st.m, op, l, r)
}

// less is <, <=, > or >=.
func less(m *meter, op string, l, r Value) bool {
	c, unordered := ordered(m, l, r, op)
	if unordered {
		return false
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// ordered compares two values, which must have an order. unordered is set for NaN. op names the operator in
// the message about values that have none.
func ordered(m *meter, l, r Value, op string) (c int, unordered bool) {
	for _, v := range []Value{l, r} {
		if u, ok := v.(*Undefined); ok {
			panic(u.err())
		}
	}
	c, unordered, ok := order(m, l, r, op)
	if !ok {
		panic(typeErrorf("'%s' not supported between instances of '%s' and '%s'", op, typeName(l), typeName(r)))
	}
	return c, unordered
}

// order compares two values of the same kind; ok is false when they have no order.
func order(m *meter, l, r Value, op string) (c int, unordered, ok bool) {
	if a, isText := text(l); isText {
		b, isText := text(r)
		m.scan(min(len(a), len(b)))
		return strings.Compare(a, b), false, isText
	}
	_, ln := number(l)
	_, rn := number(r)
	if ln && rn {
		c, unordered = compareNumbers(l, r)
		m.step(1)
		return c, unordered, true
	}
	a, aok := sequence(l)
	b, bok := sequence(r)
	if !aok || !bok || typeName(l) != typeName(r) {
		return 0, false, false
	}
	m.enter()
	defer m.leave()
	for i := range min(len(a), len(b)) {
		if !equal(m, a[i], b[i]) {
			c, unordered := ordered(m, a[i], b[i], op)
			return c, unordered, true
		}
	}
	return len(a) - len(b), false, true
}

// contains is item in v.
func (st *state) contains(v, item Value) bool {
	if s, ok := text(v); ok {
		sub, ok := text(item)
		if !ok {
			panic(typeErrorf("'in <string>' requires string as left operand, not %s", typeName(item)))
		}
		st.m.scan(len(s))
		return strings.Contains(s, sub)
	}
	switch v := v.(type) {
	case *Dict:
		_, ok := v.lookup(item)
		return ok
	case *dictView:
		if v.kind == 'k' {
			_, ok := v.d.lookup(item)
			return ok
		}
	case *big.Int, nil, bool, int64, float64, *Macro, *Callable, *Namespace:
		panic(typeErrorf("argument of type '%s' is not iterable", typeName(v)))
	}
	it, _ := iterate(v)
	for {
		x, ok := it.next(st)
		if !ok {
			return false
		}
		if equal(st.m, x, item) {
			return true
		}
	}
}
