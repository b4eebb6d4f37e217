package jinja

import (
	"strings"

	"github.com/warmserve/warmserve/model/chat/origin"
)

// maxPad bounds the width and precision of formatted values.
const maxPad = 1 << 16

// pad is center, ljust or rjust.
func pad(name string) methodFunc {
	return ofStr(func(st *state, s Text, b []Value) Value {
		n, room := roomFor(s, b[0])
		fill, ok := chars(orDefault(b[1], origin.Own(" ")))
		if !ok || runes(fill.Peek()) != 1 {
			panic(typeErrorf("The fill character must be exactly one character long"))
		}
		if room <= 0 {
			return s
		}
		left := map[string]int64{"center": room/2 + room&n&1, "ljust": 0, "rjust": room}[name]
		return st.m.text(around(s, fill, int(left), int(room-left)))
	}, name, 1, "width", "fillchar")
}

// roomFor is how many characters s is short of a width.
func roomFor(s Text, width Value) (n, room int64) {
	n = intArg(width, 0)
	if room = n - int64(runes(s.Peek())); room > maxPad {
		panic(newError(LimitError, "width of %d is too large", n))
	}
	return n, room
}

// around is t between so many of fill.
func around(t, fill Text, left, right int) Text {
	var b origin.Builder
	if left > 0 {
		b.Write(fill.Repeat(left))
	}
	b.Write(t)
	if right > 0 {
		b.Write(fill.Repeat(right))
	}
	return b.Text()
}

func strZfill(st *state, s Text, b []Value) Value {
	_, room := roomFor(s, b[0])
	if room <= 0 {
		return s
	}
	sign := 0
	if strings.HasPrefix(s.Peek(), "+") || strings.HasPrefix(s.Peek(), "-") {
		sign = 1
	}
	zeros := origin.Own("0").Repeat(int(room))
	return st.m.text(origin.Join([]Text{s.Slice(0, sign), zeros, s.Slice(sign, s.Len())}, Text{}))
}

func strExpandTabs(st *state, s Text, b []Value) Value {
	size := intArg(b[0], 8)
	if size > maxPad {
		panic(newError(LimitError, "tab size of %d is too large", size))
	}
	tabs := strings.Count(s.Peek(), "\t")
	st.m.grow(s.Cost() + tabs*int(max(size, 0)))
	// The spaces count as the tab that they stand for.
	var out origin.Builder
	col, begin := int64(0), 0
	for i, r := range s.Peek() {
		switch {
		case r == '\t':
			out.Write(s.Slice(begin, i))
			begin = i + 1
			n := int64(0)
			if size > 0 {
				n = size - col%size
				col += n
			}
			out.Write(s.Slice(i, i+1).Map(func(s string) string {
				return strings.ReplaceAll(s, "\t", strings.Repeat(" ", int(n)))
			}))
			continue
		case r == '\n' || r == '\r':
			col = -1
		}
		col++
	}
	out.Write(s.Slice(begin, s.Len()))
	return out.Text()
}
