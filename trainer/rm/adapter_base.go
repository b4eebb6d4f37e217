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
	c := r.base.Checkpoint.Contents()
	if b := r.base.body; b != nil && !b.Plain() {
		c = r.base.contents(b)
	} else if _, err := os.Stat(r.config.Base); err == nil {
		return filepath.Abs(r.config.Base)
	}
	c.Replace = true
	base := filepath.Join(r.config.beside()[0], "base")
	if err := loader.Save(base, c); err != nil {
		return "", err
	}
	return filepath.Abs(base)
}
