package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// An addedToken is one entry of "added_tokens".
type addedToken struct {
	content    string
	id         int32
	singleWord bool // matches only where no word character touches it
	lstrip     bool // takes the white space on its left with it
	rstrip     bool // takes the white space on its right with it
	normalized bool // matches its normalized form, in normalized text
	special    bool
	pattern    string // what it matches: content, or its normalized form
}

// addedTokens are the tokens that are matched before the model sees the text.
type addedTokens struct {
	ids     map[string]int32     // by content
	byID    map[int32]addedToken //
	decoded map[int32]string     // what an id decodes to, where not its content
	special map[string]bool      // contents of special tokens
	extra   int                  // how many are not in the model's vocabulary
	raw     tokenSet             // matched in the text as it comes
	normal  tokenSet             // matched in normalized text
	mutable bool                 // some special token is in normal
}

type addedTokenJSON struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// parseAdded reads "added_tokens". The reference gives a token the id that the
// model's vocabulary has for it, else the next free one, and only warns where
// the file says otherwise; here a disagreement is an error, since one of the
// two readings would be scored with a wrong embedding.
func (t *Tokenizer) parseAdded(data json.RawMessage) error {
	a := &t.added
	a.ids, a.byID = map[string]int32{}, map[int32]addedToken{}
	a.decoded, a.special = map[int32]string{}, map[string]bool{}
	var entries []addedTokenJSON
	if len(data) > 0 {
		if err := json.Unmarshal(data, &entries); err != nil {
			return fmt.Errorf("added_tokens: %w", err)
		}
	}
	next := int32(t.vocab.size)
	for _, e := range entries {
		if e.Content == "" {
			continue // as the reference
		}
		id, known := t.ID(e.Content)
		if !known {
			id = next
			next++
			a.extra++
		}
		if e.ID != int64(id) {
			return fmt.Errorf("added_tokens: token %q: id %d, but the vocabulary makes it %d",
				e.Content, e.ID, id)
		}
		if other, ok := t.Token(id); ok && other != e.Content {
			return fmt.Errorf("added_tokens: id %d is given to both %q and %q", id, other, e.Content)
		}
		a.ids[e.Content] = id
		a.byID[id] = addedToken{e.Content, id, e.SingleWord, e.LStrip, e.RStrip, e.Normalized,
			e.Special, e.Content}
		if e.Special {
			a.special[e.Content] = true
		}
	}
	return t.indexAdded(entries)
}

// indexAdded builds the two sets of patterns.
func (t *Tokenizer) indexAdded(entries []addedTokenJSON) error {
	for _, e := range entries {
		tok, ok := t.added.byID[t.added.ids[e.Content]]
		if !ok || e.Content == "" {
			continue
		}
		set := &t.added.raw
		if tok.normalized {
			set = &t.added.normal
			tok.pattern = t.normalized(tok.content)
			if tok.pattern != tok.content {
				t.added.decoded[tok.id] = tok.pattern
			}
		}
		tok.special = t.added.special[tok.content]
		if err := set.add(tok); err != nil {
			return fmt.Errorf("added_tokens: %w", err)
		}
	}
	t.added.raw.finish()
	t.added.normal.finish()
	t.added.mutable = slices.ContainsFunc(t.added.normal.tokens,
		func(tok addedToken) bool { return tok.special })
	return nil
}

// A span is a part of a text, in bytes.
type span struct {
	start, end int
	match      bool // what a pattern matched, as opposed to what lies between
}

// A tokenSet finds the leftmost longest of its patterns.
type tokenSet struct {
	trie   *trie
	tokens []addedToken
	// only is the first byte of every pattern when all share it, else -1; it
	// lets the search skip with bytes.IndexByte.
	only   int
	starts [256]bool
}

func (s *tokenSet) empty() bool { return len(s.tokens) == 0 }

func (s *tokenSet) add(tok addedToken) error {
	if tok.pattern == "" {
		return nil // a normalizer may leave nothing, which matches nowhere
	}
	if s.trie == nil {
		s.trie = newTrie()
	}
	s.tokens = append(s.tokens, tok)
	s.starts[tok.pattern[0]] = true
	return s.trie.insert(tok.pattern, int32(len(s.tokens)-1))
}

func (s *tokenSet) finish() {
	s.only = -1
	n := 0
	for c, ok := range s.starts {
		if ok {
			n++
			s.only = c
		}
	}
	if n != 1 {
		s.only = -1
	}
}

// matcher walks over text, which must stay as it is meanwhile. plain are the
// parts of it that no special token may hold.
func (a *addedTokens) matcher(set *tokenSet, text []byte, plain []span) matcher {
	return matcher{all: a, set: set, text: text, plain: plain, pendingID: -1}
}

