package tokenizer

import (
	"bytes"
	"unicode/utf8"
)

// A stage cuts a piece into smaller ones. Implementations are immutable.
type stage interface {
	// split appends the pieces of p to out, none of them empty. Their text is
	// p's or lies in sc.arena.
	split(sc *scratch, out []piece, p piece) []piece
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

func (s scanStage) split(_ *scratch, out []piece, p piece) []piece {
	classes := unicodeClasses()
	for i := 0; i < len(p.text); {
		end := s.scan(classes, p.text, i)
		out = append(out, piece{p.text[i:end:end], p.first && i == 0})
		i = end
	}
	return out
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

func (s splitStage) split(sc *scratch, out []piece, p piece) []piece {
	sc.spans = s.pattern.find(sc.spans[:0], p.text)
	if s.invert {
		for i := range sc.spans {
			sc.spans[i].match = !sc.spans[i].match
		}
	}
	sc.spans = s.behavior.join(sc.spans)
	for _, part := range sc.spans {
		if part.start < part.end {
			out = append(out, piece{p.text[part.start:part.end:part.end], p.first && part.start == 0})
		}
	}
	return out
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

func (bertStage) split(_ *scratch, out []piece, p piece) []piece {
	classes := unicodeClasses()
	for i := 0; i < len(p.text); {
		from := i
		c, n := classes.at(p.text, i)
		switch {
		case c&classSpace != 0:
			i += n
			continue
		case c&classPunct != 0:
			i += n
		default:
			i = classes.runNot(p.text, i+n, classSpace|classPunct)
		}
		out = append(out, piece{p.text[from:i:i], p.first && from == 0})
	}
	return out
}

// prefixSpace puts a space in front of pieces that start with none.
type prefixSpace struct{}

func (prefixSpace) split(sc *scratch, out []piece, p piece) []piece {
	if p.text[0] != ' ' {
		from := len(sc.arena)
		sc.arena = append(append(sc.arena, ' '), p.text...)
		p.text = sc.arena[from:len(sc.arena):len(sc.arena)]
	}
	return append(out, p)
}

// byteLevelStage writes every byte as its character of the byte alphabet. It
// stands only where a later stage must see those characters; a model reads
// bytes itself.
type byteLevelStage struct{}

func (byteLevelStage) split(sc *scratch, out []piece, p piece) []piece {
	from := len(sc.arena)
	sc.arena = appendByteLevel(sc.arena, p.text)
	p.text = sc.arena[from:len(sc.arena):len(sc.arena)]
	return append(out, p)
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

func (m metaspace) split(sc *scratch, out []piece, p piece) []piece {
	from := len(sc.arena)
	starts := p.text[0] == ' ' || bytes.HasPrefix(p.text, []byte(m.mark))
	if !starts && (m.scheme == prependAlways || m.scheme == prependFirst && p.first) {
		sc.arena = append(sc.arena, m.mark...)
	}
	rest := p.text
	for {
		i := bytes.IndexByte(rest, ' ')
		if i < 0 {
			break
		}
		sc.arena = append(append(sc.arena, rest[:i]...), m.mark...)
		rest = rest[i+1:]
	}
	sc.arena = append(sc.arena, rest...)
	text := sc.arena[from:len(sc.arena):len(sc.arena)]
	if !m.cut {
		return append(out, piece{text, p.first})
	}
	return cutBefore(out, piece{text, p.first}, []byte(m.mark), nil)
}

// cutBefore cuts p before each mark; where only is not nil, just before the
// marks that follow a rune in it.
func cutBefore(out []piece, p piece, mark []byte, only *runeSet) []piece {
	start := 0
	for at := 0; ; {
		i := bytes.Index(p.text[at:], mark)
		if i < 0 {
			break
		}
		i += at
		at = i + len(mark)
		if i == start {
			continue
		}
		if only != nil {
			if r, _ := utf8.DecodeLastRune(p.text[:i]); !only.has(r) {
				continue
			}
		}
		out = append(out, piece{p.text[start:i:i], p.first && start == 0})
		start = i
	}
	return append(out, piece{p.text[start:], p.first && start == 0})
}

// seams cuts a text before those marks that no merge can reach across, so that
// a BPE that takes the whole text for one word becomes one over words, with the
// same result.
type seams struct {
	mark  []byte
	after *runeSet // runes after which no merge makes a token with the mark
}

func (s seams) split(_ *scratch, out []piece, p piece) []piece {
	return cutBefore(out, p, s.mark, s.after)
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

func (f fixedLength) split(_ *scratch, out []piece, p piece) []piece {
	start, n := 0, 0
	for i := 0; i < len(p.text); {
		_, size := utf8.DecodeRune(p.text[i:])
		i += size
		if n++; n == f.runes || i == len(p.text) {
			out = append(out, piece{p.text[start:i:i], p.first && start == 0})
			start, n = i, 0
		}
	}
	return out
}
