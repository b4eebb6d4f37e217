package origin

import "strings"

// Builder writes texts one after another. The zero Builder is empty.
type Builder struct {
	chars strings.Builder
	runs  runBuilder
}

// Write adds a text.
func (b *Builder) Write(t Text) {
	b.runs.addText(t)
	b.chars.WriteString(t.s)
}

// WriteSlice adds what lies between i and j of a text: nothing when that is nothing, where
// [Text.Slice] would have an origin.
func (b *Builder) WriteSlice(t Text, i, j int) {
	begin := 0
	for end, from := range t.Runs() {
		if n := min(end, j) - max(begin, i); n > 0 || begin == end && begin >= i && end <= j &&
			t.runs != nil {
			b.runs.add(n, from)
		}
		begin = end
	}
	b.chars.WriteString(t.s[i:j])
}

// Text is what was written. The Builder must not be written to again.
func (b *Builder) Text() Text { return b.runs.text(b.chars.String()) }

// runBuilder makes runs that keep the rules of Text.
type runBuilder struct {
	done []run
	last run // not in done; an empty run of the template's when nothing was added
	hint int // how many runs there may be
}

// add adds n characters of one origin.
func (b *runBuilder) add(n int, from ID) {
	switch {
	case n == 0 && from == Template:
		return
	case from == b.last.from:
	case b.none():
		b.last.from = from
	default:
		if b.done == nil {
			b.done = make([]run, 0, max(b.hint, 4))
		}
		b.done = append(b.done, b.last)
		b.last.from = from
	}
	b.last.end += n
}

// none tells whether nothing was added.
func (b *runBuilder) none() bool { return b.last == run{} && len(b.done) == 0 }

func (b *runBuilder) addText(t Text) {
	if t.runs == nil {
		b.add(len(t.s), t.from)
		return
	}
	begin := 0
	for _, r := range *t.runs {
		b.add(r.end-begin, r.from)
		begin = r.end
	}
}

// holes adds an empty run for each run of t that has a part between i and j, which is left out.
func (b *runBuilder) holes(t Text, i, j int) {
	begin := 0
	for end, from := range t.Runs() {
		if begin <= j && end >= i && (begin == end || min(end, j) > max(begin, i)) {
			b.add(0, from)
		}
		begin = end
	}
}

func (b *runBuilder) text(s string) Text {
	if len(b.done) == 0 {
		return Text{s: s, from: b.last.from}
	}
	runs := append(b.done, b.last)
	return Text{s: s, runs: &runs}
}
