package state

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/model/nn"
)

// Adapter is a low-rank change of a model, as PEFT reads one.
type Adapter struct {
	Task    string // PEFT's name of what the model is for: SEQ_CLS, CAUSAL_LM
	Base    string // path of what is changed
	Rank    int
	Alpha   float64
	Targets []string   // last parts of the names of the changed layers
	Whole   []string   // names of layers that are kept as a whole; may be nil
	Params  []nn.Param // under PEFT's names
}

// AdapterDir is where the change alone of a run's result lies.
func AdapterDir(out string) string { return filepath.Clean(out) + "-adapter" }

// AdapterBase returns the path by which an adapter names the base that it was learned of: the
// whole one, which opens from any working directory. A base that is no directory is written
// beside the adapter of the run, as is that of a run with a store, by which it is then named: other
// machines have not the directory.
func AdapterBase(out, base string, c loader.Contents, s Store) (string, error) {
	if _, err := os.Stat(base); err == nil && s == nil {
		return filepath.Abs(base)
	}
	c.Replace = true
	dir := filepath.Join(AdapterDir(out), "base")
	if err := loader.Save(dir, c); err != nil {
		return "", err
	}
	if s != nil {
		return s.Name(dir), nil
	}
	return filepath.Abs(dir)
}

// Save writes the adapter beside a run's result. Writing it again gives the same bytes.
func (a *Adapter) Save(out string) error {
	dir := AdapterDir(out)
	said := map[string]any{
		"peft_type": "LORA", "task_type": a.Task, "base_model_name_or_path": a.Base,
		"r": a.Rank, "lora_alpha": a.Alpha, "target_modules": a.Targets,
		"modules_to_save": a.Whole, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": false,
		"inference_mode": true, "use_rslora": false, "use_dora": false,
	}
	config, err := json.MarshalIndent(said, "", "  ")
	if err != nil {
		return err
	}
	w := NewWeights(a.Params)
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
	return disk.Write(filepath.Join(dir, "adapter_config.json"), append(config, '\n'))
}
