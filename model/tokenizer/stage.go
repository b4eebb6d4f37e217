package tokenizer

import (
	"bytes"
	"unicode/utf8"
)

// A stage cuts a text into pieces, or rewrites it. Implementations are
// immutable.
type stage interface {
	// run passes the pieces of text, which is not empty, to the next stage by
	// r.words, none of them empty, from left to right. They lie in text or in
	// the arena of the scratch space. first is set when text starts where the
	// text of the call starts, which is what the "first" prepend scheme of
	// Metaspace asks for. It passes the borders b, which lie in text.
	run(r *run, next int, text []byte, first bool, b borders)
}

// A behavior says what becomes of the matches a Split finds.
type behavior int

const (
	isolated behavior = iota
	removed
	contiguous
	mergedWithPrevious
	mergedWithNext
)

// scanStage cuts a text into the words of a scanner.
type scanStage struct{ scan scanner }

func (s scanStage) run(r *run, next int, text []byte, first bool, b borders) {
	classes := unicodeClasses()
	for i := 0; i < len(text) && !r.over; {
		end := s.scan(classes, text, i)
		r.words(next, text[i:end:end], first && i == 0, r.enter(&b, i, end))
		i = end
	}
	r.settle(b)
}

// splitStage cuts a text where a pattern matches.
type splitStage struct {
	pattern  pattern
	behavior behavior
	invert   bool // take what lies between for the matches
}

// newSplit returns the stage for a pattern, the fast one where every match
// becomes a piece of its own.
func newSplit(p pattern, b behavior, invert bool) stage {
	if s, ok := p.(scanPattern); ok && (b == isolated || b == removed && invert) {
		return scanStage(s)
	}
	return splitStage{p, b, invert}
}

func (s splitStage) run(r *run, next int, text []byte, first bool, b borders) {
	// A later stage of this kind puts its spans behind these.
	from := len(r.sc.spans)
	all := s.pattern.find(r.sc.spans, text)
	spans := all[from:]
	if s.invert {
		for i := range spans {
			spans[i].match = !spans[i].match
		}
	}
	spans = s.behavior.join(spans)
	r.sc.spans = all
	for _, part := range spans {
		if r.over {
			break
		}
		if part.start < part.end {
			r.words(next, text[part.start:part.end:part.end], first && part.start == 0,
				r.enter(&b, part.start, part.end))
		}
	}
	r.sc.spans = r.sc.spans[:from]
	r.settle(b)
}

// join turns the spans of a pattern into the spans of pieces, in place.
func (b behavior) join(spans []span) []span {
	out := spans[:0]
	previous := false
	switch b {
	case isolated:
		return spans
	case removed:
		for _, s := range spans {
			if !s.match {
				out = append(out, s)
			}
		}
	case contiguous:
		for _, s := range spans {
			if s.match == previous && len(out) > 0 {
				out[len(out)-1].end = s.end
			} else {
				out = append(out, s)
			}
			previous = s.match
		}
	case mergedWithPrevious:
		for _, s := range spans {
			if s.match && !previous && len(out) > 0 {
				out[len(out)-1].end = s.end
			} else {
				out = append(out, s)
			}
			previous = s.match
		}
	case mergedWithNext:
		// From right to left, into the tail of the same slice.
		to := len(spans)
		for i := len(spans) - 1; i >= 0; i-- {
			s := spans[i]
			if s.match && !previous && to < len(spans) {
				spans[to].start = s.start
			} else {
				to--
				spans[to] = s
			}
			previous = s.match
		}
		return spans[to:]
	}
	return out
}

// bertStage drops white space and makes a piece of each punctuation mark.
type bertStage struct{}

func (bertStage) run(r *run, next int, text []byte, first bool, b borders) {
	classes := unicodeClasses()
	for i := 0; i < len(text) && !r.over; {
		from := i
		c, n := classes.at(text, i)
		switch {
		case c&classSpace != 0:
			i += n
			continue
		case c&classPunct != 0:
			i += n
		default:
			i = classes.runNot(text, i+n, classSpace|classPunct)
		}
		r.words(next, text[from:i:i], first && from == 0, r.enter(&b, from, i))
	}
	r.settle(b)
}

// prefixSpace puts a space in front of pieces that start with none.
type prefixSpace struct{}

