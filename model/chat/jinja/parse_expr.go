package jinja

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// chain counts the links of a left-leaning chain such as a + b + c, whose tree is as deep as it is
// long. Its release is called once at the end of the chain.
type chain struct {
	p *parser
	n int
}

func (c *chain) link() error {
	if err := c.p.nest(); err != nil {
		return err
	}
	c.n++
	return nil
}

func (c *chain) release() { c.p.depth -= c.n }

// expression reads one expression; cond allows "a if b else c".
func (p *parser) expression(cond bool) (expr, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer p.unnest()
	if !cond {
		return p.or()
	}
	line := p.cur().line
	mark := len(p.unknown)
	x, err := p.or()
	c := chain{p: p}
	defer c.release()
	for err == nil && p.skipName("if") {
		if err = c.link(); err != nil {
			return nil, err
		}
		n := &condExpr{then: x, line: line}
		if n.test, err = p.or(); err != nil {
			return nil, err
		}
		if p.skipName("else") {
			if n.other, err = p.expression(true); err != nil {
				return nil, err
			}
		}
		x, line = n, p.cur().line
		p.unknown = p.unknown[:mark] // all parts of a conditional are guarded
	}
	return x, err
}

// leftChain reads operand (op operand)* into a left-leaning tree.
func (p *parser) leftChain(operand func() (expr, error), match func() string,
	join func(op string, l, r expr, line int) expr) (expr, error) {
	line := p.cur().line
	l, err := operand()
	c := chain{p: p}
	defer c.release()
	for err == nil {
		op := match()
		if op == "" {
			return l, nil
		}
		if err = c.link(); err != nil {
			break
		}
		p.next()
		var r expr
		if r, err = operand(); err == nil {
			l, line = join(op, l, r, line), p.cur().line
		}
	}
	return nil, err
}

func (p *parser) matchOps(ops ...string) func() string {
	return func() string {
		if t := p.cur(); t.kind == tokOp && slices.Contains(ops, t.text) {
			return t.text
		}
		return ""
	}
}

func (p *parser) matchName(name string) func() string {
	return func() string {
		if p.isName(name) {
			return name
		}
		return ""
	}
}

func (p *parser) or() (expr, error) {
	return p.leftChain(p.and, p.matchName("or"),
		func(_ string, l, r expr, _ int) expr { return &logicExpr{true, l, r} })
}

func (p *parser) and() (expr, error) {
	return p.leftChain(p.not, p.matchName("and"),
		func(_ string, l, r expr, _ int) expr { return &logicExpr{false, l, r} })
}

func (p *parser) not() (expr, error) {
	if !p.isName("not") {
		return p.compare()
	}
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer p.unnest()
	line := p.next().line
	x, err := p.not()
	return &unaryExpr{"not", x, line}, err
}

func (p *parser) compare() (expr, error) {
	line := p.cur().line
	first, err := p.math1()
	if err != nil {
		return nil, err
	}
	n := &compareExpr{first: first, line: line}
	for {
		op := p.matchOps("==", "!=", "<", "<=", ">", ">=")()
		switch {
		case op != "":
			p.next()
		case p.skipName("in"):
			op = "in"
		case p.isName("not") && p.look().kind == tokName && p.look().text == "in":
			p.i += 2
			op = "not in"
		default:
			if n.ops == nil {
				return first, nil
			}
			return n, nil
		}
		x, err := p.math1()
		if err != nil {
			return nil, err
		}
		if c, ok := x.(*constExpr); ok && c.val == nil && (op == "==" || op == "!=") && n.rest == nil {
			p.testsNone(first)
		}
		n.ops, n.rest = append(n.ops, op), append(n.rest, x)
	}
}

func newBinary(op string, l, r expr, line int) expr { return &binaryExpr{op, l, r, line} }

func (p *parser) math1() (expr, error) {
	return p.leftChain(p.concat, p.matchOps("+", "-"), newBinary)
}

func (p *parser) concat() (expr, error) {
	line := p.cur().line
	x, err := p.math2()
	if err != nil || !p.isOp("~") {
		return x, err
	}
	parts := []expr{x}
	for p.skipOp("~") {
		x, err := p.math2()
		if err != nil {
			return nil, err
		}
		parts = append(parts, x)
	}
	return &concatExpr{parts, line}, nil
}

