package tokenizer

import (
	"maps"
	"slices"
	"sync"
)

// A Tokenizer is one parsed tokenizer.json. It never changes after Parse, and
// all its methods may be called from several goroutines at once.
type Tokenizer struct {
	vocab   vocabulary
	added   addedTokens
	norm    []normalizer
	pre     []stage
	model   model
	cache   *wordCache
	post    postProcessor
	guard   *guard // nil: the model makes no special token
	cut     cutter
	weights weights
	lengths []int32   // bytes of a word that a token of the model holds, by id; 0 where that varies
	dec     []decoder // nil: tokens are joined by single spaces

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
	// UTF-8. It may use sc.merge, sc.best and sc.held, and nothing else of sc.
	appendWord(sc *scratch, dst []int32, word []byte) []int32
	// appendTokens is appendWord, slower: it makes no token that no refuses,
	// and leaves in sc.held which bytes of the word each token holds.
	appendTokens(sc *scratch, dst []int32, word []byte, no refusal) []int32
	// unknown returns the token of what has no other, -1 when there is none.
	unknown() int32
}

// scratch is the space one call needs. One goroutine owns it at a time.
type scratch struct {
	run   run
	whole [1]Part   // the part of a call without parts
	text  []byte    // the text of the call, where it had to be repaired
	norm  [2][]byte // what normalizers write, in turn
	arena []byte    // what stages write; pieces point into it
	spans []span
	merge mergeScratch
	best  []bestNode
	held  []span // see model
}

// scratchKeep is how much scratch space, in bytes, is kept for the next call; a
// server should not hold the space of its one huge request for ever.
const scratchKeep = 1 << 20

func (t *Tokenizer) scratch() *scratch {
	if sc, ok := t.pool.Get().(*scratch); ok {
		return sc
	}
	return new(scratch)
}

func (t *Tokenizer) release(sc *scratch) {
	m := &sc.merge
	size := cap(sc.text) + cap(sc.norm[0]) + cap(sc.norm[1]) + cap(sc.arena) +
		24*(cap(sc.spans)+cap(sc.held)) +
		16*cap(sc.best) + 4*(cap(m.ids)+cap(m.prev)+cap(m.next)) + 8*(cap(m.ranks)+cap(m.heap))
	if size <= scratchKeep {
		sc.run.parts = nil
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

// A Segment is a text or a run of special tokens in a sequence as the
// post-processor makes it.
type Segment struct {
	Text   int     // 0 for the first text, 1 for the second, -1 for special tokens
	IDs    []int32 // of the special tokens; the tokenizer's own, to be read only
	TypeID int32   // the token type of all tokens of the segment
}

// Single returns the sequence that a text becomes with its special tokens.
func (t *Tokenizer) Single() []Segment { return slices.Clone(t.post.single) }

// Pair returns the sequence that two texts become with their special tokens.
func (t *Tokenizer) Pair() []Segment { return slices.Clone(t.post.pair) }

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

// Beyond returns what has ids from n on: how many tokens of the model's own
// vocabulary, and the added tokens in the order of their ids.
func (t *Tokenizer) Beyond(n int) (own int, added []string) {
	for id := n; id < len(t.vocab.tokens); id++ {
		if _, ok := t.vocab.token(int32(id)); ok {
			own++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.added.byID)) {
		if int(id) >= n && int(id) >= len(t.vocab.tokens) {
			added = append(added, t.added.byID[id].content)
		}
	}
	return own, added
}

// IsSpecial reports whether id is a special token's.
func (t *Tokenizer) IsSpecial(id int32) bool {
	token, ok := t.Token(id)
	return ok && t.added.special[token]
}

// appendText appends the ids of text, with no template around them.
func (t *Tokenizer) appendText(dst []int32, text string, o Options) []int32 {
	sc := t.scratch()
	defer t.release(sc)
	sc.whole[0] = Part{len(text), o.NoParseSpecial}
	r := &sc.run
	r.begin(t, sc, dst, sc.whole[:], 0)
	r.text(text)
	dst, r.ids = r.ids, nil
	return dst
}

// normalized returns what the normalizers make of a text.
func (t *Tokenizer) normalized(text string) string {
	out := []byte(text)
	for _, n := range t.norm {
		if next, change := n.normalize(nil, out, ends{true, true}, nil); change != unchanged {
			out = next
		}
	}
	return string(out)
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
