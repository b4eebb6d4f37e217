package jinja

import (
	"math"
	"math/big"
	"strconv"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// Value is one value of a template. Its dynamic type is one of
//
//	nil                  None
//	bool, int64, float64
//	*big.Int             an integer of the data outside 64 bits
//	Text, Markup         a str; Markup is what the safe and escape filters return
//	*List, *Tuple, *Dict
//	*Undefined, *Namespace, and the package's own iterators and callables
//
// Values are immutable after construction, except Namespace; they may be shared between renders.
type Value = any

// Text is a Python str. It knows where its characters came from; a Go string is no Value.
type Text = origin.Text

// List is a Python list. A template cannot change it.
type List struct {
	Items []Value
	// from is the origin of what prints the list beside the text in it: brackets, numbers, null.
	from origin.ID
}

// Tuple is a Python tuple.
type Tuple struct{ Items []Value }

// Markup is text already escaped for HTML: adding a plain string to it escapes that string.
type Markup struct{ Text }

// Undefined stands for a name, attribute or item that does not exist.
type Undefined struct {
	hint string // when set, the whole message
	obj  Value  // what was looked into; unset for a plain name
	name Value  // the attribute, key or variable
	has  bool   // obj is meaningful
	kind Kind   // UndefinedError, or SecurityError for what the sandbox hides
}

func undefinedName(name string) *Undefined {
	return &Undefined{name: origin.Literal(name), kind: UndefinedError}
}

func undefinedHint(hint string) *Undefined { return &Undefined{hint: hint, kind: UndefinedError} }

func undefinedAttr(obj, name Value) *Undefined {
	return &Undefined{obj: obj, name: name, has: true, kind: UndefinedError}
}

// err is the failure of using u.
func (u *Undefined) err() error {
	switch {
	case u.hint != "":
		panic(newError(u.kind, "%s", u.hint))
	case !u.has:
		name, _ := text(u.name)
		panic(newError(u.kind, "%s is undefined", reprString(name)))
	}
	if s, ok := text(u.name); ok {
		panic(newError(u.kind, "%s has no attribute %s", reprString(objectTypeRepr(u.obj)), reprString(s)))
	}
	key := "?"
	if k, ok := briefly(u.name); ok {
		key = k
	}
	panic(newError(u.kind, "%s has no element %s", objectTypeRepr(u.obj), key))
}

// Namespace is the object of namespace(): the one value whose attributes a template may set.
type Namespace struct{ attrs *Dict }

// Range is what range() returns.
type Range struct{ start, stop, step, n int64 }

func (r *Range) at(i int64) int64 { return r.start + i*r.step }

// dictView is the result of dict.keys, dict.values or dict.items.
type dictView struct {
	kind byte // 'k', 'v' or 'i'
	d    *Dict
}

func (v *dictView) at(i int) Value {
	switch v.kind {
	case 'k':
		return v.d.keys[i]
	case 'v':
		return v.d.vals[i]
	}
	return &Tuple{[]Value{v.d.keys[i], v.d.vals[i]}}
}

// Callable is a builtin function or a bound method.
type Callable struct {
	name   string
	method bool
	call   func(st *state, a *args) Value
}

// typeName is Python's name of v's type.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case Text:
		return "str"
	case Markup:
		return "Markup"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Undefined:
		return "Undefined"
	case *Namespace:
		return "Namespace"
	case *Range:
		return "range"
	case *generator:
		return v.kind
	case *dictView:
		return map[byte]string{'k': "dict_keys", 'v': "dict_values", 'i': "dict_items"}[v.kind]
	case *Macro:
		return "Macro"
	case *loopContext:
		return "LoopContext"
	case *Callable:
		if v.method {
			return "builtin_function_or_method"
		}
		return "function"
	case *joiner:
		return "Joiner"
	case *cycler:
		return "Cycler"
	}
	return "object"
}

// objectTypeRepr names v as Jinja2's messages about undefined attributes do.
func objectTypeRepr(v Value) string {
	switch v.(type) {
	case nil:
		return "None"
	case *Undefined, *Macro, *loopContext:
		return "jinja2.runtime." + typeName(v) + " object"
	case *Namespace, *joiner, *cycler:
		return "jinja2.utils." + typeName(v) + " object"
	case Markup:
		return "markupsafe.Markup object"
	}
	return typeName(v) + " object"
}

// truth is Python's bool(v).
func truth(v Value) bool {
	switch v := v.(type) {
	case nil, *Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case Text:
		return v.Len() > 0
	case Markup:
		return v.Len() > 0
	case *List:
		return len(v.Items) > 0
	case *Tuple:
		return len(v.Items) > 0
	case *Dict:
		return v.Len() > 0
	case *Range:
		return v.n > 0
	case *dictView:
		return v.d.Len() > 0
	}
	return true // objects, and integers too large for 64 bits
}

// chars returns a str or Markup with its origins, for what becomes a value again.
func chars(v Value) (Text, bool) {
	switch v := v.(type) {
	case Text:
		return v, true
	case Markup:
		return v.Text, true
	}
	return Text{}, false
}

// text returns the characters of a str or Markup, to decide by.
func text(v Value) (string, bool) {
	t, ok := chars(v)
	return t.Peek(), ok
}

// integer returns v as an int64 when Python would take it as an index: an int or a bool.
func integer(v Value) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// number returns v as a float64 and whether it is a number at all.
func number(v Value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	}
	i, ok := integer(v)
	return float64(i), ok
}

// sequence returns the items of a list or tuple.
func sequence(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case *List:
		return v.Items, true
	case *Tuple:
		return v.Items, true
	}
	return nil, false
}

// floatRepr is Python's repr of a float: the shortest digits that read back, with an exponent
// below 1e-4 and from 1e16 on.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case f == 0:
		if math.Signbit(f) {
			return "-0.0"
		}
		return "0.0"
	}
	if a := math.Abs(f); a < 1e-4 || a >= 1e16 {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if math.Trunc(f) == f {
		s += ".0"
	}
	return s
}
