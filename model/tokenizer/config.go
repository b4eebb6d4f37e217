package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Files are what a checkpoint says about its tokenizer. All but Tokenizer may be
// nil.
type Files struct {
	Tokenizer        []byte // tokenizer.json
	TokenizerConfig  []byte // tokenizer_config.json
	SpecialTokensMap []byte // special_tokens_map.json
	ModelConfig      []byte // config.json
}

// Parse parses the tokenizer.json that is in force, as Configured has it.
func (f Files) Parse() (*Tokenizer, error) {
	data, _, err := f.Configured()
	if err != nil {
		return nil, err
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return t, nil
}

// Configured returns the tokenizer.json that transformers works with once it has
// read the files beside it: the file itself, to the byte, where they change
// nothing. The notes say in words which fields were not followed; those are
// fields that ask for other tokens, and that transformers 5 or 4 would follow.
//
// It follows transformers 5.24 where version 4.57 does the same: tokens that
// only the configuration adds, the lower case, accents and Chinese characters of
// BERT's classes, the prefix space of GPT-2's, GPT-NeoX's and Llama's.
func (f Files) Configured() (tokenizerJSON []byte, notes []string, err error) {
	c := configuring{files: f}
	for _, in := range []struct {
		name string
		data []byte
		into any
	}{
		{"tokenizer.json", f.Tokenizer, &c.doc},
		{"tokenizer_config.json", f.TokenizerConfig, &c.config},
		{"special_tokens_map.json", f.SpecialTokensMap, &c.tokens},
		{"config.json", f.ModelConfig, &c.model},
	} {
		if len(in.data) == 0 {
			continue
		}
		if err := json.Unmarshal(in.data, in.into); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", in.name, err)
		}
	}
	c.class = classOf(c.config, c.model)
	for _, step := range []func() error{c.addTokens, c.normalizer, c.prefixSpace, c.template} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	if c.flag("split_special_tokens", false) {
		c.note("split_special_tokens", "special tokens written in a text are read as such")
	}
	if !c.changed {
		return f.Tokenizer, c.notes, nil
	}
	out, err := json.Marshal(c.doc)
	return out, c.notes, err
}

// configuring is the work of Configured.
type configuring struct {
	files   Files
	doc     map[string]json.RawMessage // tokenizer.json
	config  map[string]json.RawMessage
	tokens  map[string]json.RawMessage
	model   map[string]json.RawMessage
	class   family
	changed bool
	notes   []string
}

// A family is a family of tokenizer classes that read the same fields.
type family string

const (
	classOther   family = ""
	classGeneric family = "generic" // tokenizer.json alone
	classBERT    family = "BERT"
	classGPT2    family = "GPT-2"
	classNeoX    family = "GPT-NeoX"
	classLlama   family = "Llama"
)

// families are by the name of a class without "Tokenizer" and what follows, and
// by model type.
var families = map[string]family{
	"PreTrained": classGeneric, "": classGeneric, // TokenizersBackend
	"Bert": classBERT, "DistilBert": classBERT, "Electra": classBERT, "MobileBert": classBERT,
	"ConvBert": classBERT,
	"LayoutLM": classBERT, "Lxmert": classBERT, "SqueezeBert": classBERT,
	"bert": classBERT, "distilbert": classBERT, "electra": classBERT, "mobilebert": classBERT,
	"convbert": classBERT,
	"GPT2":     classGPT2, "Roberta": classGPT2, "Bart": classGPT2, "Longformer": classGPT2, "LED": classGPT2,
	"gpt2": classGPT2, "roberta": classGPT2, "bart": classGPT2, "longformer": classGPT2, "led": classGPT2,
	"GPTNeoX": classNeoX, "gpt_neox": classNeoX,
	"Llama": classLlama, "CodeLlama": classLlama, "llama": classLlama,
}

func classOf(config, model map[string]json.RawMessage) family {
	for _, m := range []map[string]json.RawMessage{config, model} {
		var name string
		if json.Unmarshal(m["tokenizer_class"], &name) == nil && name != "" {
			prefix, _, _ := bytes.Cut([]byte(name), []byte("Tokenizer"))
			return families[string(prefix)]
		}
	}
	var typ string
	if json.Unmarshal(model["model_type"], &typ) == nil && typ != "" {
		return families[typ]
	}
	return classOther
}

func (c *configuring) note(field, instead string) {
	said := "absent"
	if data := c.config[field]; data != nil {
		said = string(data)
	}
	c.notes = append(c.notes,
		fmt.Sprintf("tokenizer_config.json: %s: %s is not followed: %s", field, said, instead))
}

// compare notes a field that says otherwise than tokenizer.json.
func (c *configuring) compare(field string, is bool, instead string) {
	if c.flag(field, is) != is {
		c.note(field, instead)
	}
}

// flag returns a field that is true or false, otherwise when it is neither.
func (c *configuring) flag(name string, otherwise bool) bool {
	var v *bool
	if json.Unmarshal(c.config[name], &v) != nil || v == nil {
		return otherwise
	}
	return *v
}

// says reports whether the field is true or false.
func (c *configuring) says(name string) bool {
	return c.flag(name, true) == c.flag(name, false)
}