// A matcher yields, from left to right, the parts of a text between added
// tokens and the added tokens.
type matcher struct {
	all       *addedTokens
	set       *tokenSet
	text      []byte
	plain     []span
	from      int // where the search goes on: the end of the last match
	start     int // end of what was yielded
	pending   span
	pendingID int32
	done      bool
}

// next returns a part with id -1, or a token's span and id. ok is false at the
// end.
func (m *matcher) next() (part span, id int32, ok bool) {
	if m.pendingID >= 0 {
		part, id = m.pending, m.pendingID
		m.pendingID = -1
		m.start = part.end
		return part, id, true
	}
	if m.done {
		return span{}, -1, false
	}
	at, id, ok := m.search()
	if !ok {
		m.done = true
		if m.start >= len(m.text) {
			return span{}, -1, false
		}
		return span{start: m.start, end: len(m.text)}, -1, true
	}
	if m.start < at.start {
		part = span{start: m.start, end: at.start}
		m.pending, m.pendingID = at, id
		return part, -1, true
	}
	m.start = at.end
	return at, id, true
}

// search finds the next token that counts, widened by the white space it
// strips. Like the reference, it goes on from the end of the match itself, so a
// token may also match inside the white space that the one before it took.
func (m *matcher) search() (at span, id int32, ok bool) {
	if m.set.empty() {
		return span{}, -1, false
	}
	for {
		start, n, index := m.set.find(m.text, m.from)
		if n == 0 {
			return span{}, -1, false
		}
		for n > 0 && m.refused(&m.set.tokens[index], start, start+n) {
			n, index = m.set.trie.longest(0, m.text[start:start+n-1])
		}
		if n == 0 {
			m.from = start + 1
			continue
		}
		end := start + n
		m.from = end
		tok := &m.set.tokens[index]
		if tok.singleWord && !m.alone(tok, start, end) {
			continue
		}
		if tok.lstrip {
			start = spaceBefore(m.text, start, m.start)
		}
		if tok.rstrip {
			end = spaceAfter(m.text, end)
		}
		return span{start: start, end: end}, tok.id, true
	}
}

// refused reports whether text is not read as a token because of its plain
// parts: a special token that would hold a byte of one, or another token that
// would, with a byte of one, break up a special token outside of them.
func (m *matcher) refused(tok *addedToken, start, end int) bool {
	if !touches(m.plain, start, end) {
		return false
	}
	if tok.special {
		return true
	}
	for i := start; i < end; i++ {
		if m.all.raw.specialAt(m.text, i, m.plain) || m.all.normal.specialAt(m.text, i, m.plain) {
			return true
		}
	}
	return false
}

// specialAt reports whether a special token outside of the plain parts starts
// at text[i].
func (s *tokenSet) specialAt(text []byte, i int, plain []span) bool {
	if s.empty() || !s.starts[text[i]] {
		return false
	}
	node := uint32(0)
	for end, c := range text[i:] {
		if node = s.trie.step(node, c); node == 0 {
			return false
		}
		if v := s.trie.values[node]; v >= 0 && s.tokens[v].special {
			return !touches(plain, i, i+end+1)
		}
	}
	return false
}

// alone reports whether no word character touches a token. Those of plain parts
// do not count for a special token, which they could destroy.
func (m *matcher) alone(tok *addedToken, start, end int) bool {
	if wordBefore(m.text, start) && !(tok.special && touches(m.plain, start-1, start)) {
		return false
	}
	return !wordAfter(m.text, end) || tok.special && touches(m.plain, end, end+1)
}

// find returns the leftmost longest pattern at or after from; n is 0 when there
// is none.
func (s *tokenSet) find(text []byte, from int) (start, n int, index int32) {
	for i := from; i < len(text); i++ {
		if s.only >= 0 {
			skip := bytes.IndexByte(text[i:], byte(s.only))
			if skip < 0 {
				break
			}
			i += skip
		} else if !s.starts[text[i]] {
			continue
		}
		if n, index := s.trie.longest(0, text[i:]); n > 0 {
			return i, n, index
		}
	}
	return 0, 0, -1
}

func wordBefore(text []byte, i int) bool {
	r, _ := utf8.DecodeLastRune(text[:i])
	return i > 0 && unicodeClasses().of(r)&classWord != 0
}

func wordAfter(text []byte, i int) bool {
	r, _ := utf8.DecodeRune(text[i:])
	return i < len(text) && unicodeClasses().of(r)&classWord != 0
}

// spaceBefore returns where the white space that ends at i starts, looking no
// further back than low.
func spaceBefore(text []byte, i, low int) int {
	c := unicodeClasses()
	for i > low {
		r, n := utf8.DecodeLastRune(text[:i])
		if c.of(r)&classSpace == 0 {
			break
		}
		i -= n
	}
	return i
}

// spaceAfter returns where the white space that starts at i ends.
func spaceAfter(text []byte, i int) int {
	return unicodeClasses().run(text, i, classSpace)
}
