package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// maxPad bounds the width and precision of formatted values.
const maxPad = 1 << 16

// spec is how one value is formatted.
type spec struct {
	fill      string
	align     byte // '<', '>', '^', '=' or 0
	sign      byte // '+', ' ' or 0
	alt, zero bool
	comma     byte // ',' or '_' between thousands, or 0
	width     int
	prec      int // -1: none
	verb      byte
}

// pad is center, ljust or rjust.
func pad(name string) methodFunc {
	return func(st *state, self Value, a *args) (Value, error) {
		b, err := a.bind(name, 1, "width", "fillchar")
		if err != nil {
			return nil, err
		}
		n, err := intArg(b[0], 0)
		if err != nil {
			return nil, err
		}
		fill, ok := text(orDefault(b[1], " "))
		if !ok || runes(fill) != 1 {
			return nil, typeErrorf("The fill character must be exactly one character long")
		}
		s, err := recv(st, self)
		if err != nil {
			return nil, err
		}
		room := n - int64(runes(s))
		if room <= 0 {
			return s, nil
		}
		if room > maxPad {
			return nil, newError(LimitError, "width of %d is too large", n)
		}
		left := map[string]int64{"center": room/2 + room&n&1, "ljust": 0, "rjust": room}[name]
		return st.m.str(strings.Repeat(fill, int(left)) + s + strings.Repeat(fill, int(room-left)))
	}
}

func strZfill(st *state, self Value, a *args) (Value, error) {
	b, err := a.bind("zfill", 1, "width")
	if err != nil {
		return nil, err
	}
	n, err := intArg(b[0], 0)
	if err != nil {
		return nil, err
	}
	s, err := recv(st, self)
	if err != nil {
		return nil, err
	}
	room := n - int64(runes(s))
	if room <= 0 {
		return s, nil
	}
	if room > maxPad {
		return nil, newError(LimitError, "width of %d is too large", n)
	}
	sign := ""
	if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
		sign, s = s[:1], s[1:]
	}
	return st.m.str(sign + strings.Repeat("0", int(room)) + s)
}

func strExpandTabs(st *state, self Value, a *args) (Value, error) {
	b, err := a.bind("expandtabs", 0, "tabsize")
	if err != nil {
		return nil, err
	}
	size, err := intArg(b[0], 8)
	if err != nil {
		return nil, err
	}
	s, err := recv(st, self)
	if err != nil {
		return nil, err
	}
	if size > maxPad {
		return nil, newError(LimitError, "tab size of %d is too large", size)
	}
	if err := st.m.grow(len(s) + strings.Count(s, "\t")*int(max(size, 0))); err != nil {
		return nil, err
	}
	var out strings.Builder
	col := int64(0)
	for _, r := range s {
		switch {
		case r == '\t':
			if size > 0 {
				n := size - col%size
				out.WriteString(strings.Repeat(" ", int(n)))
				col += n
			}
			continue
		case r == '\n' || r == '\r':
			col = -1
		}
		out.WriteRune(r)
		col++
	}
	return out.String(), nil
}

