package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// An UnsupportedError names a component of tokenizer.json that this package
// does not have. Parse returns it, wrapped.
type UnsupportedError struct {
	Part string // "model", "normalizer", "pre_tokenizer", "post_processor", "decoder"
	Type string // the component's "type"
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s %q is not supported", e.Part, e.Type)
}

// file is tokenizer.json.
type file struct {
	Version       string          `json:"version"`
	AddedTokens   json.RawMessage `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

// Parse reads a tokenizer.json. It keeps nothing of the slice it is given.
func Parse(tokenizerJSON []byte) (*Tokenizer, error) {
	t, err := parse(tokenizerJSON)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func parse(data []byte) (*Tokenizer, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("the file is not UTF-8")
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	if f.Version != "" && f.Version != "1.0" {
		return nil, fmt.Errorf("version %q, want 1.0", f.Version)
	}
	t := new(Tokenizer)
	if err := t.parseNormalizer(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	bytewise, err := t.parsePre(f.PreTokenizer)
	if err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if err := t.parseModel(f.Model, bytewise); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err := t.parseAdded(f.AddedTokens); err != nil {
		return nil, err
	}
	t.guard, t.cut, t.weights, t.lengths = t.newGuard(), t.newCutter(), t.newWeights(), t.newLengths()
	if err := t.parsePost(f.PostProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	if err := t.parseDecoder(f.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	return t, nil
}

// maxDepth is how deep Sequences may nest; real files have one level.
const maxDepth = 8

// flatten calls do for a component, or for those of a Sequence in their order.
// A component that is null or missing is none.
func flatten(data json.RawMessage, list string, do func(typ string, data json.RawMessage) error) error {
	return flattenDepth(data, list, do, 0)
}

func flattenDepth(data json.RawMessage, list string, do func(string, json.RawMessage) error,
	depth int) error {
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("sequences nest deeper than %d", maxDepth)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	var typ string
	if err := json.Unmarshal(members["type"], &typ); err != nil {
		return fmt.Errorf("type: want a string")
	}
	if typ != "Sequence" {
		if err := do(typ, data); err != nil {
			return fmt.Errorf("%s: %w", typ, err)
		}
		return nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(members[list], &parts); err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	for _, p := range parts {
		if err := flattenDepth(p, list, do, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// parseModel reads "model". Old files do not name its type.
func (t *Tokenizer) parseModel(data json.RawMessage, bytewise bool) error {
	var head struct {
		Type   *string         `json:"type"`
		Merges json.RawMessage `json:"merges"`
		Prefix json.RawMessage `json:"continuing_subword_prefix"`
		UnkID  json.RawMessage `json:"unk_id"`
	}
	if len(data) == 0 {
		return errors.New("missing")
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return err
	}
	var typ string
	switch {
	case head.Type != nil:
		typ = *head.Type
	case head.Merges != nil:
		typ = "BPE"
	case head.UnkID != nil:
		typ = "Unigram"
	case head.Prefix != nil:
		typ = "WordPiece"
	default:
		typ = "WordLevel"
	}
	if bytewise && typ != "BPE" {
		// Only BPE reads bytes; the others want the characters that stand for
		// them.
		t.pre = append(t.pre, byteLevelStage{})
	}
	t.cache = newWordCache()
	switch typ {
	case "BPE":
		return t.parseBPE(data, bytewise)
	case "WordPiece":
		return t.parseWordPiece(data)
	case "WordLevel":
		t.cache = nil // it is a cache itself
		return t.parseWordLevel(data)
	case "Unigram":
		return t.parseUnigram(data)
	}
	return &UnsupportedError{"model", typ}
}
