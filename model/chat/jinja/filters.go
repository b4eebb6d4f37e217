package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// filterFunc is one filter: in|name(a).
type filterFunc func(st *state, in Value, a *args) (Value, error)

// filters are the filters of Jinja2, with transformers' tojson.
var filters = map[string]filterFunc{
	"abs":         filterAbs,
	"attr":        filterAttr,
	"batch":       filterBatch,
	"capitalize":  textFilter(capitalize),
	"center":      filterCenter,
	"count":       filterLength,
	"d":           filterDefault,
	"default":     filterDefault,
	"dictsort":    filterDictSort,
	"e":           filterEscape,
	"escape":      filterEscape,
	"first":       filterFirst,
	"float":       filterFloat,
	"forceescape": filterForceEscape,
	"format":      filterFormat,
	"groupby":     filterGroupBy,
	"indent":      filterIndent,
	"int":         filterInt,
	"items":       filterItems,
	"join":        filterJoin,
	"last":        filterLast,
	"length":      filterLength,
	"list":        filterList,
	"lower":       textFilter(lower),
	"map":         filterMap,
	"max":         extreme(">"),
	"min":         extreme("<"),
	"reject":      choose(false, false),
	"rejectattr":  choose(false, true),
	"replace":     filterReplace,
	"reverse":     filterReverse,
	"round":       filterRound,
	"safe":        filterSafe,
	"select":      choose(true, false),
	"selectattr":  choose(true, true),
	"slice":       filterSlice,
	"sort":        filterSort,
	"string":      filterString,
	"sum":         filterSum,
	"title":       textFilter(titleFilter),
	"tojson":      filterToJSON,
	"trim":        filterTrim,
	"truncate":    filterTruncate,
	"unique":      filterUnique,
	"upper":       textFilter(upper),
	"wordcount":   filterWordCount,
}

// refusedFilters exist in Jinja2 but not here.
var refusedFilters = []string{"filesizeformat", "pprint", "random", "striptags", "urlencode", "urlize", "wordwrap", "xmlattr"}

// sameKind gives the result of a filter the kind of its input: Markup stays Markup.
func sameKind(in Value, s string) Value {
	if _, ok := in.(Markup); ok {
		return Markup(s)
	}
	return s
}

