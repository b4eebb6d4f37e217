package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// An aligner moves the borders of a piece to where they stand in the text that
// a normalizer makes of it. The normalizer tells it from left to right what
// became of its source; the offsets it tells of the result are from the start
// of the result.
type aligner struct {
	run *run
	b   borders // those that have not moved yet
}

func (r *run) aligner(b borders) *aligner {
	r.align = aligner{r, b}
	return &r.align
}

// alignerOrNil is nil where there are no borders to move.
func (r *run) alignerOrNil(b borders) *aligner {
	if b.none() {
		return nil
	}
	return r.aligner(b)
}

// next returns the offset of the first border that has not moved yet.
func (a *aligner) next() (at int, ok bool) {
	for side, s := range a.b {
		if s.from < s.to {
			if p := a.run.at[side][s.from]; !ok || p < at {
				at, ok = p, true
			}
		}
	}
	return at, ok
}

// copied says that the source up to offset to was copied to a place that is
// shift bytes further right.
func (a *aligner) copied(to, shift int) {
	for side := range a.b {
		at, s := a.run.at[side], &a.b[side]
		for ; s.from < s.to && at[s.from] < to; s.from++ {
			at[s.from] += shift
		}
	}
}

// unit says that the source [from, to) became [x, y) of the result, as one: no
// byte of it comes from only one side of a border inside.
func (a *aligner) unit(from, to, x, y int) {
	for side := range a.b {
		at, s := a.run.at[side], &a.b[side]
		for ; s.from < s.to && at[s.from] < to; s.from++ {
			if at[s.from] == from || side == behind {
				at[s.from] = x
			} else {
				at[s.from] = y
			}
		}
	}
}

// end says that the result is n bytes long.
func (a *aligner) end(n int) {
	for side := range a.b {
		at, s := a.run.at[side], &a.b[side]
		for ; s.from < s.to; s.from++ {
			at[s.from] = n
		}
	}
}

// A made is a run of a result and the source that it comes from.
type made struct{ from, to, x, y int }

// spread says that the source up to offset to became the runs, which need not
// be in the order of their sources.
func (a *aligner) spread(to int, runs []made, x, y int) {
	for side := range a.b {
		at, s := a.run.at[side], &a.b[side]
		for ; s.from < s.to && at[s.from] < to; s.from++ {
			p := at[s.from]
			if side == behind {
				at[s.from] = y
				for i := range runs {
					if runs[i].to > p {
						at[s.from] = runs[i].x
						break
					}
				}
				continue
			}
			at[s.from] = x
			for i := len(runs) - 1; i >= 0; i-- {
				if runs[i].from < p {
					at[s.from] = runs[i].y
					break
				}
			}
		}
	}
}

// alignRunes is normalize for a normalizer that looks at one rune at a time: the
// text between borders, and the runes that hold one, are normalized apart.
func alignRunes(n normalizer, dst, src []byte, a *aligner) ([]byte, change) {
	done, result := 0, rewritten
	put := func(to int) {
		out, c := n.normalize(dst[len(dst):], src[done:to], ends{}, nil)
		if c == unchanged {
			out = src[done:to]
		}
		if c == leadRemoved && done == 0 {
			result = leadRemoved
		}
		dst = append(dst, out...)
		done = to
	}
	for {
		p, ok := a.next()
		if !ok {
			put(len(src))
			return dst, result
		}
		from := runeStart(src, p)
		put(from)
		x := len(dst)
		if p > from {
			_, size := utf8.DecodeRune(src[from:])
			put(from + size)
		}
		a.unit(from, max(p+1, done), x, len(dst))
	}
}

// runeStart returns where the rune starts that src[i] belongs to.
func runeStart(src []byte, i int) int {
	for i > 0 && i < len(src) && !utf8.RuneStart(src[i]) {
		i--
	}
	return i
}

// newLengths returns how many bytes of a word each token of the model holds; 0
// for the unknown token, and nil for a model whose words get affixes.
func (t *Tokenizer) newLengths() []int32 {
	prefix, bytewise := "", false
	bytes := [256]int32{} // tokens that stand for one byte
	switch m := t.model.(type) {
	case *bpe:
		if m.prefix != "" || m.suffix != "" {
			return nil
		}
		bytewise = m.bytewise
		if m.byteFallback {
			bytes = m.byteTokens
		}
	case *unigram:
		if m.byteFallback {
			bytes = m.byteTokens
		}
	case *wordPiece:
		prefix = m.prefix
	}
	lengths := make([]int32, len(t.vocab.tokens))
	var raw []byte
	for token, id := range t.vocab.ids {
		lengths[id] = int32(len(strings.TrimPrefix(token, prefix)))
		if bytewise {
			raw, _ = appendBytes(raw[:0], token)
			lengths[id] = int32(len(raw))
		}
	}
	for _, id := range bytes {
		if id > 0 {
			lengths[id] = 1
		}
	}
	if unk := t.model.unknown(); unk >= 0 {
		lengths[unk] = 0
	}
	return lengths
}
