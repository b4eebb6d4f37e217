package jinja

import (
	"math"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// globals are the functions every template sees.
var globals = map[string]*Callable{
	"range":           {name: "range", call: globalRange},
	"dict":            {name: "dict", call: globalDict},
	"namespace":       {name: "namespace", call: globalNamespace},
	"joiner":          {name: "joiner", call: globalJoiner},
	"cycler":          {name: "cycler", call: globalCycler},
	"raise_exception": {name: "raise_exception", call: globalRaise},
	"strftime_now":    {name: "strftime_now", call: globalStrftime},
}

func globalRange(_ *state, a *args) Value {
	if len(a.names) > 0 {
		panic(typeErrorf("range() takes no keyword arguments"))
	}
	r := &Range{step: 1}
	dst := [][]*int64{{}, {&r.stop}, {&r.start, &r.stop}, {&r.start, &r.stop, &r.step}}
	if len(a.pos) == 0 || len(a.pos) > 3 {
		panic(typeErrorf("range expected 1 to 3 arguments, got %d", len(a.pos)))
	}
	for i, v := range a.pos {
		*dst[len(a.pos)][i] = intArg(v, 0)
	}
	if r.step == 0 {
		panic(valueErrorf("range() arg 3 must not be zero"))
	}
	lo, hi, step := r.start, r.stop, r.step
	if step < 0 {
		lo, hi = hi, lo
	}
	if hi > lo {
		if width := uint64(hi) - uint64(lo); width > 0 {
			n := (width-1)/abs64(step) + 1
			if n > maxRange {
				panic(newError(LimitError,
					"Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange))
			}
			r.n = int64(n)
		}
	}
	if r.n > 0 && (r.start > math.MaxInt64/4 || r.start < math.MinInt64/4) {
		panic(errWide())
	}
	return r
}

// globalDict is dict(mapping or pairs, **named).
func globalDict(st *state, a *args) Value {
	if len(a.pos) > 1 {
		panic(typeErrorf("dict expected at most 1 argument, got %d", len(a.pos)))
	}
	d := NewDict(len(a.names))
	if len(a.pos) == 1 {
		st.fill(d, a.pos[0])
	}
	for i, name := range a.names {
		d.set(name, a.named[i])
	}
	st.m.items(2 * d.Len())
	return d
}

// fill adds the entries of a dict, or the pairs of an iterable, to d.
func (st *state) fill(d *Dict, v Value) {
	if src, ok := v.(*Dict); ok {
		for k, v := range src.All() {
			d.set(k, v)
		}
		return
	}
	for _, item := range st.collect(v) {
		pair := st.unpack(item, 2)
		d.set(pair[0], pair[1])
	}
}

func globalNamespace(st *state, a *args) Value {
	return &Namespace{globalDict(st, a).(*Dict)}
}

// joiner returns nothing the first time it is called and its separator after that.
type joiner struct {
	sep  Value
	used bool
}

func (j *joiner) next() Value {
	if !j.used {
		j.used = true
		return Text{}
	}
	return j.sep
}

func globalJoiner(_ *state, a *args) Value {
	b := a.take("joiner", 0, "sep")
	return &joiner{sep: orDefault(b[0], origin.Own(", "))}
}

// cycler returns its items in turn.
type cycler struct {
	items []Value
	pos   int
}

func (c *cycler) attr(name string) (Value, bool) {
	switch name {
	case "current":
		return c.items[c.pos], true
	case "next":
		return &Callable{name: name, method: true, call: func(*state, *args) Value {
			v := c.items[c.pos]
			c.pos = (c.pos + 1) % len(c.items)
			return v
		}}, true
	case "reset":
		return &Callable{name: name, method: true, call: func(*state, *args) Value {
			c.pos = 0
			return nil
		}}, true
	}
	return nil, false
}

func globalCycler(_ *state, a *args) Value {
	if len(a.pos) == 0 {
		panic(newError(ValueError, "at least one item has to be provided"))
	}
	return &cycler{items: a.pos}
}

func globalRaise(st *state, a *args) Value {
	b := a.take("raise_exception", 1, "message")
	panic(&Error{Kind: RaisedError, Message: str(st.m, b[0]).Peek()})
}

func globalStrftime(st *state, a *args) Value {
	b := a.take("strftime_now", 1, "format")
	layout, ok := chars(b[0])
	if !ok {
		panic(typeErrorf("strftime() argument 1 must be str, not %s", typeName(b[0])))
	}
	return st.m.text(strftime(st.now, layout))
}
