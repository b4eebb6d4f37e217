package reward

import (
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
)

// NewEncoder returns the encoder of a checkpoint for a configuration: training
// reads text exactly as serving does. Of c it reads Pooling, Ending,
// DoubleBOS and MaxTokens.
func NewEncoder(ckpt *loader.Checkpoint, cfg *model.Config, c Config) (*Encoder, error) {
	if err := readAs(cfg, ckpt.Config, c); err != nil {
		return nil, err
	}
	return newEncoder(ckpt, cfg, c)
}
