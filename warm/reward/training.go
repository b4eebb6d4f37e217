package reward

import (
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
)

// NewEncoder returns the encoder of a checkpoint for a configuration: training
// reads text exactly as serving does. Of c it reads Pooling and MaxTokens.
func NewEncoder(ckpt *loader.Checkpoint, cfg *model.Config, c Config) (*Encoder, error) {
	return newEncoder(ckpt, cfg, c)
}
