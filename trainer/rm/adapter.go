package rm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
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

// saveAdapter writes the low-rank change as PEFT does, over a base. Writing it again
// gives the same bytes.
func (r *run) saveAdapter(base string) error {
	dir := filepath.Clean(r.config.Out) + "-adapter"
	head := "score"
	if !strings.HasPrefix(r.head().Name, head+".") {
		head = "classifier"
	}
	config, err := json.MarshalIndent(map[string]any{
		"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": base,
		"r": r.config.LoRA.Rank, "lora_alpha": r.config.LoRA.Alpha, "target_modules": r.config.LoRA.Targets,
		"modules_to_save": []string{head}, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": false,
		"inference_mode": true, "use_rslora": false, "use_dora": false,
	}, "", "  ")
	if err != nil {
		return err
	}
	w := state.NewWeights(r.lora.Params())
	if err := loader.CheckFinite(w, nil); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var specs []safetensors.Spec
	for _, n := range w.Names() {
		shape, _ := w.Shape(n)
		specs = append(specs, safetensors.Spec{Name: n, DType: safetensors.F32, Shape: shape})
	}
	err = safetensors.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), specs,
		map[string]string{"format": "pt"}, w.Fill)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "adapter_config.json"), append(config, '\n'), 0o644)
}
