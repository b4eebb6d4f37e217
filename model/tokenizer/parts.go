package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
	"unsafe"
)

// A Part is a run of a text that comes from one source.
type Part struct {
	// End is the byte offset in the text where the part ends. The parts of a
	// text are in order and cover it; a part may be empty.
	End int
	// Plain is set where no special token may come out of the text: no special
	// added token is read where it would hold a byte of the part, and the model
	// makes none of such a byte.
	Plain bool
}

// A Range is the tokens [From, To) that hold at least one byte of a part. A
// token that crosses a border is in the ranges of both sides. From and To of a
// part without a byte, or whose bytes a normalizer drops, are where it stands.
type Range struct{ From, To int }

// ErrLimit is returned when a text has more tokens than its limit.
var ErrLimit = errors.New("tokenizer: more tokens than the limit")

// AppendParts appends the ids of text, without special tokens around it, and
// returns which tokens of the result hold each part. How ordinary text is cut
// does not depend on the parts; see [Part.Plain] for special tokens. limit > 0
// stops with [ErrLimit], and ids of no use, as soon as it is known that there
// are more ids of text than that.
//
// A special token whose flags look at its neighbours (single_word) ignores
// neighbours in plain parts, and no other added token is read across the border
// of a plain part where that would break up a special token on the other side:
// text of a plain part neither makes nor destroys a special token.
func (t *Tokenizer) AppendParts(ids []int32, text string, parts []Part, limit int) ([]int32, []Range, error) {
	sc := t.scratch()
	defer t.release(sc)
	r := &sc.run
	r.begin(t, sc, ids, parts, limit)
	r.text(text)
	ids, r.ids = r.ids, nil
	if r.over {
		return ids, nil, ErrLimit
	}
	ranges := make([]Range, len(parts))
	for i := range ranges {
		ranges[i] = r.tokens(i)
	}
	return ids, ranges, nil
}

// The two sides of a border between parts. A normalizer may make one character
// of text from both sides, so a border has two places in normalized text: where
// the first byte stands that holds something from behind it, and where the last
// byte ends that holds something from before it.
const (
	behind = iota
	before
	sides
)

// borders are those that lie in a piece of the text, by their numbers: border
// i stands before part i, and the last one behind all parts. The borders of
// each side before from are passed already.
type borders [sides]struct{ from, to int }

func (b borders) none() bool {
	return b[behind].from == b[behind].to && b[before].from == b[before].to
}

// A place is where a side of a border came to stand.
type place struct {
	token int // index of a token: the first behind the border, or one more than the last before it
	pos   int // bytes of normalized text before the border
}

// A run is one call: where borders stand on the way of the text through the
// stages, and what has come out.
type run struct {
	t       *Tokenizer
	sc      *scratch
	ids     []int32
	most    int // length of ids that is over the limit
	over    bool
	parts   []Part
	plain   bool           // some part is plain, and there are special tokens
	guarded bool           // plain, and the model can make special tokens
	pos     int            // bytes of normalized text that became tokens
	at      [sides][]int   // of borders to come: offset in the piece that is being worked on
	places  [sides][]place // of borders passed
	spans   [3][]span      // see plainSpans
	align   aligner
}

func (r *run) begin(t *Tokenizer, sc *scratch, ids []int32, parts []Part, limit int) {
	r.t, r.sc, r.ids, r.parts, r.over, r.pos = t, sc, ids, parts, false, 0
	r.most = math.MaxInt
	if limit > 0 {
		r.most = len(ids) + limit + 1
	}
	r.plain = false
	for side := range sides {
		r.at[side] = append(r.at[side][:0], 0)
		r.places[side] = append(r.places[side][:0], place{})
	}
	last := 0
	for _, p := range parts {
		if p.End < last {
			panic(fmt.Sprintf("tokenizer: a part ends at %d, before its start %d", p.End, last))
		}
		last = p.End
		r.plain = r.plain || p.Plain && len(t.added.special) > 0
		for side := range sides {
			r.at[side] = append(r.at[side], p.End)
			r.places[side] = append(r.places[side], place{})
		}
	}
	r.guarded = r.plain && t.guard != nil
}