func (c *configuring) set(member string, value any) error {
	data, err := json.Marshal(value)
	c.doc[member], c.changed = data, true
	return err
}

// object reads a member of tokenizer.json that is one component.
func (c *configuring) object(member string) map[string]any {
	var o map[string]any
	if json.Unmarshal(c.doc[member], &o) != nil {
		return nil
	}
	return o
}

// tokenRoles are the fields that name a token, in the order in which
// transformers adds those that tokenizer.json lacks.
var tokenRoles = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
	"cls_token", "mask_token"}

// readToken reads a token that is a string or an object; ok is false for none.
func readToken(data json.RawMessage) (tok addedTokenJSON, ok bool) {
	if json.Unmarshal(data, &tok.Content) != nil {
		tok = addedTokenJSON{Normalized: true} // the default of an object
		if json.Unmarshal(data, &tok) != nil {
			return tok, false
		}
	}
	return tok, tok.Content != ""
}

// wanted returns the tokens that the configuration has, in the order in which
// they are added, and the names of those that are special whatever their flags.
// Named tokens count only where tokenizer.json does not have them.
func (c *configuring) wanted() (listed, named []addedTokenJSON, err error) {
	var decoder map[string]json.RawMessage
	if data := c.config["added_tokens_decoder"]; len(data) > 0 {
		if err := json.Unmarshal(data, &decoder); err != nil {
			return nil, nil, fmt.Errorf("tokenizer_config.json: added_tokens_decoder: %w", err)
		}
	}
	for id, data := range decoder {
		tok, ok := readToken(data)
		if tok.ID, err = strconv.ParseInt(id, 10, 32); err != nil || !ok {
			return nil, nil, fmt.Errorf("tokenizer_config.json: added_tokens_decoder: %q: %s, want an id and a token", id, data)
		}
		listed = append(listed, tok)
	}
	slices.SortFunc(listed, func(a, b addedTokenJSON) int { return int(a.ID - b.ID) })
	name := func(data json.RawMessage) {
		if tok, ok := readToken(data); ok {
			tok.ID, tok.Special = -1, true
			named = append(named, tok)
		}
	}
	for _, role := range tokenRoles {
		data, ok := c.config[role]
		if !ok && c.config["added_tokens_decoder"] == nil {
			data = c.tokens[role]
		}
		name(data)
	}
	for _, field := range []string{"extra_special_tokens", "additional_special_tokens"} {
		var list []json.RawMessage
		var byName map[string]json.RawMessage
		if json.Unmarshal(c.config[field], &list) != nil && json.Unmarshal(c.config[field], &byName) == nil {
			for _, key := range slices.Sorted(maps.Keys(byName)) {
				list = append(list, byName[key])
			}
		}
		for _, data := range list {
			name(data)
		}
	}
	return listed, named, nil
}

// addTokens adds the tokens that only the configuration has, and gives others
// the flags that it says.
func (c *configuring) addTokens() error {
	var have []addedTokenJSON
	if data := c.doc["added_tokens"]; len(data) > 0 {
		if err := json.Unmarshal(data, &have); err != nil {
			return fmt.Errorf("tokenizer.json: added_tokens: %w", err)
		}
	}
	listed, named, err := c.wanted()
	if err != nil {
		return err
	}
	isNamed := func(content string) bool {
		return slices.ContainsFunc(named, func(n addedTokenJSON) bool { return n.Content == content })
	}
	index := map[string]int{}
	for i, tok := range have {
		index[tok.Content] = i
	}
	var add []addedTokenJSON
	changed := false
	for i, tok := range slices.Concat(listed, named) {
		at, ok := index[tok.Content]
		tok.Special = tok.Special || isNamed(tok.Content)
		switch {
		case !ok:
			index[tok.Content] = len(have) + len(add)
			add = append(add, tok)
		case i < len(listed) && at < len(have):
			id := have[at].ID
			if tok.ID != id {
				c.notes = append(c.notes,
					fmt.Sprintf("tokenizer_config.json: added_tokens_decoder: token %q has id %d, tokenizer.json makes it %d", tok.Content, tok.ID, id))
			}
			tok.ID = id
			changed = changed || tok != have[at]
			have[at] = tok
		case at < len(have) && !have[at].Special:
			changed, have[at].Special = true, true
		}
	}
	if len(add) == 0 && !changed {
		return nil
	}
	t, err := Parse(c.files.Tokenizer)
	if err != nil {
		return fmt.Errorf("tokenizer.json: %w", err)
	}
	next := int64(t.VocabSize())
	for _, tok := range add {
		id := next
		if known, ok := t.ID(tok.Content); ok {
			id = int64(known)
		} else {
			next++
		}
		if tok.ID >= 0 && tok.ID != id {
			c.notes = append(c.notes,
				fmt.Sprintf("tokenizer_config.json: added_tokens_decoder: token %q has id %d, but transformers makes it %d", tok.Content, tok.ID, id))
		}
		tok.ID = id
		have = append(have, tok)
	}
	return c.set("added_tokens", have)
}

