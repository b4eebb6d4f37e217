package tokenizer

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	nfc  = norm.NFC
	nfd  = norm.NFD
	nfkc = norm.NFKC
	nfkd = norm.NFKD
)

// A form is a Unicode normalization form, as the reference computes it: without
// the limit of 30 marks in a row at which package norm puts in a U+034F, and
// with the runes of classInert left alone.
type form struct{ norm.Form }

func (f form) normalize(dst, src []byte, _ ends, a *aligner) ([]byte, change) {
	if isASCII(src) {
		return dst, unchanged
	}
	if plain(src) && f.Form.QuickSpan(src) == len(src) {
		return dst, unchanged
	}
	if a != nil {
		return f.align(dst, src, a), rewritten
	}
	return f.append(dst, src), rewritten
}

// align is append that moves borders: around each it normalizes what may not be
// cut apart, one rune at a time.
func (f form) align(dst, src []byte, a *aligner) []byte {
	done := 0
	for {
		p, ok := a.next()
		if !ok {
			return f.append(dst, src[done:])
		}
		from, to := f.segment(src, p)
		dst = f.append(dst, src[done:from])
		x := len(dst)
		if from == to {
			a.unit(p, p+1, x, x)
		} else {
			var runs []made
			dst, runs = f.appendMade(dst, src[from:to], from)
			a.spread(to, runs, x, len(dst))
		}
		done = to
	}
}

// segment returns the smallest part of src around p that can be normalized
// apart from what surrounds it; it is empty where src can be cut at p.
func (f form) segment(src []byte, p int) (from, to int) {
	starts := func(i int) bool {
		return i == 0 || i == len(src) || src[i] < utf8.RuneSelf ||
			f.Form.Properties(src[i:]).BoundaryBefore()
	}
	from = runeStart(src, p)
	to = from
	if from == p && starts(p) {
		return p, p
	}
	for !starts(from) {
		_, n := utf8.DecodeLastRune(src[:from])
		from -= n
	}
	for to < p || !starts(to) {
		_, n := utf8.DecodeRune(src[to:])
		to += n
	}
	return from, to
}

// appendMade is append, and says where each rune comes from; at is where src
// stands in the text.
func (f form) appendMade(dst, src []byte, at int) ([]byte, []made) {
	chars := f.marks(src)
	runs := make([]made, 0, len(chars))
	for _, c := range chars {
		x := len(dst)
		dst = utf8.AppendRune(dst, c.r)
		runs = append(runs, made{at + c.from, at + c.to, x, len(dst)})
	}
	return dst, runs
}

// append appends the normalized src to dst.
func (f form) append(dst, src []byte) []byte {
	if plain(src) {
		return f.Form.Append(dst, src...)
	}
	for _, c := range f.marks(src) {
		dst = utf8.AppendRune(dst, c.r)
	}
	return dst
}

// plainMarks is how many marks in a row package norm certainly takes without
// its limit: one rune decomposes into at most four marks.
const plainMarks = 30 / 4

// plain reports whether package norm does what the reference does: src has no
// inert rune and no long run of marks.
func plain(src []byte) bool {
	classes := unicodeClasses()
	marks := 0
	for i := 0; i < len(src); {
		if src[i] < utf8.RuneSelf {
			marks = 0
			i++
			continue
		}
		r, n := utf8.DecodeRune(src[i:])
		c := classes.of(r)
		switch {
		case c&classInert != 0:
			return false
		case c&(classCombining|classNonspacing) == 0 && r != 0xFF9E && r != 0xFF9F:
			// The two half-width marks are letters that decompose into marks.
			marks = 0
		default:
			if marks++; marks > plainMarks {
				return false
			}
		}
		i += n
	}
	return true
}

// A mark is a rune with its canonical combining class, 0 for a starter, and
// the part of the source that it comes from.
type mark struct {
	r        rune
	ccc      uint8
	from, to int
}

// marks is normalization as the standard defines it (Unicode 15, section 3.11), one rune at a
// time, with package norm for the properties of runes only, and inert runes as they are.
func (f form) marks(src []byte) (out []mark) {
	classes := unicodeClasses()
	start := 0
	for i := 0; i < len(src); {
		c, n := classes.at(src, i)
		if c&classInert != 0 {
			r, _ := utf8.DecodeRune(src[i:])
			out = append(append(out, f.chars(src[start:i], start)...), mark{r, 0, i, i + n})
			start = i + n
		}
		i += n
	}
	return append(out, f.chars(src[start:], start)...)
}

// chars returns the runes of the normalized src, which stands at offset at.
func (f form) chars(src []byte, at int) []mark {
	decompose := nfd
	if f.Form == nfkc || f.Form == nfkd {
		decompose = nfkd
	}
	chars := make([]mark, 0, len(src))
	var buf []byte
	for i := 0; i < len(src); {
		_, size := utf8.DecodeRune(src[i:])
		buf = decompose.Append(buf[:0], src[i:i+size]...)
		for k := 0; k < len(buf); {
			r, n := utf8.DecodeRune(buf[k:])
			chars = append(chars, mark{r, nfd.Properties(buf[k:]).CCC(), at + i, at + i + size})
			k += n
		}
		i += size
	}
	reorder(chars)
	if f.Form == nfc || f.Form == nfkc {
		chars = recompose(chars)
	}
	return chars
}

// reorder sorts each run of marks by combining class, keeping the order of
// equals.
func reorder(chars []mark) {
	for i := 0; i < len(chars); {
		end := i + 1
		if chars[i].ccc != 0 {
			for end < len(chars) && chars[end].ccc != 0 {
				end++
			}
			slices.SortStableFunc(chars[i:end], func(a, b mark) int { return int(a.ccc) - int(b.ccc) })
		}
		i = end
	}
}

// recompose joins starters with what follows them and is not blocked, in place.
func recompose(chars []mark) []mark {
	starter := -1
	buf := make([]byte, 0, 64)
	out := chars[:0]
	last := uint8(0) // class of the last mark kept since the starter
	for _, c := range chars {
		if starter >= 0 && (last < c.ccc || len(out) == starter+1) {
			if r, ok := compose(buf, out[starter].r, c.r); ok {
				s := &out[starter]
				s.r, s.from, s.to = r, min(s.from, c.from), max(s.to, c.to)
				continue
			}
		}
		if c.ccc == 0 {
			starter, last = len(out), 0
		} else {
			last = c.ccc
		}
		out = append(out, c)
	}
	return out
}

// compose returns the primary composite of two runes. buf is space for both,
// which package norm would otherwise make escape at each call.
func compose(buf []byte, a, b rune) (rune, bool) {
	pair := utf8.AppendRune(utf8.AppendRune(buf[:0], a), b)
	out := nfc.Append(pair[len(pair):], pair...)
	r, n := utf8.DecodeRune(out)
	return r, n == len(out)
}
