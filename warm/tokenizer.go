package warm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// digest returns the SHA-256 of b, and "" for nothing.
func digest(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// tokenizerDigest returns a digest of what a tokenizer.json means: formatting and the order of keys
// do not show, nor do truncation and padding, which trainers set and servers override, nor which of
// the two spellings the merges of a BPE have ("a b" or ["a","b"]), nor whether a default is written
// out.
func tokenizerDigest(raw []byte) (string, error) {
	if raw == nil {
		return "", nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // Scores of a Unigram model are compared as they are written.
	top := map[string]any{}
	if err := dec.Decode(&top); err != nil {
		return "", fmt.Errorf("tokenizer.json: %w", err)
	}
	delete(top, "truncation")
	delete(top, "padding")
	if m, ok := top["model"].(map[string]any); ok {
		if merges, ok := m["merges"].([]any); ok {
			for i := range merges {
				if s, ok := merges[i].(string); ok {
					if a, b, ok := strings.Cut(s, " "); ok {
						merges[i] = []any{a, b}
					}
				}
			}
		}
	}
	dropDefaults(top)
	s, err := canonicalJSON(top)
	if err != nil {
		return "", fmt.Errorf("tokenizer.json: %w", err)
	}
	return digest([]byte(s)), nil
}

// tokenizerDefaults are what the library tokenizers (0.22) assumes for keys that are absent, by the
// component's type; "" is for all. A null counts as absent as well, and so does an empty affix.
// Offsets are not read here.
var tokenizerDefaults = map[string]map[string]any{
	"": {"version": "1.0", "dropout": nil, "unk_token": nil, "unk_id": nil,
		"continuing_subword_prefix": "", "end_of_word_suffix": "",
		"fuse_unk": false, "byte_fallback": false, "ignore_merges": false},
	"WordPiece": {"unk_token": "[UNK]", "continuing_subword_prefix": "##",
		"max_input_chars_per_word": json.Number("100")},
	"ByteLevel": {"use_regex": true},
	"Metaspace": {"prepend_scheme": "always", "split": true, "add_prefix_space": true,
		"replacement": "\u2581"},
}

// dropDefaults removes what says no more than its absence, in every component.
func dropDefaults(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			dropDefaults(x)
		}
	case map[string]any:
		kind, _ := v["type"].(string)
		delete(v, "trim_offsets")
		for key, x := range v {
			if key == "vocab" || key == "merges" {
				continue
			}
			standard, has := tokenizerDefaults[kind][key]
			if !has {
				standard, has = tokenizerDefaults[""][key]
			}
			if x == nil || has && reflect.DeepEqual(x, standard) {
				delete(v, key)
			}
			dropDefaults(x)
		}
	}
}

// rolePad is the role of the padding token.
const rolePad = "pad_token"

// specialRoles are the fields of tokenizer_config.json and special_tokens_map.json that name a token.
var specialRoles = []string{"bos_token", "eos_token", "unk_token", "sep_token", rolePad, "cls_token",
	"mask_token"}

// specialFlags are the fields of tokenizer_config.json that add tokens to a text. An absent flag is no
// statement, since its default depends on the tokenizer's class.
var specialFlags = []string{"add_bos_token", "add_eos_token"}

// specialTokens returns role → token, and flag → true or false. The tokenizer's configuration wins
// over the map.
func specialTokens(config, tokenMap []byte) (map[string]string, error) {
	out := map[string]string{}
	for _, f := range []struct {
		name string
		raw  []byte
	}{{"special_tokens_map.json", tokenMap}, {"tokenizer_config.json", config}} {
		if f.raw == nil {
			continue
		}
		var c map[string]any
		if err := json.Unmarshal(f.raw, &c); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		for _, role := range specialRoles {
			if token := tokenText(c[role]); token != "" {
				out[role] = token
			}
		}
		for _, flag := range specialFlags {
			if set, ok := c[flag].(bool); ok {
				out[flag] = fmt.Sprint(set)
			}
		}
	}
	return out, nil
}

// tokenText returns the text of a token, which is a string or an object with content.
func tokenText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		s, _ := v["content"].(string)
		return s
	}
	return ""
}
