package jinja

import "strings"

// maxPad bounds the width and precision of formatted values.
const maxPad = 1 << 16

// pad is center, ljust or rjust.
func pad(name string) methodFunc {
	return func(st *state, self Value, a *args) (Value, error) {
		b, err := a.bind(name, 1, "width", "fillchar")
		if err != nil {
			return nil, err
		}
		n, err := intArg(b[0], 0)
		if err != nil {
			return nil, err
		}
		fill, ok := text(orDefault(b[1], " "))
		if !ok || runes(fill) != 1 {
			return nil, typeErrorf("The fill character must be exactly one character long")
		}
		s, err := recv(st, self)
		if err != nil {
			return nil, err
		}
		room := n - int64(runes(s))
		if room <= 0 {
			return s, nil
		}
		if room > maxPad {
			return nil, newError(LimitError, "width of %d is too large", n)
		}
		left := map[string]int64{"center": room/2 + room&n&1, "ljust": 0, "rjust": room}[name]
		return st.m.str(strings.Repeat(fill, int(left)) + s + strings.Repeat(fill, int(room-left)))
	}
}

func strZfill(st *state, self Value, a *args) (Value, error) {
	b, err := a.bind("zfill", 1, "width")
	if err != nil {
		return nil, err
	}
	n, err := intArg(b[0], 0)
	if err != nil {
		return nil, err
	}
	s, err := recv(st, self)
	if err != nil {
		return nil, err
	}
	room := n - int64(runes(s))
	if room <= 0 {
		return s, nil
	}
	if room > maxPad {
		return nil, newError(LimitError, "width of %d is too large", n)
	}
	sign := ""
	if strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
		sign, s = s[:1], s[1:]
	}
	return st.m.str(sign + strings.Repeat("0", int(room)) + s)
}

func strExpandTabs(st *state, self Value, a *args) (Value, error) {
	b, err := a.bind("expandtabs", 0, "tabsize")
	if err != nil {
		return nil, err
	}
	size, err := intArg(b[0], 8)
	if err != nil {
		return nil, err
	}
	s, err := recv(st, self)
	if err != nil {
		return nil, err
	}
	if size > maxPad {
		return nil, newError(LimitError, "tab size of %d is too large", size)
	}
	if err := st.m.grow(len(s) + strings.Count(s, "\t")*int(max(size, 0))); err != nil {
		return nil, err
	}
	var out strings.Builder
	col := int64(0)
	for _, r := range s {
		switch {
		case r == '\t':
			if size > 0 {
				n := size - col%size
				out.WriteString(strings.Repeat(" ", int(n)))
				col += n
			}
			continue
		case r == '\n' || r == '\r':
			col = -1
		}
		out.WriteRune(r)
		col++
	}
	return out.String(), nil
}
