package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// spec is how one value is formatted.
type spec struct {
	fill      Text
	align     byte // '<', '>', '^', '=' or 0
	sign      byte // '+', ' ' or 0
	alt, zero bool
	comma     byte // ',' or '_' between thousands, or 0
	width     int
	prec      int // -1: none
	verb      byte
}

// percentArgs hands out the right side of a % operation.
type percentArgs struct {
	vals []Value
	used int
	dict *Dict // set when the right side is a dict
	// lenient is set when what is left over is no error: Python lets a mapping be left over, and
	// takes a list, a range and undefined for one.
	lenient bool
}

func newPercentArgs(arg Value) *percentArgs {
	if t, ok := arg.(*Tuple); ok {
		return &percentArgs{vals: t.Items}
	}
	d, _ := arg.(*Dict)
	lenient := d != nil || isType[*List](arg) || isType[*Range](arg) || isType[*Undefined](arg)
	return &percentArgs{vals: []Value{arg}, dict: d, lenient: lenient}
}

func (a *percentArgs) take() Value {
	if a.used == len(a.vals) {
		panic(typeErrorf("not enough arguments for format string"))
	}
	a.used++
	return a.vals[a.used-1]
}

// key reads "(name)" at the start of s and returns the value of that name and the length of what
// was read. keyed is false when there is no name.
func (a *percentArgs) key(s string) (v Value, n int, keyed bool) {
	if !strings.HasPrefix(s, "(") {
		return nil, 0, false
	}
	name, _, ok := strings.Cut(s[1:], ")")
	switch {
	case !ok:
		panic(valueErrorf("incomplete format key"))
	case a.dict == nil:
		panic(typeErrorf("format requires a mapping"))
	}
	if v, ok = a.dict.Get(name); !ok {
		panic(valueErrorf("%s", reprString(name)))
	}
	return v, len(name) + 2, true
}

// percent is Python's s % arg.
func (st *state) percent(t Text, arg Value) Value {
	a := newPercentArgs(arg)
	var out origin.Builder
	s := t.Peek()
	for at := 0; at < len(s); {
		i := strings.IndexByte(s[at:], '%')
		if i < 0 {
			out.WriteSlice(t, at, len(s))
			break
		}
		out.WriteSlice(t, at, at+i)
		at += i + 1
		if strings.HasPrefix(s[at:], "%") {
			out.WriteSlice(t, at, at+1)
			at++
			continue
		}
		v, n, keyed := a.key(s[at:])
		at += n
		sp, n := percentSpec(s[at:], a.take)
		at += n
		if !keyed {
			v = a.take()
		}
		part := st.percentValue(sp, v)
		st.m.grow(part.Cost())
		out.Write(part)
	}
	if a.used < len(a.vals) && !a.lenient {
		panic(typeErrorf("not all arguments converted during string formatting"))
	}
	if s == "" {
		return t
	}
	return st.m.text(out.Text())
}

// percentSpec reads flags, width, precision and verb.
func percentSpec(s string, take func() Value) (spec, int) {
	sp := spec{fill: origin.Own(" "), prec: -1}
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
	percentSize(&sp, s, &i, &sp.width, take)
	if i < len(s) && s[i] == '.' {
		i++
		sp.prec = 0
		percentSize(&sp, s, &i, &sp.prec, take)
	}
	for i < len(s) && strings.IndexByte("hlL", s[i]) >= 0 {
		i++
	}
	if i == len(s) {
		panic(valueErrorf("incomplete format"))
	}
	sp.verb = s[i]
	return sp, i + 1
}

