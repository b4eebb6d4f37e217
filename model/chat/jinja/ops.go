package jinja

import (
	"html"
	"math"
	"math/big"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// binary is an arithmetic operator on any two values.
func (st *state) binary(op string, l, r Value) (Value, error) {
	if err := st.m.step(1); err != nil {
		return nil, err
	}
	if t, ok := chars(l); ok && op == "%" {
		if _, markup := l.(Markup); markup {
			return nil, typeErrorf("formatting Markup with %% is not supported")
		}
		return st.percent(t, r)
	}
	for _, v := range []Value{l, r} {
		if u, ok := v.(*Undefined); ok {
			return nil, u.err()
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
			if v, err := st.repeat(l, n); v != nil || err != nil {
				return v, err
			}
		}
		if n, ok := integer(l); ok {
			if v, err := st.repeat(r, n); v != nil || err != nil {
				return v, err
			}
		}
		for _, p := range [][2]Value{{l, r}, {r, l}} {
			_, isText := text(p[0])
			if _, isSeq := sequence(p[0]); isText || isSeq {
				return nil, typeErrorf("can't multiply sequence by non-int of type '%s'", typeName(p[1]))
			}
		}
	case "**":
		op = "** or pow()"
	}
	return nil, typeErrorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(l), typeName(r))
}

// add joins two strings, lists or tuples.
func (st *state) add(l, r Value) (Value, error) {
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
		if err := st.m.grow(a.Cost() + b.Cost()); err != nil {
			return nil, err
		}
		sum := origin.Join([]Text{a, b}, Text{})
		if lm || rm {
			return Markup{sum}, nil
		}
		return sum, nil
	case aok:
		return nil, typeErrorf(`can only concatenate str (not "%s") to str`, typeName(r))
	}
	x, xok := sequence(l)
	if xok {
		y, _ := sequence(r)
		if typeName(l) != typeName(r) {
			return nil, typeErrorf(`can only concatenate %s (not "%s") to %[1]s`, typeName(l), typeName(r))
		}
		if err := st.m.items(len(x) + len(y)); err != nil {
			return nil, err
		}
		return like(l, append(append(make([]Value, 0, len(x)+len(y)), x...), y...)), nil
	}
	return nil, typeErrorf("unsupported operand type(s) for +: '%s' and '%s'", typeName(l), typeName(r))
}

// like wraps items of v in a list or tuple, whichever v is.
func like(v Value, items []Value) Value {
	if _, ok := v.(*Tuple); ok {
		return &Tuple{items}
	}
	return &List{Items: items, from: containerOrigin(v)}
}

// repeat is v * n for a string, list or tuple; nil for anything else.
func (st *state) repeat(v Value, n int64) (Value, error) {
	n = max(n, 0)
	if t, ok := chars(v); ok {
		size := t.Cost()
		if size > 0 && n > int64(math.MaxInt32)/int64(size) {
			return nil, st.m.grow(-1)
		}
		if err := st.m.grow(size * int(n)); err != nil {
			return nil, err
		}
		return sameKind(v, t.Repeat(int(n))), nil
	}
	items, ok := sequence(v)
	if !ok {
		return nil, nil
	}
	if len(items) > 0 && n > int64(math.MaxInt32)/int64(len(items)) {
		return nil, st.m.grow(-1)
	}
	if err := st.m.items(len(items) * int(n)); err != nil {
		return nil, err
	}
	out := make([]Value, 0, len(items)*int(n))
	for range n {
		out = append(out, items...)
	}
	return like(v, out), nil
}

// escapeHTML is markupsafe.escape.
func escapeHTML(s string) string { return html.EscapeString(s) }

// equal is l == r.
func equal(m *meter, l, r Value) (bool, error) {
	if err := m.step(1); err != nil {
		return false, err
	}
	if a, ok := text(l); ok {
		b, ok := text(r)
		return ok && a == b, m.scan(min(len(a), len(b)))
	}
	if a, ok := sequence(l); ok {
		b, ok := sequence(r)
		if !ok || typeName(l) != typeName(r) {
			return false, nil
		}
		return equalItems(m, a, b)
	}
	_, ln := number(l)
	_, rn := number(r)
	if ln || rn {
		if !ln || !rn {
			return false, nil
		}
		c, unordered := compareNumbers(l, r)
		return c == 0 && !unordered, nil
	}
	switch a := l.(type) {
	case nil:
		return r == nil, nil
	case *Undefined:
		_, ok := r.(*Undefined)
		return ok, nil
	case *Dict:
		b, ok := r.(*Dict)
		if !ok || a.Len() != b.Len() {
			return false, nil
		}
		return equalDicts(m, a, b)
	case *Range:
		b, ok := r.(*Range)
		return ok && a.n == b.n && (a.n == 0 || a.start == b.start && (a.n == 1 || a.step == b.step)), nil
	}
	return l == r, nil
}

