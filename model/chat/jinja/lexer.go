package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind is the kind of a lexical token; operators carry their own text.
type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind tokenKind
	text string // data, name, unescaped string, digits without underscores, or operator
	line int
}

// describe names the token as Jinja2's messages do.
func (t token) describe() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokData:
		return "template data / text"
	case tokVarBegin:
		return "begin of print statement"
	case tokVarEnd:
		return "end of print statement"
	case tokBlockBegin:
		return "begin of statement block"
	case tokBlockEnd:
		return "end of statement block"
	case tokString:
		return "string"
	case tokInt:
		return "integer"
	case tokFloat:
		return "float"
	}
	return t.text
}

// operators in the order they are tried: longest first.
var operators = []string{
	"**", "==", "!=", ">=", "<=", "//",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

// lexer splits a template into tokens with trim_blocks and lstrip_blocks set.
type lexer struct {
	src       string
	pos       int
	line      int
	lineStart bool // the token before pos ended its line
	tokens    []token
	open      []byte // closing brackets that are still expected inside a tag
}

// lex returns the tokens of a template, tokEOF last.
func lex(source string) []token {
	if !utf8.ValidString(source) {
		panic(newError(SyntaxError, "template is not valid UTF-8"))
	}
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	source = strings.TrimSuffix(source, "\n") // keep_trailing_newline is off
	lx := &lexer{src: source, line: 1, lineStart: true}
	for lx.pos < len(lx.src) {
		lx.root()
	}
	lx.emit(tokEOF, "", lx.line)
	return lx.tokens
}

func (lx *lexer) emit(k tokenKind, text string, line int) {
	lx.tokens = append(lx.tokens, token{k, text, line})
}

func (lx *lexer) fail(line int, format string, args ...any) *Error {
	return newError(SyntaxError, format, args...).at(line)
}

// advance moves past n bytes of source and keeps the line count.
func (lx *lexer) advance(n int) {
	s := lx.src[lx.pos : lx.pos+n]
	lx.line += strings.Count(s, "\n")
	lx.lineStart = strings.HasSuffix(s, "\n")
	lx.pos += n
}

// root takes the data up to the next tag, and that tag whole.
func (lx *lexer) root() {
	rest := lx.src[lx.pos:]
	i := nextTag(rest)
	if i < 0 {
		lx.emit(tokData, rest, lx.line)
		lx.pos = len(lx.src)
		return
	}
	sign := byte(0)
	if len(rest) > i+2 && (rest[i+2] == '-' || rest[i+2] == '+') {
		sign = rest[i+2]
	}
	if data := lx.strip(rest[:i], sign, rest[i+1] != '{'); data != "" {
		lx.emit(tokData, data, lx.line)
	}
	lx.advance(i)
	if rest[i+1] == '%' {
		if n := rawBegin(rest[i:]); n > 0 {
			lx.raw(n)
			return
		}
	}
	open := 2
	if sign != 0 {
		open = 3
	}
	switch rest[i+1] {
	case '#':
		lx.comment(open)
		return
	case '{':
		lx.emit(tokVarBegin, "", lx.line)
		lx.advance(open)
		lx.tag(tokVarEnd, "}}")
		return
	}
	lx.emit(tokBlockBegin, "", lx.line)
	lx.advance(open)
	lx.tag(tokBlockEnd, "%}")
}

// nextTag is the offset of the first opening delimiter in s, or -1.
func nextTag(s string) int {
	for off := 0; ; {
		i := strings.IndexByte(s[off:], '{')
		if i < 0 || off+i+1 >= len(s) {
			return -1
		}
		switch s[off+i+1] {
		case '{', '%', '#':
			return off + i
		}
		off += i + 1
	}
}

// strip applies the whitespace rules of a tag to the data before it. block says that the tag is no
// print statement, so that lstrip_blocks applies.
func (lx *lexer) strip(data string, sign byte, block bool) string {
	switch {
	case sign == '-':
		return strings.TrimRightFunc(data, isSpace)
	case sign == '+' || !block:
		return data
	}
	l := strings.LastIndexByte(data, '\n') + 1
	if (l > 0 || lx.lineStart) && strings.TrimLeftFunc(data[l:], isSpace) == "" {
		return data[:l]
	}
	return data
}

// spaces is the length of the whitespace that s begins with.
func spaces(s string) int { return len(s) - len(strings.TrimLeftFunc(s, isSpace)) }

// closing returns the length of the end delimiter (with its sign and what it swallows) that s
// begins with, or 0. trim says that a newline after a plain end is swallowed.
func closing(s, end string, trim bool) int {
	switch {
	case trim && strings.HasPrefix(s, "+"+end):
		return 1 + len(end)
	case strings.HasPrefix(s, "-"+end):
		n := 1 + len(end)
		return n + spaces(s[n:])
	case strings.HasPrefix(s, end):
		if n := len(end); trim && strings.HasPrefix(s[n:], "\n") {
			return n + 1
		}
		return len(end)
	}
	return 0
}

func (lx *lexer) comment(open int) {
	line := lx.line
	rest := lx.src[lx.pos:]
	for i := open; i < len(rest); i++ {
		if c := rest[i]; c == '#' || c == '-' || c == '+' {
			if n := closing(rest[i:], "#}", true); n > 0 {
				lx.advance(i + n)
				return
			}
		}
	}
	panic(lx.fail(line, "Missing end of comment tag"))
}

// rawBegin is the length of a raw tag that s begins with, or 0.
func rawBegin(s string) int {
	i := 2
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	i += spaces(s[i:])
	if !strings.HasPrefix(s[i:], "raw") {
		return 0
	}
	i += 3
	i += spaces(s[i:])
	switch {
	case strings.HasPrefix(s[i:], "-%}"):
		i += 3
		return i + spaces(s[i:])
	case strings.HasPrefix(s[i:], "%}"):
		return i + 2
	}
	return 0
}

// raw takes the literal text up to endraw.
func (lx *lexer) raw(open int) {
	line := lx.line
	lx.advance(open)
	rest := lx.src[lx.pos:]
	for off := 0; ; {
		i := strings.Index(rest[off:], "{%")
		if i < 0 {
			panic(lx.fail(line, "Missing end of raw directive"))
		}
		i += off
		j, sign := i+2, byte(0)
		if j < len(rest) && (rest[j] == '-' || rest[j] == '+') {
			sign = rest[j]
			j++
		}
		j += spaces(rest[j:])
		if strings.HasPrefix(rest[j:], "endraw") {
			j += 6
			j += spaces(rest[j:])
			if n := closing(rest[j:], "%}", true); n > 0 {
				if data := lx.strip(rest[:i], sign, true); data != "" {
					lx.emit(tokData, data, lx.line)
				}
				lx.advance(j + n)
				return
			}
		}
		off = i + 2
	}
}

// tag takes tokens up to the end delimiter of a print statement or block.
func (lx *lexer) tag(end tokenKind, delim string) {
	lx.open = lx.open[:0]
	for {
		rest := lx.src[lx.pos:]
		if len(lx.open) == 0 {
			if n := closing(rest, delim, end == tokBlockEnd); n > 0 {
				lx.emit(end, "", lx.line)
				lx.advance(n)
				return
			}
		}
		if rest == "" {
			return // the parser reports the end of the template where it expected more
		}
		if n := spaces(rest); n > 0 {
			lx.advance(n)
			continue
		}
		lx.inside(rest)
	}
}

// inside takes one token of a tag.
func (lx *lexer) inside(rest string) {
	line := lx.line
	if k, n := scanNumber(rest, lx.pos > 0 && lx.src[lx.pos-1] == '.'); n > 0 {
		lx.emit(k, strings.ReplaceAll(rest[:n], "_", ""), line)
		lx.advance(n)
		return
	}
	if n := scanName(rest); n > 0 {
		if r, _ := utf8.DecodeRuneInString(rest); unicode.IsDigit(r) {
			panic(lx.fail(line, "Invalid character in identifier"))
		}
		lx.emit(tokName, rest[:n], line)
		lx.advance(n)
		return
	}
	if rest[0] == '"' || rest[0] == '\'' {
		if n := scanString(rest); n > 0 {
			lx.emit(tokString, unescape(rest[1:n-1], line), line)
			lx.advance(n)
			return
		}
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			lx.balance(op, line)
			lx.emit(tokOp, op, line)
			lx.advance(len(op))
			return
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	panic(lx.fail(line, "unexpected char %s at %d", reprString(string(r)), runes(lx.src[:lx.pos])))
}

// balance keeps the stack of open brackets: an end delimiter counts only outside of them.
func (lx *lexer) balance(op string, line int) {
	switch op {
	case "{":
		lx.open = append(lx.open, '}')
	case "(":
		lx.open = append(lx.open, ')')
	case "[":
		lx.open = append(lx.open, ']')
	case "}", ")", "]":
		if len(lx.open) == 0 {
			panic(lx.fail(line, "unexpected '%s'", op))
		}
		want := lx.open[len(lx.open)-1]
		lx.open = lx.open[:len(lx.open)-1]
		if want != op[0] {
			panic(lx.fail(line, "unexpected '%s', expected '%c'", op, want))
		}
	}
}