// normalizer sets what BERT's classes say about the normalizer; what they do not
// say has their defaults.
func (c *configuring) normalizer() error {
	n := c.object("normalizer")
	isBERT := n != nil && n["type"] == "BertNormalizer"
	if c.class == classBERT && isBERT {
		var accents any
		if c.says("strip_accents") {
			accents = c.flag("strip_accents", false)
		}
		lower, chinese := c.flag("do_lower_case", true), c.flag("tokenize_chinese_chars", true)
		if n["lowercase"] == lower && n["strip_accents"] == accents && n["handle_chinese_chars"] == chinese {
			return nil
		}
		n["lowercase"], n["strip_accents"], n["handle_chinese_chars"] = lower, accents, chinese
		return c.set("normalizer", n)
	}
	if c.class == classGeneric {
		return nil // transformers does not read the fields either
	}
	lower := bytes.Contains(c.doc["normalizer"], []byte(`"Lowercase"`)) || isBERT && n["lowercase"] == true
	c.compare("do_lower_case", lower, "tokenizer.json's normalizer decides")
	accents := bytes.Contains(c.doc["normalizer"], []byte(`"StripAccents"`)) || isBERT &&
		(n["strip_accents"] == true || n["strip_accents"] == nil && lower)
	c.compare("strip_accents", accents, "tokenizer.json's normalizer decides")
	if isBERT {
		c.compare("tokenize_chinese_chars", n["handle_chinese_chars"] == true,
			"tokenizer.json's normalizer decides")
	}
	return nil
}

// prefixSpace sets what GPT-2's, GPT-NeoX's and Llama's classes say about a space in front
// of a text.
func (c *configuring) prefixSpace() error {
	p := c.object("pre_tokenizer")
	if p == nil {
		p = map[string]any{}
	}
	metaspace := p["type"] == "Metaspace"
	scheme, _ := p["prepend_scheme"].(string)
	switch {
	case (c.class == classGPT2 || c.class == classNeoX) && p["type"] == "ByteLevel":
		want := c.flag("add_prefix_space", false)
		if p["add_prefix_space"] == want {
			return nil
		}
		p["add_prefix_space"] = want
		return c.set("pre_tokenizer", p)
	case c.class == classLlama && metaspace && scheme != "never" && c.says("add_prefix_space") &&
		!c.flag("add_prefix_space", true):
		p["prepend_scheme"] = "never"
		delete(p, "add_prefix_space")
		return c.set("pre_tokenizer", p)
	}
	adds := p["add_prefix_space"] == true
	if metaspace && scheme != "" {
		adds = scheme != "never"
	}
	if p["type"] != "ByteLevel" && !metaspace {
		adds = bytes.Contains(c.doc["pre_tokenizer"], []byte(`"add_prefix_space":true`)) ||
			bytes.Contains(c.doc["pre_tokenizer"], []byte(`"add_prefix_space": true`)) ||
			bytes.Contains(c.doc["normalizer"], []byte(`"Prepend"`))
	}
	// Absent is false to transformers 4 where the pre-tokenizer has the field.
	silent := p["type"] == "ByteLevel" && adds && !c.says("add_prefix_space") && len(c.config) > 0
	if silent || c.flag("add_prefix_space", adds) != adds {
		c.note("add_prefix_space", "tokenizer.json's pre_tokenizer decides; transformers may go by the field")
	}
	if c.class == classLlama && bytes.Contains(c.doc["normalizer"], []byte(`"Prepend"`)) {
		c.note("tokenizer_class",
			"tokenizer.json's normalizer puts a space before each run of text, as in transformers 4; version 5 puts none before a space, nor behind a special token unless legacy is true")
	}
	if c.class == classLlama && metaspace && scheme != "never" {
		c.compare("legacy", scheme == "always", fmt.Sprintf("tokenizer.json's prepend_scheme %q decides", scheme))
	}
	return nil
}

// template compares what is said about BOS and EOS with the post-processor,
// which decides in transformers 5, and for most classes in transformers 4.
func (c *configuring) template() error {
	if c.class == classGeneric || c.class == classBERT || c.class == classGPT2 {
		return nil // no version reads the fields
	}
	var bos, eos bool
	// Absent is true to transformers 4 for Llama's classes.
	_, named := readToken(c.config["bos_token"])
	silent := c.class == classLlama && named && !c.says("add_bos_token")
	if silent || c.says("add_bos_token") || c.says("add_eos_token") {
		t, err := Parse(c.files.Tokenizer)
		if err != nil {
			return fmt.Errorf("tokenizer.json: %w", err)
		}
		holds := func(role string, ids []int32) bool {
			tok, _ := readToken(c.config[role])
			id, ok := t.ID(tok.Content)
			return ok && slices.Contains(ids, id)
		}
		bos, eos = holds("bos_token", t.post.prefix), holds("eos_token", t.post.suffix)
	}
	const decides = "tokenizer.json's post_processor decides, as in transformers 5; version 4 may go by the field"
	if silent && !bos {
		c.note("add_bos_token", decides)
	}
	c.compare("add_bos_token", bos, decides)
	c.compare("add_eos_token", eos, decides)
	return nil
}
