package tokenizer

import (
	"slices"
	"sync"
)

// A Tokenizer is one parsed tokenizer.json. It never changes after Parse, and
// all its methods may be called from several goroutines at once.
type Tokenizer struct {
	vocab vocabulary
	added addedTokens
	norm  []normalizer
	pre   []stage
	model model
	cache *wordCache
	post  postProcessor
	dec   []decoder // nil: tokens are joined by single spaces

	pool sync.Pool // of *scratch
}

// Options say how text becomes ids. The zero value adds no special tokens and
// recognises the ones written in the text, as transformers does with
// add_special_tokens=False.
type Options struct {
	// AddSpecial puts the post-processor's special tokens (BOS, EOS, [CLS],
	// [SEP]) around the text.
	AddSpecial bool
	// NoParseSpecial treats the strings of special tokens inside the text as
	// ordinary text, so that a user cannot write "<|im_end|>" and end a turn.
	// Added tokens that are not special are still recognised.
	NoParseSpecial bool
}

// A model turns one word into ids. Implementations are immutable.
type model interface {
	// appendWord appends the ids of word, which is not empty and is valid
	// UTF-8. It may use sc.merge, and nothing else of sc.
	appendWord(sc *scratch, dst []int32, word []byte) []int32
}

// A piece is a part of the text on its way through the stages.
type piece struct {
	text []byte
	// first is set when the piece starts where the text of the call starts,
	// which is what the "first" prepend scheme of Metaspace asks for.
	first bool
}

// scratch is the space one call needs. One goroutine owns it at a time.
type scratch struct {
	text   []byte    // the text of the call, valid UTF-8
	norm   [2][]byte // what normalizers write, in turn
	arena  []byte    // what stages write; pieces point into it
	pieces [2][]piece
	spans  []span
	merge  mergeScratch
	best   []bestNode
}

// scratchKeep is the largest text, in bytes, whose scratch space is kept for
// the next call; a server should not hold the space of its one huge request
// for ever.
const scratchKeep = 1 << 20

func (t *Tokenizer) scratch() *scratch {
	if sc, ok := t.pool.Get().(*scratch); ok {
		return sc
	}
	return new(scratch)
}

func (t *Tokenizer) release(sc *scratch) {
	if cap(sc.text) <= scratchKeep {
		t.pool.Put(sc)
	}
}

// AppendEncode appends the ids of text to dst and returns the extended slice.
// Text that is not valid UTF-8 is repaired: each maximal ill-formed part becomes
// one U+FFFD. Callers that must refuse such text check it first.
func (t *Tokenizer) AppendEncode(dst []int32, text string, o Options) []int32 {
	if o.AddSpecial {
		dst = append(dst, t.post.prefix...)
	}
	dst = t.appendText(dst, text, o)
	if o.AddSpecial {
		dst = append(dst, t.post.suffix...)
	}
	return dst
}

// EncodePair encodes two texts as one sequence, in the order and with the
// token type ids that the post-processor's pair template gives.
func (t *Tokenizer) EncodePair(a, b string, o Options) (ids, typeIDs []int32) {
	texts := [2]string{a, b}
	for _, p := range t.post.pair {
		switch {
		case p.sequence >= 0:
			ids = t.appendText(ids, texts[p.sequence], o)
		case o.AddSpecial:
			ids = append(ids, p.ids...)
		}
		for len(typeIDs) < len(ids) {
			typeIDs = append(typeIDs, p.typeID)
		}
	}
	return ids, typeIDs
}

// SingleTemplate returns the ids that AddSpecial puts before and after a single
// text. The slices are the caller's.
func (t *Tokenizer) SingleTemplate() (prefix, suffix []int32) {
	return slices.Clone(t.post.prefix), slices.Clone(t.post.suffix)
}

// ID returns the id of a token: an added token's content, or a token of the
// model's vocabulary as tokenizer.json writes it.
func (t *Tokenizer) ID(token string) (int32, bool) {
	if id, ok := t.added.ids[token]; ok {
		return id, true
	}
	id, ok := t.vocab.ids[token]
	return id, ok
}

// Token returns the token with the given id, as tokenizer.json writes it.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if a, ok := t.added.byID[id]; ok {
		return a.content, true
	}
	return t.vocab.token(id)
}

// VocabSize counts the distinct tokens: the model's vocabulary and the added
// tokens that are not in it.
func (t *Tokenizer) VocabSize() int { return t.vocab.size + t.added.extra }

// IsSpecial reports whether id is a special token's.
func (t *Tokenizer) IsSpecial(id int32) bool {
	token, ok := t.Token(id)
	return ok && t.added.special[token]
}

// appendText appends the ids of text, with no template around them.
func (t *Tokenizer) appendText(dst []int32, text string, o Options) []int32 {
	if text == "" {
		return dst
	}
	sc := t.scratch()
	sc.text = appendValid(sc.text[:0], text)
	m := t.added.raw.matcher(sc.text, o.NoParseSpecial)
	for {
		part, id, ok := m.next()
		if !ok {
			break
		}
		if id >= 0 {
			dst = append(dst, id)
			continue
		}
		dst = t.appendPart(sc, dst, piece{sc.text[part.start:part.end], part.start == 0}, o)
	}
	t.release(sc)
	return dst
}

// appendPart appends the ids of a part of the text that holds no added token
// of the kind that matches before normalization.
func (t *Tokenizer) appendPart(sc *scratch, dst []int32, p piece, o Options) []int32 {
	p = t.normalize(sc, p)
	if t.added.normal.empty() {
		return t.appendWords(sc, dst, p)
	}
	m := t.added.normal.matcher(p.text, o.NoParseSpecial)
	for {
		part, id, ok := m.next()
		if !ok {
			return dst
		}
		if id >= 0 {
			dst = append(dst, id)
			continue
		}
		dst = t.appendWords(sc, dst, piece{p.text[part.start:part.end], p.first && part.start == 0})
	}
}

// normalize runs the normalizers over p.
func (t *Tokenizer) normalize(sc *scratch, p piece) piece {
	turn := 0
	for _, n := range t.norm {
		out, change := n.normalize(sc.norm[turn][:0], p.text)
		if change == unchanged {
			continue
		}
		sc.norm[turn] = out
		turn ^= 1
		p.text = out
		p.first = p.first && change != leadRemoved
	}
	return p
}

// appendWords cuts p into words and appends their ids.
func (t *Tokenizer) appendWords(sc *scratch, dst []int32, p piece) []int32 {
	if len(p.text) == 0 {
		return dst
	}
	sc.arena = sc.arena[:0]
	in, out := append(sc.pieces[0][:0], p), sc.pieces[1][:0]
	for _, s := range t.pre {
		out = out[:0]
		for _, p := range in {
			out = s.split(sc, out, p)
		}
		in, out = out, in
	}
	sc.pieces[0], sc.pieces[1] = in, out
	for _, p := range in {
		dst = t.appendWord(sc, dst, p.text)
	}
	return dst
}

// appendWord appends the ids of one word, from the cache where it is there.
func (t *Tokenizer) appendWord(sc *scratch, dst []int32, word []byte) []int32 {
	if t.cache == nil || len(word) > maxCachedBytes {
		return t.model.appendWord(sc, dst, word)
	}
	s := t.cache.slot(word)
	if dst, ok := s.lookup(dst, word); ok {
		return dst
	}
	from := len(dst)
	dst = t.model.appendWord(sc, dst, word)
	s.store(word, dst[from:])
	return dst
}
