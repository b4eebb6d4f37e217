package jinja

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// strFormat is str.format with the fields {}, {0}, {name}, conversions and format specs.
func strFormat(st *state, self Value, a *args) (Value, error) {
	format, err := recv(st, self)
	if err != nil {
		return nil, err
	}
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
			return nil, valueErrorf("Single '}' encountered in format string")
		}
		j := strings.IndexAny(s[at:], "{}")
		switch {
		case j < 0:
			return nil, valueErrorf("expected '}' before end of string")
		case s[at+j] == '{':
			return nil, typeErrorf("nested fields in str.format are not supported")
		}
		part, err := st.formatField(format.Slice(at, at+j), &auto, a)
		if err != nil {
			return nil, err
		}
		if err := st.m.grow(part.Cost()); err != nil {
			return nil, err
		}
		out.Write(part)
		at += j + 1
	}
	if s == "" {
		return format, nil
	}
	return st.m.text(out.Text())
}

func (st *state) formatField(field Text, auto *int, a *args) (Text, error) {
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
			return Text{}, valueErrorf("Replacement index %d out of range for positional args tuple", i)
		}
		v = a.pos[i]
	case strings.ContainsAny(name, ".["):
		return Text{}, typeErrorf("attributes in str.format are not supported")
	default:
		j := a.name(name)
		if j < 0 {
			return Text{}, valueErrorf("%s", reprString(name))
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
		s, err := f(st.m, v)
		if err != nil {
			return Text{}, err
		}
		v = s
	default:
		return Text{}, valueErrorf("Unknown conversion specifier '%s'", conv)
	}
	return st.formatValue(v, specText)
}

// formatValue is Python's format(v, spec).
func (st *state) formatValue(v Value, specText Text) (Text, error) {
	if specText.Len() == 0 {
		return str(st.m, v)
	}
	sp, err := parseSpec(specText)
	if err != nil {
		return Text{}, err
	}
	if s, ok := chars(v); ok {
		if sp.verb != 0 && sp.verb != 's' {
			return Text{}, valueErrorf("Unknown format code '%c' for object of type 'str'", sp.verb)
		}
		if sp.align == 0 {
			sp.align = '<'
		}
		return padText(sp, cutRunes(s, sp.prec)), nil
	}
	if _, ok := number(v); !ok {
		return Text{}, typeErrorf("unsupported format string passed to %s.__format__", typeName(v))
	}
	if b, ok := v.(bool); ok && sp.verb == 0 {
		s, _ := str(st.m, b)
		return padText(sp, s), nil
	}
	if _, isFloat := v.(float64); isFloat && strings.IndexByte("dxXobc", max(sp.verb, 1)) >= 0 {
		return Text{}, valueErrorf("Unknown format code '%c' for object of type 'float'", sp.verb)
	}
	if sp.align == 0 {
		sp.align = '>'
		if sp.zero {
			sp.align, sp.fill = '=', origin.Own("0")
		}
	}
	return formatNumber(sp, v)
}

func parseSpec(t Text) (spec, error) {
	s := t.Peek()
	sp := spec{fill: origin.Own(" "), prec: -1}
	bad := valueErrorf("Invalid format specifier '%s'", s)
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
			return sp, valueErrorf("Format specifier missing precision")
		}
		sp.prec = n
	}
	sp.verb = byte(accept("sdxXobeEfFgG%"))
	if sp.width > maxPad || sp.prec > maxPad {
		return sp, newError(LimitError, "format width is too large")
	}
	if i != len(rs) {
		return sp, bad
	}
	return sp, nil
}
