package jinja

import (
	"fmt"
	"slices"
	"strings"
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
	unknown []error
	// loops counts the for statements around the cursor.
	loops int
	// tags are the open statements, ends what each may be closed by.
	tags []string
	ends [][]string
	// reads collects the names that expressions read, for macros to see which special ones they use.
	reads map[string]bool
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

func (p *parser) fail(line int, format string, args ...any) error {
	return &Error{Kind: SyntaxError, Line: line, Message: fmt.Sprintf(format, args...)}
}

func (p *parser) expected(what string) error {
	t := p.cur()
	if t.kind == tokEOF {
		return p.fail(t.line, "unexpected end of template, expected '%s'.", what)
	}
	return p.fail(t.line, "expected token '%s', got %s", what, reprString(t.describe()))
}

func (p *parser) expectOp(op string) error {
	if !p.skipOp(op) {
		return p.expected(op)
	}
	return nil
}

func (p *parser) expectKind(k tokenKind) (token, error) {
	if p.cur().kind != k {
		what := token{kind: k}.describe()
		if k == tokName {
			what = "name"
		}
		return token{}, p.expected(what)
	}
	return p.next(), nil
}

// nest counts one level of nesting; the caller calls p.unnest when it returned nil.
func (p *parser) nest() error {
	if p.depth >= maxNesting {
		return &Error{Kind: LimitError, Line: p.cur().line, Message: fmt.Sprintf("template nests deeper than %d levels", maxNesting)}
	}
	p.depth++
	return nil
}

func (p *parser) unnest() { p.depth-- }

// parse reads the whole template.
func (p *parser) parse() ([]stmt, error) {
	body, err := p.body(nil)
	if err != nil {
		return nil, err
	}
	if len(p.unknown) > 0 {
		return nil, p.unknown[0]
	}
	return body, nil
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
func (p *parser) body(ends []string) ([]stmt, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer p.unnest()
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
				return nil, p.unknownTag("", t.line)
			}
			return out, nil
		case tokData:
			p.i++
			out = append(out, &dataStmt{t.text})
		case tokVarBegin:
			p.i++
			x, err := p.tuple(tupleOpts{cond: true})
			if err != nil {
				return nil, err
			}
			if _, err := p.expectKind(tokVarEnd); err != nil {
				return nil, err
			}
			out = append(out, &printStmt{x, t.line})
		case tokBlockBegin:
			p.i++
			if p.cur().kind == tokName && slices.Contains(ends, p.cur().text) {
				return out, nil
			}
			ss, err := p.statement()
			if err != nil {
				return nil, err
			}
			out = append(out, ss...)
			if _, err := p.expectKind(tokBlockEnd); err != nil {
				return nil, err
			}
		default:
			return nil, p.fail(t.line, "unexpected %s", reprString(t.describe()))
		}
	}
}

// block reads the rest of a statement's head and its body; the current token is then the name that
// closed it.
func (p *parser) block(ends ...string) ([]stmt, error) {
	p.skipOp(":")
	if _, err := p.expectKind(tokBlockEnd); err != nil {
		return nil, err
	}
	return p.body(ends)
}

// scoped reads a block that has variables of its own and drops the name that closed it. A block
// whose output is captured cannot break a loop around it.
func (p *parser) scoped(end string, captured bool) ([]stmt, error) {
	soft, loops := p.soft, p.loops
	p.soft = false
	if captured {
		p.loops = 0
	}
	body, err := p.block(end)
	p.soft, p.loops = soft, loops
	p.next()
	return body, err
}

