package jinja

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// sortBy sorts by the order that Python gives keys, stably.
func sortBy[T any](m *meter, s []T, key func(T) Value, reverse bool) (err error) {
	sort.SliceStable(s, func(i, j int) bool {
		if err != nil {
			return false
		}
		if reverse {
			i, j = j, i
		}
		var before bool
		before, err = less(m, "<", key(s[i]), key(s[j]))
		return before
	})
	return err
}

// sorted returns items in the order of their keys.
func (st *state) sorted(items []Value, key func(Value) (Value, error), reverse bool) ([]Value, error) {
	type entry struct{ item, key Value }
	if err := st.m.items(3 * len(items)); err != nil {
		return nil, err
	}
	entries := make([]entry, len(items))
	for i, v := range items {
		k, err := key(v)
		if err != nil {
			return nil, err
		}
		entries[i] = entry{v, k}
	}
	err := sortBy(st.m, entries, func(e entry) Value { return e.key }, reverse)
	out := make([]Value, len(entries))
	for i, e := range entries {
		out[i] = e.item
	}
	return out, err
}

func filterSort(st *state, in Value, b []Value) (Value, error) {
	items, err := st.collect(in)
	if err != nil {
		return nil, err
	}
	attr := orDefault(b[2], nil)
	cs := truth(orDefault(b[1], false))
	key := st.keyed(attr, cs, nil)
	if t, ok := chars(attr); ok && strings.Contains(t.Peek(), ",") {
		var keys []func(Value) (Value, error)
		for _, part := range cutAll(t, ",", -1) {
			keys = append(keys, st.keyed(part, cs, nil))
		}
		key = func(v Value) (Value, error) {
			t := &Tuple{make([]Value, len(keys))}
			for i, k := range keys {
				var err error
				if t.Items[i], err = k(v); err != nil {
					return nil, err
				}
			}
			return t, nil
		}
	}
	out, err := st.sorted(items, key, truth(orDefault(b[0], false)))
	if err != nil {
		return nil, err
	}
	return &List{Items: out}, nil
}

func filterDictSort(st *state, in Value, b []Value) (Value, error) {
	by, _ := text(orDefault(b[1], origin.Own("key")))
	if by != "key" && by != "value" {
		return nil, valueErrorf(`You can only sort by either "key" or "value"`)
	}
	d, ok := in.(*Dict)
	if u, isUndef := in.(*Undefined); isUndef {
		return nil, u.err()
	}
	if !ok {
		return nil, typeErrorf("'%s' object has no attribute 'items'", typeName(in))
	}
	pairs := make([]Value, d.Len())
	for i := range pairs {
		pairs[i] = (&dictView{'i', d}).at(i)
	}
	pos := map[string]Value{"key": int64(0), "value": int64(1)}[by]
	out, err := st.sorted(pairs, st.keyed(pos, truth(orDefault(b[0], false)), nil),
		truth(orDefault(b[2], false)))
	if err != nil {
		return nil, err
	}
	return &List{Items: out}, nil
}

func filterUnique(st *state, in Value, b []Value) (Value, error) {
	key := st.keyed(orDefault(b[1], nil), truth(orDefault(b[0], false)), nil)
	seen := NewDict(0)
	return lazily(in, func(st *state, v Value) (Value, bool, error) {
		k, err := key(v)
		if err != nil {
			return nil, false, err
		}
		_, dup, err := seen.lookup(k)
		if err != nil || dup {
			return nil, false, err
		}
		return v, true, cmp.Or(seen.set(k, nil), st.m.items(2))
	}), nil
}

// extreme is min ("<") or max (">").
func extreme(op string) filterFunc {
	return takes(func(st *state, in Value, b []Value) (Value, error) {
		items, err := st.collect(in)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return undefinedHint("No aggregated item, sequence was empty."), nil
		}
		key := st.keyed(orDefault(b[1], nil), truth(orDefault(b[0], false)), nil)
		var best, bestKey Value
		for i, v := range items {
			k, err := key(v)
			if err != nil {
				return nil, err
			}
			better := i == 0
			if !better {
				if better, err = less(st.m, op, k, bestKey); err != nil {
					return nil, err
				}
			}
			if better {
				best, bestKey = v, k
			}
		}
		return best, nil
	}, "min", 0, "case_sensitive", "attribute")
}

func filterSum(st *state, in Value, b []Value) (Value, error) {
	items, err := st.collect(in)
	if err != nil {
		return nil, err
	}
	var p path
	if attr := orDefault(b[0], nil); attr != nil {
		p = newPath(attr)
	}
	sum := orDefault(b[1], int64(0))
	if _, ok := text(sum); ok {
		return nil, typeErrorf("sum() can't sum strings [use ''.join(seq) instead]")
	}
	for _, v := range items {
		if v, err = p.get(st, v, nil); err != nil {
			return nil, err
		}
		if sum, err = st.binary("+", sum, v); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// portions returns the items of in and a number of them or of parts, which what names.
func (st *state) portions(in, number Value, what string) (items []Value, n int64, err error) {
	if n, err = intArg(number, 0); err != nil {
		return nil, n, err
	}
	if items, err = st.collect(in); err == nil && (n < 1 || n > maxRange) {
		err = valueErrorf(what+" is out of range", n)
	}
	return items, n, err
}

func filterBatch(st *state, in Value, b []Value) (Value, error) {
	items, n, err := st.portions(in, b[0], "batch of %d items")
	if err != nil {
		return nil, err
	}
	var out []Value
	for chunk := range slices.Chunk(items, int(n)) {
		chunk = slices.Clone(chunk)
		if fill := orDefault(b[1], nil); fill != nil {
			for len(chunk) < int(n) {
				chunk = append(chunk, fill)
			}
		}
		if err := st.m.items(len(chunk)); err != nil {
			return nil, err
		}
		out = append(out, &List{Items: chunk})
	}
	it := &sliceIter{items: out}
	return &generator{kind: "generator", pull: it.next}, nil
}

func filterSlice(st *state, in Value, b []Value) (Value, error) {
	items, n, err := st.portions(in, b[0], "%d slices")
	if err != nil {
		return nil, err
	}
	if err := st.m.items(len(items) + 2*int(n)); err != nil {
		return nil, err
	}
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
	return &generator{kind: "generator", pull: it.next}, nil
}

// filterGroupBy returns (key, items) pairs, sorted by key.
func filterGroupBy(st *state, in Value, b []Value) (Value, error) {
	cs, def := truth(orDefault(b[2], false)), orDefault(b[1], nil)
	items, err := st.collect(in)
	if err != nil {
		return nil, err
	}
	key := st.keyed(b[0], cs, def)
	if items, err = st.sorted(items, key, false); err != nil {
		return nil, err
	}
	var out []Value
	var group *List
	var last Value
	for _, v := range items {
		k, err := key(v)
		if err != nil {
			return nil, err
		}
		same := false
		if group != nil {
			if same, err = equal(st.m, k, last); err != nil {
				return nil, err
			}
		}
		if !same {
			name, err := st.keyed(b[0], true, def)(v)
			if err != nil {
				return nil, err
			}
			group, last = &List{}, k
			out = append(out, &Tuple{[]Value{name, group}})
		}
		group.Items = append(group.Items, v)
	}
	return &List{Items: out}, st.m.items(3 * len(items))
}
