package jinja

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// expression reads one expression; cond allows "a if b else c".
func (p *parser) expression(cond bool) expr {
	defer p.restore(p.depth)
	p.nest()
	if !cond {
		return p.or()
	}
	line := p.cur().line
	mark := len(p.unknown)
	x := p.or()
	for p.skipName("if") {
		p.nest()
		n := &condExpr{then: x, line: line}
		n.test = p.or()
		if p.skipName("else") {
			n.other = p.expression(true)
		}
		x, line = n, p.cur().line
		p.unknown = p.unknown[:mark] // all parts of a conditional are guarded
	}
	return x
}

// leftChain reads operand (op operand)* into a left-leaning tree.
func (p *parser) leftChain(operand func() expr, match func() string,
	join func(op string, l, r expr, line int) expr) expr {
	defer p.restore(p.depth)
	line := p.cur().line
	l := operand()
	for op := match(); op != ""; op = match() {
		p.nest()
		p.next()
		l, line = join(op, l, operand(), line), p.cur().line
	}
	return l
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

func (p *parser) or() expr {
	return p.leftChain(p.and, p.matchName("or"),
		func(_ string, l, r expr, _ int) expr { return &logicExpr{true, l, r} })
}

func (p *parser) and() expr {
	return p.leftChain(p.not, p.matchName("and"),
		func(_ string, l, r expr, _ int) expr { return &logicExpr{false, l, r} })
}

func (p *parser) not() expr {
	if !p.isName("not") {
		return p.compare()
	}
	defer p.restore(p.depth)
	p.nest()
	line := p.next().line
	return &unaryExpr{"not", p.not(), line}
}

func (p *parser) compare() expr {
	line := p.cur().line
	first := p.math1()
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
				return first
			}
			return n
		}
		x := p.math1()
		if c, ok := x.(*constExpr); ok && c.val == nil && (op == "==" || op == "!=") && n.rest == nil {
			p.testsNone(first)
		}
		n.ops, n.rest = append(n.ops, op), append(n.rest, x)
	}
}

func newBinary(op string, l, r expr, line int) expr { return &binaryExpr{op, l, r, line} }

func (p *parser) math1() expr {
	return p.leftChain(p.concat, p.matchOps("+", "-"), newBinary)
}

func (p *parser) concat() expr {
	line := p.cur().line
	x := p.math2()
	if !p.isOp("~") {
		return x
	}
	parts := []expr{x}
	for p.skipOp("~") {
		parts = append(parts, p.math2())
	}
	return &concatExpr{parts, line}
}

func (p *parser) math2() expr {
	return p.leftChain(p.pow, p.matchOps("*", "/", "//", "%"), newBinary)
}

func (p *parser) pow() expr {
	return p.leftChain(func() expr { return p.unary(true) }, p.matchOps("**"), newBinary)
}

func (p *parser) unary(filters bool) expr {
	defer p.restore(p.depth)
	p.nest()
	t := p.cur()
	var x expr
	if p.skipOp("-") || p.skipOp("+") {
		x = &unaryExpr{t.text, p.unary(false), t.line}
	} else {
		x = p.primary()
	}
	x = p.postfix(x)
	if filters {
		x = p.filterExpr(x)
	}
	return x
}

func (p *parser) primary() expr {
	t := p.cur()
	switch t.kind {
	case tokName:
		p.next()
		switch t.text {
		case "true", "True":
			return &constExpr{true}
		case "false", "False":
			return &constExpr{false}
		case "none", "None":
			return &constExpr{nil}
		}
		if p.reads != nil {
			p.reads[t.text] = true
		}
		return &nameExpr{t.text, t.line}
	case tokString:
		var b strings.Builder
		for p.cur().kind == tokString {
			b.WriteString(p.next().text)
		}
		return &constExpr{origin.Literal(b.String())}
	case tokInt, tokFloat:
		return p.numberLiteral()
	case tokOp:
		switch t.text {
		case "(":
			p.next()
			x := p.tuple(tupleOpts{cond: true, parens: true})
			p.expectOp(")")
			return x
		case "[":
			return p.list()
		case "{":
			return p.dict()
		}
	}
	panic(p.fail(t.line, "unexpected %s", reprString(t.describe())))
}

func (p *parser) numberLiteral() expr {
	t := p.next()
	if t.kind == tokFloat {
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			panic(p.fail(t.line, "the number %s is out of range", t.text))
		}
		return &constExpr{f}
	}
	i, err := strconv.ParseInt(t.text, 0, 64)
	if err == nil {
		return &constExpr{i}
	}
	b, ok := new(big.Int).SetString(t.text, 0)
	if !ok || b.BitLen() > maxBigBits {
		panic(p.fail(t.line, "the number %s is out of range", t.text))
	}
	return &constExpr{b}
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
func (p *parser) tuple(o tupleOpts) expr {
	var items []expr
	isTuple := false
	for {
		if items != nil {
			p.expectOp(",")
		}
		if p.tupleEnd(o.end) {
			break
		}
		items = append(items, p.expression(o.cond))
		if !p.isOp(",") {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if items != nil {
			return items[0]
		}
		if !o.parens {
			panic(p.fail(p.cur().line, "Expected an expression, got %s", reprString(p.cur().describe())))
		}
	}
	return &listExpr{items, true}
}

func (p *parser) list() expr {
	p.next()
	n := &listExpr{}
	p.listed(p.bracket("]"), true, func() { n.items = append(n.items, p.expression(true)) })
	p.expectOp("]")
	return n
}

func (p *parser) dict() expr {
	n := &dictExpr{line: p.next().line}
	p.listed(p.bracket("}"), true, func() {
		n.keys = append(n.keys, p.expression(true))
		p.expectOp(":")
		n.vals = append(n.vals, p.expression(true))
	})
	p.expectOp("}")
	return n
}

// maxBigBits bounds integers of templates and data: 4,300 decimal digits, as Python's own limit.
const maxBigBits = 14285
