package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// methodFunc is a method bound to its receiver.
type methodFunc func(st *state, self Value, a *args) Value

// methods are the methods of Python's types that a template may call.
var methods = map[string]map[string]methodFunc{
	"str":    strMethods,
	"Markup": markupMethods(),
	"dict": {
		"get":    takes(dictGet, "get", 1, "key", "default"),
		"keys":   view('k'),
		"values": view('v'),
		"items":  view('i'),
		"copy": func(st *state, self Value, _ *args) Value {
			d := self.(*Dict)
			st.m.items(2 * d.Len())
			return d.clone()
		},
	},
	"list":  {"count": seqCount, "index": seqIndex, "copy": listCopy},
	"tuple": {"count": seqCount, "index": seqIndex},
	"range": {"count": seqCount, "index": seqIndex},
	"float": {"is_integer": func(_ *state, self Value, _ *args) Value {
		f := self.(float64)
		return f == float64(int64(f))
	}},
}

var strMethods = map[string]methodFunc{
	"upper":        unary1(upper),
	"lower":        unary1(lower),
	"casefold":     unary1(func(s string) string { return cases.Fold().String(s) }),
	"capitalize":   unary1(capitalize),
	"title":        unary1(title),
	"swapcase":     unary1(swapcase),
	"strip":        strip(true, true),
	"lstrip":       strip(true, false),
	"rstrip":       strip(false, true),
	"startswith":   affix(strings.HasPrefix, "startswith"),
	"endswith":     affix(strings.HasSuffix, "endswith"),
	"removeprefix": withText("removeprefix", removePrefix),
	"removesuffix": withText("removesuffix", removeSuffix),
	"split":        split("split", false),
	"rsplit":       split("rsplit", true),
	"splitlines":   ofStr(strSplitLines, "splitlines", 0, "keepends"),
	"partition":    partition(false),
	"rpartition":   partition(true),
	"replace":      takes(strReplace, "replace", 2, "old", "new", "count"),
	"join":         takes(strJoin, "join", 1, "iterable"),
	"find":         find("find", false),
	"rfind":        find("rfind", true),
	"index":        find("index", false),
	"rindex":       find("rindex", true),
	"count":        takes(strCount, "count", 1, "sub", "start", "end"),
	"center":       pad("center"),
	"ljust":        pad("ljust"),
	"rjust":        pad("rjust"),
	"zfill":        ofStr(strZfill, "zfill", 1, "width"),
	"expandtabs":   ofStr(strExpandTabs, "expandtabs", 0, "tabsize"),
	"format":       strFormat,
	"isspace":      allRunes(isSpace),
	"isalpha":      allRunes(unicode.IsLetter),
	"isalnum":      allRunes(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
	"isdecimal":    allRunes(unicode.IsDigit),
	"isdigit":      allRunes(unicode.IsDigit),
	"isnumeric":    allRunes(unicode.IsNumber),
	"isascii":      predicate(isASCII),
	"isprintable":  predicate(func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 }),
	"islower":      predicate(func(s string) bool { return cased(s) && strings.ToLower(s) == s }),
	"isupper":      predicate(func(s string) bool { return cased(s) && strings.ToUpper(s) == s }),
	"istitle":      predicate(func(s string) bool { return cased(s) && title(s) == s }),
	"isidentifier": predicate(func(s string) bool {
		r, _ := utf8.DecodeRuneInString(s)
		return s != "" && scanName(s) == len(s) && !unicode.IsNumber(r)
	}),
}

// markupMethods are those whose result cannot depend on escaping an argument.
func markupMethods() map[string]methodFunc {
	out := map[string]methodFunc{}
	for _, name := range []string{"upper", "lower", "capitalize", "title", "swapcase", "strip",
		"lstrip", "rstrip"} {
		f := strMethods[name]
		out[name] = func(st *state, self Value, a *args) Value {
			return Markup{f(st, self.(Markup).Text, a).(Text)}
		}
	}
	for name, f := range strMethods {
		if strings.HasPrefix(name, "is") || name == "startswith" || name == "endswith" ||
			name == "find" || name == "count" {
			out[name] = func(st *state, self Value, a *args) Value {
				return f(st, self.(Markup).Text, a)
			}
		}
	}
	return out
}

// recv is the receiver of a method of str; reading it is charged.
func recv(st *state, self Value) Text {
	t, _ := chars(self)
	st.m.scan(t.Len())
	return t
}

// ofStr is a method of str, which reads its receiver before all else.
func ofStr(f func(st *state, s Text, b []Value) Value, name string, need int,
	params ...string) methodFunc {
	return takes(func(st *state, self Value, b []Value) Value {
		return f(st, recv(st, self), b)
	}, name, need, params...)
}

func upper(s string) string { return cases.Upper(language.Und).String(s) }

func lower(s string) string { return cases.Lower(language.Und).String(s) }

// cased tells whether s has a letter that has case.
func cased(s string) bool {
	return strings.IndexFunc(s,
		func(r rune) bool { return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) }) >= 0
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return upperFirst(r) + lower(s[n:])
}