// unknownTag is the error for a tag that does not fit here; name is empty at the end of the template.
func (p *parser) unknownTag(name string, line int) error {
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
		if name != "" && slices.ContainsFunc(p.ends, func(e []string) bool { return slices.Contains(e, name) }) {
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

func (p *parser) statement() ([]stmt, error) {
	t := p.cur()
	if t.kind != tokName {
		return nil, p.fail(t.line, "tag name expected")
	}
	one := func(s stmt, err error) ([]stmt, error) { return []stmt{s}, err }
	parse := map[string]func() ([]stmt, error){
		"for":        func() ([]stmt, error) { return one(p.forStatement()) },
		"if":         func() ([]stmt, error) { return one(p.ifStatement()) },
		"set":        func() ([]stmt, error) { return one(p.setStatement()) },
		"macro":      func() ([]stmt, error) { return one(p.macroStatement()) },
		"call":       func() ([]stmt, error) { return one(p.callBlock()) },
		"filter":     func() ([]stmt, error) { return one(p.filterBlock()) },
		"with":       func() ([]stmt, error) { return one(p.withStatement()) },
		"generation": func() ([]stmt, error) { return one(p.generation()) },
		"print":      p.printStatement,
		"break":      func() ([]stmt, error) { return one(p.flowStatement(flowBreak)) },
		"continue":   func() ([]stmt, error) { return one(p.flowStatement(flowContinue)) },
	}[t.text]
	if parse == nil {
		switch t.text {
		case "block", "extends", "include", "import", "from", "autoescape":
			return nil, p.fail(t.line, "the tag '%s' is not supported in a chat template", t.text)
		}
		return nil, p.unknownTag(t.text, t.line)
	}
	p.tags = append(p.tags, t.text)
	ss, err := parse()
	p.tags = p.tags[:len(p.tags)-1]
	return ss, err
}

func (p *parser) flowStatement(f flow) (stmt, error) {
	t := p.next()
	if p.loops == 0 {
		return nil, p.fail(t.line, "'%s' outside loop", t.text)
	}
	return &flowStmt{f}, nil
}

func (p *parser) printStatement() ([]stmt, error) {
	p.next()
	var out []stmt
	for p.cur().kind != tokBlockEnd {
		if out != nil {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		line := p.cur().line
		x, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		out = append(out, &printStmt{x, line})
	}
	return out, nil
}

func (p *parser) ifStatement() (stmt, error) {
	soft := p.soft
	p.soft = true
	defer func() { p.soft = soft }()
	s := &ifStmt{}
	p.next()
	for {
		test, err := p.tuple(tupleOpts{})
		if err != nil {
			return nil, err
		}
		body, err := p.block("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.tests, s.bodies = append(s.tests, test), append(s.bodies, body)
		switch p.next().text {
		case "elif":
			continue
		case "else":
			s.other, err = p.block("endif")
			p.next()
		}
		return s, err
	}
}

func (p *parser) forStatement() (stmt, error) {
	s := &forStmt{line: p.next().line}
	soft := p.soft
	defer func() { p.soft = soft }()
	p.loops++
	defer func() { p.loops-- }()
	var err error
	if s.target, err = p.assignTarget(false, "in"); err != nil {
		return nil, err
	}
	if !p.skipName("in") {
		return nil, p.expected("in")
	}
	if s.iter, err = p.tuple(tupleOpts{end: "recursive"}); err != nil {
		return nil, err
	}
	p.soft = false
	if p.skipName("if") {
		if s.test, err = p.expression(true); err != nil {
			return nil, err
		}
	}
	s.recursive = p.skipName("recursive")
	if s.body, err = p.block("endfor", "else"); err != nil {
		return nil, err
	}
	if p.next().text == "else" {
		p.loops-- // break and continue in the else part belong to the loop outside
		s.other, err = p.block("endfor")
		p.loops++
		p.next()
	}
	return s, err
}

func (p *parser) setStatement() (stmt, error) {
	line := p.next().line
	tgt, err := p.assignTarget(true, "")
	if err != nil {
		return nil, err
	}
	if p.skipOp("=") {
		x, err := p.tuple(tupleOpts{cond: true})
		return &setStmt{tgt, x, line}, err
	}
	s := &setBlockStmt{target: tgt, line: line}
	if p.isOp("|") {
		if s.filter, err = p.filters(nil, false); err != nil {
			return nil, err
		}
	}
	s.body, err = p.scoped("endset", true)
	return s, err
}

func (p *parser) filterBlock() (stmt, error) {
	s := &filterBlockStmt{line: p.next().line}
	var err error
	if s.filter, err = p.filters(nil, true); err != nil {
		return nil, err
	}
	s.body, err = p.scoped("endfilter", true)
	return s, err
}

func (p *parser) withStatement() (stmt, error) {
	s := &withStmt{line: p.next().line}
	for p.cur().kind != tokBlockEnd {
		if s.targets != nil {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		tgt, err := p.assignTarget(false, "")
		if err != nil {
			return nil, err
		}
		if err := p.expectOp("="); err != nil {
			return nil, err
		}
		x, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		s.targets, s.vals = append(s.targets, tgt), append(s.vals, x)
	}
	var err error
	s.body, err = p.scoped("endwith", false)
	return s, err
}

func (p *parser) generation() (stmt, error) {
	p.next()
	body, err := p.scoped("endgeneration", true)
	return &scopeStmt{body}, err
}

// macroBody reads a signature's rest and the body, and finds which special names the body reads.
func (p *parser) macroBody(def *macroDef, end string) error {
	outer := p.reads
	p.reads = map[string]bool{}
	body, err := p.scoped(end, true)
	def.body = body
	takes := func(name string) bool { return p.reads[name] && !slices.Contains(def.params, name) }
	def.usesCaller, def.usesKwargs, def.usesVarargs = takes("caller"), takes("kwargs"), takes("varargs")
	if p.reads["caller"] {
		i := slices.Index(def.params, "caller")
		if i >= 0 && i < len(def.params)-len(def.defaults) {
			err = p.fail(def.line, `When defining macros or call blocks the special "caller" argument must be omitted or be given a default.`)
		}
	}
	for name := range p.reads {
		if outer != nil {
			outer[name] = true
		}
	}
	p.reads = outer
	return err
}

func (p *parser) signature(def *macroDef) error {
	if err := p.expectOp("("); err != nil {
		return err
	}
	for !p.isOp(")") {
		if def.params != nil {
			if err := p.expectOp(","); err != nil {
				return err
			}
		}
		t, err := p.expectKind(tokName)
		if err != nil {
			return err
		}
		def.params = append(def.params, t.text)
		if p.skipOp("=") {
			x, err := p.expression(true)
			if err != nil {
				return err
			}
			def.defaults = append(def.defaults, x)
		} else if def.defaults != nil {
			return p.fail(t.line, "non-default argument follows default argument")
		}
	}
	return p.expectOp(")")
}

func (p *parser) macroStatement() (stmt, error) {
	def := &macroDef{line: p.next().line}
	t, err := p.expectKind(tokName)
	if err != nil {
		return nil, err
	}
	def.name = t.text
	if err := p.signature(def); err != nil {
		return nil, err
	}
	return &macroStmt{def}, p.macroBody(def, "endmacro")
}

func (p *parser) callBlock() (stmt, error) {
	def := &macroDef{line: p.next().line}
	if p.isOp("(") {
		if err := p.signature(def); err != nil {
			return nil, err
		}
	}
	x, err := p.expression(true)
	if err != nil {
		return nil, err
	}
	call, ok := x.(*callExpr)
	if !ok {
		return nil, p.fail(def.line, "expected call")
	}
	return &callBlockStmt{def, call, def.line}, p.macroBody(def, "endcall")
}

// assignTarget reads a name, or names in a tuple; with ns also namespace attributes. end is the word
// that may end the tuple.
func (p *parser) assignTarget(ns bool, end string) (target, error) {
	line := p.cur().line
	var items []target
	tuple := false
	for {
		if items != nil {
			if err := p.expectOp(","); err != nil {
				return target{}, err
			}
			tuple = true
		}
		if p.tupleEnd(end) {
			break
		}
		t, err := p.assignOne(ns)
		if err != nil {
			return target{}, err
		}
		items = append(items, t)
		if !p.isOp(",") {
			break
		}
	}
	switch {
	case items == nil:
		return target{}, p.fail(line, "Expected an expression, got %s", reprString(p.cur().describe()))
	case tuple:
		return target{items: items, line: line}, nil
	}
	return items[0], nil
}

func (p *parser) assignOne(ns bool) (target, error) {
	if err := p.nest(); err != nil {
		return target{}, err
	}
	defer p.unnest()
	t := p.cur()
	if p.skipOp("(") {
		tgt, err := p.assignTarget(ns, "")
		if err != nil {
			return target{}, err
		}
		return tgt, p.expectOp(")")
	}
	if t.kind != tokName {
		return target{}, p.fail(t.line, "can't assign to %s", reprString(t.describe()))
	}
	p.next()
	switch t.text {
	case "true", "false", "True", "False", "none", "None":
		return target{}, p.fail(t.line, "can't assign to 'const'")
	case "loop":
		if p.loops > 0 {
			return target{}, p.fail(t.line, "Can't assign to special loop variable in for-loop target")
		}
	}
	if ns && p.skipOp(".") {
		attr, err := p.expectKind(tokName)
		return target{name: t.text, attr: attr.text, line: t.line}, err
	}
	return target{name: t.text, line: t.line}, nil
}
