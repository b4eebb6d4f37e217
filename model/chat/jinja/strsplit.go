package jinja

import (
	"strings"
	"unicode/utf8"
)

// texts makes a list of strings, which share the bytes of their source.
func (st *state) texts(parts []string) (Value, error) {
	if err := st.m.items(len(parts)); err != nil {
		return nil, err
	}
	out := make([]Value, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return &List{out}, nil
}

// splitArgs reads (sep=None, maxsplit=-1).
func splitArgs(a *args, name string) (sep string, space bool, limit int, err error) {
	b, err := a.bind(name, 0, "sep", "maxsplit")
	if err != nil {
		return "", false, 0, err
	}
	n, err := intArg(b[1], -1)
	if err != nil {
		return "", false, 0, err
	}
	limit = -1
	if n >= 0 {
		limit = int(min(n, 1<<30))
	}
	v := orDefault(b[0], nil)
	if v == nil {
		return "", true, limit, nil
	}
	sep, ok := text(v)
	switch {
	case !ok:
		return "", false, 0, typeErrorf("must be str or None, not %s", typeName(v))
	case sep == "":
		return "", false, 0, valueErrorf("empty separator")
	}
	return sep, false, limit, nil
}

func strSplit(st *state, self Value, a *args) (Value, error) {
	sep, space, limit, err := splitArgs(a, "split")
	if err != nil {
		return nil, err
	}
	s, err := recv(st, self)
	if err != nil {
		return nil, err
	}
	if err := st.m.items(1 + countUpTo(s, sep, space, limit)); err != nil {
		return nil, err
	}
	if !space {
		if limit >= 0 {
			limit++
		}
		return st.texts(strings.SplitN(s, sep, limit))
	}
	var parts []string
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		i := strings.IndexFunc(s, isSpace)
		if i < 0 || (limit >= 0 && len(parts) == limit) {
			i = len(s) // the last piece keeps what follows it
		}
		parts, s = append(parts, s[:i]), s[i:]
	}
	return st.texts(parts)
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

func strRSplit(st *state, self Value, a *args) (Value, error) {
	sep, space, limit, err := splitArgs(a, "rsplit")
	if err != nil {
		return nil, err
	}
	if limit < 0 {
		return strSplit(st, self, a)
	}
	s, err := recv(st, self)
	if err != nil {
		return nil, err
	}
	if err := st.m.items(1 + countUpTo(s, sep, space, limit)); err != nil {
		return nil, err
	}
	var parts []string
	if space {
		for s = strings.TrimRightFunc(s, isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
			i := strings.LastIndexFunc(s, isSpace)
			if i < 0 || len(parts) == limit {
				parts, s = append(parts, s), ""
				break
			}
			_, w := utf8.DecodeRuneInString(s[i:])
			parts, s = append(parts, s[i+w:]), s[:i]
		}
	} else {
		for len(parts) < limit {
			i := strings.LastIndex(s, sep)
			if i < 0 {
				break
			}
			parts, s = append(parts, s[i+len(sep):]), s[:i]
		}
		parts = append(parts, s)
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return st.texts(parts)
}

// splitLines splits at every line end Python knows; keep leaves the ends in place.
func splitLines(s string, keep bool) []string {
	var out []string
	for s != "" {
		i := strings.IndexFunc(s, isLineEnd)
		if i < 0 {
			return append(out, s)
		}
		_, w := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			w = 2
		}
		if keep {
			out = append(out, s[:i+w])
		} else {
			out = append(out, s[:i])
		}
		s = s[i+w:]
	}
	return out
}

func isLineEnd(r rune) bool {
	return (r >= '\n' && r <= '\r') || (r >= 0x1c && r <= 0x1e) || r == 0x85 || r == 0x2028 || r == 0x2029
}

func strSplitLines(st *state, self Value, a *args) (Value, error) {
	b, err := a.bind("splitlines", 0, "keepends")
	if err != nil {
		return nil, err
	}
	s, err := recv(st, self)
	if err != nil {
		return nil, err
	}
	if err := st.m.items(len(s) / 8); err != nil {
		return nil, err
	}
	return st.texts(splitLines(s, truth(orDefault(b[0], false))))
}

func partition(last bool) methodFunc {
	return func(st *state, self Value, a *args) (Value, error) {
		s, sep, err := recvStr(st, self, a, "partition")
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, valueErrorf("empty separator")
		}
		i := strings.Index(s, sep)
		if last {
			i = strings.LastIndex(s, sep)
		}
		switch {
		case i >= 0:
			return &Tuple{[]Value{s[:i], sep, s[i+len(sep):]}}, nil
		case last:
			return &Tuple{[]Value{"", "", s}}, nil
		}
		return &Tuple{[]Value{s, "", ""}}, nil
	}
}

