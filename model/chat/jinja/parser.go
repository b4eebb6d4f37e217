package jinja

import (
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// parser turns tokens into statements.
type parser struct {
	toks []token
	i    int
	// depth counts nested statements and expressions against maxNesting.
	depth int
	// soft is set inside if statements and conditional expressions, where an unknown filter is an
	// error only when it is reached, so that a template may guard it.
	soft bool
	// unknown are the filters and tests that do not exist and that nothing guards.
	unknown []*Error
	// loops counts the for statements around the cursor.
	loops int
	// tags are the open statements, ends what each may be closed by.
	tags []string
	ends [][]string
	// reads collects the names that expressions read, for macros to see which special ones they use.
	reads map[string]bool
	// nones collects the names of what the template tests for none.
	nones map[string]bool
}

func (p *parser) cur() token { return p.toks[p.i] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.kind != tokEOF {
		p.i++
	}
	return t
}

func (p *parser) look() token { return p.toks[min(p.i+1, len(p.toks)-1)] }

func (p *parser) isOp(op string) bool { return p.cur().kind == tokOp && p.cur().text == op }

func (p *parser) isName(name string) bool { return p.cur().kind == tokName && p.cur().text == name }

func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.i++
		return true
	}
	return false
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.i++
		return true
	}
	return false
}

// fail is the error of what is no template, with which whoever finds it panics.
func (p *parser) fail(line int, format string, args ...any) *Error {
	return newError(SyntaxError, format, args...).at(line)
}

func (p *parser) expected(what string) *Error {
	t := p.cur()
	if t.kind == tokEOF {
		return p.fail(t.line, "unexpected end of template, expected '%s'.", what)
	}
	return p.fail(t.line, "expected token '%s', got %s", what, reprString(t.describe()))
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		panic(p.expected(op))
	}
}

func (p *parser) expectKind(k tokenKind) token {
	if p.cur().kind != k {
		what := token{kind: k}.describe()
		if k == tokName {
			what = "name"
		}
		panic(p.expected(what))
	}
	return p.next()
}

// listed reads items with commas between them up to what ends them, which it leaves; a last comma
// before that is allowed where trailing says so.
func (p *parser) listed(ends func() bool, trailing bool, item func()) {
	for first := true; !ends(); first = false {
		if !first {
			p.expectOp(",")
			if trailing && ends() {
				break
			}
		}
		item()
	}
}

// bracket tells whether a closing bracket is next, and blockEnd whether the end of the tag is.
func (p *parser) bracket(op string) func() bool { return func() bool { return p.isOp(op) } }
func (p *parser) blockEnd() bool                { return p.cur().kind == tokBlockEnd }

// nest counts one level of nesting, or one link of a chain such as a + b + c, whose tree is as deep as
// it is long. What nests gives its levels back by restore, once it is read.
func (p *parser) nest() {
	if p.depth >= maxNesting {
		panic(newError(LimitError, "template nests deeper than %d levels", maxNesting).at(p.cur().line))
	}
	p.depth++
}

func (p *parser) restore(depth int) { p.depth = depth }

// parse reads the whole template.
func (p *parser) parse() []stmt {
	body := p.body(nil)
	if len(p.unknown) > 0 {
		panic(p.unknown[0])
	}
	return body
}

// missing notes a filter or test that does not exist, unless an if guards it: then it is an error
// only when it is reached.
func (p *parser) missing(line int, format string, args ...any) {
	if !p.soft {
		p.unknown = append(p.unknown, p.fail(line, format, args...))
	}
}

// body reads statements up to a block that begins with one of ends, whose name is then current. Nil
// ends means the end of the template.
func (p *parser) body(ends []string) []stmt {
	defer p.restore(p.depth)
	p.nest()
	if ends != nil {
		p.ends = append(p.ends, ends)
		defer func() { p.ends = p.ends[:len(p.ends)-1] }()
	}
	var out []stmt
	for {
		t := p.cur()
		switch t.kind {
		case tokEOF:
			if ends != nil {
				panic(p.unknownTag("", t.line))
			}
			return out
		case tokData:
			p.i++
			out = append(out, &dataStmt{origin.Literal(t.text)})
		case tokVarBegin:
			p.i++
			out = append(out, &printStmt{p.tuple(tupleOpts{cond: true}), t.line})
			p.expectKind(tokVarEnd)
		case tokBlockBegin:
			p.i++
			if p.cur().kind == tokName && slices.Contains(ends, p.cur().text) {
				return out
			}
			out = append(out, p.statement()...)
			p.expectKind(tokBlockEnd)
		default:
			panic(p.fail(t.line, "unexpected %s", reprString(t.describe())))
		}
	}
}

// block reads the rest of a statement's head and its body; the current token is then the name that
// closed it.
func (p *parser) block(ends ...string) []stmt {
	p.skipOp(":")
	p.expectKind(tokBlockEnd)
	return p.body(ends)
}

// scoped reads a block that has variables of its own and drops the name that closed it. A block
// whose output is captured cannot break a loop around it.
func (p *parser) scoped(end string, captured bool) []stmt {
	soft, loops := p.soft, p.loops
	p.soft = false
	if captured {
		p.loops = 0
	}
	body := p.block(end)
	p.soft, p.loops = soft, loops
	p.next()
	return body
}

// unknownTag is the error for a tag that does not fit here; name is empty at the end of the template.
func (p *parser) unknownTag(name string, line int) *Error {
	quoted := func(names []string) string {
		q := make([]string, len(names))
		for i, n := range names {
			q[i] = "'" + n + "'"
		}
		return strings.Join(q, " or ")
	}
	msg := "Unexpected end of template."
	if name != "" {
		msg = fmt.Sprintf("Encountered unknown tag '%s'.", name)
	}
	if n := len(p.ends); n > 0 {
		looking := quoted(p.ends[n-1])
		if name != "" && slices.ContainsFunc(p.ends,
			func(e []string) bool { return slices.Contains(e, name) }) {
			msg += " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for " + looking + "."
		} else {
			msg += " Jinja was looking for the following tags: " + looking + "."
		}
	}
	if n := len(p.tags); n > 0 {
		msg += fmt.Sprintf(" The innermost block that needs to be closed is '%s'.", p.tags[n-1])
	}
	return p.fail(line, "%s", msg)
}