func (prefixSpace) run(r *run, next int, text []byte, first bool, b borders) {
	if text[0] == ' ' {
		r.words(next, text, first, b)
		return
	}
	from := len(r.sc.arena)
	r.sc.arena = append(append(r.sc.arena, ' '), text...)
	r.aligner(b).copied(len(text)+1, 1)
	r.words(next, r.sc.arena[from:len(r.sc.arena):len(r.sc.arena)], first, b)
	r.sc.arena = r.sc.arena[:from]
}

// byteLevelStage writes every byte as its character of the byte alphabet. It
// stands only where a later stage must see those characters; a model reads
// bytes itself.
type byteLevelStage struct{}

func (byteLevelStage) run(r *run, next int, text []byte, first bool, b borders) {
	from := len(r.sc.arena)
	r.sc.arena = alignByteLevel(r.sc.arena, text, r.alignerOrNil(b))
	r.words(next, r.sc.arena[from:len(r.sc.arena):len(r.sc.arena)], first, b)
	r.sc.arena = r.sc.arena[:from]
}

// A prependScheme says which pieces Metaspace starts with its mark.
type prependScheme int

const (
	prependAlways prependScheme = iota
	prependFirst
	prependNever
)

// metaspace writes spaces as a mark, usually U+2581, and may cut before each.
type metaspace struct {
	mark   string // one rune
	scheme prependScheme
	cut    bool
}

func (m metaspace) run(r *run, next int, text []byte, first bool, b borders) {
	from := len(r.sc.arena)
	out, a := r.sc.arena, r.aligner(b)
	starts := text[0] == ' ' || bytes.HasPrefix(text, []byte(m.mark))
	if !starts && (m.scheme == prependAlways || m.scheme == prependFirst && first) {
		out = append(out, m.mark...)
	}
	for at := 0; ; {
		i := bytes.IndexByte(text[at:], ' ')
		if i < 0 {
			a.copied(len(text)+1, len(out)-from-at)
			out = append(out, text[at:]...)
			break
		}
		i += at
		a.copied(i+1, len(out)-from-at) // a border before the space, too
		out = append(append(out, text[at:i]...), m.mark...)
		at = i + 1
	}
	r.sc.arena = out
	out = out[from:len(out):len(out)]
	if m.cut {
		r.cutBefore(next, out, first, b, m.mark, nil)
	} else {
		r.words(next, out, first, b)
	}
	r.sc.arena = r.sc.arena[:from]
}

// cutBefore passes on text cut before each mark; where only is not nil, just
// before the marks that follow a rune in it.
func (r *run) cutBefore(next int, text []byte, first bool, b borders, mark string, only *runeSet) {
	start := 0
	for at := 0; !r.over; {
		i := bytes.Index(text[at:], []byte(mark))
		if i < 0 {
			break
		}
		i += at
		at = i + len(mark)
		if i == start {
			continue
		}
		if only != nil {
			if c, _ := utf8.DecodeLastRune(text[:i]); !only.has(c) {
				continue
			}
		}
		r.words(next, text[start:i:i], first && start == 0, r.enter(&b, start, i))
		start = i
	}
	r.words(next, text[start:], first && start == 0, r.enter(&b, start, len(text)))
	r.settle(b)
}

// seams cuts a text before those marks that no merge can reach across, so that
// a BPE that takes the whole text for one word becomes one over words, with the
// same result.
type seams struct {
	mark  string
	after *runeSet // runes after which no merge makes a token with the mark
}

func (s seams) run(r *run, next int, text []byte, first bool, b borders) {
	r.cutBefore(next, text, first, b, s.mark, s.after)
}

// A runeSet is a set of runes of the Basic Multilingual Plane.
type runeSet [1 << 16 / 64]uint64

func (s *runeSet) add(r rune) {
	if r>>16 == 0 {
		s[r>>6] |= 1 << (r & 63)
	}
}

func (s *runeSet) remove(r rune) {
	if r>>16 == 0 {
		s[r>>6] &^= 1 << (r & 63)
	}
}

func (s *runeSet) has(r rune) bool { return r>>16 == 0 && s[r>>6]>>(r&63)&1 != 0 }

// fixedLength cuts a text every so many runes.
type fixedLength struct{ runes int }

func (f fixedLength) run(r *run, next int, text []byte, first bool, b borders) {
	start, n := 0, 0
	for i := 0; i < len(text) && !r.over; {
		_, size := utf8.DecodeRune(text[i:])
		i += size
		if n++; n == f.runes || i == len(text) {
			r.words(next, text[start:i:i], first && start == 0, r.enter(&b, start, i))
			start, n = i, 0
		}
	}
	r.settle(b)
}
