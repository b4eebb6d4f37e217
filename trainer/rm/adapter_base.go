package rm

import (
	"github.com/warmserve/warmserve/trainer/state"
)

// beside are the directories that a run writes besides Out: with LoRA the change alone.
func (c *Config) beside() []string {
	if c.LoRA == nil {
		return nil
	}
	return []string{state.AdapterDir(c.Out)}
}

// adapterBase is the base's path as the adapter names it: the whole one, which opens from any
// working directory. A base that is no directory, or that has the names or the layers of the reward
// model's body otherwise, is written beside the adapter's weights.
func (r *run) adapterBase() (string, error) {
	if b := r.base.body; b != nil && !b.Plain() {
		return state.AdapterBase(r.config.Out, "", r.base.contents(b))
	}
	return state.AdapterBase(r.config.Out, r.config.Base, r.base.Checkpoint.Contents())
}
