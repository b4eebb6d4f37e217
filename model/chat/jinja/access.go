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
func (st *state) method(obj Value, name string) (v Value, ok bool, err error) {
	switch o := obj.(type) {
	case *Undefined:
		return nil, false, o.err()
	case *Namespace:
		v, ok := o.attrs.Get(name)
		if ok && strings.HasPrefix(name, "_") {
			v = unsafe(obj, name)
		}
		return v, ok, nil
	case *loopContext:
		if v, ok, err := o.attr(st, name); ok || err != nil {
			return v, ok, err
		}
	case *Macro:
		if name == "name" {
			return origin.Literal(o.def.name), true, nil
		}
	case *cycler:
		if v, ok := o.attr(name); ok {
			return v, true, nil
		}
	}
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return unsafe(obj, name), true, nil
	}
	typ := typeName(obj)
	if slices.Contains(mutators[typ], name) {
		return unsafe(obj, name), true, nil
	}
	if fn := methods[typ][name]; fn != nil {
		return &Callable{name: name, method: true, call: func(st *state, a *args) (Value, error) {
			return fn(st, obj, a)
		}}, true, nil
	}
	return nil, false, nil
}

// unsafe is what the sandbox returns for an attribute it hides: using it is a SecurityError.
func unsafe(obj Value, name string) *Undefined {
	return &Undefined{hint: "access to attribute " + reprString(name) + " of '" + typeName(obj) +
		"' object is unsafe.", kind: SecurityError}
}

// getattr is obj.name: the attribute, else the item, else undefined.
func (st *state) getattr(obj Value, name string) (Value, error) {
	if v, ok, err := st.method(obj, name); ok || err != nil {
		return v, err
	}
	if d, ok := obj.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v, nil
		}
	}
	return undefinedAttr(obj, origin.Literal(name)), nil
}

// getitem is obj[key]: the item, else for a string the attribute, else undefined.
func (st *state) getitem(obj, key Value) (Value, error) {
	switch o := obj.(type) {
	case *Undefined:
		return nil, o.err()
	case *Dict:
		if v, ok, err := o.lookup(key); ok && err == nil {
			return v, nil
		}
	default:
		if v, ok, err := st.index(obj, key); ok || err != nil {
			return v, err
		}
	}
	if name, ok := text(key); ok {
		if v, ok, err := st.method(obj, name); ok || err != nil {
			return v, err
		}
	}
	return undefinedAttr(obj, key), nil
}

// index is obj[key] for a sequence and an integer within it.
func (st *state) index(obj, key Value) (Value, bool, error) {
	i, ok := integer(key)
	if !ok {
		return nil, false, nil
	}
	at := func(n int) (int, bool) {
		if i < 0 {
			i += int64(n)
		}
		return int(i), i >= 0 && i < int64(n)
	}
	if items, ok := sequence(obj); ok {
		if i, ok := at(len(items)); ok {
			return items[i], true, nil
		}
		return nil, false, nil
	}
	if r, ok := obj.(*Range); ok {
		i, ok := at(int(r.n))
		return r.at(int64(i)), ok, nil
	}
	t, ok := chars(obj)
	if !ok {
		return nil, false, nil
	}
	s := t.Peek()
	if err := st.m.scan(len(s)); err != nil {
		return nil, false, err
	}
	n, ok := at(runes(s))
	if !ok {
		return nil, false, nil
	}
	if len(s) > n && isASCII(s) {
		return t.Slice(n, n+1), true, nil
	}
	begin := 0
	for range n {
		_, w := utf8.DecodeRuneInString(s[begin:])
		begin += w
	}
	_, w := utf8.DecodeRuneInString(s[begin:])
	return t.Slice(begin, begin+w), true, nil
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
func resolve(parts [3]Value, length int) (span, error) {
	bound := func(v Value, def int64) (int64, error) {
		if v == nil {
			return def, nil
		}
		i, ok := integer(v)
		if !ok {
			return 0, typeErrorf("slice indices must be integers or None or have an __index__ method")
		}
		return i, nil
	}
	step, err := bound(parts[2], 1)
	if err != nil {
		return span{}, err
	}
	if step == 0 {
		return span{}, valueErrorf("slice step cannot be zero")
	}
	step = max(min(step, math.MaxInt32), -math.MaxInt32)
	n := int64(length)
	lowest, first, last := int64(0), int64(0), n
	if step < 0 {
		lowest, first, last = -1, n-1, -1
	}
	clamp := func(v Value, def int64) (int64, error) {
		i, err := bound(v, def)
		if err != nil || v == nil {
			return def, err
		}
		if i < 0 {
			i = max(i+n, lowest)
		}
		return min(i, n+lowest), nil
	}
	start, err := clamp(parts[0], first)
	if err != nil {
		return span{}, err
	}
	stop, err := clamp(parts[1], last)
	if err != nil {
		return span{}, err
	}
	var count int64
	if step > 0 && stop > start {
		count = (stop - start + step - 1) / step
	} else if step < 0 && stop < start {
		count = (start - stop - step - 1) / -step
	}
	return span{int(start), int(step), int(count)}, nil
}

// slice is obj[lo:hi:step].
func (st *state) slice(obj Value, parts [3]Value) (Value, error) {
	if items, ok := sequence(obj); ok {
		sp, err := resolve(parts, len(items))
		if err != nil {
			return nil, err
		}
		if err := st.m.items(sp.n); err != nil {
			return nil, err
		}
		out := make([]Value, sp.n)
		for i := range out {
			out[i] = items[sp.start+i*sp.step]
		}
		return like(obj, out), nil
	}
	if t, ok := chars(obj); ok {
		t, err := st.sliceText(t, parts)
		return sameKind(obj, t), err
	}
	switch o := obj.(type) {
	case *Undefined:
		return nil, o.err()
	case *Dict:
		return nil, typeErrorf("unhashable type: 'slice'")
	case *Range:
		sp, err := resolve(parts, int(o.n))
		if err != nil {
			return nil, err
		}
		step := o.step * int64(sp.step)
		start := o.start + int64(sp.start)*o.step
		return &Range{start, start + step*int64(sp.n), step, int64(sp.n)}, nil
	}
	return nil, typeErrorf("'%s' object is not subscriptable", typeName(obj))
}

func (st *state) sliceText(t Text, parts [3]Value) (Text, error) {
	s := t.Peek()
	if err := st.m.scan(len(s)); err != nil {
		return Text{}, err
	}
	ends := func(i int) int { return i }
	n := len(s)
	if !isASCII(s) {
		// starts holds where each character begins, and the end.
		if err := st.m.grow(8 * len(s)); err != nil {
			return Text{}, err
		}
		starts := make([]int, 0, len(s)+1)
		for i := range s {
			starts = append(starts, i)
		}
		n = len(starts)
		starts = append(starts, len(s))
		ends = func(i int) int { return starts[i] }
	}
	sp, err := resolve(parts, n)
	if err != nil {
		return Text{}, err
	}
	if sp.n == 0 {
		at := ends(min(max(sp.start, 0), n))
		return t.Slice(at, at), nil
	}
	if sp.step == 1 {
		return t.Slice(ends(sp.start), ends(sp.start+sp.n)), nil
	}
	var b origin.Builder
	for i := range sp.n {
		k := sp.start + i*sp.step
		b.Write(t.Slice(ends(k), ends(k+1)))
	}
	out := b.Text()
	return out, st.m.grow(out.Cost())
}
