package rm

import (
	"strings"

	"github.com/warmserve/warmserve/trainer/state"
)

// saveAdapter writes the low-rank change as PEFT does, over a base.
func (r *run) saveAdapter(base string) error {
	head := "score"
	if !strings.HasPrefix(r.head().Name, head+".") {
		head = "classifier"
	}
	c := r.config.LoRA
	a := state.Adapter{Task: "SEQ_CLS", Base: base, Rank: c.Rank, Alpha: c.Alpha, Targets: c.Targets,
		Whole: []string{head}, Params: r.lora.Params()}
	return a.Save(r.config.Out)
}

// adapterBase is the base's path as the adapter names it: the whole one, which opens from any
// working directory. A base that is no directory, or that has the names or the layers of the reward
// model's body otherwise, is written beside the adapter's weights.
func (r *run) adapterBase() (string, error) {
	if b := r.base.body; b != nil && !b.Plain() {
		return state.AdapterBase(r.config.Out, "", r.base.contents(b), r.config.Store)
	}
	return state.AdapterBase(r.config.Out, r.config.Base, r.base.Checkpoint.Contents(), r.config.Store)
}
