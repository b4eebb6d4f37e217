package jinja

import (
	"cmp"
	"fmt"
	"math/big"
	"strings"
	"unicode"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// str is Python's str(v): what printing v writes.
func str(m *meter, v Value) (Text, error) {
	switch v := v.(type) {
	case Text:
		return v, nil
	case Markup:
		return v.Text, nil
	case nil:
		return origin.Own("None"), nil
	case bool:
		if v {
			return origin.Own("True"), nil
		}
		return origin.Own("False"), nil
	case int64:
		return origin.Number(itoa(v)), nil
	case float64:
		return origin.Number(floatRepr(v)), nil
	case *Undefined:
		return Text{}, nil
	}
	return reprValue(m, v)
}

// reprValue is Python's repr(v). m may be nil in messages about small values.
func reprValue(m *meter, v Value) (Text, error) {
	if m == nil {
		m = &meter{limits: Limits{Bytes: 1 << 16}.withDefaults()}
	}
	r := &reprWriter{valueWriter{m: m}}
	if err := r.write(v); err != nil {
		return Text{}, err
	}
	return r.b.Text(), nil
}

// valueWriter writes what prints values. What it puts around text counts as written by the value
// that it stands in, whose origin is within.
type valueWriter struct {
	m      *meter
	b      origin.Builder
	within origin.ID
}

// put writes what is no text of the value: a bracket, a number.
func (w *valueWriter) put(t Text) error { return w.chars(t.Within(w.within)) }

// chars writes text of the value.
func (w *valueWriter) chars(t Text) error {
	if err := w.m.grow(t.Cost()); err != nil {
		return err
	}
	w.b.Write(t)
	return w.m.step(1)
}

// inside runs f within a container of the given origin.
func (w *valueWriter) inside(from origin.ID, f func() error) error {
	if err := w.m.enter(); err != nil {
		return err
	}
	defer w.m.leave()
	outer := w.within
	w.within = from
	err := f()
	w.within = outer
	return err
}

// containerOrigin is the origin of what prints v beside the text in it.
func containerOrigin(v Value) origin.ID {
	switch v := v.(type) {
	case *List:
		return v.from
	case *Dict:
		return v.from
	case *dictView:
		return v.d.from
	}
	return origin.Template
}

type reprWriter struct{ valueWriter }

func (r *reprWriter) write(v Value) error {
	switch v := v.(type) {
	case Text:
		return r.quoted(v)
	case Markup:
		return cmp.Or(r.put(origin.Own("Markup(")), r.quoted(v.Text), r.put(origin.Own(")")))
	case *big.Int:
		return r.put(origin.Number(v.String()))
	case *Undefined:
		return r.put(origin.Own("Undefined"))
	case *Range:
		bounds := fmt.Sprintf("%d, %d", v.start, v.stop)
		if v.step != 1 {
			bounds = fmt.Sprintf("%d, %d, %d", v.start, v.stop, v.step)
		}
		return cmp.Or(r.put(origin.Own("range(")), r.put(origin.Number(bounds)), r.put(origin.Own(")")))
	case *Macro:
		if v.def.name == "" {
			return r.put(origin.Own("<Macro anonymous>"))
		}
		return r.put(origin.Literal("<Macro " + reprString(v.def.name) + ">"))
	case *List, *Tuple, *Dict, *dictView, *Namespace:
		return r.container(v)
	case nil, bool, int64, float64:
		s, err := str(r.m, v)
		if err != nil {
			return err
		}
		return r.put(s)
	}
	return typeErrorf("a %s has no text: it would print a memory address", typeName(v))
}

func (r *reprWriter) container(v Value) error {
	return r.inside(containerOrigin(v), func() error { return r.contents(v) })
}

func (r *reprWriter) contents(v Value) error {
	switch v := v.(type) {
	case *List:
		return r.items(origin.Own("["), len(v.Items),
			func(i int) error { return r.write(v.Items[i]) }, origin.Own("]"))
	case *Tuple:
		end := origin.Own(")")
		if len(v.Items) == 1 {
			end = origin.Own(",)")
		}
		return r.items(origin.Own("("), len(v.Items), func(i int) error { return r.write(v.Items[i]) }, end)
	case *dictView:
		return r.items(origin.Literal(typeName(v)+"(["), v.d.Len(),
			func(i int) error { return r.write(v.at(i)) }, origin.Own("])"))
	case *Namespace:
		if err := r.put(origin.Own("<Namespace ")); err != nil {
			return err
		}
		if err := r.write(v.attrs); err != nil {
			return err
		}
		return r.put(origin.Own(">"))
	}
	d := v.(*Dict)
	return r.items(origin.Own("{"), d.Len(), func(i int) error {
		if err := r.write(d.keys[i]); err != nil {
			return err
		}
		if err := r.put(origin.Own(": ")); err != nil {
			return err
		}
		return r.write(d.vals[i])
	}, origin.Own("}"))
}

func (r *reprWriter) items(open Text, n int, item func(i int) error, end Text) error {
	if err := r.put(open); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := r.put(origin.Own(", ")); err != nil {
				return err
			}
		}
		if err := item(i); err != nil {
			return err
		}
	}
	return r.put(end)
}

// quoted writes Python's repr of a str.
func (r *reprWriter) quoted(t Text) error {
	q := reprQuote(t.Peek())
	mark := origin.Own("'")
	if q == '"' {
		mark = origin.Own(`"`)
	}
	body := t.Map(func(s string) string { return reprBody(s, q) })
	return cmp.Or(r.put(mark), r.chars(body), r.put(mark))
}

// reprQuote is the quote around a str: single unless only those occur inside.
func reprQuote(s string) byte {
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		return '"'
	}
	return '\''
}

// reprString is Python's repr of a str in a message.
func reprString(s string) string {
	q := reprQuote(s)
	return string(q) + reprBody(s, q) + string(q)
}

// reprBody is what stands between the quotes.
func reprBody(s string, q byte) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteByte('\\')
			b.WriteString(backslashName(r))
		}
	}
	return b.String()
}
