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
		Pooling string `json:"pooling"`
	} `json:"warmserve"`
}

// newEncoder reads a checkpoint's tokenizer and chat template.
func newEncoder(ckpt *loader.Checkpoint, cfg *model.Config, c Config) (*Encoder, error) {
	e := &Encoder{Pooling: c.Pooling, Context: cfg.MaxPositions, config: cfg, causal: cfg.Causal(), bos: -1}
	if c.MaxTokens < 0 || c.MaxTokens > cfg.MaxPositions {
		return nil, fmt.Errorf("max_tokens: %d, want 1 to %d, the model's context", c.MaxTokens, cfg.MaxPositions)
	}
	if c.MaxTokens > 0 {
		e.Context = c.MaxTokens
	}
	if e.Pooling == "" {
		var own ownConfig
		if err := json.Unmarshal(ckpt.Config, &own); err != nil {
			return nil, fmt.Errorf("config.json: %w", jsonerr.WrongType(err))
		}
		p, err := model.ParsePooling(own.Warmserve.Pooling)
		if err != nil {
			return nil, fmt.Errorf("config.json: warmserve: %w", err)
		}
		e.Pooling = p
	}
	if ckpt.Tokenizer == nil {
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
		return nil, fmt.Errorf("tokenizer.json has %d tokens, the model's vocab_size is %d", e.Tokenizer.VocabSize(), cfg.VocabSize)
	}
	if len(added) > 0 {
		e.notes = append(e.notes, fmt.Sprintf("the model's vocab_size is %d: it has no embedding of %s, and a text that holds it is refused", cfg.VocabSize, someOf(added)))
	}
	special, err := chat.SpecialTokens(ckpt.TokenizerConfig, ckpt.SpecialTokensMap)
	if err != nil {
		return nil, jsonerr.WrongType(err)
	}
	e.digests.special = special
	if id, ok := e.Tokenizer.ID(special["bos_token"]); ok && special["bos_token"] != "" {
		e.bos = id
	}
	if ckpt.ChatTemplate != "" {
		if e.Template, err = chat.Parse(ckpt.ChatTemplate, special); err != nil {
			return nil, fmt.Errorf("chat template: %w", err)
		}
	}
	return e, nil
}
