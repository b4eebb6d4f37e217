package rm

import (
	"strings"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/state"
)

// learning returns what learns: all weights, or the low-rank change.
func (r *run) learning() []nn.Param {
	if r.lora != nil {
		return r.lora.Params()
	}
	return r.t.Params()
}

// refresh makes the model follow what learns.
func (r *run) refresh() {
	if r.lora != nil {
		r.lora.Refresh()
		return
	}
	r.t.Refresh()
}

func (r *run) zeroGrads() {
	if r.lora != nil {
		r.lora.ZeroGrads()
		return
	}
	r.t.ZeroGrads()
}

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
