package jinja

import "slices"

// postfix reads attributes, subscripts and calls.
func (p *parser) postfix(x expr) expr {
	for {
		line := p.cur().line
		switch {
		case p.isOp("("):
			x = p.call(x)
		case p.skipOp("."):
			x = p.attribute(x, line)
		case p.skipOp("["):
			x = p.subscript(x, line)
		default:
			return x
		}
		p.nest()
	}
}

func (p *parser) attribute(x expr, line int) expr {
	switch t := p.cur(); t.kind {
	case tokName:
		p.next()
		return &attrExpr{x, t.text, line}
	case tokInt:
		return &itemExpr{x, p.numberLiteral(), line}
	}
	panic(p.fail(p.cur().line, "expected name or number"))
}

func (p *parser) subscript(x expr, line int) expr {
	if p.isOp(":") {
		return p.slice(x, nil, line)
	}
	if p.isOp("]") {
		p.next()
		return &itemExpr{x, &listExpr{tuple: true}, line}
	}
	key := p.expression(true)
	if p.isOp(":") {
		return p.slice(x, key, line)
	}
	if p.isOp(",") {
		items := []expr{key}
		for p.skipOp(",") {
			items = append(items, p.expression(true))
		}
		key = &listExpr{items, true}
	}
	p.expectOp("]")
	return &itemExpr{x, key, line}
}

func (p *parser) slice(x, lo expr, line int) expr {
	n := &sliceExpr{obj: x, lo: lo, line: line}
	for _, part := range []*expr{&n.hi, &n.step} {
		if !p.skipOp(":") {
			break
		}
		if !p.isOp(":") && !p.isOp("]") {
			*part = p.expression(true)
		}
	}
	p.expectOp("]")
	return n
}

func (p *parser) call(fn expr) expr {
	line := p.cur().line
	return &callExpr{fn, p.callArgs(), line}
}

func (p *parser) callArgs() callArgs {
	var a callArgs
	line := p.next().line
	only := func(ok bool) {
		if !ok {
			panic(p.fail(line, "invalid syntax for function call expression"))
		}
	}
	p.listed(p.bracket(")"), true, func() {
		switch {
		case p.skipOp("*"):
			only(a.star == nil && a.starstar == nil)
			a.star = p.expression(true)
		case p.skipOp("**"):
			only(a.starstar == nil)
			a.starstar = p.expression(true)
		case p.cur().kind == tokName && p.look().kind == tokOp && p.look().text == "=":
			only(a.starstar == nil)
			name := p.next().text
			p.next()
			if slices.Contains(a.names, name) {
				panic(p.fail(line, "keyword argument repeated: %s", name))
			}
			a.names, a.named = append(a.names, name), append(a.named, p.expression(true))
		default:
			only(a.star == nil && a.starstar == nil && a.names == nil)
			a.pos = append(a.pos, p.expression(true))
		}
	})
	p.expectOp(")")
	return a
}

// filterExpr reads what may follow a postfix expression: filters, tests and calls.
func (p *parser) filterExpr(x expr) expr {
	for {
		switch {
		case p.isOp("|"):
			x = p.filters(x, false)
		case p.isName("is"):
			x = p.test(x)
		case p.isOp("("):
			x = p.call(x)
		default:
			return x
		}
		p.nest()
	}
}

// dotted reads a name with dots, as filters and tests may have.
func (p *parser) dotted() (name string, line int) {
	t := p.expectKind(tokName)
	name = t.text
	for p.skipOp(".") {
		name += "." + p.expectKind(tokName).text
	}
	return name, t.line
}

// filters reads "|name(args)|…"; start means that the first bar is absent, as in a filter block.
func (p *parser) filters(x expr, start bool) expr {
	defer p.restore(p.depth)
	for start || p.skipOp("|") {
		start = false
		p.nest()
		name, line := p.dotted()
		n := &filterExpr{in: x, name: name, fn: filters[name], line: line}
		if n.fn == nil {
			if slices.Contains(refusedFilters, name) {
				panic(p.fail(line, "the filter '%s' is not supported in a chat template", name))
			}
			p.missing(line, "No filter named '%s'.", name)
		}
		if p.isOp("(") {
			n.args = p.callArgs()
		}
		x = n
	}
	return x
}

func (p *parser) test(x expr) expr {
	p.next()
	negated := p.skipName("not")
	name, line := p.dotted()
	n := &testExpr{in: x, name: name, fn: tests[name], line: line}
	if name == "none" {
		p.testsNone(x)
	}
	if n.fn == nil {
		p.missing(line, "No test named '%s'.", name)
	}
	t := p.cur()
	switch {
	case p.isOp("("):
		n.args = p.callArgs()
	case p.isOp("[") || p.isOp("{") || t.kind == tokString || t.kind == tokInt || t.kind == tokFloat,
		t.kind == tokName && !slices.Contains([]string{"else", "or", "and"}, t.text):
		if p.isName("is") {
			panic(p.fail(t.line, "You cannot chain multiple tests with is"))
		}
		depth := p.depth
		n.args.pos = []expr{p.postfix(p.primary())}
		p.restore(depth)
	}
	if negated {
		return &unaryExpr{"not", n, line}
	}
	return n
}

// testsNone notes that the template tells none from other values of x.
func (p *parser) testsNone(x expr) {
	name := ""
	switch x := x.(type) {
	case *nameExpr:
		name = x.name
	case *attrExpr:
		name = x.name
	case *itemExpr:
		if key, ok := x.key.(*constExpr); ok {
			name, _ = text(key.val)
		}
	case *callExpr: // x.get("name")
		if len(x.args.pos) > 0 {
			if key, ok := x.args.pos[0].(*constExpr); ok {
				name, _ = text(key.val)
			}
		}
	}
	if p.nones == nil {
		p.nones = map[string]bool{}
	}
	p.nones[name] = true
}
