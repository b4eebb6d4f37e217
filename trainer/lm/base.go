package lm

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/tokenizer"
)

// base is what a run starts from.
type base struct {
	contents  loader.Contents // but for the weights
	config    *model.Config   // of the reward model with the same backbone
	tied      bool
	tokenizer *tokenizer.Tokenizer
	template  *chat.Template // nil without one
	bos, eos  int32          // bos: that the tokenizer puts in front of a text; -1 without
	ends      []int32        // tokens that end an answer: eos and those of generation_config.json
	ckpt      *loader.Checkpoint
	hash      string
}

func (c *Config) open() (*base, error) {
	b := &base{bos: -1, eos: -1}
	var err error
	if c.Base != "" {
		open := c.Open
		if open == nil {
			open = loader.Open
		}
		if b.ckpt, err = open(c.Base); err != nil {
			return nil, err
		}
		b.contents, b.hash = b.ckpt.Contents(), b.ckpt.Hash()
		if err = b.read(); err == nil {
			err = b.readEnds()
		}
	} else {
		err = b.create(c)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *base) close() error {
	if b.ckpt == nil {
		return nil
	}
	return b.ckpt.Close()
}

// create makes the files of a new model.
func (b *base) create(c *Config) error {
	read := func(name string) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(c.Tokenizer, name))
		if errors.Is(err, os.ErrNotExist) && name != "tokenizer.json" {
			return nil, nil
		}
		return data, err
	}
	var err error
	if b.contents.Tokenizer, err = read("tokenizer.json"); err != nil {
		return err
	}
	if b.contents.TokenizerConfig, err = read("tokenizer_config.json"); err != nil {
		return err
	}
	if b.contents.SpecialTokensMap, err = read("special_tokens_map.json"); err != nil {
		return err
	}
	if err := b.text(); err != nil {
		return fmt.Errorf("%s: %w", c.Tokenizer, err)
	}
	special := map[string]int32{}
	if b.bos >= 0 {
		special["bos"] = b.bos
	}
	if b.eos >= 0 {
		special["eos"] = b.eos
	}
	if b.contents.Config, err = c.Shape.config(b.tokenizer.VocabSize(), special); err != nil {
		return err
	}
	return b.read()
}

// read understands the configuration and the tokenizer.
func (b *base) read() error {
	if b.tokenizer == nil {
		if b.contents.Tokenizer == nil {
			return errors.New("no tokenizer.json")
		}
		if err := b.text(); err != nil {
			return err
		}
	}
	var err error
	b.config, b.tied, err = parseConfig(b.contents.Config)
	if err != nil {
		return err
	}
	switch own, added := b.tokenizer.Beyond(b.config.VocabSize); {
	case own > 0:
		return fmt.Errorf("tokenizer.json has %d tokens, the model's vocab_size is %d",
			b.tokenizer.VocabSize(), b.config.VocabSize)
	case len(added) > 0:
		return fmt.Errorf("the model's vocab_size is %d: it has no embedding of the added token %q: take it out of tokenizer.json and tokenizer_config.json, or enlarge the embedding", b.config.VocabSize, added[0])
	}
	return nil
}

// generationFile says how transformers continues texts.
const generationFile = "generation_config.json"

