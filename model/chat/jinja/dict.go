package jinja

import (
	"fmt"
	"iter"
	"math"
	"math/big"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// Dict is a Python dict: it keeps insertion order, and setting a key that exists keeps its place.
// The zero value is empty. A template never changes one.
type Dict struct {
	keys, vals []Value
	index      map[dictKey]int // built past dictScan entries
	// from is the origin of what prints the dict beside the text in it.
	from origin.ID
}

// dictScan is how many entries are searched one by one before an index pays.
const dictScan = 12

// dictKey is a key in comparable form: numbers that Python holds equal (1, 1.0, True) are equal.
type dictKey struct {
	kind byte
	s    string
	n    int64
}

func keyOf(v Value) (dictKey, error) {
	switch v := v.(type) {
	case Text:
		return dictKey{'s', v.Peek(), 0}, nil
	case Markup:
		return dictKey{'s', v.Peek(), 0}, nil
	case nil:
		return dictKey{kind: 'n'}, nil
	case bool, int64:
		i, _ := integer(v)
		return dictKey{'i', "", i}, nil
	case *big.Int:
		return dictKey{'b', v.String(), 0}, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
			return dictKey{'i', "", int64(v)}, nil
		}
		return dictKey{'f', "", int64(math.Float64bits(v))}, nil
	case *Undefined:
		return dictKey{kind: 'u'}, nil
	case *Tuple:
		b, err := appendKey(nil, v, 0)
		return dictKey{'t', string(b), 0}, err
	case *List, *Dict:
		return dictKey{}, typeErrorf("unhashable type: '%s'", typeName(v))
	}
	return dictKey{}, typeErrorf("a %s as a dict key is not supported", typeName(v))
}

// appendKey writes the key of each item of a tuple so that only equal tuples write the same bytes.
func appendKey(b []byte, t *Tuple, depth int) ([]byte, error) {
	for _, v := range t.Items {
		if depth > 20 || len(b) > 1<<16 {
			return nil, newError(LimitError, "a tuple is too large for a dict key")
		}
		if inner, ok := v.(*Tuple); ok {
			var err error
			if b, err = appendKey(append(b, '('), inner, depth+1); err != nil {
				return nil, err
			}
			b = append(b, ')')
			continue
		}
		k, err := keyOf(v)
		if err != nil {
			return nil, err
		}
		b = fmt.Appendf(b, "%c%d:%d:%s", k.kind, k.n, len(k.s), k.s)
	}
	return b, nil
}

// NewDict returns an empty dict with room for n entries.
func NewDict(n int) *Dict {
	room := make([]Value, 2*n)
	return &Dict{keys: room[:0:n], vals: room[n:n]}
}

// Len is the number of entries.
func (d *Dict) Len() int { return len(d.keys) }

// All yields the entries in order.
func (d *Dict) All() iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		for i, k := range d.keys {
			if !yield(k, d.vals[i]) {
				return
			}
		}
	}
}

// Get returns the value of a string key.
func (d *Dict) Get(key string) (Value, bool) {
	if i := d.find(dictKey{'s', key, 0}); i >= 0 {
		return d.vals[i], true
	}
	return nil, false
}

// Set sets a string key of a dict that comes from outside. It must not be called once the dict has
// been given to a render. A Go string becomes text of the request's, as the key does.
func (d *Dict) Set(key string, v any) {
	if s, ok := v.(string); ok {
		v = origin.Given(s, origin.Request)
	}
	d.put(dictKey{'s', key, 0}, origin.Given(key, origin.Request), v)
}

// Add sets a string key of the given origin, under the same rule as Set.
func (d *Dict) Add(key string, v Value, from origin.ID) {
	d.put(dictKey{'s', key, 0}, origin.Given(key, from), v)
}

// own sets a key that the template names.
func (d *Dict) own(key string, v Value) { d.put(dictKey{'s', key, 0}, origin.Literal(key), v) }

func (d *Dict) find(k dictKey) int {
	if d.index != nil {
		if i, ok := d.index[k]; ok {
			return i
		}
		return -1
	}
	for i, have := range d.keys {
		if t, ok := have.(Text); ok {
			if k.kind == 's' && t.Peek() == k.s {
				return i
			}
			continue
		}
		if h, err := keyOf(have); err == nil && h == k {
			return i
		}
	}
	return -1
}

func (d *Dict) put(k dictKey, key, v Value) {
	if i := d.find(k); i >= 0 {
		d.vals[i] = v
		return
	}
	d.keys = append(d.keys, key)
	d.vals = append(d.vals, v)
	switch {
	case d.index != nil:
		d.index[k] = len(d.keys) - 1
	case len(d.keys) > dictScan:
		d.index = make(map[dictKey]int, 2*len(d.keys))
		for i, have := range d.keys {
			if h, err := keyOf(have); err == nil {
				d.index[h] = i
			}
		}
	}
}

// lookup finds any value as a key; a value that cannot be a key is a TypeError.
func (d *Dict) lookup(key Value) (Value, bool) {
	k, err := keyOf(key)
	check(err)
	if i := d.find(k); i >= 0 {
		return d.vals[i], true
	}
	return nil, false
}

func (d *Dict) set(key, v Value) {
	k, err := keyOf(key)
	check(err)
	d.put(k, key, v)
}

func (d *Dict) clone() *Dict {
	c := NewDict(len(d.keys))
	c.from = d.from
	for k, v := range d.All() {
		c.set(k, v)
	}
	return c
}