// percent is Python's s % arg.
func (st *state) percent(s string, arg Value) (Value, error) {
	vals, tuple := []Value{arg}, false
	if t, ok := arg.(*Tuple); ok {
		vals, tuple = t.Items, true
	}
	d, _ := arg.(*Dict)
	used := 0
	var out strings.Builder
	take := func() (Value, error) {
		if used == len(vals) {
			return nil, typeErrorf("not enough arguments for format string")
		}
		used++
		return vals[used-1], nil
	}
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			out.WriteString(s)
			break
		}
		out.WriteString(s[:i])
		s = s[i+1:]
		if strings.HasPrefix(s, "%") {
			out.WriteByte('%')
			s = s[1:]
			continue
		}
		var v Value
		var have bool
		if strings.HasPrefix(s, "(") {
			j := strings.IndexByte(s, ')')
			if j < 0 {
				return nil, valueErrorf("incomplete format key")
			}
			if d == nil {
				return nil, typeErrorf("format requires a mapping")
			}
			var ok bool
			if v, ok = d.Get(s[1:j]); !ok {
				return nil, valueErrorf("%s", reprString(s[1:j]))
			}
			have, s = true, s[j+1:]
		}
		sp, n, err := percentSpec(s, take)
		if err != nil {
			return nil, err
		}
		s = s[n:]
		if !have {
			if v, err = take(); err != nil {
				return nil, err
			}
		}
		t, err := st.percentValue(sp, v)
		if err != nil {
			return nil, err
		}
		if err := st.m.grow(len(t)); err != nil {
			return nil, err
		}
		out.WriteString(t)
	}
	// Python lets a mapping be left over, and takes a list and undefined for one.
	mapping := !tuple && (d != nil || isType[*List](arg) || isType[*Undefined](arg))
	if used < len(vals) && !mapping {
		return nil, typeErrorf("not all arguments converted during string formatting")
	}
	return st.m.str(out.String())
}

// percentSpec reads flags, width, precision and verb.
func percentSpec(s string, take func() (Value, error)) (spec, int, error) {
	sp := spec{fill: " ", prec: -1}
	i := 0
flags:
	for ; i < len(s); i++ {
		switch s[i] {
		case '-':
			sp.align = '<'
		case '+':
			sp.sign = '+'
		case ' ':
			if sp.sign == 0 {
				sp.sign = ' '
			}
		case '#':
			sp.alt = true
		case '0':
			sp.zero = true
		default:
			break flags
		}
	}
	size := func(dst *int) error {
		if i < len(s) && s[i] == '*' {
			v, err := take()
			if err != nil {
				return err
			}
			n, ok := integer(v)
			if !ok {
				return typeErrorf("* wants int")
			}
			i++
			if n < 0 {
				sp.align, n = '<', -n
			}
			*dst = int(min(n, maxPad+1))
		} else {
			j := i
			for i < len(s) && isDecimal(s[i]) {
				i++
			}
			if i > j {
				n, err := strconv.Atoi(s[j:i])
				if err != nil {
					n = maxPad + 1
				}
				*dst = n
			}
		}
		if *dst > maxPad {
			return newError(LimitError, "format width is too large")
		}
		return nil
	}
	if err := size(&sp.width); err != nil {
		return sp, 0, err
	}
	if i < len(s) && s[i] == '.' {
		i++
		sp.prec = 0
		if err := size(&sp.prec); err != nil {
			return sp, 0, err
		}
	}
	for i < len(s) && strings.IndexByte("hlL", s[i]) >= 0 {
		i++
	}
	if i == len(s) {
		return sp, 0, valueErrorf("incomplete format")
	}
	sp.verb = s[i]
	return sp, i + 1, nil
}

func (st *state) percentValue(sp spec, v Value) (string, error) {
	if sp.align == 0 {
		sp.align = '>'
		if sp.zero && strings.IndexByte("sra", sp.verb) < 0 {
			sp.fill, sp.align = "0", '='
		}
	}
	switch sp.verb {
	case 's', 'r', 'a':
		conv := str
		if sp.verb != 's' {
			conv = reprValue
		}
		s, err := conv(st.m, v)
		if err != nil {
			return "", err
		}
		return padText(sp, cutRunes(s, sp.prec)), nil
	case 'c':
		if s, ok := text(v); ok && runes(s) == 1 {
			return padText(sp, s), nil
		}
		if i, ok := integer(v); ok && i >= 0 && i <= 0x10ffff {
			return padText(sp, string(rune(i))), nil
		}
		return "", typeErrorf("%%c requires int or char")
	case 'd', 'i', 'u':
		if u, ok := v.(*Undefined); ok {
			return "", u.err()
		}
		if f, ok := v.(float64); ok {
			if t, ok := truncated(f); ok {
				v = t
			}
		}
		if typeName(v) != "int" && typeName(v) != "bool" {
			return "", typeErrorf("%%%c format: a real number is required, not %s", sp.verb, typeName(v))
		}
		sp.verb = 'd'
		return formatNumber(sp, v)
	case 'x', 'X', 'o':
		if typeName(v) != "int" && typeName(v) != "bool" {
			return "", typeErrorf("%%%c format: an integer is required, not %s", sp.verb, typeName(v))
		}
		return formatNumber(sp, v)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		f, ok := number(v)
		if !ok {
			return "", typeErrorf("must be real number, not %s", typeName(v))
		}
		return formatNumber(sp, f)
	}
	return "", valueErrorf("unsupported format character '%c'", sp.verb)
}

