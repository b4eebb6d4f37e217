package jinja

import "errors"

// blame notes in err that the operand x, whose value is v, is what it is about, unless an operand
// further inside took the blame. What the template raised itself needs no explanation.
func blame(err error, x expr, v Value) error {
	var e *Error
	if err == nil || !errors.As(err, &e) || e.subject != "" {
		return err
	}
	switch e.Kind {
	case TypeError, UndefinedError, ValueError:
		e.subject, e.is = spelled(x), described(v)
	}
	return err
}

// blameOne blames the operand of two that is nothing, else the one that is no text.
func blameOne(err error, l expr, lv Value, r expr, rv Value) error {
	if err == nil {
		return nil
	}
	for _, odd := range []func(Value) bool{nothing, func(v Value) bool { return !isType[Text](v) }} {
		switch lo, ro := odd(lv), odd(rv); {
		case lo && !ro:
			return blame(err, l, lv)
		case ro:
			return blame(err, r, rv)
		}
	}
	return err
}

func nothing(v Value) bool { return v == nil || isType[*Undefined](v) }

// blameCall blames what was to be called, or what has no such method.
func blameCall(err error, fn expr, v Value) error {
	u, ok := v.(*Undefined)
	if !ok {
		return err
	}
	if attr, ok := fn.(*attrExpr); ok && u.has {
		return blame(err, attr.obj, u.obj)
	}
	return blame(err, fn, v)
}

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
			if t, err := reprValue(nil, c.val); err == nil {
				tail = "[" + t.Peek() + "]"
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
