package tokenizer

import "unicode/utf8"

// appendValid appends text to dst, which is empty where there are borders to move, as valid
// UTF-8. Each maximal ill-formed part becomes one U+FFFD, as Unicode recommends and as Rust's
// from_utf8_lossy does; Go's own conversions count differently.
func appendValid(dst []byte, text string, a *aligner) []byte {
	in := bytesOf(text)
	from := 0 // of what is to be copied
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n <= 1 {
			n = illFormed(text[i:])
			dst = appendUnit(appendCopy(dst, in, from, i, a), "\uFFFD", i, i+n, a)
			from = i + n
		}
		i += n
	}
	return appendCopy(dst, in, from, len(in), a)
}

// illFormed returns the length of the maximal ill-formed part that text, which
// starts with invalid UTF-8, starts with: the longest prefix of a well-formed
// sequence, or one byte (Unicode 15, section 3.9, table 3-7).
func illFormed(text string) int {
	var size int
	low, high := byte(0x80), byte(0xBF)
	switch c := text[0]; {
	case c >= 0xC2 && c <= 0xDF:
		size = 2
	case c >= 0xE0 && c <= 0xEF:
		size = 3
		if c == 0xE0 {
			low = 0xA0
		}
		if c == 0xED {
			high = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		size = 4
		if c == 0xF0 {
			low = 0x90
		}
		if c == 0xF4 {
			high = 0x8F
		}
	default:
		return 1
	}
	n := 1
	for n < size && n < len(text) && text[n] >= low && text[n] <= high {
		n++
		low, high = 0x80, 0xBF
	}
	return n
}
