package loader

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/loader/jsonerr"
)

const (
	causalSuffix     = "ForCausalLM"
	gpt2Suffix       = "LMHeadModel" // the same of older classes
	classifierSuffix = "ForSequenceClassification"
)

// configuration returns the merged model's config.json: for a classifier over a language model that
// of the classifier, with as many labels as the score head has rows, and the base's own otherwise,
// with the padding token and the size of the vocabulary that the adapter brings.
func (m *merging) configuration(c, own *Checkpoint) ([]byte, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(m.base.Config, &raw); err != nil {
		return nil, fmt.Errorf("base %s: %s: %w", m.base.Dir, configFile, err)
	}
	set := map[string]any{}
	if m.classifier {
		if err := m.classify(set, raw["architectures"]); err != nil {
			return nil, err
		}
		if err := m.pad(set, raw["pad_token_id"], c, own); err != nil {
			return nil, err
		}
	}
	if m.vocabulary > 0 {
		set["vocab_size"] = m.vocabulary
	}
	if len(set) == 0 {
		return m.base.Config, nil
	}
	for k, v := range set {
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		raw[k] = data
	}
	out, err := json.MarshalIndent(raw, "", "  ") // keys in the order of the alphabet
	return append(out, '\n'), err
}

// classify sets the fields in which a classifier's config.json differs from a language model's.
func (m *merging) classify(set map[string]any, architectures json.RawMessage) error {
	var arch []string
	if err := json.Unmarshal(architectures, &arch); err != nil || len(arch) != 1 {
		return fmt.Errorf("base %s: %s: architectures %.80s, want one", m.base.Dir, configFile, architectures)
	}
	name, ok := strings.CutSuffix(arch[0], causalSuffix)
	if !ok {
		name, ok = strings.CutSuffix(arch[0], gpt2Suffix)
	}
	if !ok {
		return nil
	}
	head, ok := m.out["score.weight"]
	if !ok || len(head.tensor.Shape) != 2 {
		return fmt.Errorf("no matrix score.weight, and the base %s is a language model", m.base.Dir)
	}
	labels := head.tensor.Shape[0]
	if labels < 1 || labels > maxLabels {
		return fmt.Errorf("score.weight has %d rows, want 1 to %d", labels, maxLabels)
	}
	names, ids := map[string]string{}, map[string]int{}
	for i := range labels {
		label := fmt.Sprintf("LABEL_%d", i)
		names[fmt.Sprint(i)], ids[label] = label, i
	}
	set["architectures"], set["num_labels"], set["id2label"], set["label2id"] = []string{name +
		classifierSuffix}, labels, names, ids
	return nil
}

// pad sets the padding token: the one that is named beside the adapter, which its trainer put into
// the model's configuration as well, else the configuration's, else the one that is named beside
// the base.
func (m *merging) pad(set map[string]any, configured json.RawMessage, c, own *Checkpoint) error {
	token, err := padName(own.TokenizerConfig, own.SpecialTokensMap)
	if err != nil {
		return err
	}
	ours := token != ""
	if !ours {
		if isSet(configured) {
			return nil
		}
		if token, err = padName(c.TokenizerConfig, c.SpecialTokensMap); err != nil || token == "" ||
			c.Tokenizer == nil {
			return err
		}
	}
	id, err := c.tokenID(token)
	if err != nil || string(configured) == fmt.Sprint(id) {
		return err
	}
	if ours {
		m.note("pad_token_id %d, the padding token %q that is named beside the adapter; the base's configuration has %s", id, token, orNone(configured))
	}
	set["pad_token_id"] = id // transformers needs one for batches of several sequences
	return nil
}

func orNone(v json.RawMessage) string {
	if isSet(v) {
		return string(v)
	}
	return "none"
}

// maxLabels bounds the labels that are listed by name in a configuration.
const maxLabels = 1 << 10

// padName returns the token that tokenizer_config.json names for padding, or
// special_tokens_map.json where it does not; "" when there is none.
func padName(config, tokenMap []byte) (string, error) {
	for _, f := range []struct {
		name string
		raw  []byte
	}{{tokenizerConfigFile, config}, {specialTokensFile, tokenMap}} {
		var named struct {
			Pad json.RawMessage `json:"pad_token"`
		}
		if f.raw == nil {
			continue
		}
		if err := json.Unmarshal(f.raw, &named); err != nil {
			return "", fmt.Errorf("%s: %w", f.name, jsonerr.WrongType(err))
		}
		var object struct {
			Content string `json:"content"`
		}
		switch {
		case !isSet(named.Pad):
		case json.Unmarshal(named.Pad, &object.Content) == nil,
			json.Unmarshal(named.Pad, &object) == nil && object.Content != "":
			return object.Content, nil
		default:
			return "", fmt.Errorf("%s: pad_token: %.80s, want a token's text", f.name, named.Pad)
		}
	}
	return "", nil
}

// tokenID returns the id of a token that is named for padding.
func (c *Checkpoint) tokenID(token string) (int, error) {
	var tokenizer struct {
		Added []struct {
			ID      int    `json:"id"`
			Content string `json:"content"`
		} `json:"added_tokens"`
		Model struct {
			Vocab json.RawMessage `json:"vocab"` // of a Unigram model a list
		} `json:"model"`
	}
	var config struct {
		Added map[string]struct {
			Content string `json:"content"`
		} `json:"added_tokens_decoder"`
	}
	if err := json.Unmarshal(c.Tokenizer, &tokenizer); err != nil {
		return 0, fmt.Errorf("%s: %w", tokenizerFile, jsonerr.WrongType(err))
	}
	for _, t := range tokenizer.Added {
		if t.Content == token {
			return t.ID, nil
		}
	}
	if c.TokenizerConfig != nil {
		if err := json.Unmarshal(c.TokenizerConfig, &config); err != nil {
			return 0, fmt.Errorf("%s: %w", tokenizerConfigFile, jsonerr.WrongType(err))
		}
	}
	for id, t := range config.Added {
		if n, err := strconv.Atoi(id); err == nil && t.Content == token {
			return n, nil
		}
	}
	var vocab map[string]int
	if json.Unmarshal(tokenizer.Model.Vocab, &vocab) == nil {
		if id, ok := vocab[token]; ok {
			return id, nil
		}
	}
	return 0, fmt.Errorf("%s: pad_token %q is not among the added_tokens of %s, nor in its vocabulary", tokenizerConfigFile, token, tokenizerFile)
}
