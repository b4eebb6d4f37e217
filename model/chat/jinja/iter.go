package jinja

import "unicode/utf8"

// iterator yields values one by one. After the end or an error it must not be asked again.
type iterator interface {
	next(st *state) (Value, bool, error)
}

type sliceIter struct {
	items []Value
	i     int
}

func (it *sliceIter) next(*state) (Value, bool, error) {
	if it.i == len(it.items) {
		return nil, false, nil
	}
	it.i++
	return it.items[it.i-1], true, nil
}

// runeIter yields the characters of a text.
type runeIter struct {
	t  Text
	at int
}

func (it *runeIter) next(*state) (Value, bool, error) {
	if it.at == it.t.Len() {
		return nil, false, nil
	}
	begin := it.at
	_, n := utf8.DecodeRuneInString(it.t.Peek()[begin:])
	it.at += n
	return it.t.Slice(begin, it.at), true, nil
}

type indexIter struct {
	i, n int
	at   func(i int) Value
}

func (it *indexIter) next(*state) (Value, bool, error) {
	if it.i >= it.n {
		return nil, false, nil
	}
	it.i++
	return it.at(it.i - 1), true, nil
}

// generator is a value that can be iterated once, computing each item when it is asked for.
type generator struct {
	kind string // Python's name of the type
	pull func(st *state) (Value, bool, error)
	done bool
}

func (g *generator) next(st *state) (Value, bool, error) {
	if g.done {
		return nil, false, nil
	}
	if err := st.m.step(1); err != nil {
		return nil, false, err
	}
	v, ok, err := g.pull(st)
	if err != nil || !ok {
		g.done = true
	}
	return v, ok, err
}

// iterate returns an iterator over v and v's length, -1 when v has none.
func iterate(v Value) (iterator, int, error) {
	if items, ok := sequence(v); ok {
		return &sliceIter{items: items}, len(items), nil
	}
	switch v := v.(type) {
	case Text:
		return &runeIter{t: v}, runes(v.Peek()), nil
	case Markup:
		return &runeIter{t: v.Text}, runes(v.Peek()), nil
	case *Dict:
		return &sliceIter{items: v.keys}, len(v.keys), nil
	case *Undefined:
		return &sliceIter{}, 0, nil
	case *Range:
		return &indexIter{n: int(v.n), at: func(i int) Value { return v.at(int64(i)) }}, int(v.n), nil
	case *dictView:
		return &indexIter{n: v.d.Len(), at: v.at}, v.d.Len(), nil
	case *generator:
		return v, -1, nil
	}
	return nil, 0, typeErrorf("'%s' object is not iterable", typeName(v))
}

// collect takes all items of v, charged as a new list. The result may be v's own slice: only read it.
func (st *state) collect(v Value) ([]Value, error) {
	if items, ok := sequence(v); ok {
		return items, st.m.step(1 + len(items))
	}
	it, size, err := iterate(v)
	if err != nil {
		return nil, err
	}
	if err := st.m.items(max(size, 0)); err != nil {
		return nil, err
	}
	out := make([]Value, 0, max(size, 0))
	for {
		item, ok, err := it.next(st)
		if err != nil || !ok {
			return out, err
		}
		if size < 0 {
			if err := st.m.items(1); err != nil {
				return nil, err
			}
		}
		out = append(out, item)
	}
}

// length is Python's len(v).
func length(m *meter, v Value) (int, error) {
	if items, ok := sequence(v); ok {
		return len(items), nil
	}
	switch v := v.(type) {
	case Text:
		return runes(v.Peek()), m.scan(v.Len())
	case Markup:
		return runes(v.Peek()), m.scan(v.Len())
	case *Dict:
		return v.Len(), nil
	case *Undefined:
		return 0, nil
	case *Range:
		return int(v.n), nil
	case *dictView:
		return v.d.Len(), nil
	}
	return 0, typeErrorf("object of type '%s' has no len()", typeName(v))
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
	recurse func(v Value, depth int) (Text, error)
	depth0  int
}

