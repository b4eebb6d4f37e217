package jinja

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// strFormat is str.format with the fields {}, {0}, {name}, conversions and format specs.
func strFormat(st *state, self Value, a *args) Value {
	format := recv(st, self)
	var out origin.Builder
	auto := 0
	s := format.Peek()
	for at := 0; at < len(s); {
		i := strings.IndexAny(s[at:], "{}")
		if i < 0 {
			out.WriteSlice(format, at, len(s))
			break
		}
		out.WriteSlice(format, at, at+i)
		at += i
		c := s[at]
		at++
		if strings.HasPrefix(s[at:], string(c)) {
			out.WriteSlice(format, at, at+1)
			at++
			continue
		}
		if c == '}' {
			panic(valueErrorf("Single '}' encountered in format string"))
		}
		j := strings.IndexAny(s[at:], "{}")
		switch {
		case j < 0:
			panic(valueErrorf("expected '}' before end of string"))
		case s[at+j] == '{':
			panic(typeErrorf("nested fields in str.format are not supported"))
		}
		part := st.formatField(format.Slice(at, at+j), &auto, a)
		st.m.grow(part.Cost())
		out.Write(part)
		at += j + 1
	}
	if s == "" {
		return format
	}
	return st.m.text(out.Text())
}

func (st *state) formatField(field Text, auto *int, a *args) Text {
	name, _, _ := strings.Cut(field.Peek(), ":")
	specText := field.Slice(min(len(name)+1, field.Len()), field.Len())
	name, conv, _ := strings.Cut(name, "!")
	var v Value
	switch i, err := strconv.Atoi(name); {
	case name == "":
		i = *auto
		*auto++
		fallthrough
	case err == nil:
		if i < 0 || i >= len(a.pos) {
			panic(valueErrorf("Replacement index %d out of range for positional args tuple", i))
		}
		v = a.pos[i]
	case strings.ContainsAny(name, ".["):
		panic(typeErrorf("attributes in str.format are not supported"))
	default:
		j := a.name(name)
		if j < 0 {
			panic(valueErrorf("%s", reprString(name)))
		}
		v = a.named[j]
	}
	switch conv {
	case "":
	case "r", "a", "s":
		f := reprValue
		if conv == "s" {
			f = str
		}
		s := f(st.m, v)
		v = s
	default:
		panic(valueErrorf("Unknown conversion specifier '%s'", conv))
	}
	return st.formatValue(v, specText)
}

// formatValue is Python's format(v, spec).
func (st *state) formatValue(v Value, specText Text) Text {
	if specText.Len() == 0 {
		return str(st.m, v)
	}
	sp := parseSpec(specText)
	if s, ok := chars(v); ok {
		if sp.verb != 0 && sp.verb != 's' {
			panic(valueErrorf("Unknown format code '%c' for object of type 'str'", sp.verb))
		}
		if sp.align == 0 {
			sp.align = '<'
		}
		return padText(sp, cutRunes(s, sp.prec))
	}
	if _, ok := number(v); !ok {
		panic(typeErrorf("unsupported format string passed to %s.__format__", typeName(v)))
	}
	if b, ok := v.(bool); ok && sp.verb == 0 {
		return padText(sp, str(st.m, b))
	}
	if _, isFloat := v.(float64); isFloat && strings.IndexByte("dxXobc", max(sp.verb, 1)) >= 0 {
		panic(valueErrorf("Unknown format code '%c' for object of type 'float'", sp.verb))
	}
	if sp.align == 0 {
		sp.align = '>'
		if sp.zero {
			sp.align, sp.fill = '=', origin.Own("0")
		}
	}
	return formatNumber(sp, v)
}

func parseSpec(t Text) spec {
	s := t.Peek()
	sp := spec{fill: origin.Own(" "), prec: -1}
	rs := []rune(s)
	isAlign := func(i int) bool { return i < len(rs) && strings.ContainsRune("<>^=", rs[i]) }
	i := 0
	if isAlign(1) {
		sp.fill, sp.align, i = t.Slice(0, utf8.RuneLen(rs[0])), byte(rs[1]), 2
	} else if isAlign(0) {
		sp.align, i = byte(rs[0]), 1
	}
	accept := func(set string) rune {
		if i < len(rs) && strings.ContainsRune(set, rs[i]) {
			i++
			return rs[i-1]
		}
		return 0
	}
	num := func() (int, bool) {
		n, any := 0, false
		for i < len(rs) && rs[i] >= '0' && rs[i] <= '9' && n <= maxPad {
			n, any = n*10+int(rs[i]-'0'), true
			i++
		}
		return n, any
	}
	if r := accept("+- "); r != 0 && r != '-' {
		sp.sign = byte(r)
	}
	sp.alt = accept("#") != 0
	sp.zero = accept("0") != 0
	sp.width, _ = num()
	sp.comma = byte(accept(",_"))
	if accept(".") != 0 {
		n, ok := num()
		if !ok {
			panic(valueErrorf("Format specifier missing precision"))
		}
		sp.prec = n
	}
	sp.verb = byte(accept("sdxXobeEfFgG%"))
	if sp.width > maxPad || sp.prec > maxPad {
		panic(newError(LimitError, "format width is too large"))
	}
	if i != len(rs) {
		panic(valueErrorf("Invalid format specifier '%s'", s))
	}
	return sp
}
