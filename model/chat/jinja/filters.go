package jinja

import (
	"math"
	"math/big"
	"strings"
	"unicode"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// filterFunc is one filter: in|name(a).
type filterFunc func(st *state, in Value, a *args) Value

// filters are the filters of Jinja2, with transformers' tojson.
var filters = map[string]filterFunc{
	"abs":         filterAbs,
	"attr":        takes(filterAttr, "attr", 1, "name"),
	"batch":       takes(filterBatch, "batch", 1, "linecount", "fill_with"),
	"capitalize":  textFilter(capitalize),
	"center":      takes(filterCenter, "center", 0, "width"),
	"count":       filterLength,
	"d":           filterDefault,
	"default":     filterDefault,
	"dictsort":    takes(filterDictSort, "dictsort", 0, "case_sensitive", "by", "reverse"),
	"e":           filterEscape,
	"escape":      filterEscape,
	"first":       filterFirst,
	"float":       takes(filterFloat, "float", 0, "default"),
	"forceescape": filterForceEscape,
	"format":      filterFormat,
	"groupby":     takes(filterGroupBy, "groupby", 1, "attribute", "default", "case_sensitive"),
	"indent":      takes(filterIndent, "indent", 0, "width", "first", "blank"),
	"int":         takes(filterInt, "int", 0, "default", "base"),
	"items":       takes(filterItems, "items", 0),
	"join":        takes(filterJoin, "join", 0, "d", "attribute"),
	"last":        filterLast,
	"length":      filterLength,
	"list":        takes(filterList, "list", 0),
	"lower":       textFilter(lower),
	"map":         filterMap,
	"max":         extreme(">"),
	"min":         extreme("<"),
	"reject":      choose(false, false),
	"rejectattr":  choose(false, true),
	"replace":     takes(filterReplace, "replace", 2, "old", "new", "count"),
	"reverse":     filterReverse,
	"round":       takes(filterRound, "round", 0, "precision", "method"),
	"safe":        filterSafe,
	"select":      choose(true, false),
	"selectattr":  choose(true, true),
	"slice":       takes(filterSlice, "slice", 1, "slices", "fill_with"),
	"sort":        takes(filterSort, "sort", 0, "reverse", "case_sensitive", "attribute"),
	"string":      filterString,
	"sum":         takes(filterSum, "sum", 0, "attribute", "start"),
	"title":       textFilter(titleFilter),
	"tojson":      takes(filterToJSON, "tojson", 0, "ensure_ascii", "indent", "separators", "sort_keys"),
	"trim":        takes(filterTrim, "trim", 0, "chars"),
	"truncate":    takes(filterTruncate, "truncate", 0, "length", "killwords", "end", "leeway"),
	"unique":      takes(filterUnique, "unique", 0, "case_sensitive", "attribute"),
	"upper":       textFilter(upper),
	"wordcount":   filterWordCount,
}

// refusedFilters exist in Jinja2 but not here.
var refusedFilters = []string{"filesizeformat", "pprint", "random", "striptags", "urlencode",
	"urlize", "wordwrap", "xmlattr"}

// sameKind gives the result of a filter the kind of its input: Markup stays Markup.
func sameKind(in Value, t Text) Value {
	if _, ok := in.(Markup); ok {
		return Markup{t}
	}
	return t
}

// textFilter is a filter of the input's text without arguments; f is as [origin.Text.Map] wants it.
func textFilter(f func(string) string) filterFunc {
	return takes(func(st *state, in Value, _ []Value) Value {
		s := str(st.m, in)
		st.m.grow(2 * s.Cost())
		return sameKind(in, s.Map(f))
	}, "filter", 0)
}

// titleFilter upper-cases the first letter of each word; words begin after white space and -({[<.
func titleFilter(s string) string {
	var b strings.Builder
	start := true
	for _, r := range s {
		switch {
		case isSpace(r) || strings.ContainsRune("-({[<", r):
			b.WriteRune(r)
			start = true
		case start:
			b.WriteString(upper(string(r)))
			start = false
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

func filterString(st *state, in Value, _ *args) Value {
	return sameKind(in, str(st.m, in))
}

func filterSafe(st *state, in Value, _ *args) Value {
	return Markup{str(st.m, in)}
}

func filterEscape(st *state, in Value, a *args) Value {
	if _, ok := in.(Markup); ok {
		return in
	}
	return filterForceEscape(st, in, a)
}

func filterForceEscape(st *state, in Value, _ *args) Value {
	s := str(st.m, in)
	st.m.grow(6 * s.Cost())
	return Markup{s.Map(escapeHTML)}
}

func filterAbs(_ *state, in Value, _ *args) Value {
	switch v := in.(type) {
	case *Undefined:
		panic(typeErrorf("bad operand type for abs(): 'Undefined'"))
	case float64:
		return math.Abs(v)
	case *big.Int:
		return new(big.Int).Abs(v)
	}
	i, ok := integer(in)
	switch {
	case !ok:
		panic(typeErrorf("bad operand type for abs(): '%s'", typeName(in)))
	case i == math.MinInt64:
		panic(errWide())
	case i < 0:
		return -i
	}
	return i
}

func filterAttr(st *state, in Value, b []Value) Value {
	name, ok := text(b[0])
	if !ok {
		panic(typeErrorf("attribute name must be string, not '%s'", typeName(b[0])))
	}
	if v, ok := st.method(in, name); ok {
		return v
	}
	return undefinedAttr(in, b[0])
}

var filterDefault = takes(func(_ *state, in Value, b []Value) Value {
	_, undef := in.(*Undefined)
	if undef || (truth(orDefault(b[1], false)) && !truth(in)) {
		return orDefault(b[0], Text{})
	}
	return in
}, "default", 0, "default_value", "boolean")

var filterLength = takes(func(st *state, in Value, _ []Value) Value {
	if lc, ok := in.(*loopContext); ok {
		return lc.length(st)
	}
	return int64(length(st.m, in))
}, "length", 0)

func filterCenter(st *state, in Value, b []Value) Value {
	return pad("center")(st, str(st.m, in), &args{pos: []Value{orDefault(b[0], int64(80))}})
}

func filterTrim(st *state, in Value, b []Value) Value {
	v := strip(true, true)(st, str(st.m, in), &args{pos: []Value{orDefault(b[0], nil)}})
	return sameKind(in, v.(Text))
}

func filterReplace(st *state, in Value, b []Value) Value {
	var s [3]Text
	for i, v := range []Value{in, b[0], b[1]} {
		s[i] = str(st.m, v)
	}
	n := int64(-1)
	if c := orDefault(b[2], nil); c != nil {
		n = intArg(c, -1)
	}
	return st.replace(s[0], s[1], s[2], n)
}

func filterTruncate(st *state, in Value, b []Value) Value {
	n := intArg(b[0], 255)
	leeway := intArg(orDefault(b[3], int64(5)), 5)
	end, ok := chars(orDefault(b[2], origin.Own("...")))
	room := n - int64(runes(end.Peek()))
	if !ok || room < 0 || leeway < 0 || n > math.MaxInt32 || leeway > math.MaxInt32 {
		panic(valueErrorf("expected length >= %d, got %d", runes(end.Peek()), n))
	}
	if int64(length(st.m, in)) <= n+leeway {
		return in
	}
	s, ok := chars(in)
	if !ok {
		panic(typeErrorf("truncate takes strings, not %s", typeName(in)))
	}
	cut := st.sliceText(s, [3]Value{nil, room, nil})
	if !truth(orDefault(b[1], false)) {
		if i := strings.LastIndexByte(cut.Peek(), ' '); i >= 0 {
			cut = cut.Slice(0, i)
		}
	}
	return st.m.text(origin.Join([]Text{cut, end}, Text{}))
}

func filterIndent(st *state, in Value, b []Value) Value {
	s, ok := chars(in)
	if !ok {
		if u, isUndef := in.(*Undefined); isUndef {
			panic(u.err())
		}
		panic(typeErrorf("unsupported operand type(s) for +=: '%s' and 'str'", typeName(in)))
	}
	pad, ok := chars(b[0])
	if !ok {
		n := intArg(b[0], 4)
		if n > 1<<16 {
			panic(valueErrorf("indent of %d is too wide", n))
		}
		pad = origin.Own(" ").Repeat(int(max(n, 0)))
	}
	lines := splitLines(origin.Join([]Text{s, origin.Own("\n")}, Text{}), true)
	blank, first := truth(orDefault(b[2], false)), truth(orDefault(b[1], false))
	st.m.items(len(lines))
	st.m.grow(s.Cost() + len(lines)*(pad.Cost()+1))
	var out origin.Builder
	for i, line := range lines {
		n := strings.IndexFunc(line.Peek(), isLineEnd)
		if i == 0 && first || i > 0 && (blank || n > 0) {
			out.Write(pad)
		}
		out.WriteSlice(line, 0, n)
		if i < len(lines)-1 {
			// A line of whatever end gets a new one, which counts as what it stands for.
			out.Write(line.Slice(n, line.Len()).Map(func(string) string { return "\n" }))
		}
	}
	return sameKind(in, out.Text())
}

func filterWordCount(st *state, in Value, _ *args) Value {
	s := str(st.m, in)
	n, inside := int64(0), false
	for _, r := range s.Peek() {
		if isWord(r) && !inside {
			n++
		}
		inside = isWord(r)
	}
	st.m.scan(s.Len())
	return n
}

func filterFormat(st *state, in Value, a *args) Value {
	s := str(st.m, in)
	if len(a.names) > 0 {
		if len(a.pos) > 0 {
			panic(typeErrorf("can't handle positional and keyword arguments at the same time"))
		}
		d := NewDict(len(a.names))
		for i, name := range a.names {
			d.set(name, a.named[i])
		}
		return st.percent(s, d)
	}
	return st.percent(s, &Tuple{a.pos})
}
