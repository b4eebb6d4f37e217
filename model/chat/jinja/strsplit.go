package jinja

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// texts makes a list of strings, which share the bytes of their source.
func (st *state) texts(parts []Text) Value {
	st.m.items(len(parts))
	out := make([]Value, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return &List{Items: out}
}

// split is split or rsplit: the pieces between separators, or between white space, of which maxsplit
// counts from the left or from the right.
func split(name string, right bool) methodFunc {
	return ofStr(func(st *state, t Text, b []Value) Value {
		limit := intArg(b[1], -1)
		limit = min(max(limit, -1), 1<<30)
		by := orDefault(b[0], nil)
		sep, ok := text(by)
		switch {
		case by == nil:
		case !ok:
			panic(typeErrorf("must be str or None, not %s", typeName(by)))
		case sep == "":
			panic(valueErrorf("empty separator"))
		}
		st.m.items(1 + countUpTo(t.Peek(), sep, by == nil, int(limit)))
		switch right := right && limit >= 0; {
		case by == nil && right:
			return st.texts(lastWords(t, int(limit)))
		case by == nil:
			return st.texts(words(t, int(limit)))
		case right:
			return st.texts(cutLast(t, sep, int(limit)))
		}
		return st.texts(cutAll(t, sep, int(limit)))
	}, name, 0, "sep", "maxsplit")
}

// words cuts t at the first limit runs of white space, at all when limit is negative.
func words(t Text, limit int) (parts []Text) {
	s := t.Peek()
	for at := skipSpace(s, 0); at < len(s); {
		n := strings.IndexFunc(s[at:], isSpace)
		if n < 0 || (limit >= 0 && len(parts) == limit) {
			n = len(s) - at // the last piece keeps what follows it
		}
		parts = append(parts, t.Slice(at, at+n))
		at = skipSpace(s, at+n)
	}
	return parts
}

// lastWords cuts t at the last limit runs of white space.
func lastWords(t Text, limit int) (parts []Text) {
	defer func() { slices.Reverse(parts) }()
	for s := strings.TrimRightFunc(t.Peek(), isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
		i := strings.LastIndexFunc(s, isSpace)
		if i < 0 || len(parts) == limit {
			return append(parts, t.Slice(0, len(s)))
		}
		_, w := utf8.DecodeRuneInString(s[i:])
		parts, s = append(parts, t.Slice(i+w, len(s))), s[:i]
	}
	return parts
}

// cutLast cuts t at the last limit places of sep.
func cutLast(t Text, sep string, limit int) (parts []Text) {
	s := t.Peek()
	for len(parts) < limit {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts, s = append(parts, t.Slice(i+len(sep), len(s))), s[:i]
	}
	parts = append(parts, t.Slice(0, len(s)))
	slices.Reverse(parts)
	return parts
}

// skipSpace is the offset of the first character from at on that is no white space.
func skipSpace(s string, at int) int {
	return len(s) - len(strings.TrimLeftFunc(s[at:], isSpace))
}

// cutAll cuts t at the first limit places of sep, at all when limit is negative.
func cutAll(t Text, sep string, limit int) []Text {
	var parts []Text
	s, at := t.Peek(), 0
	for limit < 0 || len(parts) < limit {
		n := strings.Index(s[at:], sep)
		if n < 0 {
			break
		}
		parts = append(parts, t.Slice(at, at+n))
		at += n + len(sep)
	}
	return append(parts, t.Slice(at, len(s)))
}

// countUpTo bounds how many pieces a split makes.
func countUpTo(s, sep string, space bool, limit int) int {
	n := len(s)/2 + 1
	if !space {
		n = strings.Count(s, sep)
	}
	if limit >= 0 {
		n = min(n, limit)
	}
	return n
}

// splitLines splits at every line end Python knows; keep leaves the ends in place.
func splitLines(t Text, keep bool) []Text {
	var out []Text
	s := t.Peek()
	for at := 0; at < len(s); {
		n := strings.IndexFunc(s[at:], isLineEnd)
		if n < 0 {
			return append(out, t.Slice(at, len(s)))
		}
		end := at + n
		_, w := utf8.DecodeRuneInString(s[end:])
		if strings.HasPrefix(s[end:], "\r\n") {
			w = 2
		}
		if keep {
			out = append(out, t.Slice(at, end+w))
		} else {
			out = append(out, t.Slice(at, end))
		}
		at = end + w
	}
	return out
}

func isLineEnd(r rune) bool {
	return (r >= '\n' && r <= '\r') || (r >= 0x1c && r <= 0x1e) || r == 0x85 || r == 0x2028 || r == 0x2029
}

func strSplitLines(st *state, s Text, b []Value) Value {
	st.m.items(s.Len() / 8)
	return st.texts(splitLines(s, truth(orDefault(b[0], false))))
}

func partition(last bool) methodFunc {
	return withText("partition", func(t, sep Text) Value {
		if sep.Len() == 0 {
			panic(valueErrorf("empty separator"))
		}
		i := strings.Index(t.Peek(), sep.Peek())
		if last {
			i = strings.LastIndex(t.Peek(), sep.Peek())
		}
		end := i + sep.Len()
		switch {
		case i >= 0:
			return &Tuple{[]Value{t.Slice(0, i), t.Slice(i, end), t.Slice(end, t.Len())}}
		case last:
			return &Tuple{[]Value{Text{}, Text{}, t}}
		}
		return &Tuple{[]Value{t, Text{}, Text{}}}
	})
}

// replace is s.replace(old, repl, count), charged before it is built; count < 0 means all.
func (st *state) replace(t, old, repl Text, count int64) Value {
	st.m.scan(t.Len())
	n := int64(strings.Count(t.Peek(), old.Peek()))
	if count >= 0 {
		n = min(n, count)
	}
	if size := repl.Cost(); size > 0 && n > int64(1<<40)/int64(size) {
		st.m.grow(-1)
		return nil
	}
	st.m.grow(t.ReplaceCost(repl, int(n)))
	return t.Replace(old.Peek(), repl, int(n))
}

func strReplace(st *state, self Value, b []Value) Value {
	old, ok1 := chars(b[0])
	repl, ok2 := chars(b[1])
	if !ok1 || !ok2 {
		bad := b[0]
		if ok1 {
			bad = b[1]
		}
		panic(typeErrorf("replace() argument must be str, not %s", typeName(bad)))
	}
	n := intArg(b[2], -1)
	s, _ := chars(self)
	return st.replace(s, old, repl, n)
}

func strJoin(st *state, self Value, b []Value) Value {
	sep, _ := chars(self)
	items := st.collect(b[0])
	parts := make([]Text, len(items))
	for i, v := range items {
		s, ok := chars(v)
		if !ok {
			panic(typeErrorf("sequence item %d: expected str instance, %s found", i, typeName(v)))
		}
		parts[i] = s
	}
	return st.join(parts, sep)
}

// join joins parts, charged before it is built.
func (st *state) join(parts []Text, sep Text) Text {
	for i, p := range parts {
		n := p.Cost()
		if i > 0 {
			n += sep.Cost()
		}
		st.m.grow(n)
	}
	return origin.Join(parts, sep)
}

// find is find, rfind, index or rindex: the offset in characters.
func find(name string, last bool) methodFunc {
	return takes(func(st *state, self Value, b []Value) Value {
		sub, ok := text(b[0])
		if !ok {
			panic(typeErrorf("must be str, not %s", typeName(b[0])))
		}
		s := st.bounded(self, b[1], b[2])
		i := strings.Index(s.Peek(), sub)
		if last {
			i = strings.LastIndex(s.Peek(), sub)
		}
		if i < 0 {
			if strings.HasSuffix(name, "index") {
				panic(valueErrorf("substring not found"))
			}
			return int64(-1)
		}
		start := intArg(orDefault(b[1], int64(0)), 0)
		if start < 0 {
			whole, _ := text(self)
			start = max(0, start+int64(runes(whole)))
		}
		return start + int64(runes(s.Peek()[:i]))
	}, name, 1, "sub", "start", "end")
}

func strCount(st *state, self Value, b []Value) Value {
	sub, ok := text(b[0])
	if !ok {
		panic(typeErrorf("must be str, not %s", typeName(b[0])))
	}
	s := st.bounded(self, b[1], b[2])
	return int64(strings.Count(s.Peek(), sub))
}
