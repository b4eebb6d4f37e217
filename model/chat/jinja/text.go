package jinja

import (
	"fmt"
	"math/big"
	"strings"
	"unicode"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// str is Python's str(v): what printing v writes.
func str(m *meter, v Value) Text {
	switch v := v.(type) {
	case Text:
		return v
	case Markup:
		return v.Text
	case nil:
		return origin.Own("None")
	case bool:
		if v {
			return origin.Own("True")
		}
		return origin.Own("False")
	case int64:
		return origin.Number(itoa(v))
	case float64:
		return origin.Number(floatRepr(v))
	case *Undefined:
		return Text{}
	}
	return reprValue(m, v)
}

// reprValue is Python's repr(v).
func reprValue(m *meter, v Value) Text {
	r := &reprWriter{valueWriter{m: m}}
	r.write(v)
	return r.b.Text()
}

// briefly is the repr of a small value in a message; ok is false where it has none.
func briefly(v Value) (s string, ok bool) {
	var err error
	func() {
		defer catch(&err)
		s = reprValue(&meter{limits: Limits{Bytes: 1 << 16}.withDefaults()}, v).Peek()
	}()
	return s, err == nil
}

// valueWriter writes what prints values. What it puts around text counts as written by the value
// that it stands in, whose origin is within.
type valueWriter struct {
	m      *meter
	b      origin.Builder
	within origin.ID
}

// put writes what is no text of the value: a bracket, a number.
func (w *valueWriter) put(t Text) { w.chars(t.Within(w.within)) }

// chars writes text of the value.
func (w *valueWriter) chars(t Text) {
	w.m.grow(t.Cost())
	w.b.Write(t)
	w.m.step(1)
}

// inside runs f within a container of the given origin.
func (w *valueWriter) inside(from origin.ID, f func()) {
	w.m.enter()
	defer w.m.leave()
	outer := w.within
	w.within = from
	f()
	w.within = outer
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

func (r *reprWriter) write(v Value) {
	switch v := v.(type) {
	case Text:
		r.quoted(v)
	case Markup:
		r.put(origin.Own("Markup("))
		r.quoted(v.Text)
		r.put(origin.Own(")"))
	case *big.Int:
		r.put(origin.Number(v.String()))
	case *Undefined:
		r.put(origin.Own("Undefined"))
	case *Range:
		bounds := fmt.Sprintf("%d, %d", v.start, v.stop)
		if v.step != 1 {
			bounds = fmt.Sprintf("%d, %d, %d", v.start, v.stop, v.step)
		}
		r.put(origin.Own("range("))
		r.put(origin.Number(bounds))
		r.put(origin.Own(")"))
	case *Macro:
		name := "anonymous"
		if v.def.name != "" {
			name = reprString(v.def.name)
		}
		r.put(origin.Literal("<Macro " + name + ">"))
	case *List, *Tuple, *Dict, *dictView, *Namespace:
		r.inside(containerOrigin(v), func() { r.contents(v) })
	case nil, bool, int64, float64:
		r.put(str(r.m, v))
	default:
		panic(typeErrorf("a %s has no text: it would print a memory address", typeName(v)))
	}
}

func (r *reprWriter) contents(v Value) {
	switch v := v.(type) {
	case *List:
		r.items(origin.Own("["), len(v.Items), func(i int) { r.write(v.Items[i]) }, origin.Own("]"))
	case *Tuple:
		end := origin.Own(")")
		if len(v.Items) == 1 {
			end = origin.Own(",)")
		}
		r.items(origin.Own("("), len(v.Items), func(i int) { r.write(v.Items[i]) }, end)
	case *dictView:
		r.items(origin.Literal(typeName(v)+"(["), v.d.Len(), func(i int) { r.write(v.at(i)) }, origin.Own("])"))
	case *Namespace:
		r.put(origin.Own("<Namespace "))
		r.write(v.attrs)
		r.put(origin.Own(">"))
	case *Dict:
		r.items(origin.Own("{"), v.Len(), func(i int) {
			r.write(v.keys[i])
			r.put(origin.Own(": "))
			r.write(v.vals[i])
		}, origin.Own("}"))
	}
}

func (r *reprWriter) items(open Text, n int, item func(i int), end Text) {
	r.put(open)
	for i := range n {
		if i > 0 {
			r.put(origin.Own(", "))
		}
		item(i)
	}
	r.put(end)
}

// quoted writes Python's repr of a str.
func (r *reprWriter) quoted(t Text) {
	q := reprQuote(t.Peek())
	mark := origin.Own("'")
	if q == '"' {
		mark = origin.Own(`"`)
	}
	r.put(mark)
	r.chars(t.Map(func(s string) string { return reprBody(s, q) }))
	r.put(mark)
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
