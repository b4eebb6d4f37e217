package jinja

import "slices"

// node is what is being evaluated: a line, and the operands that a failure may be about.
type node struct {
	line     int
	operands int // how many of those below there are
	l, r     expr
	lv, rv   Value
}

// begin notes what is evaluated from now on, until end. A failure leaves its notes behind: they tell where
// it was, at no cost where nothing fails.
func (st *state) begin(line int) *node {
	if st.begun == len(st.nodes) {
		st.nodes = append(st.nodes, node{})
	}
	st.begun++
	n := st.node()
	n.line, n.operands = line, 0
	return n
}

// node is the one begun last.
func (st *state) node() *node { return &st.nodes[st.begun-1] }

// end ends the node begun last, whose value is v.
func (st *state) end(v Value) Value {
	st.begun--
	return v
}

// on says which operand what is done now is about, and of which value; either says it of two.
func (n *node) on(x expr, v Value) { n.operands, n.l, n.lv = 1, x, v }

func (n *node) either(l expr, lv Value, r expr, rv Value) {
	n.operands, n.l, n.lv, n.r, n.rv = 2, l, lv, r, rv
}

// call says what is called: it, or what has no such method, is to blame when it does not exist.
func (n *node) call(fn expr, v Value) {
	if u, ok := v.(*Undefined); ok {
		if attr, ok := fn.(*attrExpr); ok && u.has {
			fn, v = attr.obj, u.obj
		}
		n.on(fn, v)
	}
}

// explain gives a failure the line, and the operand that it is about, of the innermost nodes that have them.
// What the template raised itself needs no explanation.
func (st *state) explain(e *Error) *Error {
	for _, n := range slices.Backward(st.nodes[:st.begun]) {
		e.at(n.line)
		switch e.Kind {
		case TypeError, UndefinedError, ValueError:
			if x, v := n.odd(); x != nil && e.subject == "" {
				e.subject, e.is = spelled(x), described(v)
			}
		}
	}
	return e
}

// odd is the operand of two that is nothing, else the one that is no text.
func (n *node) odd() (expr, Value) {
	switch n.operands {
	case 0:
		return nil, nil
	case 1:
		return n.l, n.lv
	}
	for _, odd := range []func(Value) bool{nothing, func(v Value) bool { return !isType[Text](v) }} {
		switch l, r := odd(n.lv), odd(n.rv); {
		case l && !r:
			return n.l, n.lv
		case r:
			return n.r, n.rv
		}
	}
	return nil, nil
}

func nothing(v Value) bool { return v == nil || isType[*Undefined](v) }

// spelled is an expression about as the template writes it, or "" when that is too long to tell.
func spelled(x expr) string {
	inner, tail := expr(nil), ""
	switch x := x.(type) {
	case *nameExpr:
		return x.name
	case *attrExpr:
		inner, tail = x.obj, "."+x.name
	case *itemExpr:
		inner, tail = x.obj, "[…]"
		if c, ok := x.key.(*constExpr); ok {
			if t, ok := briefly(c.val); ok {
				tail = "[" + t + "]"
			}
		}
	case *sliceExpr:
		inner, tail = x.obj, "[…:…]"
	case *filterExpr:
		inner, tail = x.in, "|"+x.name
	case *callExpr:
		inner, tail = x.fn, "(…)"
	}
	if inner == nil {
		return ""
	}
	s := spelled(inner)
	if s == "" || len(s)+len(tail) > 100 {
		return ""
	}
	return s + tail
}

// described is a value in the words of whoever wrote the JSON that it came from.
func described(v Value) string {
	switch v.(type) {
	case nil:
		return "null"
	case *Undefined:
		return "missing"
	case Text, Markup:
		return "a string"
	case bool:
		return "true or false"
	case *List, *Tuple:
		return "a list"
	case *Dict:
		return "an object"
	}
	if _, ok := number(v); ok {
		return "a number"
	}
	return "a " + typeName(v)
}

// Reason says what is wrong in the words of whoever sent the messages: what the template needs and
// what stands there instead.
func (e *Error) Reason() string {
	switch {
	case e.Kind == RaisedError || e.subject == "":
		return e.Message
	case (e.subject == "tools" || e.subject == "documents") && (e.is == "null" || e.is == "missing"):
		return "it needs " + e.subject + ", which the request does not give"
	case e.is == "null" || e.is == "missing":
		return "it needs " + e.subject + ", which is " + e.is
	}
	return "it cannot use " + e.subject + ", which is " + e.is + " (" + e.Message + ")"
}