func (lc *loopContext) pull(st *state) (Value, bool, error) {
	if lc.ended {
		return nil, false, nil
	}
	v, ok, err := lc.it.next(st)
	lc.ended = !ok || err != nil
	return v, ok, err
}

func (lc *loopContext) next(st *state) (Value, bool, error) {
	v, ok := lc.after, lc.ahead
	var err error
	if lc.ahead {
		lc.after, lc.ahead = nil, false
	} else if v, ok, err = lc.pull(st); err != nil || !ok {
		return nil, false, err
	}
	lc.index0++
	lc.before, lc.cur = lc.cur, v
	return v, ok, nil
}

// peek reads one item ahead.
func (lc *loopContext) peek(st *state) (Value, bool, error) {
	if lc.ahead {
		return lc.after, true, nil
	}
	v, ok, err := lc.pull(st)
	if ok && err == nil {
		lc.after, lc.ahead = v, true
	}
	return v, ok, err
}

// length reads the rest of an iterator whose length is not known.
func (lc *loopContext) length(st *state) (int64, error) {
	if lc.size >= 0 {
		return int64(lc.size), nil
	}
	var rest []Value
	for {
		v, ok, err := lc.pull(st)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		if err := st.m.items(1); err != nil {
			return 0, err
		}
		rest = append(rest, v)
	}
	lc.it, lc.ended = &sliceIter{items: rest}, false
	lc.size = len(rest) + lc.index0 + 1
	if lc.ahead {
		lc.size++
	}
	return int64(lc.size), nil
}

// attr returns an attribute of loop; ok is false when there is none of that name.
func (lc *loopContext) attr(st *state, name string) (v Value, ok bool, err error) {
	index := int64(lc.index0)
	switch name {
	case "index0":
		return index, true, nil
	case "index":
		return index + 1, true, nil
	case "first":
		return index == 0, true, nil
	case "last":
		_, more, err := lc.peek(st)
		return !more, true, err
	case "length", "revindex", "revindex0":
		n, err := lc.length(st)
		return n - map[string]int64{"length": 0, "revindex": index, "revindex0": index + 1}[name], true, err
	case "depth0":
		return int64(lc.depth0), true, nil
	case "depth":
		return int64(lc.depth0) + 1, true, nil
	case "previtem":
		if index == 0 {
			return undefinedHint("there is no previous item"), true, nil
		}
		return lc.before, true, nil
	case "nextitem":
		v, more, err := lc.peek(st)
		if err == nil && !more {
			v = undefinedHint("there is no next item")
		}
		return v, true, err
	case "cycle":
		return &Callable{name: name, method: true, call: lc.cycle}, true, nil
	case "changed":
		return &Callable{name: name, method: true, call: lc.change}, true, nil
	}
	return nil, false, nil
}

func (lc *loopContext) cycle(_ *state, a *args) (Value, error) {
	if len(a.pos) == 0 {
		return nil, typeErrorf("no items for cycling given")
	}
	return a.pos[lc.index0%len(a.pos)], nil
}

func (lc *loopContext) change(st *state, a *args) (Value, error) {
	now := a.pos
	if now == nil {
		now = []Value{}
	}
	if lc.changed != nil {
		same, err := equalItems(st.m, lc.changed, now)
		if err != nil || same {
			return false, err
		}
	}
	lc.changed = now
	return true, nil
}

// call is loop(items): the loop's body once more, for nested items.
func (lc *loopContext) call(a *args) (Value, error) {
	if lc.recurse == nil {
		return nil, typeErrorf("The loop must have the 'recursive' marker to be called recursively.")
	}
	b, err := a.bind("loop", 1, "iterable")
	if err != nil {
		return nil, err
	}
	return lc.recurse(b[0], lc.depth0+1)
}
