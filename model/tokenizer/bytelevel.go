package tokenizer

import "unicode/utf8"

// byteRunes is the byte alphabet of GPT-2: printable Latin-1 characters stand
// for themselves, the other 68 bytes for U+0100 and on.
var byteRunes = func() (runes [256]rune) {
	next := rune(256)
	for b := range runes {
		if b >= '!' && b <= '~' || b >= 0xA1 && b != 0xAD {
			runes[b] = rune(b)
		} else {
			runes[b] = next
			next++
		}
	}
	return runes
}()

// ByteRune returns the character of the byte alphabet that stands for a byte.
func ByteRune(b byte) rune { return byteRunes[b] }

// runeByte returns the byte that a character of the alphabet stands for.
func runeByte(r rune) (byte, bool) {
	switch {
	case r >= '!' && r <= '~' || r >= 0xA1 && r <= 0xFF && r != 0xAD:
		return byte(r), true
	case r >= 256 && r <= 256+32: // 0x00 to 0x20
		return byte(r - 256), true
	case r >= 256+33 && r < 256+67: // 0x7F to 0xA0
		return byte(r - 256 - 33 + 0x7F), true
	case r == 256+67:
		return 0xAD, true
	}
	return 0, false
}

// appendByteLevel appends src, each byte as its character.
func appendByteLevel(dst, src []byte) []byte {
	for _, b := range src {
		dst = utf8.AppendRune(dst, byteRunes[b])
	}
	return dst
}

// alignByteLevel is appendByteLevel to an empty dst.
func alignByteLevel(dst, src []byte, a *aligner) []byte {
	if a == nil {
		return appendByteLevel(dst, src)
	}
	from := len(dst)
	for i := range src {
		x := len(dst) - from
		dst = appendByteLevel(dst, src[i:i+1])
		a.unit(i, i+1, x, len(dst)-from)
	}
	a.end(len(dst) - from)
	return dst
}

// appendBytes appends the bytes that token stands for. ok is false when some
// character is not of the alphabet.
func appendBytes(dst []byte, token string) (out []byte, ok bool) {
	from := len(dst)
	for _, r := range token {
		b, ok := runeByte(r)
		if !ok {
			return dst[:from], false
		}
		dst = append(dst, b)
	}
	return dst, true
}
