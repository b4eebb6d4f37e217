package jinja

import "unicode/utf8"

// iterator yields values one by one. After the end or an error it must not be asked again.
type iterator interface {
	next(st *state) (Value, bool)
}

type sliceIter struct {
	items []Value
	i     int
}

func (it *sliceIter) next(*state) (Value, bool) {
	if it.i == len(it.items) {
		return nil, false
	}
	it.i++
	return it.items[it.i-1], true
}

// runeIter yields the characters of a text.
type runeIter struct {
	t  Text
	at int
}

func (it *runeIter) next(*state) (Value, bool) {
	if it.at == it.t.Len() {
		return nil, false
	}
	begin := it.at
	_, n := utf8.DecodeRuneInString(it.t.Peek()[begin:])
	it.at += n
	return it.t.Slice(begin, it.at), true
}

type indexIter struct {
	i, n int
	at   func(i int) Value
}

func (it *indexIter) next(*state) (Value, bool) {
	if it.i >= it.n {
		return nil, false
	}
	it.i++
	return it.at(it.i - 1), true
}

// generator is a value that can be iterated once, computing each item when it is asked for.
type generator struct {
	kind string // Python's name of the type
	pull func(st *state) (Value, bool)
	done bool
}

func (g *generator) next(st *state) (Value, bool) {
	if g.done {
		return nil, false
	}
	st.m.step(1)
	v, ok := g.pull(st)
	g.done = !ok
	return v, ok
}

// iterate returns an iterator over v and v's length, -1 when v has none.
func iterate(v Value) (iterator, int) {
	it, n, ok := iterable(v)
	if !ok {
		panic(typeErrorf("'%s' object is not iterable", typeName(v)))
	}
	return it, n
}

// iterable is iterate; ok is false for what no loop takes.
func iterable(v Value) (it iterator, n int, ok bool) {
	if items, ok := sequence(v); ok {
		return &sliceIter{items: items}, len(items), true
	}
	switch v := v.(type) {
	case Text:
		return &runeIter{t: v}, runes(v.Peek()), true
	case Markup:
		return &runeIter{t: v.Text}, runes(v.Peek()), true
	case *Dict:
		return &sliceIter{items: v.keys}, len(v.keys), true
	case *Undefined:
		return &sliceIter{}, 0, true
	case *Range:
		return &indexIter{n: int(v.n), at: func(i int) Value { return v.at(int64(i)) }}, int(v.n), true
	case *dictView:
		return &indexIter{n: v.d.Len(), at: v.at}, v.d.Len(), true
	case *generator:
		return v, -1, true
	}
	return nil, 0, false
}

// collect takes all items of v, charged as a new list. The result may be v's own slice: only read it.
func (st *state) collect(v Value) []Value {
	if items, ok := sequence(v); ok {
		st.m.step(1 + len(items))
		return items
	}
	it, size := iterate(v)
	st.m.items(max(size, 0))
	out := make([]Value, 0, max(size, 0))
	for {
		item, ok := it.next(st)
		if !ok {
			return out
		}
		if size < 0 {
			st.m.items(1)
		}
		out = append(out, item)
	}
}

// length is Python's len(v).
func length(m *meter, v Value) int {
	if items, ok := sequence(v); ok {
		return len(items)
	}
	switch v := v.(type) {
	case Text:
		m.scan(v.Len())
		return runes(v.Peek())
	case Markup:
		m.scan(v.Len())
		return runes(v.Peek())
	case *Dict:
		return v.Len()
	case *Undefined:
		return 0
	case *Range:
		return int(v.n)
	case *dictView:
		return v.d.Len()
	}
	panic(typeErrorf("object of type '%s' has no len()", typeName(v)))
}

// loopContext is the variable loop of a for statement.
type loopContext struct {
	it      iterator
	size    int // -1 until it is known
	index0  int
	cur     Value
	before  Value
	after   Value // read ahead, when ahead is set
	ahead   bool
	ended   bool
	changed []Value // the last arguments of changed(), nil before the first call
	recurse func(v Value, depth int) Text
	depth0  int
}

func (lc *loopContext) pull(st *state) (Value, bool) {
	if lc.ended {
		return nil, false
	}
	v, ok := lc.it.next(st)
	lc.ended = !ok
	return v, ok
}

func (lc *loopContext) next(st *state) (Value, bool) {
	v, ok := lc.after, lc.ahead
	if lc.ahead {
		lc.after, lc.ahead = nil, false
	} else if v, ok = lc.pull(st); !ok {
		return nil, false
	}
	lc.index0++
	lc.before, lc.cur = lc.cur, v
	return v, ok
}

// peek reads one item ahead.
func (lc *loopContext) peek(st *state) (Value, bool) {
	if lc.ahead {
		return lc.after, true
	}
	v, ok := lc.pull(st)
	if ok {
		lc.after, lc.ahead = v, true
	}
	return v, ok
}

// length reads the rest of an iterator whose length is not known.
func (lc *loopContext) length(st *state) int64 {
	if lc.size >= 0 {
		return int64(lc.size)
	}
	var rest []Value
	for {
		v, ok := lc.pull(st)
		if !ok {
			break
		}
		st.m.items(1)
		rest = append(rest, v)
	}
	lc.it, lc.ended = &sliceIter{items: rest}, false
	lc.size = len(rest) + lc.index0 + 1
	if lc.ahead {
		lc.size++
	}
	return int64(lc.size)
}

// attr returns an attribute of loop; ok is false when there is none of that name.
func (lc *loopContext) attr(st *state, name string) (v Value, ok bool) {
	index := int64(lc.index0)
	switch name {
	case "index0":
		return index, true
	case "index":
		return index + 1, true
	case "first":
		return index == 0, true
	case "last":
		_, more := lc.peek(st)
		return !more, true
	case "length", "revindex", "revindex0":
		n := lc.length(st)
		return n - map[string]int64{"length": 0, "revindex": index, "revindex0": index + 1}[name], true
	case "depth0":
		return int64(lc.depth0), true
	case "depth":
		return int64(lc.depth0) + 1, true
	case "previtem":
		if index == 0 {
			return undefinedHint("there is no previous item"), true
		}
		return lc.before, true
	case "nextitem":
		v, more := lc.peek(st)
		if !more {
			v = undefinedHint("there is no next item")
		}
		return v, true
	case "cycle":
		return &Callable{name: name, method: true, call: lc.cycle}, true
	case "changed":
		return &Callable{name: name, method: true, call: lc.change}, true
	}
	return nil, false
}

func (lc *loopContext) cycle(_ *state, a *args) Value {
	if len(a.pos) == 0 {
		panic(typeErrorf("no items for cycling given"))
	}
	return a.pos[lc.index0%len(a.pos)]
}

func (lc *loopContext) change(st *state, a *args) Value {
	now := a.pos
	if now == nil {
		now = []Value{}
	}
	if lc.changed != nil {
		if equalItems(st.m, lc.changed, now) {
			return false
		}
	}
	lc.changed = now
	return true
}

// call is loop(items): the loop's body once more, for nested items.
func (lc *loopContext) call(a *args) Value {
	if lc.recurse == nil {
		panic(typeErrorf("The loop must have the 'recursive' marker to be called recursively."))
	}
	b := a.take("loop", 1, "iterable")
	return lc.recurse(b[0], lc.depth0+1)
}