// upperFirst is a character in title case, which may be more than one: ß is Ss.
func upperFirst(r rune) string {
	if r < utf8.RuneSelf {
		return string(unicode.ToTitle(r))
	}
	return cases.Title(language.Und).String(string(r))
}

// title upper-cases each letter that follows none.
func title(s string) string {
	var b strings.Builder
	prev := false
	for _, r := range s {
		if prev {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteString(upperFirst(r))
		}
		prev = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
	}
	return b.String()
}

func swapcase(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsUpper(r):
			b.WriteRune(unicode.ToLower(r))
		case r < utf8.RuneSelf:
			b.WriteRune(unicode.ToUpper(r))
		default:
			b.WriteString(upper(string(r)))
		}
	}
	return b.String()
}

// unary1 is a method without arguments that returns a new string; f is as [origin.Text.Map] wants it.
func unary1(f func(string) string) methodFunc {
	return ofStr(func(st *state, s Text, _ []Value) Value {
		st.m.grow(s.Cost())
		return st.m.text(s.Map(f))
	}, "str", 0)
}

func predicate(f func(string) bool) methodFunc {
	return ofStr(func(_ *state, s Text, _ []Value) Value { return f(s.Peek()) }, "str", 0)
}

func allRunes(f func(rune) bool) methodFunc {
	return predicate(func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !f(r) }) < 0
	})
}

// strip removes a set of characters, white space by default, from the left, the right or both.
func strip(left, right bool) methodFunc {
	return ofStr(func(st *state, s Text, b []Value) Value {
		set := orDefault(b[0], nil)
		if set == nil {
			return s.TrimFunc(left, right, isSpace)
		}
		drop, ok := text(set)
		if !ok {
			panic(typeErrorf("strip arg must be None or str"))
		}
		st.m.step(s.Len() * (1 + len(drop)>>6) >> 3)
		return s.TrimFunc(left, right, func(r rune) bool { return strings.ContainsRune(drop, r) })
	}, "strip", 0, "chars")
}

// affix is startswith or endswith: one string or a tuple of them, with optional bounds.
func affix(has func(s, part string) bool, name string) methodFunc {
	return takes(func(st *state, self Value, b []Value) Value {
		s := st.bounded(self, b[1], b[2])
		parts := []Value{b[0]}
		if t, ok := b[0].(*Tuple); ok {
			parts = t.Items
		}
		for _, p := range parts {
			part, ok := text(p)
			if !ok {
				panic(typeErrorf("%s first arg must be str or a tuple of str, not %s", name,
					typeName(p)))
			}
			st.m.scan(len(part))
			if has(s.Peek(), part) {
				return true
			}
		}
		return false
	}, name, 1, "prefix", "start", "end")
}

// bounded is self[start:end].
func (st *state) bounded(self, start, end Value) Text {
	s := recv(st, self)
	lo, hi := orDefault(start, nil), orDefault(end, nil)
	if lo == nil && hi == nil {
		return s
	}
	return st.sliceText(s, [3]Value{lo, hi, nil})
}

// removePrefix and removeSuffix are methods of str.
func removePrefix(t, part Text) Value {
	if !strings.HasPrefix(t.Peek(), part.Peek()) {
		return t
	}
	return t.Trim(part.Len(), t.Len())
}

func removeSuffix(t, part Text) Value {
	if !strings.HasSuffix(t.Peek(), part.Peek()) {
		return t
	}
	return t.Trim(0, t.Len()-part.Len())
}

// withText is a method of one string argument.
func withText(name string, f func(s, arg Text) Value) methodFunc {
	return ofStr(func(_ *state, s Text, b []Value) Value {
		arg, ok := chars(b[0])
		if !ok {
			panic(typeErrorf("%s() argument must be str, not %s", name, typeName(b[0])))
		}
		return f(s, arg)
	}, name, 1, "arg")
}

func view(kind byte) methodFunc {
	return takes(func(_ *state, self Value, _ []Value) Value {
		return &dictView{kind, self.(*Dict)}
	}, "dict", 0)
}

func dictGet(_ *state, self Value, b []Value) Value {
	if v, ok := self.(*Dict).lookup(b[0]); ok {
		return v
	}
	return orDefault(b[1], nil)
}

var seqCount = takes(func(st *state, self Value, b []Value) Value {
	items := st.collect(self)
	n := int64(0)
	for _, v := range items {
		if equal(st.m, v, b[0]) {
			n++
		}
	}
	return n
}, "count", 1, "value")

var seqIndex = takes(func(st *state, self Value, b []Value) Value {
	items := st.collect(self)
	for i, v := range items {
		if equal(st.m, v, b[0]) {
			return int64(i)
		}
	}
	panic(valueErrorf("value is not in %s", typeName(self)))
}, "index", 1, "value")

func listCopy(st *state, self Value, _ *args) Value {
	items := self.(*List).Items
	st.m.items(len(items))
	return &List{Items: items}
}