// textFilter is a filter of the input's text without arguments.
func textFilter(f func(string) string) filterFunc {
	return func(st *state, in Value, a *args) (Value, error) {
		if _, err := a.bind("filter", 0); err != nil {
			return nil, err
		}
		s, err := str(st.m, in)
		if err != nil {
			return nil, err
		}
		if err := st.m.grow(2 * len(s)); err != nil {
			return nil, err
		}
		return sameKind(in, f(s)), nil
	}
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

func filterString(st *state, in Value, _ *args) (Value, error) {
	s, err := str(st.m, in)
	return sameKind(in, s), err
}

func filterSafe(st *state, in Value, _ *args) (Value, error) {
	s, err := str(st.m, in)
	return Markup(s), err
}

func filterEscape(st *state, in Value, a *args) (Value, error) {
	if _, ok := in.(Markup); ok {
		return in, nil
	}
	return filterForceEscape(st, in, a)
}

func filterForceEscape(st *state, in Value, _ *args) (Value, error) {
	s, err := str(st.m, in)
	if err != nil {
		return nil, err
	}
	if err := st.m.grow(6 * len(s)); err != nil {
		return nil, err
	}
	return Markup(escapeHTML(s)), nil
}

func filterAbs(_ *state, in Value, _ *args) (Value, error) {
	switch v := in.(type) {
	case *Undefined:
		return nil, typeErrorf("bad operand type for abs(): 'Undefined'")
	case float64:
		return math.Abs(v), nil
	case *big.Int:
		return new(big.Int).Abs(v), nil
	}
	i, ok := integer(in)
	switch {
	case !ok:
		return nil, typeErrorf("bad operand type for abs(): '%s'", typeName(in))
	case i == math.MinInt64:
		return nil, errWide()
	case i < 0:
		return -i, nil
	}
	return i, nil
}

func filterAttr(st *state, in Value, a *args) (Value, error) {
	b, err := a.bind("attr", 1, "name")
	if err != nil {
		return nil, err
	}
	name, ok := text(b[0])
	if !ok {
		return nil, typeErrorf("attribute name must be string, not '%s'", typeName(b[0]))
	}
	if v, ok, err := st.method(in, name); ok || err != nil {
		return v, err
	}
	return undefinedAttr(in, name), nil
}

func filterDefault(_ *state, in Value, a *args) (Value, error) {
	b, err := a.bind("default", 0, "default_value", "boolean")
	if err != nil {
		return nil, err
	}
	_, undef := in.(*Undefined)
	if undef || (truth(orDefault(b[1], false)) && !truth(in)) {
		return orDefault(b[0], ""), nil
	}
	return in, nil
}

func filterLength(st *state, in Value, a *args) (Value, error) {
	if _, err := a.bind("length", 0); err != nil {
		return nil, err
	}
	if lc, ok := in.(*loopContext); ok {
		return lc.length(st)
	}
	n, err := length(st.m, in)
	return int64(n), err
}

func filterCenter(st *state, in Value, a *args) (Value, error) {
	b, err := a.bind("center", 0, "width")
	if err != nil {
		return nil, err
	}
	s, err := str(st.m, in)
	if err != nil {
		return nil, err
	}
	return pad("center")(st, s, &args{pos: []Value{orDefault(b[0], int64(80))}})
}

func filterTrim(st *state, in Value, a *args) (Value, error) {
	b, err := a.bind("trim", 0, "chars")
	if err != nil {
		return nil, err
	}
	s, err := str(st.m, in)
	if err != nil {
		return nil, err
	}
	v, err := strip(strings.TrimFunc)(st, s, &args{pos: []Value{orDefault(b[0], nil)}})
	if err != nil {
		return nil, err
	}
	return sameKind(in, v.(string)), nil
}

func filterReplace(st *state, in Value, a *args) (Value, error) {
	b, err := a.bind("replace", 2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	var s [3]string
	for i, v := range []Value{in, b[0], b[1]} {
		if s[i], err = str(st.m, v); err != nil {
			return nil, err
		}
	}
	n := int64(-1)
	if c := orDefault(b[2], nil); c != nil {
		if n, err = intArg(c, -1); err != nil {
			return nil, err
		}
	}
	return st.replace(s[0], s[1], s[2], n)
}

func filterTruncate(st *state, in Value, a *args) (Value, error) {
	b, err := a.bind("truncate", 0, "length", "killwords", "end", "leeway")
	if err != nil {
		return nil, err
	}
	n, err := intArg(b[0], 255)
	if err != nil {
		return nil, err
	}
	leeway, err := intArg(orDefault(b[3], int64(5)), 5)
	if err != nil {
		return nil, err
	}
	end, ok1 := text(orDefault(b[2], "..."))
	s, ok2 := text(in)
	if !ok1 || !ok2 {
		return nil, typeErrorf("truncate takes strings, not %s", typeName(in))
	}
	if n < int64(runes(end)) || leeway < 0 || n > math.MaxInt32 {
		return nil, valueErrorf("expected length >= %d, got %d", runes(end), n)
	}
	if int64(runes(s)) <= n+leeway {
		return in, nil
	}
	cut, err := st.sliceText(s, [3]Value{nil, n - int64(runes(end)), nil})
	if err != nil {
		return nil, err
	}
	if !truth(orDefault(b[1], false)) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return st.m.str(cut + end)
}

func filterIndent(st *state, in Value, a *args) (Value, error) {
	b, err := a.bind("indent", 0, "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	s, ok := text(in)
	if !ok {
		if u, isUndef := in.(*Undefined); isUndef {
			return nil, u.err()
		}
		return nil, typeErrorf("unsupported operand type(s) for +=: '%s' and 'str'", typeName(in))
	}
	pad, ok := text(b[0])
	if !ok {
		n, err := intArg(b[0], 4)
		if err != nil {
			return nil, err
		}
		if n > 1<<16 {
			return nil, valueErrorf("indent of %d is too wide", n)
		}
		pad = strings.Repeat(" ", int(max(n, 0)))
	}
	lines := splitLines(s+"\n", false)
	blank := truth(orDefault(b[2], false))
	if err := st.m.items(len(lines)); err != nil {
		return nil, err
	}
	for i, line := range lines {
		if i > 0 && (blank || line != "") {
			if err := st.m.grow(len(pad)); err != nil {
				return nil, err
			}
			lines[i] = pad + line
		}
	}
	if truth(orDefault(b[1], false)) {
		lines[0] = pad + lines[0]
	}
	v, err := st.join(lines, "\n")
	if err != nil {
		return nil, err
	}
	return sameKind(in, v.(string)), nil
}

func filterWordCount(st *state, in Value, _ *args) (Value, error) {
	s, err := str(st.m, in)
	if err != nil {
		return nil, err
	}
	n, inside := int64(0), false
	for _, r := range s {
		if isWord(r) && !inside {
			n++
		}
		inside = isWord(r)
	}
	return n, st.m.scan(len(s))
}

func filterFormat(st *state, in Value, a *args) (Value, error) {
	s, err := str(st.m, in)
	if err != nil {
		return nil, err
	}
	if len(a.names) > 0 {
		if len(a.pos) > 0 {
			return nil, typeErrorf("can't handle positional and keyword arguments at the same time")
		}
		d := NewDict(len(a.names))
		for i, name := range a.names {
			d.Set(name, a.named[i])
		}
		return st.percent(s, d)
	}
	return st.percent(s, &Tuple{a.pos})
}

// parseInt reads text as Python's int(text, base) does; ok is false when it is no integer.
func parseInt(s string, base int) (Value, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") || len(s) > 4300 {
		return nil, false
	}
	digits := strings.ReplaceAll(s, "_", "")
	prefix := map[int]string{2: "b", 8: "o", 16: "x"}[base]
	if prefix != "" {
		body := strings.TrimLeft(digits, "+-")
		if len(body) > 1 && body[0] == '0' && strings.EqualFold(body[1:2], prefix) {
			digits = strings.Replace(digits, body[:2], "", 1)
		}
	}
	if i, err := strconv.ParseInt(digits, base, 64); err == nil {
		return i, true
	}
	if b, ok := new(big.Int).SetString(digits, base); ok {
		return b, true
	}
	return nil, false
}

// parseFloat reads text as Python's float(text) does.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") || strings.Contains(s, "__") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return f, err == nil || math.IsInf(f, 0)
}

// truncated is a float as an integer, its fraction dropped; ok is false for NaN and infinities.
func truncated(f float64) (Value, bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, false
	}
	if math.Abs(f) < 1<<62 {
		return int64(f), true
	}
	b, _ := new(big.Float).SetFloat64(f).Int(nil)
	return b, true
}

