package bpe

import (
	"unicode"
	"unicode/utf8"
)

// contractions end a word of their own.
var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// next returns the length of the first word of a text that is not empty:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func next(text []byte) int {
	for _, c := range contractions {
		if len(text) >= len(c) && string(text[:len(c)]) == c {
			return len(c)
		}
	}
	at := 0
	if text[0] == ' ' && len(text) > 1 {
		at = 1
	}
	r, n := utf8.DecodeRune(text[at:])
	if !unicode.IsSpace(r) {
		kind := kindOf(r)
		at += n
		for at < len(text) {
			r, n := utf8.DecodeRune(text[at:])
			if unicode.IsSpace(r) || kindOf(r) != kind {
				break
			}
			at += n
		}
		return at
	}
	last := 0 // of the space that ends the run
	for at = 0; at < len(text); at += n {
		if r, n = utf8.DecodeRune(text[at:]); !unicode.IsSpace(r) {
			break
		}
		last = at
	}
	if at < len(text) && last > 0 {
		return last // the last space belongs to the word that follows
	}
	return at
}

type kind uint8

const (
	letter kind = iota
	number
	other
)

func kindOf(r rune) kind {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	}
	return other
}
