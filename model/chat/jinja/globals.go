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

func globalRange(_ *state, a *args) (Value, error) {
	if len(a.names) > 0 {
		return nil, typeErrorf("range() takes no keyword arguments")
	}
	r := &Range{step: 1}
	dst := [][]*int64{{}, {&r.stop}, {&r.start, &r.stop}, {&r.start, &r.stop, &r.step}}
	if len(a.pos) == 0 || len(a.pos) > 3 {
		return nil, typeErrorf("range expected 1 to 3 arguments, got %d", len(a.pos))
	}
	for i, v := range a.pos {
		n, err := intArg(v, 0)
		if err != nil {
			return nil, err
		}
		*dst[len(a.pos)][i] = n
	}
	if r.step == 0 {
		return nil, valueErrorf("range() arg 3 must not be zero")
	}
	lo, hi, step := r.start, r.stop, r.step
	if step < 0 {
		lo, hi = hi, lo
	}
	if hi > lo {
		if width := uint64(hi) - uint64(lo); width > 0 {
			n := (width-1)/abs64(step) + 1
			if n > maxRange {
				return nil, newError(LimitError,
					"Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
			}
			r.n = int64(n)
		}
	}
	if r.n > 0 && (r.start > math.MaxInt64/4 || r.start < math.MinInt64/4) {
		return nil, errWide()
	}
	return r, nil
}

// globalDict is dict(mapping or pairs, **named).
func globalDict(st *state, a *args) (Value, error) {
	if len(a.pos) > 1 {
		return nil, typeErrorf("dict expected at most 1 argument, got %d", len(a.pos))
	}
	d := NewDict(len(a.names))
	if len(a.pos) == 1 {
		if err := st.fill(d, a.pos[0]); err != nil {
			return nil, err
		}
	}
	for i, name := range a.names {
		if err := d.set(name, a.named[i]); err != nil {
			return nil, err
		}
	}
	return d, st.m.items(2 * d.Len())
}

// fill adds the entries of a dict, or the pairs of an iterable, to d.
func (st *state) fill(d *Dict, v Value) error {
	if src, ok := v.(*Dict); ok {
		for k, v := range src.All() {
			if err := d.set(k, v); err != nil {
				return err
			}
		}
		return nil
	}
	items, err := st.collect(v)
	if err != nil {
		return err
	}
	for _, item := range items {
		pair, err := st.unpack(item, 2)
		if err != nil {
			return err
		}
		if err := d.set(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

func globalNamespace(st *state, a *args) (Value, error) {
	d, err := globalDict(st, a)
	if err != nil {
		return nil, err
	}
	return &Namespace{d.(*Dict)}, nil
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

func globalJoiner(_ *state, a *args) (Value, error) {
	b, err := a.bind("joiner", 0, "sep")
	if err != nil {
		return nil, err
	}
	return &joiner{sep: orDefault(b[0], origin.Own(", "))}, nil
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
		return &Callable{name: name, method: true, call: func(*state, *args) (Value, error) {
			v := c.items[c.pos]
			c.pos = (c.pos + 1) % len(c.items)
			return v, nil
		}}, true
	case "reset":
		return &Callable{name: name, method: true, call: func(*state, *args) (Value, error) {
			c.pos = 0
			return nil, nil
		}}, true
	}
	return nil, false
}

func globalCycler(_ *state, a *args) (Value, error) {
	if len(a.pos) == 0 {
		return nil, newError(ValueError, "at least one item has to be provided")
	}
	return &cycler{items: a.pos}, nil
}

func globalRaise(st *state, a *args) (Value, error) {
	b, err := a.bind("raise_exception", 1, "message")
	if err != nil {
		return nil, err
	}
	msg, err := str(st.m, b[0])
	if err != nil {
		return nil, err
	}
	return nil, &Error{Kind: RaisedError, Message: msg.Peek()}
}

func globalStrftime(st *state, a *args) (Value, error) {
	b, err := a.bind("strftime_now", 1, "format")
	if err != nil {
		return nil, err
	}
	layout, ok := chars(b[0])
	if !ok {
		return nil, typeErrorf("strftime() argument 1 must be str, not %s", typeName(b[0]))
	}
	s, err := strftime(st.now, layout)
	if err != nil {
		return nil, err
	}
	return st.m.text(s)
}
