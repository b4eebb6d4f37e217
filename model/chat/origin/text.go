package origin

import (
	"iter"
	"sort"
	"strings"
	"unicode/utf8"
)

// ID names an origin.
type ID int32

const (
	// Template is the origin of what the template's author wrote.
	Template ID = 0
	// Request is the origin of what came from outside without being told apart.
	Request ID = -1
)

// runCost is what a run takes, in bytes.
const runCost = 16

// run is characters of one origin, from the end of the run before it up to end.
type run struct {
	end  int
	from ID
}

// Text is characters and their origins. The zero Text is empty and the template's own. Do not
// compare two with ==, which compares the place of their runs too.
type Text struct {
	s string
	// from is the origin of the whole text when runs is nil.
	from ID
	// runs are at least two, in order, the last ending with s; neighbours differ in their origin.
	// An empty run is never the template's.
	runs *[]run
}

// constant is a string that only a constant of the source converts to.
type constant string

// Own is a constant of this program as text of the template's own.
func Own(s constant) Text { return Text{s: string(s)} }

// Literal is what the author of the template or its checkpoint wrote, or the clock told. It must not
// be made of a value.
func Literal(s string) Text { return Text{s: s} }

// Number is a number as the template's own text. Text that holds more than digits, their separators
// and the letters of numbers counts as the request's.
func Number(s string) Text {
	for i := range len(s) {
		if strings.IndexByte("0123456789+-.,_%abcdefxoinABCDEFXOIN ", s[i]) < 0 {
			return Text{s: s, from: Request}
		}
	}
	return Text{s: s}
}

// Given is a value that came from outside.
func Given(s string, from ID) Text { return Text{s: s, from: from} }

// Peek is the characters, to decide by. A value made of them must be made by a method of Text.
func (t Text) Peek() string { return t.s }

// Len is the length in bytes.
func (t Text) Len() int { return len(t.s) }

// Cost is the memory that t takes, in bytes.
func (t Text) Cost() int {
	if t.runs == nil {
		return len(t.s)
	}
	return len(t.s) + runCost*len(*t.runs)
}

// Runs yields where each run ends and its origin. There is at least one.
func (t Text) Runs() iter.Seq2[int, ID] {
	return func(yield func(int, ID) bool) {
		if t.runs == nil {
			yield(len(t.s), t.from)
			return
		}
		for _, r := range *t.runs {
			if !yield(r.end, r.from) {
				return
			}
		}
	}
}

// Slice is the text from i to j.
func (t Text) Slice(i, j int) Text {
	if t.runs == nil {
		return Text{s: t.s[i:j], from: t.from}
	}
	runs := *t.runs
	first := sort.Search(len(runs), func(k int) bool { return runs[k].end >= i })
	var b runBuilder
	beside := runs[first].from
	begin := 0
	if first > 0 {
		begin = runs[first-1].end
	}
	for _, r := range runs[first:] {
		if begin > j {
			break
		}
		n := min(r.end, j) - max(begin, i)
		if n > 0 || r.end == begin {
			b.add(n, r.from)
		} else if beside == Template {
			beside = r.from // an empty slice has the origin of what it lies in or beside
		}
		begin = r.end
	}
	if b.none() {
		return Text{s: t.s[i:j], from: beside}
	}
	return b.text(t.s[i:j])
}

// Trim is the text from i to j with an empty run for each run that lay outside.
func (t Text) Trim(i, j int) Text {
	if t.runs == nil {
		return Text{s: t.s[i:j], from: t.from}
	}
	var b runBuilder
	begin := 0
	for _, r := range *t.runs {
		b.add(max(0, min(r.end, j)-max(begin, i)), r.from)
		begin = r.end
	}
	return b.text(t.s[i:j])
}

// TrimFunc removes the characters that drop holds for from the left, the right or both.
func (t Text) TrimFunc(left, right bool, drop func(rune) bool) Text {
	i, j := 0, len(t.s)
	if left {
		i = j - len(strings.TrimLeftFunc(t.s, drop))
	}
	if right {
		j = i + len(strings.TrimRightFunc(t.s[i:], drop))
	}
	return t.Trim(i, j)
}

// Map is f of the text, where f maps characters one after another and keeps their order: a change
// of case, an escape. f may look at neighbours. Where f of a run on its own is not what stands in f
// of the whole at its place, but for case, all of the result is the request's.
func (t Text) Map(f func(string) string) Text {
	out := Text{s: f(t.s), from: t.from}
	if t.runs == nil {
		return out
	}
	var b runBuilder
	begin, at := 0, 0
	for end, id := range t.Runs() {
		part := f(t.s[begin:end])
		if len(part) > len(out.s)-at || !strings.EqualFold(part, out.s[at:at+len(part)]) {
			return Text{s: out.s, from: Request}
		}
		b.add(len(part), id)
		begin, at = end, at+len(part)
	}
	if at != len(out.s) {
		return Text{s: out.s, from: Request}
	}
	return b.text(out.s)
}

// Replace replaces the first n places of old by another text, all when n is negative. An empty old
// stands before each character and at the end.
func (t Text) Replace(old string, by Text, n int) Text {
	places := strings.Count(t.s, old)
	if n < 0 || n > places {
		n = places
	}
	if n == 0 {
		return t
	}
	if t.runs == nil && by.runs == nil && t.from == by.from {
		return Text{s: strings.Replace(t.s, old, by.s, n), from: t.from}
	}
	var b Builder
	b.chars.Grow(len(t.s) + n*(len(by.s)-len(old)))
	at := 0
	for i := range n {
		j := at
		switch {
		case old != "":
			j += strings.Index(t.s[at:], old)
		case i > 0:
			_, w := utf8.DecodeRuneInString(t.s[at:])
			j += w
		}
		b.WriteSlice(t, at, j)
		b.runs.holes(t, j, j+len(old))
		b.Write(by)
		at = j + len(old)
	}
	b.WriteSlice(t, at, len(t.s))
	return b.Text()
}

// ReplaceCost is at least the memory that replacing n places in t takes, in bytes.
func (t Text) ReplaceCost(by Text, n int) int {
	cost := t.Cost() + n*by.Cost()
	if t.runs != nil || by.runs != nil || t.from != by.from {
		cost += 2 * n * runCost
	}
	return cost
}

// Repeat is t n times.
func (t Text) Repeat(n int) Text {
	if t.runs == nil {
		return Text{s: strings.Repeat(t.s, n), from: t.from}
	}
	if n == 0 {
		return t.Trim(0, 0)
	}
	var b Builder
	b.chars.Grow(len(t.s) * n)
	for range n {
		b.Write(t)
	}
	return b.Text()
}

// Within is t as part of what prints a value of the given origin: text of the template's own, such as
// the brackets around a list, counts as that value's.
func (t Text) Within(from ID) Text {
	if t.runs == nil && t.from == Template {
		t.from = from
	}
	return t
}

// Join joins texts with sep between them.
func Join(parts []Text, sep Text) Text {
	n := sep.Len() * max(len(parts)-1, 0)
	for _, p := range parts {
		n += p.Len()
	}
	var b Builder
	b.chars.Grow(n)
	b.runs.hint = 2 * len(parts)
	for i, p := range parts {
		if i > 0 {
			b.Write(sep)
		}
		b.Write(p)
	}
	return b.Text()
}
