package tokenizer

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// chunkBytes is how much of a text is normalized and cut into words at a
	// time, where it can be cut at all.
	chunkBytes = 16 << 10
	// nearBorder is how far before a border a cut is looked for. What lies
	// between cuts around a border takes the slower way that moves borders.
	nearBorder = 256
)

// A cutter says where text may be cut before normalization such that both sides
// can be tokenised apart: at a space between two ASCII letters, for most
// tokenizers.
type cutter struct {
	ok    bool
	size  int       // bytes of a chunk at least
	after [256]bool // letters that the space may follow
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// at reports whether text may be cut at i.
func (c *cutter) at(text []byte, i int) bool {
	return i > 0 && i+1 < len(text) && text[i] == ' ' && c.after[text[i-1]] && isLetter(text[i+1])
}

// next returns the first cut at or behind i, the end of the text where there is none.
func (c *cutter) next(text []byte, i int) int {
	for i < len(text) {
		skip := bytes.IndexByte(text[i:], ' ')
		if skip < 0 {
			break
		}
		if i += skip; c.at(text, i) {
			return i
		}
		i++
	}
	return len(text)
}

// chunkEnd returns where the chunk of text that starts at from ends. Borders get
// short chunks of their own.
func (r *run) chunkEnd(text []byte, from int, b borders) int {
	c := &r.t.cut
	if !c.ok {
		return len(text)
	}
	to := from + c.size
	border := len(text)
	for side, s := range b {
		for i := s.from; i < s.to; i++ {
			if at := r.at[side][i]; at > from {
				border = min(border, at)
				break
			}
		}
	}
	if border < min(to, len(text)) {
		for i := border; i > from && i > border-nearBorder; i-- {
			if c.at(text, i) {
				return i
			}
		}
		to = border + 1
	}
	if to >= len(text) {
		return len(text)
	}
	return c.next(text, to)
}

// newCutter looks for a reason why text could not be cut. Each step of the way
// must leave ASCII letters as they are, but for their case, and a space a space
// or U+2581; look at nothing beyond a letter and a space; and some step must
// itself cut before the space.
func (t *Tokenizer) newCutter() cutter {
	c := cutter{ok: true, size: chunkBytes}
	for i := range c.after {
		c.after[i] = isLetter(byte(i))
	}
	space := " "
	for _, n := range t.norm {
		if c.ok = c.ok && keepsWords(n, &space); !c.ok {
			return c
		}
	}
	for _, tok := range t.added.normal.tokens {
		p := tok.pattern
		for i := 1; i < len(p); i++ {
			if isLetter(p[i-1]) && strings.HasPrefix(p[i:], space) {
				c.ok = false
			}
		}
		if tok.rstrip && isLetter(p[len(p)-1]) {
			c.ok = false
		}
	}
	c.ok = c.ok && t.cutsWords(&c, space)
	return c
}

// keepsWords reports whether a normalizer keeps letters and spaces, as newCutter
// wants them.
func keepsWords(n normalizer, space *string) bool {
	switch n := n.(type) {
	case form, lowercase, filter, nmt, bertNormalizer, strip, prepend:
		return true
	case *precompiled:
		for i := range byte(utf8.RuneSelf) {
			if (i == ' ' || isLetter(i)) && !n.keeps[i] {
				return false
			}
		}
		return true
	case replace:
		if n.old == " " && n.content == "▁" {
			*space = n.content
			return true
		}
		return !strings.ContainsFunc(n.old,
			func(r rune) bool { return r == ' ' || r == '▁' || r < utf8.RuneSelf && isLetter(byte(r)) })
	}
	return false
}

// cutsWords reports whether a stage cuts before each space between letters.
func (t *Tokenizer) cutsWords(c *cutter, space string) bool {
	for _, s := range t.pre {
		switch s := s.(type) {
		case prefixSpace:
			if space != " " {
				return false
			}
		case scanStage, bertStage:
			return space == " "
		case metaspace:
			if space == " " {
				space = s.mark
			}
			if space != s.mark {
				return false
			}
			if s.cut {
				return true
			}
		case seams:
			for i := range c.after {
				c.after[i] = c.after[i] && s.after.has(rune(i)) && s.after.has(rune(i|0x20))
			}
			return space == string(s.mark)
		case splitStage:
			switch p := s.pattern.(type) {
			case runes:
				if s.behavior == removed && p.want == classSpace && !s.invert {
					return space == " "
				}
				if p.want != classPunct && p.want != classNumeric || s.invert {
					return false
				}
			case words:
				return space == " " && s.behavior == removed && s.invert
			case literal:
				if s.invert || strings.Contains(string(p), space) ||
					strings.ContainsFunc(string(p), func(r rune) bool {
						return r < utf8.RuneSelf && isLetter(byte(r))
					}) {
					return false
				}
			default:
				return false
			}
		default:
			return false
		}
	}
	return false
}

// longWord is the length of a word, in bytes, from which on its tokens are
// estimated where there is a limit.
const longWord = 1 << 10

// weights are, by byte, one over the length of the longest token that holds it,
// in units of 1<<32, rounded down. Those of the bytes of a token sum to at most
// one, so those of a word sum to at most its tokens. A byte that an unknown
// token may swallow weighs nothing.
type weights *[256]uint64

// newWeights returns nil for models that look at a word as a whole.
func (t *Tokenizer) newWeights() weights {
	bytewise, all := false, false
	switch m := t.model.(type) {
	case *bpe:
		if m.prefix != "" || m.suffix != "" {
			return nil
		}
		bytewise, all = m.bytewise, m.bytewise && !m.missing || m.byteFallback &&
			slices.Min(m.byteTokens[:]) >= 0
	case *unigram:
	default:
		return nil
	}
	longest := [256]int{}
	var raw []byte
	for token := range t.vocab.ids {
		raw = append(raw[:0], token...)
		if bytewise {
			raw, _ = appendBytes(raw[:0], token) // what is no bytes is made of none
		}
		for _, c := range raw {
			longest[c] = max(longest[c], len(raw))
		}
	}
	var w [256]uint64
	for c, n := range longest {
		_, known := t.vocab.ids[string(rune(c))]
		if all || !bytewise && known && c < utf8.RuneSelf {
			w[c] = 1 << 32 / uint64(max(n, 1))
		}
	}
	return &w
}

// least returns a lower bound of the number of tokens of a word.
func (t *Tokenizer) least(word []byte) int {
	if t.weights == nil {
		return 0
	}
	sum := uint64(0) // at most 1<<32 a byte: words are shorter than 1<<32 bytes
	for _, c := range word {
		sum += t.weights[c]
	}
	return int(min(sum>>32, math.MaxInt32))
}
