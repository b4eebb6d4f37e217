package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// A unigram is SentencePiece's unigram language model (Kudo, arXiv 1804.10959):
// of all ways to cut a word into tokens, the one whose scores sum highest.
type unigram struct {
	trie         *trie
	scores       []float64
	ids          map[string]int32
	unk          int32 // -1: none, which parse allows only when no text needs one
	unkScore     float64
	byteFallback bool
	byteTokens   [256]int32
}

// unkPenalty is how much worse than the worst token an unknown rune scores.
const unkPenalty = 10

// A bestNode is the best way to reach an offset of the word.
type bestNode struct {
	score float64
	start int32 // where its last token starts, -1 when there is no way yet
	id    int32
}

type unigramJSON struct {
	UnkID        *int              `json:"unk_id"`
	ByteFallback bool              `json:"byte_fallback"`
	Vocab        []json.RawMessage `json:"vocab"`
}

func (t *Tokenizer) parseUnigram(data json.RawMessage) error {
	var j unigramJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	if j.UnkID == nil {
		return fmt.Errorf("unk_id is missing: a rune without a token has nothing to become")
	}
	if *j.UnkID < 0 || *j.UnkID >= len(j.Vocab) {
		return fmt.Errorf("unk_id %d is out of range for %d tokens", *j.UnkID, len(j.Vocab))
	}
	m := &unigram{
		trie: newTrie(), unk: int32(*j.UnkID), byteFallback: j.ByteFallback,
		scores: make([]float64, len(j.Vocab)), unkScore: math.Inf(1),
	}
	t.vocab = vocabulary{
		ids: make(map[string]int32, len(j.Vocab)), tokens: make([]string, len(j.Vocab)), size: len(j.Vocab),
	}
	for i, entry := range j.Vocab {
		token, score, err := parseScored(entry)
		if err != nil {
			return fmt.Errorf("vocab: entry %d: %w", i, err)
		}
		// The reference lets a later token of the same text win.
		t.vocab.ids[token], t.vocab.tokens[i], m.scores[i] = int32(i), token, score
		m.unkScore = min(m.unkScore, score)
	}
	m.unkScore -= unkPenalty
	m.ids = t.vocab.ids
	for token, id := range m.ids {
		if token == "" {
			continue // matches nowhere
		}
		if err := m.trie.insert(token, id); err != nil {
			return fmt.Errorf("vocab: %w", err)
		}
	}
	m.byteTokens = t.vocab.byteTokens()
	t.model = m
	return nil
}

// parseScored reads ["token", score].
func parseScored(data json.RawMessage) (token string, score float64, err error) {
	var pair []json.RawMessage
	if err = json.Unmarshal(data, &pair); err != nil {
		return "", 0, err
	}
	if len(pair) != 2 {
		return "", 0, fmt.Errorf("%d values, want a token and a score", len(pair))
	}
	if err = json.Unmarshal(pair[0], &token); err != nil {
		return "", 0, err
	}
	err = json.Unmarshal(pair[1], &score)
	return token, score, err
}

func (m *unigram) unknown() int32 { return m.unk }

func (m *unigram) appendWord(sc *scratch, dst []int32, word []byte) []int32 {
	return m.appendTokens(sc, dst, word, refusal{})
}

func (m *unigram) appendTokens(sc *scratch, dst []int32, word []byte, no refusal) []int32 {
	ends := m.path(sc, word, no)
	sc.held = sc.held[:0]
	for i := len(ends) - 1; i >= 0; i-- {
		node := sc.best[ends[i]]
		from, to := int(node.start), int(ends[i])
		if node.id != m.unk {
			dst = append(dst, node.id)
			sc.held = append(sc.held, span{start: from, end: to})
			continue
		}
		dst = m.appendUnknown(sc, dst, word, from, to, no)
	}
	return dst
}

// path returns where the tokens of the best way end, the last one first; the
// node of such an end knows where its token starts.
func (m *unigram) path(sc *scratch, word []byte, no refusal) []int32 {
	m.search(sc, word, no)
	// The path is read from its end; runs of unknown runes become one token.
	ends := sc.merge.ids[:0]
	for end := int32(len(word)); end > 0; {
		node := sc.best[end]
		start := node.start
		for node.id == m.unk && start > 0 && sc.best[start].id == m.unk {
			start = sc.best[start].start
		}
		ends = append(ends, end)
		sc.best[end].start = start
		end = start
	}
	sc.merge.ids = ends
	return ends
}

// search fills sc.best, one node an offset of word.
func (m *unigram) search(sc *scratch, word []byte, no refusal) {
	sc.best = append(slices.Grow(sc.best[:0], len(word)+1), bestNode{})
	for range word {
		sc.best = append(sc.best, bestNode{start: -1})
	}
	best, trie, scores := sc.best, m.trie, m.scores
	guarded := len(no.plain) > 0 // asked here, for the innermost loop of ordinary text
	for i := 0; i < len(word); {
		here := best[i].score
		_, size := utf8.DecodeRune(word[i:])
		single := false
		node := uint32(0)
		for k, c := range word[i:] {
			if node = trie.step(node, c); node == 0 {
				break
			}
			id := trie.values[node]
			if id < 0 || guarded && no.token(id, i, i+k+1) {
				continue
			}
			single = single || k+1 == size
			to := &best[i+k+1]
			if score := scores[id] + here; to.start < 0 || score > to.score {
				*to = bestNode{score, int32(i), id}
			}
		}
		if !single {
			to := &best[i+size]
			if score := m.unkScore + here; to.start < 0 || score > to.score {
				*to = bestNode{score, int32(i), m.unk}
			}
		}
		i += size
	}
}

// appendUnknown appends what the run of unknown runes word[from:to] becomes.
func (m *unigram) appendUnknown(sc *scratch, dst []int32, word []byte, from, to int, no refusal) []int32 {
	whole := span{start: from, end: to}
	text, first, held := word[from:to], len(dst), len(sc.held)
	if id, ok := m.ids[string(text)]; ok && !no.token(id, from, to) {
		sc.held = append(sc.held, whole)
		return append(dst, id) // the run is, as a whole, a token
	}
	if m.byteFallback {
		for i, b := range text {
			id := m.byteTokens[b]
			if id < 0 || no.token(id, from+i, from+i+1) {
				sc.held = append(sc.held[:held], whole)
				return append(dst[:first], m.unk)
			}
			sc.held = append(sc.held, span{start: from + i, end: from + i + 1})
			dst = append(dst, id)
		}
		return dst
	}
	sc.held = append(sc.held, whole)
	return append(dst, m.unk)
}
