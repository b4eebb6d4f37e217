package rm

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/warm/reward"
)

// Base is a checkpoint as a reward model sees it: of a body without a score head that body, with
// layers of the head that are new.
type Base struct {
	Checkpoint *loader.Checkpoint
	config     []byte // config.json of the reward model
	parsed     *model.Config
	Encoder    *reward.Encoder
	body       *model.Base // nil for a reward model, whose head is kept or probed
	pooling    string      // that the head of a body was asked to have
}

// openBase opens the checkpoint to start from. Close its checkpoint.
func (c *Config) openBase() (*Base, error) {
	open := c.Open
	if open == nil {
		open = loader.Open
	}
	ckpt, err := open(c.Base)
	if err != nil {
		return nil, err
	}
	return readBase(ckpt, reward.Config{MaxTokens: c.MaxTokens}, c.Pooling)
}

// ReadBase is openBase of an open checkpoint, which it closes after an error. Of c it
// reads Head, Output and what [reward.NewEncoder] does.
func ReadBase(ckpt *loader.Checkpoint, c reward.Config) (*Base, error) {
	return readBase(ckpt, c, "")
}

func readBase(ckpt *loader.Checkpoint, c reward.Config, pooling string) (*Base, error) {
	b := &Base{Checkpoint: ckpt, pooling: pooling}
	if err := b.read(c); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", ckpt.Dir, err), ckpt.Close())
	}
	return b, nil
}

// LanguageModel tells whether a checkpoint directory is a causal language model, which writes text.
func LanguageModel(dir string) (bool, error) {
	b, err := (&Config{Base: dir}).openBase()
	if err != nil {
		return false, err
	}
	return b.body != nil && b.body.Language() && b.parsed.Causal(), b.Checkpoint.Close()
}

func (b *Base) read(c reward.Config) error {
	b.config = b.Checkpoint.Config
	err := b.resolve(c)
	if err != nil {
		return err
	}
	if err := b.renameHead(); err != nil {
		return err
	}
	if b.Checkpoint.Tokenizer == nil {
		return reward.NoTokenizer(b.Checkpoint)
	}
	if b.body != nil { // which the checkpoint's own configuration does not know
		c.Pooling = b.body.Pooling
	}
	b.Encoder, err = reward.NewEncoder(b.Checkpoint, b.parsed, c)
	return err
}

// resolve reads a checkpoint's configuration: what it is, and how its texts are read, the tensors say, too.
func (b *Base) resolve(c reward.Config) (err error) {
	if b.parsed, _, err = reward.Resolve(b.Checkpoint.Dir, b.config, b.Checkpoint, c); !errors.Is(err,
		model.ErrNoHead) {
		if err == nil && b.pooling != "" {
			err = fmt.Errorf("pooling: %q, but it has a score head, which is read as it was trained", b.pooling)
		}
		return err
	}
	b.body, err = model.ResolveBase(b.config, b.Checkpoint, b.Checkpoint.SentencePooling, b.pooling)
	if err != nil {
		return err
	}
	return b.rewrite(b.body.Config)
}

// rewrite makes a reward model's configuration of the body's.
func (b *Base) rewrite(body *model.Config) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b.config, &raw); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	if b.body.Inside {
		text := raw["text_config"]
		raw = nil
		if err := json.Unmarshal(text, &raw); err != nil {
			return fmt.Errorf("config.json: text_config: %w", err)
		}
	}
	set := map[string]any{
		"architectures": []string{body.Architecture},
		"num_labels":    1,
		"id2label":      map[string]string{"0": "LABEL_0"},
		"label2id":      map[string]int{"LABEL_0": 0},
	}
	if b.body.Pooling != "" {
		set["warmserve"] = map[string]any{"pooling": b.body.Pooling, "pooler": !body.NoPooler}
	}
	var said int
	if err := json.Unmarshal(raw["vocab_size"], &said); err == nil && said != body.VocabSize {
		set["vocab_size"] = body.VocabSize // as many as the embedding has rows
	}
	if id, ok := raw["pad_token_id"]; !ok || string(id) == "null" {
		id, err := b.token("pad_token")
		if err != nil {
			return err
		}
		if id >= 0 { // transformers needs one for batches of several sequences
			set["pad_token_id"] = id
		}
	}
	for k, v := range set {
		data, err := json.Marshal(v)
		if err != nil {
			return err
		}
		raw[k] = data
	}
	err := b.setConfig(raw)
	if err != nil {
		return err
	}
	b.parsed, err = model.ParseConfig(b.config)
	return err
}

// renameHead leaves the name of the head's tensors out of the configuration where a user has set it
// there: what is trained has them under the class's own.
func (b *Base) renameHead() error {
	var raw, own map[string]json.RawMessage
	if err := json.Unmarshal(b.config, &raw); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	if json.Unmarshal(raw["warmserve"], &own) != nil || own["head"] == nil {
		return nil
	}
	delete(own, "head")
	data, err := json.Marshal(own)
	if err != nil {
		return err
	}
	raw["warmserve"] = data
	return b.setConfig(raw)
}

// setConfig writes the configuration, its keys in the order of the alphabet.
func (b *Base) setConfig(raw map[string]json.RawMessage) error {
	config, err := json.MarshalIndent(raw, "", "  ")
	b.config = append(config, '\n')
	return err
}

// token returns the id of the token that the tokenizer's files name for a role, -1 for none.
func (b *Base) token(role string) (int32, error) {
	c := b.Checkpoint
	if c.Tokenizer == nil {
		return -1, reward.NoTokenizer(c)
	}
	special, err := chat.SpecialTokens(c.TokenizerConfig, c.SpecialTokensMap)
	if err != nil || special[role] == "" {
		return -1, err
	}
	t, err := tokenizer.Files{Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig,
		SpecialTokensMap: c.SpecialTokensMap, ModelConfig: c.Config}.Parse()
	if err != nil {
		return -1, err
	}
	if id, ok := t.ID(special[role]); ok {
		return id, nil
	}
	return -1, fmt.Errorf("tokenizer_config.json: %s %q is not in tokenizer.json", role, special[role])
}

// source returns the reward model's tensors.
func (b *Base) source() model.Source {
	if b.body == nil {
		return b.Checkpoint
	}
	return b.body
}

// contents is a checkpoint of the reward model with the given weights.
func (b *Base) contents(w loader.Source) loader.Contents {
	c := b.Checkpoint.Contents()
	c.Config, c.Source = b.config, w
	return c
}
