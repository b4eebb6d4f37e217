package tokenizer

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode"
	"unicode/utf8"
)

// A change says what a normalizer did.
type change int

const (
	unchanged   change = iota
	rewritten          // there is new text
	leadRemoved        // there is new text, and it no longer starts where the old did
)

// ends say which ends of a text those of a chunk of it are.
type ends struct{ left, right bool }

// A normalizer rewrites a chunk of a text. Implementations are immutable.
type normalizer interface {
	// normalize appends the new text to dst, which is empty and does not
	// overlap src, and returns it. When it returns unchanged, src stands. It
	// moves the borders of a, which may be nil.
	normalize(dst, src []byte, e ends, a *aligner) ([]byte, change)
}

// lowercase maps every rune to lower case, without the rules that depend on
// what stands around it.
type lowercase struct{}

func (lowercase) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	if a != nil {
		return alignRunes(lowercase{}, dst, src, a)
	}
	for i := 0; i < len(src); {
		if c := src[i]; c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(src[i:])
		i += n
		if r == 'İ' {
			dst = append(dst, "i\u0307"...) // the only rune that becomes two
			continue
		}
		dst = utf8.AppendRune(dst, toLower(r))
	}
	return dst, rewritten
}

// toLower is unicode.ToLower with the letters that Unicode 16 and 17 added.
func toLower(r rune) rune {
	switch {
	case r < 0x1C89:
		return unicode.ToLower(r)
	case r == 0x1C89, r == 0xA7CC, r == 0xA7CE, r == 0xA7D2, r == 0xA7D4, r == 0xA7DA:
		return r + 1
	case r == 0xA7CB:
		return 0x0264
	case r == 0xA7DC:
		return 0x019B
	case r >= 0x10D50 && r <= 0x10D65:
		return r + 0x20
	case r >= 0x16EA0 && r <= 0x16EB8:
		return r + 0x1B
	}
	return unicode.ToLower(r)
}

// filter drops the runes of a class.
type filter struct{ drop class }

func (f filter) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	if a != nil {
		return alignRunes(f, dst, src, a)
	}
	classes := unicodeClasses()
	if !classes.any(src, f.drop) {
		return dst, unchanged
	}
	return keepRunes(dst, src, func(r rune) (rune, bool) { return r, classes.of(r)&f.drop == 0 })
}

// keepRunes appends the runes of src that keep wants, as it wants them.
func keepRunes(dst, src []byte, keep func(rune) (rune, bool)) ([]byte, change) {
	done := rewritten
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if to, ok := keep(r); ok {
			dst = utf8.AppendRune(dst, to)
		} else if i == 0 {
			done = leadRemoved
		}
		i += n
	}
	return dst, done
}

// strip removes white space at the ends.
type strip struct{ left, right bool }

func (s strip) normalize(dst, src []byte, e ends, a *aligner) ([]byte, change) {
	start, end := 0, len(src)
	if s.left && e.left {
		start = spaceAfter(src, 0)
	}
	if s.right && e.right {
		end = spaceBefore(src, end, start)
	}
	if start == 0 && end == len(src) {
		return dst, unchanged
	}
	dst = append(dst, src[start:end]...)
	if a != nil {
		a.unit(0, start, 0, 0)
		a.copied(end, -start)
		a.end(len(dst))
	}
	if start > 0 {
		return dst, leadRemoved
	}
	return dst, rewritten
}

// prepend puts text in front of text that is not empty.
type prepend struct{ text string }

func (p prepend) normalize(dst, src []byte, e ends, a *aligner) ([]byte, change) {
	if len(src) == 0 || !e.left {
		return dst, unchanged
	}
	if a != nil {
		a.unit(0, 1, 0, 0) // the text counts to the first rune
		a.copied(len(src)+1, len(p.text))
	}
	return append(append(dst, p.text...), src...), rewritten
}

// replace puts content where a fixed string stands.
type replace struct{ old, content string }

