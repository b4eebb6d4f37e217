package jinja

import (
	"fmt"
	"math/big"
	"strings"
	"unicode"
)

// str is Python's str(v): what printing v writes.
func str(m *meter, v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case Markup:
		return string(v), nil
	case nil:
		return "None", nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case int64:
		return itoa(v), nil
	case float64:
		return floatRepr(v), nil
	case *Undefined:
		return "", nil
	}
	return reprValue(m, v)
}

// reprValue is Python's repr(v). m may be nil in messages about small values.
func reprValue(m *meter, v Value) (string, error) {
	if m == nil {
		m = &meter{limits: Limits{Bytes: 1 << 16}.withDefaults()}
	}
	r := &reprWriter{m: m}
	if err := r.write(v); err != nil {
		return "", err
	}
	return r.b.String(), nil
}

type reprWriter struct {
	m *meter
	b strings.Builder
}

func (r *reprWriter) put(s string) error {
	if err := r.m.grow(len(s)); err != nil {
		return err
	}
	if err := r.m.step(1); err != nil {
		return err
	}
	r.b.WriteString(s)
	return nil
}

func (r *reprWriter) write(v Value) error {
	switch v := v.(type) {
	case string:
		return r.put(reprString(v))
	case Markup:
		return r.put("Markup(" + reprString(string(v)) + ")")
	case *big.Int:
		return r.put(v.String())
	case *Undefined:
		return r.put("Undefined")
	case *Range:
		if v.step != 1 {
			return r.put(fmt.Sprintf("range(%d, %d, %d)", v.start, v.stop, v.step))
		}
		return r.put(fmt.Sprintf("range(%d, %d)", v.start, v.stop))
	case *Macro:
		if v.def.name == "" {
			return r.put("<Macro anonymous>")
		}
		return r.put("<Macro " + reprString(v.def.name) + ">")
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
	if err := r.m.enter(); err != nil {
		return err
	}
	defer r.m.leave()
	switch v := v.(type) {
	case *List:
		return r.items("[", len(v.Items), func(i int) error { return r.write(v.Items[i]) }, "]")
	case *Tuple:
		end := ")"
		if len(v.Items) == 1 {
			end = ",)"
		}
		return r.items("(", len(v.Items), func(i int) error { return r.write(v.Items[i]) }, end)
	case *dictView:
		return r.items(typeName(v)+"([", v.d.Len(), func(i int) error { return r.write(v.at(i)) }, "])")
	case *Namespace:
		if err := r.put("<Namespace "); err != nil {
			return err
		}
		if err := r.write(v.attrs); err != nil {
			return err
		}
		return r.put(">")
	}
	d := v.(*Dict)
	return r.items("{", d.Len(), func(i int) error {
		if err := r.write(d.keys[i]); err != nil {
			return err
		}
		if err := r.put(": "); err != nil {
			return err
		}
		return r.write(d.vals[i])
	}, "}")
}

func (r *reprWriter) items(open string, n int, item func(i int) error, end string) error {
	if err := r.put(open); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := r.put(", "); err != nil {
				return err
			}
		}
		if err := item(i); err != nil {
			return err
		}
	}
	return r.put(end)
}

// reprString is Python's repr of a str: single quotes unless only those occur inside.
func reprString(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.WriteByte(q)
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
	b.WriteByte(q)
	return b.String()
}