// text tokenises the whole text.
func (r *run) text(text string) {
	if n := r.at[0][len(r.parts)]; n != len(text) {
		panic(fmt.Sprintf("tokenizer: the parts end at %d, the text at %d", n, len(text)))
	}
	b := borders{{0, len(r.parts) + 1}, {0, len(r.parts) + 1}}
	in := bytesOf(text)
	if !utf8.Valid(in) {
		r.sc.text = appendValid(r.sc.text[:0], text, r.aligner(b))
		in = r.sc.text
	}
	m := r.t.added.matcher(&r.t.added.raw, in, r.plainSpans(0, len(in), b))
	for !r.over {
		part, id, ok := m.next()
		if !ok {
			break
		}
		inner := r.enter(&b, part.start, part.end)
		if id >= 0 {
			r.token(id, part.end-part.start, inner)
			continue
		}
		r.piece(in[part.start:part.end], part.start == 0, inner)
	}
	r.settle(b)
}

// bytesOf returns the bytes of a string where they are, to be read: a copy of the text of a huge
// request would double it.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// enter returns the borders inside the piece [start, end) of the one that b
// belongs to, whose offsets are the inner piece's from here on. Borders up to
// start are passed.
func (r *run) enter(b *borders, start, end int) borders {
	if b.none() {
		return *b
	}
	inner := *b
	for side := range b {
		at, i := r.at[side], b[side].from
		for i < b[side].to && at[i] <= start {
			r.places[side][i] = place{len(r.ids), r.pos}
			i++
		}
		inner[side].from = i
		for i < b[side].to && at[i] < end {
			at[i] -= start
			i++
		}
		inner[side].to, b[side].from = i, i
	}
	return inner
}

// settle passes the borders that are left at the end of a piece.
func (r *run) settle(b borders) {
	for side := range b {
		for i := b[side].from; i < b[side].to; i++ {
			r.places[side][i] = place{len(r.ids), r.pos}
		}
	}
}

// token appends an added token of n bytes.
func (r *run) token(id int32, n int, b borders) {
	for side := range b {
		for i := b[side].from; i < b[side].to; i++ {
			r.places[side][i] = place{len(r.ids) + side, r.pos + r.at[side][i]}
		}
	}
	r.append(id, n)
}

func (r *run) append(id int32, n int) {
	r.ids = append(r.ids, id)
	r.pos += n
	r.over = r.over || len(r.ids) >= r.most
}

// tokens returns the range of a part, once all borders are passed.
func (r *run) tokens(part int) Range {
	from, to := r.places[behind][part], r.places[before][part+1]
	if r.empty(part) || from.pos >= to.pos || to.token < from.token {
		return Range{from.token, from.token}
	}
	return Range{from.token, to.token}
}

// empty reports whether a part has no byte.
func (r *run) empty(part int) bool {
	start := 0
	if part > 0 {
		start = r.parts[part-1].End
	}
	return start == r.parts[part].End
}

// plainSpans returns the parts of a piece of n bytes that no special token may
// hold. level tells the pieces inside each other apart, each of which has space
// for its result.
func (r *run) plainSpans(level, n int, b borders) []span {
	out := r.spans[level][:0]
	if !r.plain {
		return out
	}
	for i := b[before].from - 1; i < b[behind].to; i++ {
		if i < 0 || i >= len(r.parts) || !r.parts[i].Plain || r.empty(i) {
			continue
		}
		s := span{0, n, false}
		if i >= b[behind].from {
			s.start = r.at[behind][i]
		}
		if i+1 < b[before].to {
			s.end = r.at[before][i+1]
		}
		if s.start < s.end {
			out = append(out, s)
		}
	}
	r.spans[level] = out
	return out
}

// piece tokenises text that holds no added token of the kind that matches
// before normalization, in chunks. first says that it starts the text.
func (r *run) piece(text []byte, first bool, b borders) {
	forced := r.forcedCuts(text, b)
	for from := 0; from < len(text) && !r.over; {
		to := r.chunkEnd(text, from, b)
		for len(forced) > 0 && forced[0] <= from {
			forced = forced[1:]
		}
		if len(forced) > 0 {
			to = min(to, forced[0])
		}
		inner := r.enter(&b, from, to)
		r.chunk(text[from:to], ends{from == 0, to == len(text)}, first && from == 0, inner)
		from = to
	}
	r.settle(b)
}

