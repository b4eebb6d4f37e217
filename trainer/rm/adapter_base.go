package rm

import (
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
)

// beside are the directories that a run writes besides Out: with LoRA the change alone.
func (c *Config) beside() []string {
	if c.LoRA == nil {
		return nil
	}
	return []string{filepath.Clean(c.Out) + "-adapter"}
}

// adapterBase is the base's path as the adapter names it: the whole one, which opens from any
// working directory. A base that is no directory, or that has the names or the layers of the reward
// model's body otherwise, is written beside the adapter's weights.
func (r *run) adapterBase() (string, error) {
	base := r.config.Base
	if b := r.base.body; b != nil && !b.Plain() {
		base = filepath.Join(r.config.beside()[0], "base")
		c := r.base.contents(b)
		c.Replace = true
		if err := loader.Save(base, c); err != nil {
			return "", err
		}
	} else if _, err := os.Stat(base); err != nil {
		base = filepath.Join(r.config.beside()[0], "base")
		c := r.base.Checkpoint
		err := loader.Save(base, loader.Contents{Config: c.Config, Tokenizer: c.Tokenizer,
			TokenizerConfig:  c.TokenizerConfig,
			SpecialTokensMap: c.SpecialTokensMap, ChatTemplate: c.ChatTemplate, Source: c, Replace: true})
		if err != nil {
			return "", err
		}
	}
	return filepath.Abs(base)
}