func (p replace) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	old := []byte(p.old)
	if !bytes.Contains(src, old) {
		return dst, unchanged
	}
	done := rewritten
	for at := 0; ; {
		i := bytes.Index(src[at:], old)
		if i < 0 {
			return appendCopy(dst, src, at, len(src), a), done
		}
		dst = appendCopy(dst, src, at, at+i, a)
		at += i
		if at == 0 && movesLead(old, p.content) {
			done = leadRemoved
		}
		dst = appendUnit(dst, p.content, at, at+len(old), a)
		at += len(old)
	}
}

// appendCopy appends src[from:to].
func appendCopy(dst, src []byte, from, to int, a *aligner) []byte {
	if a != nil {
		a.copied(to, len(dst)-from)
		if to == len(src) {
			a.end(len(dst) + to - from)
		}
	}
	return append(dst, src[from:to]...)
}

// appendUnit appends what the source [from, to) becomes as one.
func appendUnit[S string | []byte](dst []byte, s S, from, to int, a *aligner) []byte {
	if a != nil {
		a.unit(from, to, len(dst), len(dst)+len(s))
	}
	return append(dst, s...)
}

// movesLead reports whether text that replaces old at the start no longer
// starts where old did: the reference aligns it with old's last rune.
func movesLead(old []byte, content string) bool {
	return content == "" || utf8.RuneCount(old) > 1
}

// replacePattern puts content where a regular expression matches.
type replacePattern struct {
	pattern pattern
	content string
}

func (p replacePattern) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	done := unchanged
	spans := p.pattern.find(nil, src)
	if !slices.ContainsFunc(spans, func(s span) bool { return s.match }) {
		return dst, unchanged
	}
	for _, s := range spans {
		if !s.match {
			dst = appendCopy(dst, src, s.start, s.end, a)
			continue
		}
		if done == unchanged {
			done = rewritten
		}
		if s.start == 0 && s.end > 0 && movesLead(src[:s.end], p.content) {
			done = leadRemoved
		}
		dst = appendUnit(dst, p.content, s.start, s.end, a)
	}
	if a != nil {
		a.end(len(dst))
	}
	return dst, done
}

// bertNormalizer is BERT's cleaning; its fields are tokenizer.json's.
type bertNormalizer struct {
	cleanText, chinese, stripAccents, lowercase bool
}

func (b bertNormalizer) normalize(dst, src []byte, e ends, a *aligner) ([]byte, change) {
	ascii := isASCII(src)
	switch {
	case a != nil && ascii:
		return alignRunes(b, dst, src, a)
	case a != nil:
		return b.align(dst, src, e, a)
	case ascii:
		return b.normalizeASCII(dst, src)
	}
	done := rewritten
	if b.cleanText {
		dst, done = keepRunes(dst, src, cleanRune)
	} else {
		dst = append(dst, src...)
	}
	if b.chinese {
		dst = rewrite(dst, spaceChinese)
	}
	if b.stripAccents {
		dst = rewrite(dst, form{nfd}.append)
		dst = rewrite(dst, func(dst, src []byte) []byte {
			out, c := filter{classNonspacing}.normalize(dst, src, e, nil)
			if c == unchanged {
				return src
			}
			done = max(done, c)
			return out
		})
	}
	if b.lowercase {
		dst = rewrite(dst, func(dst, src []byte) []byte {
			out, _ := lowercase{}.normalize(dst, src, e, nil)
			return out
		})
	}
	return dst, done
}