func filterInt(_ *state, in Value, a *args) (Value, error) {
	b, err := a.bind("int", 0, "default", "base")
	if err != nil {
		return nil, err
	}
	def := orDefault(b[0], int64(0))
	base, err := intArg(b[1], 10)
	if err != nil {
		return nil, err
	}
	if base != 10 && base != 2 && base != 8 && base != 16 {
		return nil, valueErrorf("int() base must be 2, 8, 10 or 16")
	}
	if s, ok := text(in); ok {
		if v, ok := parseInt(s, int(base)); ok {
			return v, nil
		}
		if f, ok := parseFloat(s); ok {
			if v, ok := truncated(f); ok {
				return v, nil
			}
		}
		return def, nil
	}
	switch v := in.(type) {
	case *Undefined:
		return nil, v.err()
	case float64:
		if i, ok := truncated(v); ok {
			return i, nil
		}
		if math.IsInf(v, 0) {
			return nil, valueErrorf("cannot convert float infinity to integer")
		}
		return def, nil
	case *big.Int:
		return v, nil
	}
	if i, ok := integer(in); ok {
		return i, nil
	}
	return def, nil
}

func filterFloat(_ *state, in Value, a *args) (Value, error) {
	b, err := a.bind("float", 0, "default")
	if err != nil {
		return nil, err
	}
	if u, ok := in.(*Undefined); ok {
		return nil, u.err()
	}
	if f, ok := number(in); ok {
		return f, nil
	}
	if s, ok := text(in); ok {
		if f, ok := parseFloat(s); ok {
			return f, nil
		}
	}
	return orDefault(b[0], 0.0), nil
}

func filterRound(st *state, in Value, a *args) (Value, error) {
	b, err := a.bind("round", 0, "precision", "method")
	if err != nil {
		return nil, err
	}
	prec, err := intArg(b[0], 0)
	if err != nil {
		return nil, err
	}
	if prec > 300 || prec < -300 {
		return nil, valueErrorf("precision of %d is out of range", prec)
	}
	method, _ := text(orDefault(b[1], "common"))
	x, ok := number(in)
	switch {
	case !ok && method == "common":
		if u, isUndef := in.(*Undefined); isUndef {
			return nil, typeErrorf("type %s doesn't define __round__ method", typeName(u))
		}
		return nil, typeErrorf("type %s doesn't define __round__ method", typeName(in))
	case !ok:
		return st.binary("*", in, int64(1))
	}
	scale := math.Pow(10, float64(prec))
	switch method {
	case "common":
		if _, isInt := integer(in); isInt && prec >= 0 {
			i, _ := integer(in)
			return i, nil
		}
		if prec < 0 {
			r := math.RoundToEven(x*math.Pow(10, float64(prec))) * math.Pow(10, float64(-prec))
			if _, isInt := integer(in); isInt {
				return int64(r), nil
			}
			return r, nil
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return x, nil
		}
		// Exact decimal rounding, halves to even, as Python rounds.
		f, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', int(prec), 64), 64)
		return f, err
	case "ceil":
		return math.Ceil(x*scale) / scale, nil
	case "floor":
		return math.Floor(x*scale) / scale, nil
	}
	return nil, valueErrorf("method must be common, ceil or floor")
}