func cutRunes(s string, n int) string {
	if n < 0 {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// padText fills s up to the width of sp.
func padText(sp spec, s string) string {
	room := sp.width - runes(s)
	if room <= 0 {
		return s
	}
	left := 0
	switch sp.align {
	case '>':
		left = room
	case '^':
		left = room / 2
	}
	return strings.Repeat(sp.fill, left) + s + strings.Repeat(sp.fill, room-left)
}

// formatNumber writes an int, bool or float with the sign, base and grouping of sp.
func formatNumber(sp spec, v Value) (string, error) {
	sign, digits, err := numberText(&sp, v)
	if err != nil {
		return "", err
	}
	switch {
	case sign == "-":
	case sp.sign != 0:
		sign = string(sp.sign)
	}
	if sp.alt && strings.IndexByte("xXob", sp.verb) >= 0 {
		sign += "0" + string(sp.verb)
	}
	if sp.comma != 0 {
		digits = group(digits, sp.comma)
	}
	if sp.align == '=' {
		sp.align = '>'
		sp.width -= len(sign)
		return sign + padText(sp, digits), nil
	}
	return padText(sp, sign+digits), nil
}

func numberText(sp *spec, v Value) (sign, digits string, err error) {
	f, isFloat := v.(float64)
	if !isFloat && strings.IndexByte("eEfFgG%", sp.verb) >= 0 {
		f, _ = number(v)
		isFloat = true
	}
	if !isFloat {
		n := new(big.Int)
		switch v := v.(type) {
		case *big.Int:
			n.Set(v)
		default:
			i, _ := integer(v)
			n.SetInt64(i)
		}
		base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'b': 2}[sp.verb]
		if base == 0 {
			base = 10
		}
		digits = n.Text(base)
		if sp.verb == 'X' {
			digits = strings.ToUpper(digits)
		}
	} else {
		prec := sp.prec
		verb := sp.verb
		tail := ""
		switch verb {
		case '%':
			f, verb, tail = f*100, 'f', "%"
		case 'F':
			verb = 'f'
		case 0:
			if prec < 0 {
				digits = floatRepr(f)
			}
			verb = 'g'
		}
		if prec < 0 {
			prec = 6
		}
		if digits == "" {
			digits = goFloat(f, verb, prec, sp.alt) + tail
		}
	}
	if strings.HasPrefix(digits, "-") {
		return "-", digits[1:], nil
	}
	return "", digits, nil
}

// goFloat formats with C's rules: %g drops trailing zeros and chooses the form by the exponent.
func goFloat(f float64, verb byte, prec int, alt bool) string {
	if verb == 'g' || verb == 'G' {
		flag := "%"
		if alt {
			flag = "%#"
		}
		return fmt.Sprintf(flag+"."+strconv.Itoa(max(prec, 1))+string(verb), f)
	}
	s := strconv.FormatFloat(f, verb, prec, 64)
	return s
}

// group puts sep between the thousands of the integer part.
func group(digits string, sep byte) string {
	n := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	if n < 0 {
		n = len(digits)
	}
	var b strings.Builder
	for i := range n {
		if i > 0 && (n-i)%3 == 0 {
			b.WriteByte(sep)
		}
		b.WriteByte(digits[i])
	}
	return b.String() + digits[n:]
}

// strFormat is str.format with the fields {}, {0}, {name}, conversions and format specs.
func strFormat(st *state, self Value, a *args) (Value, error) {
	s, err := recv(st, self)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	auto := 0
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			out.WriteString(s)
			break
		}
		out.WriteString(s[:i])
		c := s[i]
		s = s[i+1:]
		if strings.HasPrefix(s, string(c)) {
			out.WriteByte(c)
			s = s[1:]
			continue
		}
		if c == '}' {
			return nil, valueErrorf("Single '}' encountered in format string")
		}
		j := strings.IndexAny(s, "{}")
		switch {
		case j < 0:
			return nil, valueErrorf("expected '}' before end of string")
		case s[j] == '{':
			return nil, typeErrorf("nested fields in str.format are not supported")
		}
		t, err := st.formatField(s[:j], &auto, a)
		if err != nil {
			return nil, err
		}
		if err := st.m.grow(len(t)); err != nil {
			return nil, err
		}
		out.WriteString(t)
		s = s[j+1:]
	}
	return st.m.str(out.String())
}

