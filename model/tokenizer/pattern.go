package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// A pattern cuts a text into what it matches and what lies between.
type pattern interface {
	// find appends spans to dst that cover text, in order. Matches may be
	// empty; what lies between may not. Text is never empty.
	find(dst []span, text []byte) []span
}

// parsePattern reads {"String": s} or {"Regex": r}.
func parsePattern(data json.RawMessage) (pattern, error) {
	var p struct {
		String, Regex *string
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	switch {
	case p.String != nil && p.Regex == nil:
		if *p.String == "" {
			return nil, fmt.Errorf("pattern: the string is empty")
		}
		return literal(*p.String), nil
	case p.Regex != nil && p.String == nil:
		return compile(*p.Regex)
	}
	return nil, fmt.Errorf(`pattern: want one of "String" and "Regex"`)
}

// compile returns the scanner of a known pattern, else a backtracking machine.
func compile(expr string) (pattern, error) {
	if s, ok := scanners[expr]; ok {
		return scanPattern{s}, nil
	}
	// The stack grows with the text, as in the reference; by default a long word
	// would end the match with an error.
	re, err := regexp2.Compile(expr, regexp2.OptionMaxBacktrackingStackSize(-1))
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	return backtracker{re}, nil
}

// literal matches a fixed string.
type literal string

func (l literal) find(dst []span, text []byte) []span {
	from := 0
	for {
		i := bytes.Index(text[from:], []byte(l))
		if i < 0 {
			break
		}
		dst = between(dst, from, from+i)
		dst = append(dst, span{from + i, from + i + len(l), true})
		from += i + len(l)
	}
	return between(dst, from, len(text))
}

// runes matches single runes of a class.
type runes struct{ want class }

func (p runes) find(dst []span, text []byte) []span {
	classes := unicodeClasses()
	from := 0
	for i := 0; i < len(text); {
		c, n := classes.at(text, i)
		if c&p.want != 0 {
			dst = append(between(dst, from, i), span{i, i + n, true})
			from = i + n
		}
		i += n
	}
	return between(dst, from, len(text))
}

// words matches `\w+|[^\w\s]+`.
type words struct{}

func (words) find(dst []span, text []byte) []span {
	classes := unicodeClasses()
	for i := 0; i < len(text); {
		from := i
		c, n := classes.at(text, i)
		switch {
		case c&classWord != 0:
			i = classes.run(text, i+n, classWord)
		case c&classSpace != 0:
			i = classes.run(text, i+n, classSpace)
		default:
			i = classes.runNot(text, i+n, classWord|classSpace)
		}
		dst = append(dst, span{from, i, c&classSpace == 0})
	}
	return dst
}

// scanPattern matches words that follow on each other without a gap.
type scanPattern struct{ scan scanner }

func (p scanPattern) find(dst []span, text []byte) []span {
	classes := unicodeClasses()
	for i := 0; i < len(text); {
		end := p.scan(classes, text, i)
		dst = append(dst, span{i, end, true})
		i = end
	}
	return dst
}

// backtracker runs any other pattern. It knows the Unicode edition of Go's
// tables, and allocates.
type backtracker struct{ re *regexp2.Regexp }

func (p backtracker) find(dst []span, text []byte) []span {
	in := []rune(string(text))
	from := 0               // bytes covered by spans, which is where the last match ended
	seen, seenRunes := 0, 0 // bytes and runes up to the last place converted
	matched := false
	err := p.re.FindRunesMatches(in, 0, func(m regexp2.MatchView) bool {
		at, n, _ := m.GroupRange(0)
		start := seen + runesLen(in[seenRunes:at])
		end := start + runesLen(in[at:at+n])
		seen, seenRunes = end, at+n
		if n == 0 && matched && start == from {
			return true // an empty match right after a match does not count
		}
		dst = append(between(dst, from, start), span{start, end, true})
		from, matched = end, true
		return true
	})
	if err != nil {
		// Only a timeout or the stack limit ends a match, and neither is set.
		panic(fmt.Sprintf("tokenizer: pattern %q: %v", p.re.String(), err))
	}
	return between(dst, from, len(text))
}

func runesLen(in []rune) (n int) {
	for _, r := range in {
		n += utf8.RuneLen(r)
	}
	return n
}

func between(dst []span, from, to int) []span {
	if from < to {
		dst = append(dst, span{start: from, end: to})
	}
	return dst
}
