package chat

import (
	"encoding/json"
	"fmt"
)

// tokenNames are the special tokens every tokenizer may have.
var tokenNames = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
	"cls_token", "mask_token"}

// SpecialTokens returns the special tokens that a template sees, by name (bos_token, eos_token, …).
// tokenizerConfig is tokenizer_config.json and specialTokensMap is special_tokens_map.json; either
// may be nil when the checkpoint lacks it. As in transformers, the map counts only for old
// checkpoints, whose tokenizer_config.json has no added_tokens_decoder, and then it wins. A token is
// a string or an object whose content is the string; null, false and absent mean there is none.
func SpecialTokens(tokenizerConfig, specialTokensMap []byte) (map[string]string, error) {
	config, err := object("tokenizer_config.json", tokenizerConfig)
	if err != nil {
		return nil, err
	}
	legacy, err := object("special_tokens_map.json", specialTokensMap)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range tokenNames {
		if err := setToken(out, "tokenizer_config.json", name, config[name]); err != nil {
			return nil, err
		}
		if _, modern := config["added_tokens_decoder"]; modern {
			continue
		}
		if err := setToken(out, "special_tokens_map.json", name, legacy[name]); err != nil {
			return nil, err
		}
	}
	var extra map[string]json.RawMessage
	if json.Unmarshal(config["extra_special_tokens"], &extra) == nil { // a list of them has no names
		for _, name := range sortedKeys(extra) {
			if err := setToken(out, "tokenizer_config.json: extra_special_tokens", name,
				extra[name]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func object(file string, data []byte) (map[string]json.RawMessage, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

func setToken(out map[string]string, file, name string, data json.RawMessage) error {
	if len(data) == 0 {
		return nil
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("%s: %s: %w", file, name, err)
	}
	if m, ok := v.(map[string]any); ok {
		v = m["content"]
		if v == nil {
			return fmt.Errorf("%s: %s: the object has no content", file, name)
		}
	}
	switch v := v.(type) {
	case nil:
	case bool:
		if v {
			return fmt.Errorf("%s: %s: want a string, got true", file, name)
		}
	case string:
		out[name] = v
	default:
		return fmt.Errorf("%s: %s: want a string or an object with content, got %s", file, name, data)
	}
	return nil
}
