package bpe

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/warmserve/warmserve/model/tokenizer"
)

// Special are the tokens beside those of text. Empty ones are left out.
type Special struct{ BOS, EOS, Pad string }

// DefaultSpecial are the usual names.
func DefaultSpecial() Special { return Special{BOS: "<s>", EOS: "</s>", Pad: "<pad>"} }

func (s Special) list() []string {
	var out []string
	for _, t := range []string{s.BOS, s.EOS, s.Pad} {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

// Write returns tokenizer.json and tokenizer_config.json of merges. Special
// tokens have the first ids. BOS is put before every text.
func Write(merges [][2]int32, s Special, context int) (file, config []byte, err error) {
	vocab := map[string]int{}
	var added []map[string]any
	put := func(token string) error {
		if _, ok := vocab[token]; ok {
			return fmt.Errorf("bpe: token %q twice", token)
		}
		vocab[token] = len(vocab)
		return nil
	}
	for i, t := range s.list() {
		if err := put(t); err != nil {
			return nil, nil, err
		}
		added = append(added, map[string]any{"id": i, "content": t, "special": true, "single_word": false,
			"lstrip": false, "rstrip": false, "normalized": false})
	}
	var tokens []string
	for b := range 256 {
		t := string(tokenizer.ByteRune(byte(b)))
		if err := put(t); err != nil {
			return nil, nil, err
		}
		tokens = append(tokens, t)
	}
	lines := make([]string, 0, len(merges))
	for _, m := range merges {
		a, b := tokens[m[0]], tokens[m[1]]
		lines = append(lines, a+" "+b)
		tokens = append(tokens, a+b)
		if _, ok := vocab[a+b]; !ok { // two merges may spell the same
			if err := put(a + b); err != nil {
				return nil, nil, err
			}
		}
	}
	level := func(prefix bool) map[string]any {
		return map[string]any{"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
			"use_regex": true}
	}
	members := map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil,
		"pre_tokenizer": level(false), "decoder": level(true), "post_processor": s.template(vocab),
		"model": map[string]any{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
			"end_of_word_suffix": nil,
			"fuse_unk":           false, "byte_fallback": false, "vocab": vocab, "merges": lines,
		},
	}
	if file, err = marshal(members); err != nil {
		return nil, nil, err
	}
	about := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast",
		"clean_up_tokenization_spaces": false, "model_max_length": context}
	for key, t := range map[string]string{"bos_token": s.BOS, "eos_token": s.EOS, "pad_token": s.Pad} {
		if t != "" {
			about[key] = t
		}
	}
	config, err = marshal(about)
	return file, config, err
}

// marshal writes JSON with the tokens as they are: < is not escaped.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// template puts BOS before a text; nil without one.
func (s Special) template(vocab map[string]int) any {
	if s.BOS == "" {
		return nil
	}
	special := func() map[string]any {
		return map[string]any{"SpecialToken": map[string]any{"id": s.BOS, "type_id": 0}}
	}
	sequence := func(id string, typ int) map[string]any {
		return map[string]any{"Sequence": map[string]any{"id": id, "type_id": typ}}
	}
	return map[string]any{
		"type":   "TemplateProcessing",
		"single": []any{special(), sequence("A", 0)},
		"pair":   []any{special(), sequence("A", 0), sequence("B", 1)},
		"special_tokens": map[string]any{
			s.BOS: map[string]any{"id": s.BOS, "ids": []int{vocab[s.BOS]}, "tokens": []string{s.BOS}},
		},
	}
}