// replace is s.replace(old, repl, count), charged before it is built; count < 0 means all.
func (st *state) replace(s, old, repl string, count int64) (Value, error) {
	if err := st.m.scan(len(s)); err != nil {
		return nil, err
	}
	n := int64(strings.Count(s, old))
	if count >= 0 {
		n = min(n, count)
	}
	if len(repl) > 0 && n > int64(1<<40)/int64(len(repl)) {
		return nil, st.m.grow(-1)
	}
	if err := st.m.grow(len(s) + int(n)*len(repl)); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, repl, int(n)), nil
}

func strReplace(st *state, self Value, a *args) (Value, error) {
	b, err := a.bind("replace", 2, "old", "new", "count")
	if err != nil {
		return nil, err
	}
	old, ok1 := text(b[0])
	repl, ok2 := text(b[1])
	if !ok1 || !ok2 {
		bad := b[0]
		if ok1 {
			bad = b[1]
		}
		return nil, typeErrorf("replace() argument must be str, not %s", typeName(bad))
	}
	n, err := intArg(b[2], -1)
	if err != nil {
		return nil, err
	}
	s, _ := text(self)
	return st.replace(s, old, repl, n)
}

func strJoin(st *state, self Value, a *args) (Value, error) {
	b, err := a.bind("join", 1, "iterable")
	if err != nil {
		return nil, err
	}
	sep, _ := text(self)
	items, err := st.collect(b[0])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, v := range items {
		s, ok := text(v)
		if !ok {
			return nil, typeErrorf("sequence item %d: expected str instance, %s found", i, typeName(v))
		}
		parts[i] = s
	}
	return st.join(parts, sep)
}

// join joins parts, charged before it is built.
func (st *state) join(parts []string, sep string) (Value, error) {
	for i, p := range parts {
		n := len(p)
		if i > 0 {
			n += len(sep)
		}
		if err := st.m.grow(n); err != nil {
			return nil, err
		}
	}
	return strings.Join(parts, sep), nil
}

// find is find, rfind, index or rindex: the offset in characters.
func find(name string, last bool) methodFunc {
	return func(st *state, self Value, a *args) (Value, error) {
		b, err := a.bind(name, 1, "sub", "start", "end")
		if err != nil {
			return nil, err
		}
		sub, ok := text(b[0])
		if !ok {
			return nil, typeErrorf("must be str, not %s", typeName(b[0]))
		}
		s, err := st.bounded(self, b[1], b[2])
		if err != nil {
			return nil, err
		}
		i := strings.Index(s, sub)
		if last {
			i = strings.LastIndex(s, sub)
		}
		if i < 0 {
			if strings.HasSuffix(name, "index") {
				return nil, valueErrorf("substring not found")
			}
			return int64(-1), nil
		}
		start, err := intArg(orDefault(b[1], int64(0)), 0)
		if err != nil {
			return nil, err
		}
		if start < 0 {
			whole, _ := text(self)
			start = max(0, start+int64(runes(whole)))
		}
		return start + int64(runes(s[:i])), nil
	}
}

func strCount(st *state, self Value, a *args) (Value, error) {
	b, err := a.bind("count", 1, "sub", "start", "end")
	if err != nil {
		return nil, err
	}
	sub, ok := text(b[0])
	if !ok {
		return nil, typeErrorf("must be str, not %s", typeName(b[0]))
	}
	s, err := st.bounded(self, b[1], b[2])
	return int64(strings.Count(s, sub)), err
}