// percentSize reads a width or precision at s[*i:], digits or a star for the next argument.
func percentSize(sp *spec, s string, i, dst *int, take func() Value) {
	if *i < len(s) && s[*i] == '*' {
		v := take()
		n, ok := integer(v)
		if !ok {
			panic(typeErrorf("* wants int"))
		}
		*i++
		if n < 0 {
			sp.align, n = '<', -n
		}
		if n < 0 || n > maxPad {
			panic(newError(LimitError, "format width is too large"))
		}
		*dst = int(n)
		return
	}
	j := *i
	for *i < len(s) && isDecimal(s[*i]) {
		*i++
	}
	if *i == j {
		return
	}
	n, err := strconv.Atoi(s[j:*i])
	if err != nil || n > maxPad {
		panic(newError(LimitError, "format width is too large"))
	}
	*dst = n
}

func (st *state) percentValue(sp spec, v Value) Text {
	if sp.align == 0 {
		sp.align = '>'
		if sp.zero && strings.IndexByte("sra", sp.verb) < 0 {
			sp.fill, sp.align = origin.Own("0"), '='
		}
	}
	switch sp.verb {
	case 's', 'r', 'a':
		conv := str
		if sp.verb != 's' {
			conv = reprValue
		}
		return padText(sp, cutRunes(conv(st.m, v), sp.prec))
	case 'c':
		if t, ok := chars(v); ok && runes(t.Peek()) == 1 {
			return padText(sp, t)
		}
		if i, ok := integer(v); ok && i >= 0 && i <= 0x10ffff {
			// A number does not tell where it came from, and this makes any character of it.
			return padText(sp, origin.Given(string(rune(i)), origin.Request))
		}
		panic(typeErrorf("%%c requires int or char"))
	case 'd', 'i', 'u':
		if u, ok := v.(*Undefined); ok {
			panic(u.err())
		}
		if f, ok := v.(float64); ok {
			if t, ok := truncated(f); ok {
				v = t
			}
		}
		if typeName(v) != "int" && typeName(v) != "bool" {
			panic(typeErrorf("%%%c format: a real number is required, not %s", sp.verb, typeName(v)))
		}
		sp.verb = 'd'
		return formatNumber(sp, v)
	case 'x', 'X', 'o':
		if typeName(v) != "int" && typeName(v) != "bool" {
			panic(typeErrorf("%%%c format: an integer is required, not %s", sp.verb, typeName(v)))
		}
		return formatNumber(sp, v)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		f, ok := number(v)
		if !ok {
			panic(typeErrorf("must be real number, not %s", typeName(v)))
		}
		return formatNumber(sp, f)
	}
	panic(valueErrorf("unsupported format character '%c'", sp.verb))
}

// cutRunes is the first n characters of t, all when n is negative.
func cutRunes(t Text, n int) Text {
	if n < 0 {
		return t
	}
	for i := range t.Peek() {
		if n == 0 {
			return t.Slice(0, i)
		}
		n--
	}
	return t
}

// padText fills t up to the width of sp.
func padText(sp spec, t Text) Text {
	room := sp.width - runes(t.Peek())
	if room <= 0 {
		return t
	}
	left := 0
	switch sp.align {
	case '>':
		left = room
	case '^':
		left = room / 2
	}
	return around(t, sp.fill, left, room-left)
}

// formatNumber writes an int, bool or float with the sign, base and grouping of sp.
func formatNumber(sp spec, v Value) Text {
	sign, digits := numberText(&sp, v)
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
		return origin.Join([]Text{origin.Number(sign), padText(sp, origin.Number(digits))}, Text{})
	}
	return padText(sp, origin.Number(sign+digits))
}

func numberText(sp *spec, v Value) (sign, digits string) {
	f, isFloat := v.(float64)
	if !isFloat && strings.IndexByte("eEfFgG%", sp.verb) >= 0 {
		f, _ = number(v)
		isFloat = true
	}
	if !isFloat {
		n, ok := v.(*big.Int)
		if !ok {
			i, _ := integer(v)
			n = big.NewInt(i)
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
		return "-", digits[1:]
	}
	return "", digits
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
	return strconv.FormatFloat(f, verb, prec, 64)
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
