package jinja

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// mutators are the methods that the sandbox hides, by type.
var mutators = map[string][]string{
	"dict": {"clear", "pop", "popitem", "setdefault", "update"},
	"list": {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"},
}

// method returns the attribute name of obj as Python's getattr would; ok is false when obj has none.
func (st *state) method(obj Value, name string) (v Value, ok bool) {
	switch o := obj.(type) {
	case *Undefined:
		panic(o.err())
	case *Namespace:
		v, ok := o.attrs.Get(name)
		if ok && strings.HasPrefix(name, "_") {
			v = unsafe(obj, name)
		}
		return v, ok
	case *loopContext:
		if v, ok := o.attr(st, name); ok {
			return v, ok
		}
	case *Macro:
		if name == "name" {
			return origin.Literal(o.def.name), true
		}
	case *cycler:
		if v, ok := o.attr(name); ok {
			return v, true
		}
	}
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return unsafe(obj, name), true
	}
	typ := typeName(obj)
	if slices.Contains(mutators[typ], name) {
		return unsafe(obj, name), true
	}
	if fn := methods[typ][name]; fn != nil {
		return &Callable{name: name, method: true, call: func(st *state, a *args) Value {
			return fn(st, obj, a)
		}}, true
	}
	return nil, false
}

// unsafe is what the sandbox returns for an attribute it hides: using it is a SecurityError.
func unsafe(obj Value, name string) *Undefined {
	return &Undefined{hint: "access to attribute " + reprString(name) + " of '" + typeName(obj) +
		"' object is unsafe.", kind: SecurityError}
}

// getattr is obj.name: the attribute, else the item, else undefined.
func (st *state) getattr(obj Value, name string) Value {
	if v, ok := st.method(obj, name); ok {
		return v
	}
	if d, ok := obj.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v
		}
	}
	return undefinedAttr(obj, origin.Literal(name))
}

// getitem is obj[key]: the item, else for a string the attribute, else undefined.
func (st *state) getitem(obj, key Value) Value {
	switch o := obj.(type) {
	case *Undefined:
		panic(o.err())
	case *Dict:
		if k, err := keyOf(key); err == nil {
			if i := o.find(k); i >= 0 {
				return o.vals[i]
			}
		}
	default:
		if v, ok := st.index(obj, key); ok {
			return v
		}
	}
	if name, ok := text(key); ok {
		if v, ok := st.method(obj, name); ok {
			return v
		}
	}
	return undefinedAttr(obj, key)
}

// index is obj[key] for a sequence and an integer within it.
func (st *state) index(obj, key Value) (Value, bool) {
	i, ok := integer(key)
	if !ok {
		return nil, false
	}
	at := func(n int) (int, bool) {
		if i < 0 {
			i += int64(n)
		}
		return int(i), i >= 0 && i < int64(n)
	}
	if items, ok := sequence(obj); ok {
		if i, ok := at(len(items)); ok {
			return items[i], true
		}
		return nil, false
	}
	if r, ok := obj.(*Range); ok {
		i, ok := at(int(r.n))
		return r.at(int64(i)), ok
	}
	t, ok := chars(obj)
	if !ok {
		return nil, false
	}
	s := t.Peek()
	st.m.scan(len(s))
	n, ok := at(runes(s))
	if !ok {
		return nil, false
	}
	if len(s) > n && isASCII(s) {
		return t.Slice(n, n+1), true
	}
	begin := 0
	for range n {
		_, w := utf8.DecodeRuneInString(s[begin:])
		begin += w
	}
	_, w := utf8.DecodeRuneInString(s[begin:])
	return t.Slice(begin, begin+w), true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// span is a slice resolved against a length: n items from start on, step apart.
type span struct{ start, step, n int }

// resolve applies Python's rules for slice bounds to a sequence of the given length.
func resolve(parts [3]Value, length int) span {
	bound := func(v Value, def int64) int64 {
		if v == nil {
			return def
		}
		i, ok := integer(v)
		if !ok {
			panic(typeErrorf("slice indices must be integers or None or have an __index__ method"))
		}
		return i
	}
	step := bound(parts[2], 1)
	if step == 0 {
		panic(valueErrorf("slice step cannot be zero"))
	}
	step = max(min(step, math.MaxInt32), -math.MaxInt32)
	n := int64(length)
	lowest, first, last := int64(0), int64(0), n
	if step < 0 {
		lowest, first, last = -1, n-1, -1
	}
	clamp := func(v Value, def int64) int64 {
		if v == nil {
			return def
		}
		i := bound(v, def)
		if i < 0 {
			i = max(i+n, lowest)
		}
		return min(i, n+lowest)
	}
	start := clamp(parts[0], first)
	stop := clamp(parts[1], last)
	var count int64
	if step > 0 && stop > start {
		count = (stop - start + step - 1) / step
	} else if step < 0 && stop < start {
		count = (start - stop - step - 1) / -step
	}
	return span{int(start), int(step), int(count)}
}

// slice is obj[lo:hi:step].
func (st *state) slice(obj Value, parts [3]Value) Value {
	if items, ok := sequence(obj); ok {
		sp := resolve(parts, len(items))
		st.m.items(sp.n)
		out := make([]Value, sp.n)
		for i := range out {
			out[i] = items[sp.start+i*sp.step]
		}
		return like(obj, out)
	}
	if t, ok := chars(obj); ok {
		return sameKind(obj, st.sliceText(t, parts))
	}
	switch o := obj.(type) {
	case *Undefined:
		panic(o.err())
	case *Dict:
		panic(typeErrorf("unhashable type: 'slice'"))
	case *Range:
		sp := resolve(parts, int(o.n))
		step := o.step * int64(sp.step)
		start := o.start + int64(sp.start)*o.step
		return &Range{start, start + step*int64(sp.n), step, int64(sp.n)}
	}
	panic(typeErrorf("'%s' object is not subscriptable", typeName(obj)))
}

func (st *state) sliceText(t Text, parts [3]Value) Text {
	s := t.Peek()
	st.m.scan(len(s))
	ends := func(i int) int { return i }
	n := len(s)
	if !isASCII(s) {
		// starts holds where each character begins, and the end.
		st.m.grow(8 * len(s))
		starts := make([]int, 0, len(s)+1)
		for i := range s {
			starts = append(starts, i)
		}
		n = len(starts)
		starts = append(starts, len(s))
		ends = func(i int) int { return starts[i] }
	}
	sp := resolve(parts, n)
	if sp.n == 0 {
		at := ends(min(max(sp.start, 0), n))
		return t.Slice(at, at)
	}
	if sp.step == 1 {
		return t.Slice(ends(sp.start), ends(sp.start+sp.n))
	}
	var b origin.Builder
	for i := range sp.n {
		k := sp.start + i*sp.step
		b.Write(t.Slice(ends(k), ends(k+1)))
	}
	out := b.Text()
	st.m.grow(out.Cost())
	return out
}
