package jinja

import "slices"

func (p *parser) statement() []stmt {
	t := p.cur()
	if t.kind != tokName {
		panic(p.fail(t.line, "tag name expected"))
	}
	one := func(read func() stmt) func() []stmt { return func() []stmt { return []stmt{read()} } }
	parse := map[string]func() []stmt{
		"for":        one(p.forStatement),
		"if":         one(p.ifStatement),
		"set":        one(p.setStatement),
		"macro":      one(p.macroStatement),
		"call":       one(p.callBlock),
		"filter":     one(p.filterBlock),
		"with":       one(p.withStatement),
		"generation": one(p.generation),
		"print":      p.printStatement,
		"break":      one(func() stmt { return p.flowStatement(flowBreak) }),
		"continue":   one(func() stmt { return p.flowStatement(flowContinue) }),
	}[t.text]
	if parse == nil {
		switch t.text {
		case "block", "extends", "include", "import", "from", "autoescape":
			panic(p.fail(t.line, "the tag '%s' is not supported in a chat template", t.text))
		}
		panic(p.unknownTag(t.text, t.line))
	}
	p.tags = append(p.tags, t.text)
	s := parse()
	p.tags = p.tags[:len(p.tags)-1]
	return s
}

func (p *parser) flowStatement(f flow) stmt {
	t := p.next()
	if p.loops == 0 {
		panic(p.fail(t.line, "'%s' outside loop", t.text))
	}
	return &flowStmt{f}
}

func (p *parser) printStatement() []stmt {
	p.next()
	var out []stmt
	p.listed(p.blockEnd, false, func() {
		line := p.cur().line
		out = append(out, &printStmt{p.expression(true), line})
	})
	return out
}

func (p *parser) ifStatement() stmt {
	soft := p.soft
	p.soft = true
	defer func() { p.soft = soft }()
	s := &ifStmt{}
	p.next()
	for {
		s.tests = append(s.tests, p.tuple(tupleOpts{}))
		s.bodies = append(s.bodies, p.block("elif", "else", "endif"))
		switch p.next().text {
		case "elif":
			continue
		case "else":
			s.other = p.block("endif")
			p.next()
		}
		return s
	}
}

func (p *parser) forStatement() stmt {
	s := &forStmt{line: p.next().line}
	soft := p.soft
	defer func() { p.soft = soft }()
	p.loops++
	defer func() { p.loops-- }()
	s.target = p.assignTarget(false, "in")
	if !p.skipName("in") {
		panic(p.expected("in"))
	}
	s.iter = p.tuple(tupleOpts{end: "recursive"})
	p.soft = false
	if p.skipName("if") {
		s.test = p.expression(true)
	}
	s.recursive = p.skipName("recursive")
	s.body = p.block("endfor", "else")
	if p.next().text == "else" {
		p.loops-- // break and continue in the else part belong to the loop outside
		s.other = p.block("endfor")
		p.loops++
		p.next()
	}
	return s
}

func (p *parser) setStatement() stmt {
	line := p.next().line
	tgt := p.assignTarget(true, "")
	if p.skipOp("=") {
		return &setStmt{tgt, p.tuple(tupleOpts{cond: true}), line}
	}
	s := &setBlockStmt{target: tgt, line: line}
	if p.isOp("|") {
		s.filter = p.filters(nil, false)
	}
	s.body = p.scoped("endset", true)
	return s
}

func (p *parser) filterBlock() stmt {
	s := &filterBlockStmt{line: p.next().line}
	s.filter = p.filters(nil, true)
	s.body = p.scoped("endfilter", true)
	return s
}

func (p *parser) withStatement() stmt {
	s := &withStmt{line: p.next().line}
	p.listed(p.blockEnd, false, func() {
		s.targets = append(s.targets, p.assignTarget(false, ""))
		p.expectOp("=")
		s.vals = append(s.vals, p.expression(true))
	})
	s.body = p.scoped("endwith", false)
	return s
}

func (p *parser) generation() stmt {
	p.next()
	return &scopeStmt{p.scoped("endgeneration", true)}
}

// macroBody reads a signature's rest and the body, and finds which special names the body reads.
func (p *parser) macroBody(def *macroDef, end string) {
	outer := p.reads
	p.reads = map[string]bool{}
	def.body = p.scoped(end, true)
	takes := func(name string) bool { return p.reads[name] && !slices.Contains(def.params, name) }
	def.usesCaller, def.usesKwargs, def.usesVarargs = takes("caller"), takes("kwargs"), takes("varargs")
	if p.reads["caller"] {
		i := slices.Index(def.params, "caller")
		if i >= 0 && i < len(def.params)-len(def.defaults) {
			panic(p.fail(def.line, `When defining macros or call blocks the special "caller" argument must be omitted or be given a default.`))
		}
	}
	for name := range p.reads {
		if outer != nil {
			outer[name] = true
		}
	}
	p.reads = outer
}

func (p *parser) signature(def *macroDef) {
	p.expectOp("(")
	p.listed(p.bracket(")"), false, func() {
		t := p.expectKind(tokName)
		def.params = append(def.params, t.text)
		if p.skipOp("=") {
			def.defaults = append(def.defaults, p.expression(true))
		} else if def.defaults != nil {
			panic(p.fail(t.line, "non-default argument follows default argument"))
		}
	})
	p.expectOp(")")
}

func (p *parser) macroStatement() stmt {
	def := &macroDef{line: p.next().line}
	def.name = p.expectKind(tokName).text
	p.signature(def)
	p.macroBody(def, "endmacro")
	return &macroStmt{def}
}

func (p *parser) callBlock() stmt {
	def := &macroDef{line: p.next().line}
	if p.isOp("(") {
		p.signature(def)
	}
	call, ok := p.expression(true).(*callExpr)
	if !ok {
		panic(p.fail(def.line, "expected call"))
	}
	p.macroBody(def, "endcall")
	return &callBlockStmt{def, call, def.line}
}

// assignTarget reads a name, or names in a tuple; with ns also namespace attributes. end is the word
// that may end the tuple.
func (p *parser) assignTarget(ns bool, end string) target {
	line := p.cur().line
	var items []target
	tuple := false
	for {
		if items != nil {
			p.expectOp(",")
			tuple = true
		}
		if p.tupleEnd(end) {
			break
		}
		items = append(items, p.assignOne(ns))
		if !p.isOp(",") {
			break
		}
	}
	switch {
	case items == nil:
		panic(p.fail(line, "Expected an expression, got %s", reprString(p.cur().describe())))
	case tuple:
		return target{items: items, line: line}
	}
	return items[0]
}

func (p *parser) assignOne(ns bool) target {
	defer p.restore(p.depth)
	p.nest()
	t := p.cur()
	if p.skipOp("(") {
		tgt := p.assignTarget(ns, "")
		p.expectOp(")")
		return tgt
	}
	if t.kind != tokName {
		panic(p.fail(t.line, "can't assign to %s", reprString(t.describe())))
	}
	p.next()
	switch t.text {
	case "true", "false", "True", "False", "none", "None":
		panic(p.fail(t.line, "can't assign to 'const'"))
	case "loop":
		if p.loops > 0 {
			panic(p.fail(t.line, "Can't assign to special loop variable in for-loop target"))
		}
	}
	if ns && p.skipOp(".") {
		return target{name: t.text, attr: p.expectKind(tokName).text, line: t.line}
	}
	return target{name: t.text, line: t.line}
}
