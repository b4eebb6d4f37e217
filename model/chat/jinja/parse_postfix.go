package jinja

import "slices"

// postfix reads attributes, subscripts and calls.
func (p *parser) postfix(x expr, c *chain) (expr, error) {
	for {
		line := p.cur().line
		var err error
		switch {
		case p.isOp("("):
			x, err = p.call(x)
		case p.skipOp("."):
			x, err = p.attribute(x, line)
		case p.skipOp("["):
			x, err = p.subscript(x, line)
		default:
			return x, nil
		}
		if err == nil {
			err = c.link()
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) attribute(x expr, line int) (expr, error) {
	switch t := p.cur(); t.kind {
	case tokName:
		p.next()
		return &attrExpr{x, t.text, line}, nil
	case tokInt:
		key, err := p.numberLiteral()
		return &itemExpr{x, key, line}, err
	}
	return nil, p.fail(p.cur().line, "expected name or number")
}

func (p *parser) subscript(x expr, line int) (expr, error) {
	if p.isOp(":") {
		return p.slice(x, nil, line)
	}
	if p.isOp("]") {
		p.next()
		return &itemExpr{x, &listExpr{tuple: true}, line}, nil
	}
	key, err := p.expression(true)
	if err != nil {
		return nil, err
	}
	if p.isOp(":") {
		return p.slice(x, key, line)
	}
	if p.isOp(",") {
		items := []expr{key}
		for p.skipOp(",") {
			k, err := p.expression(true)
			if err != nil {
				return nil, err
			}
			items = append(items, k)
		}
		key = &listExpr{items, true}
	}
	return &itemExpr{x, key, line}, p.expectOp("]")
}

func (p *parser) slice(x, lo expr, line int) (expr, error) {
	n := &sliceExpr{obj: x, lo: lo, line: line}
	for _, part := range []*expr{&n.hi, &n.step} {
		if !p.skipOp(":") {
			break
		}
		if p.isOp(":") || p.isOp("]") {
			continue
		}
		v, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		*part = v
	}
	return n, p.expectOp("]")
}

func (p *parser) call(fn expr) (expr, error) {
	line := p.cur().line
	a, err := p.callArgs()
	return &callExpr{fn, a, line}, err
}

func (p *parser) callArgs() (callArgs, error) {
	var a callArgs
	line := p.next().line
	bad := func() error { return p.fail(line, "invalid syntax for function call expression") }
	err := p.listed(p.bracket(")"), true, func() (err error) {
		var x expr
		switch {
		case p.skipOp("*"):
			if a.star != nil || a.starstar != nil {
				return bad()
			}
			a.star, err = p.expression(true)
		case p.skipOp("**"):
			if a.starstar != nil {
				return bad()
			}
			a.starstar, err = p.expression(true)
		case p.cur().kind == tokName && p.look().kind == tokOp && p.look().text == "=":
			if a.starstar != nil {
				return bad()
			}
			name := p.next().text
			p.next()
			if slices.Contains(a.names, name) {
				return p.fail(line, "keyword argument repeated: %s", name)
			}
			x, err = p.expression(true)
			a.names, a.named = append(a.names, name), append(a.named, x)
		default:
			if a.star != nil || a.starstar != nil || a.names != nil {
				return bad()
			}
			x, err = p.expression(true)
			a.pos = append(a.pos, x)
		}
		return err
	})
	if err != nil {
		return a, err
	}
	return a, p.expectOp(")")
}

// filterExpr reads what may follow a postfix expression: filters, tests and calls.
func (p *parser) filterExpr(x expr, c *chain) (expr, error) {
	for {
		var err error
		switch {
		case p.isOp("|"):
			x, err = p.filters(x, false)
		case p.isName("is"):
			x, err = p.test(x)
		case p.isOp("("):
			x, err = p.call(x)
		default:
			return x, nil
		}
		if err == nil {
			err = c.link()
		}
		if err != nil {
			return nil, err
		}
	}
}

// dotted reads a name with dots, as filters and tests may have.
func (p *parser) dotted() (string, int, error) {
	t, err := p.expectKind(tokName)
	name := t.text
	for err == nil && p.skipOp(".") {
		var part token
		part, err = p.expectKind(tokName)
		name += "." + part.text
	}
	return name, t.line, err
}

// filters reads "|name(args)|…"; start means that the first bar is absent, as in a filter block.
func (p *parser) filters(x expr, start bool) (expr, error) {
	c := chain{p: p}
	defer c.release()
	for start || p.skipOp("|") {
		start = false
		if err := c.link(); err != nil {
			return nil, err
		}
		name, line, err := p.dotted()
		if err != nil {
			return nil, err
		}
		n := &filterExpr{in: x, name: name, fn: filters[name], line: line}
		if n.fn == nil {
			if slices.Contains(refusedFilters, name) {
				return nil, p.fail(line, "the filter '%s' is not supported in a chat template", name)
			}
			p.missing(line, "No filter named '%s'.", name)
		}
		if p.isOp("(") {
			if n.args, err = p.callArgs(); err != nil {
				return nil, err
			}
		}
		x = n
	}
	return x, nil
}

func (p *parser) test(x expr) (expr, error) {
	p.next()
	negated := p.skipName("not")
	name, line, err := p.dotted()
	if err != nil {
		return nil, err
	}
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
		n.args, err = p.callArgs()
	case p.isOp("[") || p.isOp("{") || t.kind == tokString || t.kind == tokInt || t.kind == tokFloat,
		t.kind == tokName && !slices.Contains([]string{"else", "or", "and"}, t.text):
		if p.isName("is") {
			return nil, p.fail(t.line, "You cannot chain multiple tests with is")
		}
		var arg expr
		if arg, err = p.primary(); err == nil {
			c := chain{p: p}
			arg, err = p.postfix(arg, &c)
			c.release()
		}
		n.args.pos = []expr{arg}
	}
	if err != nil {
		return nil, err
	}
	if negated {
		return &unaryExpr{"not", n, line}, nil
	}
	return n, nil
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