// align is normalize, one step at a time.
func (b bertNormalizer) align(dst, src []byte, e ends, a *aligner) ([]byte, change) {
	done, moving := rewritten, a.b
	for _, step := range []struct {
		on bool
		n  normalizer
	}{
		{b.cleanText, runeByRune(func(dst, src []byte) ([]byte, change) {
			return keepRunes(dst, src, cleanRune)
		})},
		{b.chinese, runeByRune(func(dst, src []byte) ([]byte, change) {
			return spaceChinese(dst, src), rewritten
		})},
		{b.stripAccents, form{nfd}},
		{b.stripAccents, filter{classNonspacing}},
		{b.lowercase, lowercase{}},
	} {
		if !step.on {
			continue
		}
		out, c := step.n.normalize(nil, src, e, a.run.aligner(moving))
		if c != unchanged {
			src, done = out, max(done, c)
		}
	}
	return append(dst, src...), done
}

// runeByRune is a normalizer that looks at one rune at a time.
type runeByRune func(dst, src []byte) ([]byte, change)

func (f runeByRune) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	if a != nil {
		return alignRunes(f, dst, src, a)
	}
	return f(dst, src)
}

// normalizeASCII is normalize for the text where only cleaning and case matter.
func (b bertNormalizer) normalizeASCII(dst, src []byte) ([]byte, change) {
	done := rewritten
	for i, c := range src {
		switch {
		case 'A' <= c && c <= 'Z':
			if b.lowercase {
				c += 'a' - 'A'
			}
		case c >= ' ' && c != 0x7F || !b.cleanText:
		case c == '\t' || c == '\n' || c == '\r':
			c = ' '
		default:
			if i == 0 {
				done = leadRemoved
			}
			continue
		}
		dst = append(dst, c)
	}
	return dst, done
}

// rewrite replaces text by what do makes of it, in the same buffer. do gets an
// empty slice to append to, behind the text, and may return its source.
func rewrite(text []byte, do func(dst, src []byte) []byte) []byte {
	n := len(text)
	text = slices.Grow(text, n+n/2+utf8.UTFMax)
	return append(text[:0], do(text[n:n], text)...)
}

// cleanRune drops control characters and makes all white space a space.
func cleanRune(r rune) (rune, bool) {
	switch r {
	case '\t', '\n', '\r':
		return ' ', true
	case 0, utf8.RuneError:
		return r, false
	}
	switch c := unicodeClasses().of(r); {
	case c&classControl != 0:
		return r, false
	case c&classSpace != 0:
		return ' ', true
	}
	return r, true
}

// spaceChinese puts spaces around CJK ideographs.
func spaceChinese(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if isChinese(r) {
			dst = append(append(append(dst, ' '), src[i:i+n]...), ' ')
		} else {
			dst = append(dst, src[i:i+n]...)
		}
		i += n
	}
	return dst
}

// isChinese reports whether BERT takes r for a CJK ideograph. The gap from
// U+2B820 to U+2B91F is the reference's.
func isChinese(r rune) bool {
	switch {
	case r < 0x3400:
		return false
	case r <= 0x4DBF, r >= 0x4E00 && r <= 0x9FFF, r >= 0xF900 && r <= 0xFAFF,
		r >= 0x20000 && r <= 0x2A6DF, r >= 0x2A700 && r <= 0x2B73F,
		r >= 0x2B740 && r <= 0x2B81F, r >= 0x2B920 && r <= 0x2CEAF,
		r >= 0x2F800 && r <= 0x2FA1F:
		return true
	}
	return false
}

// nmt is the cleaning of Google's NMT models.
type nmt struct{}

func (nmt) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	if a != nil {
		return alignRunes(nmt{}, dst, src, a)
	}
	return keepRunes(dst, src, func(r rune) (rune, bool) {
		switch {
		case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200B && r <= 0x200F,
			r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
			return ' ', true
		case r >= 1 && r <= 8, r == 0x0B, r >= 0x0E && r <= 0x1F, r == 0x7F, r == 0x8F, r == 0x9F:
			return r, false
		}
		return r, true
	})
}

func isASCII(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// byteLevelText writes every byte as its character of the byte alphabet.
type byteLevelText struct{}

func (byteLevelText) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	return alignByteLevel(dst, src, a), rewritten
}
