package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/rangetable"
)

// A class is a set of Unicode properties, each as the component of the
// reference that asks for it sees them.
type class uint16

const (
	classLetter     class = 1 << iota // \p{L} in a pattern
	classNumber                       // \p{N} in a pattern
	classSpace                        // White_Space, in patterns and everywhere else
	classNumeric                      // what Digits cuts at
	classWord                         // \w of Whitespace and of single_word
	classPunct                        // what BertPreTokenizer and Punctuation cut at
	classControl                      // what BertNormalizer drops
	classNonspacing                   // the accents that BertNormalizer strips
	classCombining                    // the accents that StripAccents strips
	classInert                        // what normalization forms leave alone
)

// classTable maps every rune to its class, in pages of 256 runes that are
// shared where they are equal.
type classTable struct {
	index [(unicode.MaxRune + 1) >> 8]uint16
	pages [][256]class
	ascii [utf8.RuneSelf]class
}

// unicodeClasses is the one table, built when the first tokenizer is parsed.
var unicodeClasses = sync.OnceValue(buildClasses)

// of returns the class of r, which must be a valid rune.
func (t *classTable) of(r rune) class { return t.pages[t.index[r>>8]][r&0xFF] }

// at returns the class and the length of the rune at b[i].
func (t *classTable) at(b []byte, i int) (class, int) {
	if c := b[i]; c < utf8.RuneSelf {
		return t.ascii[c], 1
	}
	r, n := utf8.DecodeRune(b[i:])
	return t.of(r), n
}

// run returns the end of the run of runes from i on that are in one of want.
func (t *classTable) run(b []byte, i int, want class) int {
	for i < len(b) {
		if c := b[i]; c < utf8.RuneSelf {
			if t.ascii[c]&want == 0 {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if t.of(r)&want == 0 {
			return i
		}
		i += n
	}
	return i
}

// runNot returns the end of the run of runes from i on that are in none of not.
func (t *classTable) runNot(b []byte, i int, not class) int {
	for i < len(b) {
		if c := b[i]; c < utf8.RuneSelf {
			if t.ascii[c]&not != 0 {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if t.of(r)&not != 0 {
			return i
		}
		i += n
	}
	return i
}

// any reports whether some rune of b is in one of want.
func (t *classTable) any(b []byte, want class) bool { return t.runNot(b, 0, want) < len(b) }

// buildClasses marks the ranges of Go's tables, then the differences.
func buildClasses() *classTable {
	flat := make([]class, unicode.MaxRune+1)
	add := func(c class, tables ...*unicode.RangeTable) {
		for _, table := range tables {
			rangetable.Visit(table, func(r rune) { flat[r] |= c })
		}
	}
	add(classLetter, unicode.L)
	add(classNumber, unicode.N)
	add(classSpace, unicode.White_Space)
	add(classNumeric, unicode.N)
	add(classWord, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic,
		unicode.Join_Control)
	add(classPunct, unicode.P)
	add(classControl, unicode.Cc, unicode.Cf, unicode.Co)
	add(classNonspacing, unicode.Mn)
	add(classCombining, unicode.M)
	for _, r := range "$+<=>^`|~" {
		flat[r] |= classPunct // ASCII symbols count as punctuation for BERT
	}
	for _, d := range classDeltas {
		for i := 0; i < len(d.ranges); i += 2 {
			for r := d.ranges[i]; r <= d.ranges[i+1]; r++ {
				flat[r] ^= d.class
			}
		}
	}
	return foldClasses(flat)
}

func foldClasses(flat []class) *classTable {
	t := new(classTable)
	seen := map[[256]class]uint16{}
	for i := range t.index {
		page := [256]class(flat[i<<8:])
		n, ok := seen[page]
		if !ok {
			n = uint16(len(t.pages))
			seen[page] = n
			t.pages = append(t.pages, page)
		}
		t.index[i] = n
	}
	copy(t.ascii[:], flat)
	return t
}