func (st *state) formatField(field string, auto *int, a *args) (string, error) {
	name, specText, _ := strings.Cut(field, ":")
	name, conv, _ := strings.Cut(name, "!")
	var v Value
	switch i, err := strconv.Atoi(name); {
	case name == "":
		i = *auto
		*auto++
		fallthrough
	case err == nil:
		if i < 0 || i >= len(a.pos) {
			return "", valueErrorf("Replacement index %d out of range for positional args tuple", i)
		}
		v = a.pos[i]
	case strings.ContainsAny(name, ".["):
		return "", typeErrorf("attributes in str.format are not supported")
	default:
		found := false
		for j, n := range a.names {
			if n == name {
				v, found = a.named[j], true
			}
		}
		if !found {
			return "", valueErrorf("%s", reprString(name))
		}
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
			return "", err
		}
		v = s
	default:
		return "", valueErrorf("Unknown conversion specifier '%s'", conv)
	}
	return st.formatValue(v, specText)
}

// formatValue is Python's format(v, spec).
func (st *state) formatValue(v Value, specText string) (string, error) {
	if specText == "" {
		return str(st.m, v)
	}
	sp, err := parseSpec(specText)
	if err != nil {
		return "", err
	}
	if s, ok := text(v); ok {
		if sp.verb != 0 && sp.verb != 's' {
			return "", valueErrorf("Unknown format code '%c' for object of type 'str'", sp.verb)
		}
		if sp.align == 0 {
			sp.align = '<'
		}
		return padText(sp, cutRunes(s, sp.prec)), nil
	}
	if _, ok := number(v); !ok {
		return "", typeErrorf("unsupported format string passed to %s.__format__", typeName(v))
	}
	if b, ok := v.(bool); ok && sp.verb == 0 {
		s, _ := str(st.m, b)
		return padText(sp, s), nil
	}
	if _, isFloat := v.(float64); isFloat && strings.IndexByte("dxXobc", max(sp.verb, 1)) >= 0 {
		return "", valueErrorf("Unknown format code '%c' for object of type 'float'", sp.verb)
	}
	if sp.align == 0 {
		sp.align = '>'
		if sp.zero {
			sp.align, sp.fill = '=', "0"
		}
	}
	return formatNumber(sp, v)
}

func parseSpec(s string) (spec, error) {
	sp := spec{fill: " ", prec: -1}
	bad := valueErrorf("Invalid format specifier '%s'", s)
	rs := []rune(s)
	isAlign := func(i int) bool { return i < len(rs) && strings.ContainsRune("<>^=", rs[i]) }
	i := 0
	if isAlign(1) {
		sp.fill, sp.align, i = string(rs[0]), byte(rs[1]), 2
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
	if i != len(rs) {
		return sp, bad
	}
	if sp.width > maxPad || sp.prec > maxPad {
		return sp, newError(LimitError, "format width is too large")
	}
	return sp, nil
}