// readEnds finds the tokens that end an answer: chat models end a turn and a text by different
// ones. A file that says so stays beside what is trained.
func (b *base) readEnds() error {
	if b.eos >= 0 {
		b.ends = []int32{b.eos}
	}
	data, err := os.ReadFile(filepath.Join(b.ckpt.Dir, generationFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var file struct {
		End json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("%s: %w", generationFile, err)
	}
	var ids []int32
	if one := int32(0); json.Unmarshal(file.End, &one) == nil {
		ids = []int32{one}
	} else if err := json.Unmarshal(file.End, &ids); err != nil && file.End != nil {
		return fmt.Errorf("%s: eos_token_id: %s, want a token's number or a list of them", generationFile, file.End)
	}
	for _, id := range ids {
		if id < 0 || int(id) >= b.config.VocabSize {
			return fmt.Errorf("%s: eos_token_id: %d, the model has tokens 0 to %d", generationFile, id, b.config.VocabSize-1)
		}
		if !slices.Contains(b.ends, id) {
			b.ends = append(b.ends, id)
		}
	}
	b.contents.Extra = map[string][]byte{generationFile: data}
	return nil
}

// prompt returns the tokens of a text that is to be continued, or with chat of a conversation that
// it begins.
func (b *base) prompt(text string, asChat bool) ([]int32, error) {
	var ids []int32
	if asChat {
		if b.template == nil {
			return nil, errors.New("no chat template: leave out --chat")
		}
		r, err := b.template.Render([]chat.Message{chat.NewMessage("user", text)},
			chat.Options{AddGenerationPrompt: true})
		if err != nil {
			return nil, err
		}
		return b.tokenizer.AppendEncode(ids, r.Text, tokenizer.Options{}), nil
	}
	if b.bos >= 0 {
		ids = append(ids, b.bos)
	}
	if text != "" {
		ids = b.tokenizer.AppendEncode(ids, text, tokenizer.Options{NoParseSpecial: true})
	}
	if len(ids) == 0 {
		return nil, errors.New("a model without a token that begins a text needs a prompt")
	}
	return ids, nil
}

// text reads tokenizer, special tokens and template.
func (b *base) text() error {
	c := b.contents
	var err error
	if b.tokenizer, err = (tokenizer.Files{Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig,
		SpecialTokensMap: c.SpecialTokensMap, ModelConfig: c.Config}).Parse(); err != nil {
		return err
	}
	special, err := chat.SpecialTokens(b.contents.TokenizerConfig, b.contents.SpecialTokensMap)
	if err != nil {
		return err
	}
	for name, id := range map[string]*int32{"bos_token": &b.bos, "eos_token": &b.eos} {
		if t := special[name]; t != "" {
			var ok bool
			if *id, ok = b.tokenizer.ID(t); !ok {
				return fmt.Errorf("tokenizer_config.json: %s %q is not in tokenizer.json", name, t)
			}
		}
	}
	if b.bos >= 0 && !begins(b.tokenizer, b.bos) {
		b.bos = -1 // it is named and put in front of nothing, as SmolLM2's and Qwen's
	}
	if b.contents.ChatTemplate != "" {
		if b.template, err = chat.Parse(b.contents.ChatTemplate, special); err != nil {
			return fmt.Errorf("chat template: %w", err)
		}
	}
	return nil
}

// begins reports whether a tokenizer puts a token in front of a text.
func begins(t *tokenizer.Tokenizer, id int32) bool {
	s := t.Single()
	return len(s) > 0 && slices.Contains(s[0].IDs, id)
}

// parseConfig reads a language model's config.json as that of the reward model
// with the same backbone.
func parseConfig(config []byte) (c *model.Config, tied bool, err error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(config, &raw); err != nil {
		return nil, false, fmt.Errorf("config.json: %w", err)
	}
	var arch []string
	var class string
	err = json.Unmarshal(raw["architectures"], &arch)
	ok := err == nil && len(arch) == 1
	if ok {
		class, ok = model.ClassifierOf(arch[0])
	}
	if !ok {
		return nil, false, fmt.Errorf("config.json: architectures: %s, want one that ends in ForCausalLM",
			raw["architectures"])
	}
	raw["architectures"] = json.RawMessage(fmt.Sprintf("[%q]", class))
	raw["num_labels"], raw["id2label"] = json.RawMessage("1"), json.RawMessage(`{"0":"LABEL_0"}`)
	data, err := json.Marshal(raw)
	if err != nil {
		return nil, false, err
	}
	if c, err = model.ParseConfig(data); err != nil {
		return nil, false, err
	}
	tied = c.Tied()
	if t := raw["tie_word_embeddings"]; t != nil {
		if err := json.Unmarshal(t, &tied); err != nil {
			return nil, false, fmt.Errorf("config.json: tie_word_embeddings: %w", err)
		}
	}
	return c, tied, nil
}

// fresh is a Source of new weights: matrices normal with deviation 0.02, those
// that write to the residual stream by 1/√(2·layers) less, norms ones.
// Source: Radford et al. 2019, section 2.3; transformers' initializer_range.
type fresh struct {
	names  []string
	shapes map[string][]int
	seed   uint64
	layers int
}

func newFresh(c *model.Config, tied bool, seed uint64) *fresh {
	f := &fresh{shapes: map[string][]int{}, seed: seed, layers: c.Layers}
	r := model.NewRandom(c, 0)
	for _, n := range r.Names() {
		if n == "score.weight" {
			continue
		}
		f.names = append(f.names, n)
		f.shapes[n], _ = r.Shape(n)
	}
	if !tied {
		n := model.OutputLayer(c)
		f.names = append(f.names, n)
		f.shapes[n] = []int{c.VocabSize, c.Hidden}
	}
	return f
}

func (f *fresh) Names() []string { return f.names }

func (f *fresh) Shape(name string) ([]int, bool) {
	s, ok := f.shapes[name]
	return s, ok
}

func (f *fresh) ReadAt(dst []float32, name string, offset int) error {
	if len(f.shapes[name]) == 1 {
		for i := range dst {
			dst[i] = 0
			if strings.HasSuffix(name, ".weight") {
				dst[i] = 1
			}
		}
		return nil
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	key := nn.Mix(f.seed, h.Sum64())
	deviation := 0.02
	if strings.HasSuffix(name, "o_proj.weight") || strings.HasSuffix(name, "down_proj.weight") {
		deviation /= math.Sqrt(float64(2 * f.layers))
	}
	for i := range dst { // Box and Muller 1958, one of the two deviates
		u, v := nn.Mix(key, uint64(2*(offset+i))), nn.Mix(key, uint64(2*(offset+i)+1))
		r := math.Sqrt(-2 * math.Log((float64(u>>11)+1)/(1<<53)))
		dst[i] = float32(deviation * r * math.Cos(2*math.Pi*float64(v>>11)/(1<<53)))
	}
	return nil
}