func equalItems(m *meter, a, b []Value) (bool, error) {
	if len(a) != len(b) {
		return false, nil
	}
	if err := m.enter(); err != nil {
		return false, err
	}
	defer m.leave()
	for i := range a {
		if ok, err := equal(m, a[i], b[i]); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func equalDicts(m *meter, a, b *Dict) (bool, error) {
	if err := m.enter(); err != nil {
		return false, err
	}
	defer m.leave()
	for k, v := range a.All() {
		w, ok, err := b.lookup(k)
		if !ok || err != nil {
			return false, err
		}
		if ok, err := equal(m, v, w); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// compare is one comparison operator.
func (st *state) compare(op string, l, r Value) (bool, error) {
	switch op {
	case "==":
		return equal(st.m, l, r)
	case "!=":
		ok, err := equal(st.m, l, r)
		return !ok, err
	case "in":
		return st.contains(r, l)
	case "not in":
		ok, err := st.contains(r, l)
		return !ok, err
	}
	return less(st.m, op, l, r)
}

// less is <, <=, > or >=.
func less(m *meter, op string, l, r Value) (bool, error) {
	for _, v := range []Value{l, r} {
		if u, ok := v.(*Undefined); ok {
			return false, u.err()
		}
	}
	c, unordered, ok, err := order(m, l, r, op)
	switch {
	case err != nil:
		return false, err
	case !ok:
		return false, typeErrorf("'%s' not supported between instances of '%s' and '%s'", op,
			typeName(l), typeName(r))
	case unordered:
		return false, nil
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

// order compares two values of the same kind; ok is false when they have no order. op names the
// operator in the message about items that have none.
func order(m *meter, l, r Value, op string) (c int, unordered, ok bool, err error) {
	if a, isText := text(l); isText {
		b, isText := text(r)
		return strings.Compare(a, b), false, isText, m.scan(min(len(a), len(b)))
	}
	_, ln := number(l)
	_, rn := number(r)
	if ln && rn {
		c, unordered = compareNumbers(l, r)
		return c, unordered, true, m.step(1)
	}
	a, aok := sequence(l)
	b, bok := sequence(r)
	if !aok || !bok || typeName(l) != typeName(r) {
		return 0, false, false, nil
	}
	if err := m.enter(); err != nil {
		return 0, false, false, err
	}
	defer m.leave()
	for i := range min(len(a), len(b)) {
		same, err := equal(m, a[i], b[i])
		if err != nil {
			return 0, false, false, err
		}
		if !same {
			for _, v := range []Value{a[i], b[i]} {
				if u, isUndef := v.(*Undefined); isUndef {
					return 0, false, false, u.err()
				}
			}
			c, unordered, ok, err := order(m, a[i], b[i], op)
			if err == nil && !ok {
				err = typeErrorf("'%s' not supported between instances of '%s' and '%s'", op,
					typeName(a[i]), typeName(b[i]))
			}
			return c, unordered, true, err
		}
	}
	return len(a) - len(b), false, true, nil
}

// contains is item in v.
func (st *state) contains(v, item Value) (bool, error) {
	if s, ok := text(v); ok {
		sub, ok := text(item)
		if !ok {
			return false, typeErrorf("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		return strings.Contains(s, sub), st.m.scan(len(s))
	}
	switch v := v.(type) {
	case *Dict:
		_, ok, err := v.lookup(item)
		return ok, err
	case *dictView:
		if v.kind == 'k' {
			_, ok, err := v.d.lookup(item)
			return ok, err
		}
	case *big.Int, nil, bool, int64, float64, *Macro, *Callable, *Namespace:
		return false, typeErrorf("argument of type '%s' is not iterable", typeName(v))
	}
	it, _, err := iterate(v)
	if err != nil {
		return false, err
	}
	for {
		x, ok, err := it.next(st)
		if err != nil || !ok {
			return false, err
		}
		if same, err := equal(st.m, x, item); same || err != nil {
			return same, err
		}
	}
}