func (p *parser) math2() (expr, error) {
	return p.leftChain(p.pow, p.matchOps("*", "/", "//", "%"), newBinary)
}

func (p *parser) pow() (expr, error) {
	return p.leftChain(func() (expr, error) { return p.unary(true) }, p.matchOps("**"), newBinary)
}

func (p *parser) unary(filters bool) (expr, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer p.unnest()
	t := p.cur()
	var x expr
	var err error
	if p.skipOp("-") || p.skipOp("+") {
		if x, err = p.unary(false); err == nil {
			x = &unaryExpr{t.text, x, t.line}
		}
	} else {
		x, err = p.primary()
	}
	c := chain{p: p}
	defer c.release()
	if err == nil {
		x, err = p.postfix(x, &c)
	}
	if err == nil && filters {
		x, err = p.filterExpr(x, &c)
	}
	return x, err
}

func (p *parser) primary() (expr, error) {
	t := p.cur()
	switch t.kind {
	case tokName:
		p.next()
		switch t.text {
		case "true", "True":
			return &constExpr{true}, nil
		case "false", "False":
			return &constExpr{false}, nil
		case "none", "None":
			return &constExpr{nil}, nil
		}
		if p.reads != nil {
			p.reads[t.text] = true
		}
		return &nameExpr{t.text, t.line}, nil
	case tokString:
		var b strings.Builder
		for p.cur().kind == tokString {
			b.WriteString(p.next().text)
		}
		return &constExpr{origin.Literal(b.String())}, nil
	case tokInt, tokFloat:
		return p.numberLiteral()
	case tokOp:
		switch t.text {
		case "(":
			p.next()
			x, err := p.tuple(tupleOpts{cond: true, parens: true})
			if err != nil {
				return nil, err
			}
			return x, p.expectOp(")")
		case "[":
			return p.list()
		case "{":
			return p.dict()
		}
	}
	return nil, p.fail(t.line, "unexpected %s", reprString(t.describe()))
}

func (p *parser) numberLiteral() (expr, error) {
	t := p.next()
	if t.kind == tokFloat {
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return nil, p.fail(t.line, "the number %s is out of range", t.text)
		}
		return &constExpr{f}, nil
	}
	i, err := strconv.ParseInt(t.text, 0, 64)
	if err == nil {
		return &constExpr{i}, nil
	}
	b, ok := new(big.Int).SetString(t.text, 0)
	if !ok || b.BitLen() > maxBigBits {
		return nil, p.fail(t.line, "the number %s is out of range", t.text)
	}
	return &constExpr{b}, nil
}

// tupleOpts say how a tuple ends.
type tupleOpts struct {
	cond   bool   // elements may be conditional expressions
	parens bool   // in parentheses, where it may be empty
	end    string // a word that ends it
}

func (p *parser) tupleEnd(end string) bool {
	t := p.cur()
	switch t.kind {
	case tokVarEnd, tokBlockEnd:
		return true
	case tokOp:
		return t.text == ")"
	}
	return end != "" && p.isName(end)
}

// tuple reads one expression, or several with commas as a tuple.
func (p *parser) tuple(o tupleOpts) (expr, error) {
	var items []expr
	isTuple := false
	for {
		if items != nil {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		if p.tupleEnd(o.end) {
			break
		}
		x, err := p.expression(o.cond)
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.isOp(",") {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if items != nil {
			return items[0], nil
		}
		if !o.parens {
			return nil, p.fail(p.cur().line, "Expected an expression, got %s", reprString(p.cur().describe()))
		}
	}
	return &listExpr{items, true}, nil
}

func (p *parser) list() (expr, error) {
	p.next()
	n := &listExpr{}
	err := p.listed(p.bracket("]"), true, func() error {
		x, err := p.expression(true)
		n.items = append(n.items, x)
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, p.expectOp("]")
}

func (p *parser) dict() (expr, error) {
	n := &dictExpr{line: p.next().line}
	err := p.listed(p.bracket("}"), true, func() error {
		k, err := p.expression(true)
		if err != nil {
			return err
		}
		if err := p.expectOp(":"); err != nil {
			return err
		}
		v, err := p.expression(true)
		n.keys, n.vals = append(n.keys, k), append(n.vals, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return n, p.expectOp("}")
}

// maxBigBits bounds integers of templates and data: 4,300 decimal digits, as Python's own limit.
const maxBigBits = 14285
