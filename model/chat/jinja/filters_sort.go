package jinja

import (
	"slices"
	"sort"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// sortBy sorts by the order that Python gives keys, stably.
func sortBy[T any](m *meter, s []T, key func(T) Value, reverse bool) {
	sort.SliceStable(s, func(i, j int) bool {
		if reverse {
			i, j = j, i
		}
		return less(m, "<", key(s[i]), key(s[j]))
	})
}

// sorted returns items in the order of their keys.
func (st *state) sorted(items []Value, key func(Value) Value, reverse bool) []Value {
	type entry struct{ item, key Value }
	st.m.items(3 * len(items))
	entries := make([]entry, len(items))
	for i, v := range items {
		entries[i] = entry{v, key(v)}
	}
	sortBy(st.m, entries, func(e entry) Value { return e.key }, reverse)
	out := make([]Value, len(entries))
	for i, e := range entries {
		out[i] = e.item
	}
	return out
}

func filterSort(st *state, in Value, b []Value) Value {
	items := st.collect(in)
	attr := orDefault(b[2], nil)
	cs := truth(orDefault(b[1], false))
	key := st.keyed(attr, cs, nil)
	if t, ok := chars(attr); ok && strings.Contains(t.Peek(), ",") {
		var keys []func(Value) Value
		for _, part := range cutAll(t, ",", -1) {
			keys = append(keys, st.keyed(part, cs, nil))
		}
		key = func(v Value) Value {
			t := &Tuple{make([]Value, len(keys))}
			for i, k := range keys {
				t.Items[i] = k(v)
			}
			return t
		}
	}
	out := st.sorted(items, key, truth(orDefault(b[0], false)))
	return &List{Items: out}
}

func filterDictSort(st *state, in Value, b []Value) Value {
	by, _ := text(orDefault(b[1], origin.Own("key")))
	if by != "key" && by != "value" {
		panic(valueErrorf(`You can only sort by either "key" or "value"`))
	}
	d, ok := in.(*Dict)
	if u, isUndef := in.(*Undefined); isUndef {
		panic(u.err())
	}
	if !ok {
		panic(typeErrorf("'%s' object has no attribute 'items'", typeName(in)))
	}
	pairs := make([]Value, d.Len())
	for i := range pairs {
		pairs[i] = (&dictView{'i', d}).at(i)
	}
	pos := map[string]Value{"key": int64(0), "value": int64(1)}[by]
	return &List{Items: st.sorted(pairs, st.keyed(pos, truth(orDefault(b[0], false)), nil),
		truth(orDefault(b[2], false)))}
}

func filterUnique(st *state, in Value, b []Value) Value {
	key := st.keyed(orDefault(b[1], nil), truth(orDefault(b[0], false)), nil)
	seen := NewDict(0)
	return lazily(in, func(st *state, v Value) (Value, bool) {
		k := key(v)
		if _, dup := seen.lookup(k); dup {
			return nil, false
		}
		seen.set(k, nil)
		st.m.items(2)
		return v, true
	})
}

// extreme is min ("<") or max (">").
func extreme(op string) filterFunc {
	return takes(func(st *state, in Value, b []Value) Value {
		items := st.collect(in)
		if len(items) == 0 {
			return undefinedHint("No aggregated item, sequence was empty.")
		}
		key := st.keyed(orDefault(b[1], nil), truth(orDefault(b[0], false)), nil)
		var best, bestKey Value
		for i, v := range items {
			k := key(v)
			if i == 0 || less(st.m, op, k, bestKey) {
				best, bestKey = v, k
			}
		}
		return best
	}, "min", 0, "case_sensitive", "attribute")
}

func filterSum(st *state, in Value, b []Value) Value {
	items := st.collect(in)
	var p path
	if attr := orDefault(b[0], nil); attr != nil {
		p = newPath(attr)
	}
	sum := orDefault(b[1], int64(0))
	if _, ok := text(sum); ok {
		panic(typeErrorf("sum() can't sum strings [use ''.join(seq) instead]"))
	}
	for _, v := range items {
		sum = st.binary("+", sum, p.get(st, v, nil))
	}
	return sum
}

// portions returns the items of in and a number of them or of parts, which what names.
func (st *state) portions(in, number Value, what string) (items []Value, n int64) {
	n = intArg(number, 0)
	if items = st.collect(in); n < 1 || n > maxRange {
		panic(valueErrorf(what+" is out of range", n))
	}
	return items, n
}

func filterBatch(st *state, in Value, b []Value) Value {
	items, n := st.portions(in, b[0], "batch of %d items")
	var out []Value
	for chunk := range slices.Chunk(items, int(n)) {
		chunk = slices.Clone(chunk)
		if fill := orDefault(b[1], nil); fill != nil {
			for len(chunk) < int(n) {
				chunk = append(chunk, fill)
			}
		}
		st.m.items(len(chunk))
		out = append(out, &List{Items: chunk})
	}
	it := &sliceIter{items: out}
	return &generator{kind: "generator", pull: it.next}
}

func filterSlice(st *state, in Value, b []Value) Value {
	items, n := st.portions(in, b[0], "%d slices")
	st.m.items(len(items) + 2*int(n))
	each, extra := len(items)/int(n), len(items)%int(n)
	out := make([]Value, n)
	for i := range out {
		size := each
		if i < extra {
			size++
		}
		part := slices.Clone(items[:size])
		items = items[size:]
		if fill := orDefault(b[1], nil); fill != nil && i >= extra {
			part = append(part, fill)
		}
		out[i] = &List{Items: part}
	}
	it := &sliceIter{items: out}
	return &generator{kind: "generator", pull: it.next}
}

// filterGroupBy returns (key, items) pairs, sorted by key.
func filterGroupBy(st *state, in Value, b []Value) Value {
	cs, def := truth(orDefault(b[2], false)), orDefault(b[1], nil)
	items := st.collect(in)
	key := st.keyed(b[0], cs, def)
	items = st.sorted(items, key, false)
	var out []Value
	var group *List
	var last Value
	for _, v := range items {
		k := key(v)
		if group == nil || !equal(st.m, k, last) {
			group, last = &List{}, k
			out = append(out, &Tuple{[]Value{st.keyed(b[0], true, def)(v), group}})
		}
		group.Items = append(group.Items, v)
	}
	st.m.items(3 * len(items))
	return &List{Items: out}
}
