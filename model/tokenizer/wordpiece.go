package tokenizer

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// A wordPiece is BERT's model: the longest token that the word starts with,
// then the longest continuation, and so on; the unknown token where that fails.
type wordPiece struct {
	trie     *trie
	rest     uint32 // where the continuing prefix leads in trie; ends there are continuations
	prefix   string // of tokens that continue a word
	unk      int32
	maxRunes int
	broken   bool // no token starts with the continuing prefix
}

type wordPieceJSON struct {
	UnkToken string          `json:"unk_token"`
	Prefix   *string         `json:"continuing_subword_prefix"`
	MaxRunes *int            `json:"max_input_chars_per_word"`
	Vocab    json.RawMessage `json:"vocab"`
}

func (t *Tokenizer) parseWordPiece(data json.RawMessage) error {
	var j wordPieceJSON
	err := json.Unmarshal(data, &j)
	if err != nil {
		return err
	}
	if j.Prefix == nil || j.MaxRunes == nil {
		return fmt.Errorf("want continuing_subword_prefix and max_input_chars_per_word")
	}
	if t.vocab, err = parseVocab(j.Vocab); err != nil {
		return err
	}
	m := &wordPiece{trie: newTrie(), prefix: *j.Prefix, maxRunes: *j.MaxRunes}
	var ok bool
	if m.unk, ok = t.vocab.ids[j.UnkToken]; !ok {
		return fmt.Errorf("unk_token %q is not in the vocabulary", j.UnkToken)
	}
	for token, id := range t.vocab.ids {
		if err := m.trie.insert(token, id); err != nil {
			return fmt.Errorf("vocab: %w", err)
		}
	}
	for i := range len(*j.Prefix) {
		if m.rest = m.trie.step(m.rest, (*j.Prefix)[i]); m.rest == 0 {
			m.broken = true
			break
		}
	}
	t.model = m
	return nil
}

func (m *wordPiece) appendWord(sc *scratch, dst []int32, word []byte) []int32 {
	return m.appendTokens(sc, dst, word, refusal{})
}

func (m *wordPiece) appendTokens(sc *scratch, dst []int32, word []byte, no refusal) []int32 {
	unknown := func(dst []int32) []int32 {
		sc.held = append(sc.held[:0], span{start: 0, end: len(word)})
		return append(dst, m.unk)
	}
	sc.held = sc.held[:0]
	if len(word) > m.maxRunes && utf8.RuneCount(word) > m.maxRunes {
		return unknown(dst)
	}
	first, node := len(dst), uint32(0)
	for from := 0; from < len(word); {
		n, id := m.trie.longest(node, word[from:])
		for n > 0 && no.token(id, from, from+n) {
			n, id = m.trie.longest(node, word[from:from+n-1])
		}
		if n == 0 {
			return unknown(dst[:first])
		}
		dst = append(dst, id)
		sc.held = append(sc.held, span{start: from, end: from + n})
		from += n
		if node = m.rest; m.broken && from < len(word) {
			return unknown(dst[:first])
		}
	}
	return dst
}

func (m *wordPiece) unknown() int32 { return m.unk }

// A wordLevel has a token for each word it knows.
type wordLevel struct {
	vocab *vocabulary
	unk   int32
}

func (t *Tokenizer) parseWordLevel(data json.RawMessage) error {
	var j wordPieceJSON
	err := json.Unmarshal(data, &j)
	if err != nil {
		return err
	}
	if t.vocab, err = parseVocab(j.Vocab); err != nil {
		return err
	}
	unk, ok := t.vocab.ids[j.UnkToken]
	if !ok {
		return fmt.Errorf("unk_token %q is not in the vocabulary", j.UnkToken)
	}
	t.model = &wordLevel{&t.vocab, unk}
	return nil
}

func (m *wordLevel) appendWord(sc *scratch, dst []int32, word []byte) []int32 {
	return m.appendTokens(sc, dst, word, refusal{})
}

func (m *wordLevel) appendTokens(sc *scratch, dst []int32, word []byte, no refusal) []int32 {
	sc.held = append(sc.held[:0], span{start: 0, end: len(word)})
	if id, ok := m.vocab.ids[string(word)]; ok && !no.token(id, 0, len(word)) {
		return append(dst, id)
	}
	return append(dst, m.unk)
}

func (m *wordLevel) unknown() int32 { return m.unk }
