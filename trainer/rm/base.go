package rm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/warm/reward"
)

// Base is a checkpoint as a reward model sees it: of a causal language model the
// backbone, with a score head of zeros.
type Base struct {
	Checkpoint *loader.Checkpoint
	config     []byte // config.json of the reward model
	parsed     *model.Config
	Encoder    *reward.Encoder
	newHead    bool // the head is zeros and wants probing
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
	return ReadBase(ckpt, c.MaxTokens)
}

// ReadBase is openBase of an open checkpoint, which it closes after an error.
func ReadBase(ckpt *loader.Checkpoint, maxTokens int) (*Base, error) {
	b := &Base{Checkpoint: ckpt}
	if err := b.read(maxTokens); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", ckpt.Dir, err), ckpt.Close())
	}
	return b, nil
}

func (b *Base) read(maxTokens int) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b.Checkpoint.Config, &raw); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	var arch []string
	if err := json.Unmarshal(raw["architectures"], &arch); err != nil || len(arch) != 1 {
		return fmt.Errorf("config.json: architectures: %s, want one", raw["architectures"])
	}
	b.config = b.Checkpoint.Config
	if class, ok := model.ClassifierOf(arch[0]); ok {
		b.newHead = true
		if err := b.rewrite(raw, class); err != nil {
			return err
		}
	}
	var err error
	if b.parsed, err = model.ParseConfig(b.config); err != nil {
		return err
	}
	if b.Checkpoint.Tokenizer == nil {
		return reward.ErrNoTokenizer
	}
	b.Encoder, err = reward.NewEncoder(b.Checkpoint, b.parsed, reward.Config{MaxTokens: maxTokens})
	return err
}

// rewrite makes a reward model's configuration of a language model's.
func (b *Base) rewrite(raw map[string]json.RawMessage, arch string) error {
	set := map[string]any{
		"architectures": []string{arch},
		"num_labels":    1,
		"id2label":      map[string]string{"0": "LABEL_0"},
		"label2id":      map[string]int{"LABEL_0": 0},
	}
	if id, ok := raw["pad_token_id"]; !ok || string(id) == "null" {
		id, err := b.padToken()
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
	config, err := json.MarshalIndent(raw, "", "  ") // keys in the order of the alphabet
	b.config = append(config, '\n')
	return err
}

// padToken returns the id of the tokenizer's padding token, -1 when it has none.
func (b *Base) padToken() (int32, error) {
	if b.Checkpoint.Tokenizer == nil {
		return -1, reward.ErrNoTokenizer
	}
	special, err := chat.SpecialTokens(b.Checkpoint.TokenizerConfig, b.Checkpoint.SpecialTokensMap)
	if err != nil || special["pad_token"] == "" {
		return -1, err
	}
	c := b.Checkpoint
	data, _, err := tokenizer.Files{Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig, SpecialTokensMap: c.SpecialTokensMap, ModelConfig: c.Config}.Configured()
	if err != nil {
		return -1, err
	}
	t, err := tokenizer.Parse(data)
	if err != nil {
		return -1, fmt.Errorf("tokenizer.json: %w", err)
	}
	if id, ok := t.ID(special["pad_token"]); ok {
		return id, nil
	}
	return -1, fmt.Errorf("tokenizer_config.json: pad_token %q is not in tokenizer.json", special["pad_token"])
}

// source returns the reward model's tensors: for a new head the backbone's and
// zeros.
func (b *Base) source() model.Source {
	if !b.newHead {
		return b.Checkpoint
	}
	return &headless{Checkpoint: b.Checkpoint, hidden: b.parsed.Hidden}
}

// contents is a checkpoint of the reward model with the given weights.
func (b *Base) contents(w loader.Source) loader.Contents {
	c := b.Checkpoint
	return loader.Contents{
		Config: b.config, Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig, SpecialTokensMap: c.SpecialTokensMap,
		ChatTemplate: c.ChatTemplate, Source: w,
	}
}

// headless is a language model's checkpoint without its output layer and with a
// score head of zeros.
type headless struct {
	*loader.Checkpoint
	hidden int
}

// outputLayers are the heads of language models, which a reward model drops.
var outputLayers = []string{"lm_head.weight", "embed_out.weight"}

const scoreWeight = "score.weight"

func (h *headless) Names() []string {
	names := slices.DeleteFunc(slices.Clone(h.Checkpoint.Names()), func(n string) bool { return slices.Contains(outputLayers, n) })
	return append(names, scoreWeight)
}

func (h *headless) Shape(name string) ([]int, bool) {
	if name == scoreWeight {
		return []int{1, h.hidden}, true
	}
	return h.Checkpoint.Shape(name)
}

func (h *headless) ReadAt(dst []float32, name string, offset int) error {
	if name == scoreWeight {
		clear(dst)
		return nil
	}
	return h.Checkpoint.ReadAt(dst, name, offset)
}
