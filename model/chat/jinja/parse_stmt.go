package jinja

import "slices"

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
	err := p.listed(p.blockEnd, false, func() error {
		line := p.cur().line
		x, err := p.expression(true)
		out = append(out, &printStmt{x, line})
		return err
	})
	return out, err
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
	err := p.listed(p.blockEnd, false, func() error {
		tgt, err := p.assignTarget(false, "")
		if err != nil {
			return err
		}
		if err := p.expectOp("="); err != nil {
			return err
		}
		x, err := p.expression(true)
		s.targets, s.vals = append(s.targets, tgt), append(s.vals, x)
		return err
	})
	if err != nil {
		return nil, err
	}
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
	err := p.listed(p.bracket(")"), false, func() error {
		t, err := p.expectKind(tokName)
		if err != nil {
			return err
		}
		def.params = append(def.params, t.text)
		if p.skipOp("=") {
			x, err := p.expression(true)
			def.defaults = append(def.defaults, x)
			return err
		}
		if def.defaults != nil {
			return p.fail(t.line, "non-default argument follows default argument")
		}
		return nil
	})
	if err != nil {
		return err
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
