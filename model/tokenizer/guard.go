package tokenizer

import (
	"slices"
	"strings"
)

// A guard knows the ids of the special tokens that a model has in its own
// vocabulary, and so may make of text in which no added token is matched. The
// unknown token is not among them: it is what text becomes that has no token.
type guard struct{ special []bool } // by id

// newGuard returns nil where the model's vocabulary holds no special token.
func (t *Tokenizer) newGuard() *guard {
	unk := t.model.unknown()
	var g *guard
	for content := range t.added.special {
		id, ok := t.vocab.ids[content]
		if !ok || id == unk {
			continue
		}
		if g == nil {
			g = &guard{make([]bool, len(t.vocab.tokens))}
		}
		g.special[id] = true
	}
	return g
}

func (g *guard) has(id int32) bool { return int(id) < len(g.special) && g.special[id] }

func (g *guard) any(ids []int32) bool {
	for _, id := range ids {
		if g.has(id) {
			return true
		}
	}
	return false
}

// A refusal says where in a word the model may make no special token. The zero
// value refuses nothing.
type refusal struct {
	guard *guard
	plain []span // of the word, in order
}

// token reports whether a token of the word's bytes [from, to) is refused.
func (no refusal) token(id int32, from, to int) bool {
	return len(no.plain) > 0 && no.guard.has(id) && touches(no.plain, from, to)
}

// touches reports whether a byte of [from, to) lies in one of the spans, which
// are in order.
func touches(spans []span, from, to int) bool {
	low, high := 0, len(spans)
	for low < high {
		if mid := int(uint(low+high) >> 1); spans[mid].end <= from {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(spans) && spans[low].start < to
}

// forcedCuts returns where a piece must be cut before it is normalized, since
// text of a plain part would otherwise become one character with a special token
// of the part beside it: "<s>" and U+0338 are "<s≯" after NFC.
func (r *run) forcedCuts(text []byte, b borders) (cuts []int) {
	if !r.plain || !r.t.added.mutable || len(r.t.norm) == 0 || b.none() {
		return nil
	}
	normalized := func(from, to int) string {
		return r.t.normalized(string(text[runeStart(text, max(0, from)):runeStart(text, min(to, len(text)))]))
	}
	plain := append(r.plainSpans(2, len(text), b), span{start: len(text), end: len(text)})
	start := 0
	for _, p := range plain {
		if p.start > start && runeStart(text, start) == start && runeStart(text, p.start) == p.start {
			to, from := min(p.start, start+nearBorder), max(start, p.start-nearBorder)
			if own := normalized(start, to); r.t.added.normal.at(own, strings.HasPrefix) &&
				!strings.HasSuffix(normalized(start-nearBorder, to), own) {
				cuts = append(cuts, start)
			}
			if own := normalized(from, p.start); r.t.added.normal.at(own, strings.HasSuffix) &&
				!strings.HasPrefix(normalized(from, p.start+nearBorder), own) {
				cuts = append(cuts, p.start)
			}
		}
		start = max(start, p.end)
	}
	return cuts
}

// at reports whether a special token stands at an end of a text.
func (s *tokenSet) at(text string, end func(text, pattern string) bool) bool {
	return slices.ContainsFunc(s.tokens,
		func(tok addedToken) bool { return tok.special && end(text, tok.pattern) })
}
