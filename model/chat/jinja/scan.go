package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isSpace is Python's str.isspace for one character, which is also what \s matches there: the
// Unicode white space and the four ASCII separators.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f)
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

// scanName is the length of the word that s begins with.
func scanName(s string) int {
	for i, r := range s {
		if !isWord(r) && (i == 0 || !unicode.IsMark(r)) {
			return i
		}
	}
	return len(s)
}

// scanDigits is the length of the digits of one kind, underscores between them allowed.
func scanDigits(s string, ok func(byte) bool) int {
	n := 0
	for n < len(s) {
		switch {
		case ok(s[n]):
			n++
		case s[n] == '_' && n > 0 && n+1 < len(s) && ok(s[n+1]):
			n += 2
		default:
			return n
		}
	}
	return n
}

func isDecimal(c byte) bool { return c >= '0' && c <= '9' }
func isHex(c byte) bool {
	return isDecimal(c) || (c|0x20 >= 'a' && c|0x20 <= 'f')
}

// scanNumber returns the kind and length of the number that s begins with. After a dot only
// integers are numbers, so that a.0.1 is two subscripts.
func scanNumber(s string, afterDot bool) (tokenKind, int) {
	n := scanDigits(s, isDecimal)
	if n == 0 {
		return 0, 0
	}
	if !afterDot {
		f := n
		if f+1 < len(s) && s[f] == '.' && isDecimal(s[f+1]) {
			f += 1 + scanDigits(s[f+1:], isDecimal)
		}
		if f < len(s) && s[f]|0x20 == 'e' {
			e := f + 1
			if e < len(s) && (s[e] == '+' || s[e] == '-') {
				e++
			}
			if d := scanDigits(s[min(e, len(s)):], isDecimal); d > 0 {
				f = e + d
			}
		}
		if f > n {
			return tokFloat, f
		}
	}
	if s[0] != '0' {
		return tokInt, n
	}
	if len(s) > 2 {
		set := map[byte]func(byte) bool{
			'b': func(c byte) bool { return c == '0' || c == '1' },
			'o': func(c byte) bool { return c >= '0' && c <= '7' },
			'x': isHex,
		}[s[1]|0x20]
		if set != nil {
			skip := 2
			if s[2] == '_' {
				skip = 3
			}
			if d := scanDigits(s[min(skip, len(s)):], set); d > 0 {
				return tokInt, skip + d
			}
		}
	}
	return tokInt, scanDigits(s, func(c byte) bool { return c == '0' }) // 012 is 0 followed by 12
}

// scanString is the length of the quoted string that s begins with, or 0 when it does not end.
func scanString(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return 0
}

// unescape reads the escapes of a Python string literal. One that Python does not know keeps its
// backslash.
func unescape(s string, line int) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	simple := map[byte]string{
		'\n': "", '\\': `\`, '\'': `'`, '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n",
		'r': "\r", 't': "\t", 'v': "\v",
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			i++
			continue
		}
		c := s[i+1]
		if r, ok := simple[c]; ok {
			b.WriteString(r)
			i += 2
			continue
		}
		switch {
		case c == 'x' || c == 'u' || c == 'U':
			n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			b.WriteRune(hexRune(s[i+2:], n, c, line))
			i += 2 + n
		case c >= '0' && c <= '7':
			n := 1
			for n < 3 && i+1+n < len(s) && s[i+1+n] >= '0' && s[i+1+n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(s[i+1:i+1+n], 8, 32)
			b.WriteRune(rune(v))
			i += 1 + n
		case c == 'N':
			panic(newError(SyntaxError, `the escape \N in a string is not supported`).at(line))
		case c >= utf8.RuneSelf:
			// Python turns the character into an escape first, whose backslash this one then quotes.
			r, n := utf8.DecodeRuneInString(s[i+1:])
			b.WriteByte('\\')
			b.WriteString(backslashName(r))
			i += 1 + n
		default:
			b.WriteByte('\\')
			i++
		}
	}
	return b.String()
}

func backslashName(r rune) string {
	switch {
	case r < 0x100:
		return fmt.Sprintf("x%02x", r)
	case r < 0x10000:
		return fmt.Sprintf("u%04x", r)
	}
	return fmt.Sprintf("U%08x", r)
}

func hexRune(s string, n int, c byte, line int) rune {
	if len(s) >= n {
		v, err := strconv.ParseUint(s[:n], 16, 32)
		if err == nil && v >= 0xd800 && v < 0xe000 {
			panic(newError(SyntaxError, "a lone surrogate in a string is not text").at(line))
		}
		if err == nil && v <= unicode.MaxRune {
			return rune(v)
		}
	}
	panic(newError(SyntaxError, "truncated \\%c escape", c).at(line))
}