// chunk tokenises a chunk of a piece, whose ends may be those of the piece.
func (r *run) chunk(text []byte, e ends, first bool, b borders) {
	turn := 0
	for _, n := range r.t.norm {
		out, change := n.normalize(r.sc.norm[turn][:0], text, e, r.alignerOrNil(b))
		if change == unchanged {
			continue
		}
		r.sc.norm[turn] = out
		turn ^= 1
		text = out
		first = first && change != leadRemoved
	}
	if r.t.added.normal.empty() {
		r.words(0, text, first, r.enter(&b, 0, len(text)))
		r.settle(b)
		return
	}
	m := r.t.added.matcher(&r.t.added.normal, text, r.plainSpans(1, len(text), b))
	for !r.over {
		part, id, ok := m.next()
		if !ok {
			break
		}
		inner := r.enter(&b, part.start, part.end)
		if id >= 0 {
			r.token(id, part.end-part.start, inner)
			continue
		}
		r.words(0, text[part.start:part.end], first && part.start == 0, inner)
	}
	r.settle(b)
}

// words passes text through the stages from the k-th on, and what they cut it
// into to the model.
func (r *run) words(k int, text []byte, first bool, b borders) {
	switch {
	case len(text) == 0 || r.over:
		r.settle(b)
	case k < len(r.t.pre):
		r.t.pre[k].run(r, k+1, text, first, b)
	default:
		r.word(text, b)
	}
}

// word appends the ids of one word.
func (r *run) word(word []byte, b borders) {
	if len(word) > longWord && r.most < math.MaxInt && r.t.least(word) > r.most-1-len(r.ids) {
		r.over = true
		return
	}
	if !b.none() {
		r.wordAcross(word, b)
		return
	}
	from := len(r.ids)
	r.ids = r.t.appendWord(r.sc, r.ids, word)
	if r.guarded && r.t.guard.any(r.ids[from:]) {
		if spans := r.plainSpans(2, len(word), b); len(spans) > 0 {
			r.ids = r.t.model.appendTokens(r.sc, r.ids[:from], word, refusal{r.t.guard, spans})
		}
	}
	r.pos += len(word)
	r.over = r.over || len(r.ids) >= r.most
}

// wordAcross is word for one with borders inside.
func (r *run) wordAcross(word []byte, b borders) {
	var no refusal
	if r.guarded {
		no = refusal{r.t.guard, r.plainSpans(2, len(word), b)}
	}
	from := len(r.ids)
	r.ids = r.t.appendWord(r.sc, r.ids, word)
	if len(no.plain) > 0 && no.guard.any(r.ids[from:]) || !r.hold(r.ids[from:], len(word)) {
		r.ids = r.t.model.appendTokens(r.sc, r.ids[:from], word, no)
	}
	held := r.sc.held
	for i := b[behind].from; i < b[behind].to; i++ {
		at, k := r.at[behind][i], 0
		for k < len(held) && held[k].end <= at {
			k++
		}
		r.places[behind][i] = place{from + k, r.pos + at}
	}
	for i := b[before].from; i < b[before].to; i++ {
		at, k := r.at[before][i], len(held)
		for k > 0 && held[k-1].start >= at {
			k--
		}
		r.places[before][i] = place{from + k, r.pos + at}
	}
	r.pos += len(word)
	r.over = r.over || len(r.ids) >= r.most
}

// hold sets sc.held for the tokens of a word of n bytes from their lengths. It
// reports false where those do not fill the word, as with unknown tokens.
func (r *run) hold(ids []int32, n int) bool {
	held, at := r.sc.held[:0], 0
	for _, id := range ids {
		if int(id) >= len(r.t.lengths) || r.t.lengths[id] == 0 {
			return false
		}
		end := at + int(r.t.lengths[id])
		held = append(held, span{start: at, end: end})
		at = end
	}
	r.sc.held = held
	return at == n
}
