package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A bpe is a byte pair encoding model (Sennrich et al., arXiv 1508.07909).
type bpe struct {
	vocab  *vocabulary
	merges *mergeTable

	prefix, suffix string // continuing_subword_prefix, end_of_word_suffix
	unk            int32  // -1: none
	fuseUnk        bool
	byteFallback   bool
	byteTokens     [256]int32 // ids of <0x00> to <0xFF>, -1 where missing
	// whole maps words that are tokens to their ids, when the file says that
	// they need no merges (ignore_merges).
	whole map[string]int32

	// bytewise is set when words come as raw bytes that stand for characters of
	// the byte alphabet.
	bytewise bool
	missing  bool          // bytewise: some byte is no symbol
	initial  [4][256]int32 // bytewise: ids by isFirst | isLast<<1 and byte; -1
}

type bpeJSON struct {
	Dropout      *float64        `json:"dropout"`
	UnkToken     *string         `json:"unk_token"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       json.RawMessage `json:"merges"`
}

// parseBPE reads a BPE model. bytewise says how words will come.
func (t *Tokenizer) parseBPE(data json.RawMessage, bytewise bool) error {
	var j bpeJSON
	err := json.Unmarshal(data, &j)
	if err != nil {
		return err
	}
	if j.Dropout != nil && *j.Dropout != 0 {
		return fmt.Errorf("dropout %v: %w", *j.Dropout, &UnsupportedError{"BPE option", "dropout"})
	}
	if t.vocab, err = parseVocab(j.Vocab); err != nil {
		return err
	}
	m := &bpe{vocab: &t.vocab, unk: -1, fuseUnk: j.FuseUnk, byteFallback: j.ByteFallback, bytewise: bytewise}
	if j.Prefix != nil {
		m.prefix = *j.Prefix
	}
	if j.Suffix != nil {
		m.suffix = *j.Suffix
	}
	if m.byteFallback {
		m.byteTokens = t.vocab.byteTokens()
	}
	results, err := m.parseMerges(j.Merges)
	if err != nil {
		return err
	}
	if j.IgnoreMerges {
		m.indexWhole()
	}
	m.missing = m.indexInitial()
	if j.UnkToken != nil {
		id, ok := t.vocab.ids[*j.UnkToken]
		if !ok && m.missing {
			return fmt.Errorf("unk_token %q is not in the vocabulary", *j.UnkToken)
		}
		if ok {
			m.unk = id
		}
	}
	t.model = m
	if s, ok := m.seams(results); ok {
		t.pre = append(t.pre, s)
	}
	return nil
}

// parseMerges reads "a b" strings or ["a", "b"] pairs, and returns the ids that
// merges make.
func (m *bpe) parseMerges(data json.RawMessage) (results []int32, err error) {
	pairs, err := mergePairs(data)
	if err != nil {
		return nil, err
	}
	m.merges = newMergeTable(len(pairs))
	results = make([]int32, 0, len(pairs))
	for rank, p := range pairs {
		if len(p) != 2 {
			return nil, fmt.Errorf("merges: merge %d has %d parts, want 2", rank, len(p))
		}
		left, ok := m.vocab.ids[p[0]]
		if !ok {
			return nil, fmt.Errorf("merges: merge %d: %q is not in the vocabulary", rank, p[0])
		}
		right, ok := m.vocab.ids[p[1]]
		if !ok {
			return nil, fmt.Errorf("merges: merge %d: %q is not in the vocabulary", rank, p[1])
		}
		if len(p[1]) < len(m.prefix) {
			return nil, fmt.Errorf("merges: merge %d: %q is shorter than the prefix %q", rank, p[1], m.prefix)
		}
		whole := p[0] + p[1][len(m.prefix):]
		id, ok := m.vocab.ids[whole]
		if !ok {
			return nil, fmt.Errorf("merges: merge %d makes %q, which is not in the vocabulary", rank, whole)
		}
		m.merges.put(left, right, uint32(rank), id)
		results = append(results, id)
	}
	return results, nil
}

func mergePairs(data json.RawMessage) (pairs [][]string, err error) {
	var lines []string
	open := bytes.IndexByte(data, '[')
	if rest := bytes.TrimLeft(data[open+1:], " \t\r\n"); open < 0 || len(rest) == 0 || rest[0] != '"' {
		if err := json.Unmarshal(data, &pairs); err != nil {
			return nil, fmt.Errorf("merges: %w", err)
		}
		return pairs, nil
	}
	if err := json.Unmarshal(data, &lines); err != nil {
		return nil, fmt.Errorf("merges: %w", err)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "#version") {
			pairs = append(pairs, strings.Split(line, " "))
		}
	}
	return pairs, nil
}

// indexWhole fills m.whole.
func (m *bpe) indexWhole() {
	m.whole = m.vocab.ids
	if !m.bytewise {
		return
	}
	m.whole = make(map[string]int32, len(m.vocab.ids))
	var raw []byte
	for token, id := range m.vocab.ids {
		var ok bool
		if raw, ok = appendBytes(raw[:0], token); ok {
			m.whole[string(raw)] = id
		}
	}
}

// indexInitial fills m.initial, and reports whether some symbol may be unknown.
func (m *bpe) indexInitial() (missing bool) {
	if !m.bytewise {
		return true
	}
	for place := range m.initial {
		for b := range m.initial[place] {
			s := string(byteRunes[b])
			if place&1 == 0 {
				s = m.prefix + s
			}
			if place&2 != 0 {
				s += m.suffix
			}
			id, ok := m.vocab.ids[s]
			if !ok {
				id, missing = -1, true
			}
			m.initial[place][b] = id
		}
	}
	return missing
}

// seams returns the stage that cuts whole texts before U+2581, when the model
// works on characters and there are seams that no merge crosses.
func (m *bpe) seams(results []int32) (seams, bool) {
	const mark = '▁'
	if _, ok := m.vocab.ids[string(mark)]; !ok || m.bytewise || m.prefix != "" || m.suffix != "" {
		return seams{}, false
	}
	// A symbol that is not in the vocabulary may fuse with an unknown one
	// before it, so the runes around a seam must be in it.
	after := new(runeSet)
	for token := range m.vocab.ids {
		if r, n := utf8.DecodeRuneInString(token); n == len(token) && r != utf8.RuneError {
			after.add(r)
		}
	}
	forbid := func(token string) {
		last := rune(-1)
		for _, r := range token {
			if r == mark && last >= 0 {
				after.remove(last)
			}
			last = r
		}
	}
	for _, id := range results {
		forbid(m.vocab.tokens[id])
	}
	if m.whole != nil {
		for token := range m.whole {
			forbid(token)
		}
	}
	return seams{string(mark), after}, true
}

func (m *bpe) unknown() int32 { return m.unk }

func (m *bpe) appendWord(sc *scratch, dst []int32, word []byte) []int32 {
	if m.whole != nil {
		if id, ok := m.whole[string(word)]; ok {
			return append(dst, id)
		}
	}
	m.symbols(&unknowns{m: m, sc: &sc.merge}, word)
	return m.merges.merge(&sc.merge, dst)
}

func (m *bpe) appendTokens(sc *scratch, dst []int32, word []byte, no refusal) []int32 {
	sc.held = sc.held[:0]
	if m.whole != nil {
		if id, ok := m.whole[string(word)]; ok && !no.token(id, 0, len(word)) {
			sc.held = append(sc.held, span{start: 0, end: len(word)})
			return append(dst, id)
		}
	}
	m.symbols(&unknowns{m: m, sc: &sc.merge, held: &sc.held, no: no}, word)
	return m.merges.mergeHeld(sc, dst, no)
}

// symbols makes the symbols of a word.
func (m *bpe) symbols(u *unknowns, word []byte) {
	u.sc.ids = u.sc.ids[:0]
	if m.bytewise {
		m.byteSymbols(u, word)
	} else {
		m.runeSymbols(u, word)
	}
	u.flush()
}

// byteSymbols appends the symbols of a word of raw bytes.
func (m *bpe) byteSymbols(u *unknowns, word []byte) {
	sc := u.sc
	sc.ids = slices.Grow(sc.ids, len(word))
	for i, b := range word {
		place := 0
		if i == 0 {
			place = 1
		}
		if i == len(word)-1 {
			place |= 2
		}
		u.at = span{start: i, end: i + 1}
		id := m.initial[place][b]
		if id >= 0 && !u.no.token(id, i, i+1) {
			u.known(id)
			continue
		}
		sc.key = utf8.AppendRune(sc.key[:0], byteRunes[b])
		u.unknown(m.affix(sc.key, place))
	}
}

// runeSymbols appends the symbols of a word of characters.
func (m *bpe) runeSymbols(u *unknowns, word []byte) {
	sc := u.sc
	plain := m.prefix == "" && m.suffix == ""
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRune(word[i:])
		symbol := word[i : i+n]
		if !plain {
			place := 0
			if i == 0 {
				place = 1
			}
			if i+n == len(word) {
				place |= 2
			}
			sc.key = append(sc.key[:0], symbol...)
			symbol = m.affix(sc.key, place)
		}
		u.at = span{start: i, end: i + n}
		i += n
		if id, ok := m.vocab.ids[string(symbol)]; ok && !u.no.token(id, u.at.start, u.at.end) {
			u.known(id)
		} else {
			u.unknown(symbol)
		}
	}
}

// affix puts the prefix and suffix around a symbol at a place in its word.
func (m *bpe) affix(symbol []byte, place int) []byte {
	if place&1 == 0 && m.prefix != "" {
		symbol = append([]byte(m.prefix), symbol...)
	}
	if place&2 != 0 {
		symbol = append(symbol, m.suffix...)
	}
	return symbol
}

// unknowns appends symbols to sc.ids and holds back the unknown token, as the
// reference does: it comes out before the next known symbol, but after the
// bytes of symbols that fall back to bytes.
type unknowns struct {
	m       *bpe
	sc      *mergeScratch
	pending bool
	no      refusal
	at      span    // the bytes of the word that the symbol stands for
	unk     span    // those of the unknown token that is held back
	held    *[]span // those of each of sc.ids, unless nil
}

func (u *unknowns) append(id int32, at span) {
	u.sc.ids = append(u.sc.ids, id)
	if u.held != nil {
		*u.held = append(*u.held, at)
	}
}

func (u *unknowns) known(id int32) {
	u.flush()
	u.append(id, u.at)
}

func (u *unknowns) unknown(symbol []byte) {
	if u.m.byteFallback && u.fallback(symbol) {
		return
	}
	if u.m.unk < 0 {
		return // without an unknown token the symbol is lost
	}
	if u.pending && !u.m.fuseUnk {
		u.append(u.m.unk, u.unk)
		u.pending = false
	}
	if !u.pending {
		u.unk = u.at
	}
	u.unk.end = u.at.end
	u.pending = true
}

// fallback appends the byte tokens of symbol, if there is one for each byte.
func (u *unknowns) fallback(symbol []byte) bool {
	for _, b := range symbol {
		if id := u.m.byteTokens[b]; id < 0 || u.no.token(id, u.at.start, u.at.end) {
			return false
		}
	}
	// Bytes of a symbol with an affix cannot be told from the affix's.
	at := u.at
	bytewise := len(symbol) == at.end-at.start
	for i, b := range symbol {
		if bytewise {
			at = span{start: u.at.start + i, end: u.at.start + i + 1}
		}
		u.append(u.m.byteTokens[b], at)
	}
	return true
}

func (u *unknowns) flush() {
	if u.pending {
		u.pending = false
		u.append(u.m.unk, u.unk)
	}
}
