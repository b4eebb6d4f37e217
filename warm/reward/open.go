package reward

import (
	"encoding/json"
	"fmt"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/jsonerr"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/tokenizer"
)

// ownConfig is what this project's trainer adds to config.json.
type ownConfig struct {
	Warmserve struct {
		Pooling   string `json:"pooling"`
		Ending    string `json:"ending"`
		DoubleBOS bool   `json:"double_bos"`
	} `json:"warmserve"`
}

// readAs has a configuration read text as c says, else the checkpoint's trainer,
// else its class.
func readAs(cfg *model.Config, configJSON []byte, c Config) error {
	r := model.Reading{Pooling: c.Pooling, Ending: c.Ending, DoubleBOS: c.DoubleBOS}
	var own ownConfig
	if err := json.Unmarshal(configJSON, &own); err != nil {
		return fmt.Errorf("config.json: %w", jsonerr.WrongType(err))
	}
	var err error
	if s := own.Warmserve.Pooling; s != "" && r.Pooling == "" {
		r.Pooling, err = model.ParsePooling(s)
	}
	if s := own.Warmserve.Ending; s != "" && r.Ending == "" && err == nil {
		r.Ending, err = model.ParseEnding(s)
	}
	if err != nil {
		return fmt.Errorf("config.json: warmserve: %w", err)
	}
	r.DoubleBOS = r.DoubleBOS || own.Warmserve.DoubleBOS
	return cfg.Read(r)
}

// Resolve is [model.Resolve] of a checkpoint in dir that is read as c says: its
// head, output, pooling and ending.
func Resolve(dir string, configJSON []byte, src model.Source, c Config) (cfg *model.Config,
	notes []string, err error) {
	if cfg, notes, err = model.Resolve(configJSON, src, c.head(dir)); err == nil {
		err = readAs(cfg, configJSON, c)
	}
	return cfg, notes, err
}

// NoTokenizer is the error for text where a checkpoint has no tokenizer: an
// [ErrNoTokenizer], with what to do.
func NoTokenizer(ckpt *loader.Checkpoint) error {
	if ckpt.OtherTokenizer != "" {
		return fmt.Errorf("%w; %s", ErrNoTokenizer, ckpt.OtherTokenizer)
	}
	return ErrNoTokenizer
}

// newEncoder reads a checkpoint's tokenizer and chat template.
func newEncoder(ckpt *loader.Checkpoint, cfg *model.Config, c Config) (*Encoder, error) {
	r := cfg.Reading
	e := &Encoder{
		Pooling: r.Pooling, Ending: r.Ending, DoubleBOS: r.DoubleBOS,
		Context: cfg.MaxPositions, config: cfg, causal: cfg.Causal(), bos: -1,
	}
	if c.MaxTokens < 0 || c.MaxTokens > cfg.MaxPositions {
		return nil, fmt.Errorf("max_tokens: %d, want 1 to %d, the model's context", c.MaxTokens,
			cfg.MaxPositions)
	}
	if c.MaxTokens > 0 {
		e.Context = c.MaxTokens
	}
	if p := r.Pooling; !e.causal && p != model.PoolHF && p != model.PoolFirst && p != model.PoolMean {
		e.notes = append(e.notes,
			fmt.Sprintf("pooling %s is not followed: an encoder is scored at its first token, or at all", p))
	}
	if ckpt.Tokenizer == nil {
		e.noTokenizer = NoTokenizer(ckpt)
		return e, nil
	}
	data, err := e.configure(ckpt)
	if err != nil {
		return nil, jsonerr.WrongType(err)
	}
	if e.Tokenizer, err = tokenizer.Parse(data); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", jsonerr.WrongType(err))
	}
	own, added := e.Tokenizer.Beyond(cfg.VocabSize)
	if own > 0 {
		return nil, fmt.Errorf("tokenizer.json has %d tokens, the model's vocab_size is %d",
			e.Tokenizer.VocabSize(), cfg.VocabSize)
	}
	if len(added) > 0 {
		e.notes = append(e.notes,
			fmt.Sprintf("the model's vocab_size is %d: it has no embedding of %s, and a text that holds it is refused", cfg.VocabSize, someOf(added)))
	}
	special, err := chat.SpecialTokens(ckpt.TokenizerConfig, ckpt.SpecialTokensMap)
	if err != nil {
		return nil, jsonerr.WrongType(err)
	}
	e.digests.special = special
	if id, ok := e.Tokenizer.ID(special["bos_token"]); ok && special["bos_token"] != "" {
		e.bos = id
	}
	if _, ok := e.Tokenizer.ID(special["eos_token"]); ok {
		e.eos = special["eos_token"]
	}
	if e.eos == "" && e.Ending != model.EndAsIs {
		return nil, fmt.Errorf("ending %s: tokenizer_config.json names no eos_token that tokenizer.json has; the ending as-is needs none", e.Ending)
	}
	if ckpt.ChatTemplate != "" {
		if e.Template, err = chat.Parse(ckpt.ChatTemplate, special); err != nil {
			return nil, fmt.Errorf("chat template: %w", err)
		}
	}
	return e, nil
}
