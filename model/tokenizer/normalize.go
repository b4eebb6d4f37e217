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

// A normalizer rewrites a part of the text. Implementations are immutable.
type normalizer interface {
	// normalize appends the new text to dst, which is empty and does not
	// overlap src, and returns it. When it returns unchanged, src stands.
	normalize(dst, src []byte) ([]byte, change)
}

// lowercase maps every rune to lower case, without the rules that depend on
// what stands around it.
type lowercase struct{}

func (lowercase) normalize(dst, src []byte) ([]byte, change) {
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

func (f filter) normalize(dst, src []byte) ([]byte, change) {
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

func (s strip) normalize(dst, src []byte) ([]byte, change) {
	start, end := 0, len(src)
	if s.left {
		start = spaceAfter(src, 0)
	}
	if s.right {
		end = spaceBefore(src, end, start)
	}
	switch {
	case start == 0 && end == len(src):
		return dst, unchanged
	case start > 0:
		return append(dst, src[start:end]...), leadRemoved
	}
	return append(dst, src[:end]...), rewritten
}

// prepend puts text in front of text that is not empty.
type prepend struct{ text string }

func (p prepend) normalize(dst, src []byte) ([]byte, change) {
	if len(src) == 0 {
		return dst, unchanged
	}
	return append(append(dst, p.text...), src...), rewritten
}

// replace puts content where a fixed string stands.
type replace struct{ old, content string }

func (p replace) normalize(dst, src []byte) ([]byte, change) {
	old := []byte(p.old)
	if !bytes.Contains(src, old) {
		return dst, unchanged
	}
	done := rewritten
	for at := 0; ; {
		i := bytes.Index(src, old)
		if i < 0 {
			return append(dst, src...), done
		}
		if at+i == 0 && movesLead(old, p.content) {
			done = leadRemoved
		}
		dst = append(append(dst, src[:i]...), p.content...)
		at += i + len(old)
		src = src[i+len(old):]
	}
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

func (p replacePattern) normalize(dst, src []byte) ([]byte, change) {
	done := unchanged
	for _, s := range p.pattern.find(nil, src) {
		if !s.match {
			dst = append(dst, src[s.start:s.end]...)
			continue
		}
		if done == unchanged {
			done = rewritten
		}
		if s.start == 0 && s.end > 0 && movesLead(src[:s.end], p.content) {
			done = leadRemoved
		}
		dst = append(dst, p.content...)
	}
	return dst, done
}

// bertNormalizer is BERT's cleaning; its fields are tokenizer.json's.
type bertNormalizer struct {
	cleanText, chinese, stripAccents, lowercase bool
}

func (b bertNormalizer) normalize(dst, src []byte) ([]byte, change) {
	if isASCII(src) {
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
			out, c := filter{classNonspacing}.normalize(dst, src)
			if c == unchanged {
				return src
			}
			done = max(done, c)
			return out
		})
	}
	if b.lowercase {
		dst = rewrite(dst, func(dst, src []byte) []byte {
			out, _ := lowercase{}.normalize(dst, src)
			return out
		})
	}
	return dst, done
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

func (nmt) normalize(dst, src []byte) ([]byte, change) {
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

func (byteLevelText) normalize(dst, src []byte) ([]byte, change) {
	return appendByteLevel(dst, src), rewritten
}
