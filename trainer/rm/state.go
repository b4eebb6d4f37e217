package rm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/model/nn"
)

// state is what a run knows besides its tensors.
type state struct {
	Run     string `json:"run"` // hash of configuration, base and data
	Step    int    `json:"step"`
	Tokens  int    `json:"tokens"`
	Metrics int64  `json:"metrics"` // bytes of metrics.jsonl
	Probed  *Score `json:"probed,omitempty"`
}

const (
	stateFile = "state.safetensors"
	stateKey  = "warmserve.rm"
)

// tensors calls f for every tensor of the state: weights, the optimiser's
// moments and the moving average.
func (r *run) tensors(f func(name string, shape []int, values []float32) error) error {
	for _, p := range r.t.Params() {
		if err := f("w."+p.Name, p.Shape, p.Data); err != nil {
			return err
		}
	}
	if err := r.opt.State(f); err != nil || r.ema == nil {
		return err
	}
	return r.ema.State(func(name string, shape []int, values []float32) error { return f("ema."+name, shape, values) })
}

// identity hashes all that decides the result of the run.
func (r *run) identity() (string, error) {
	data, err := json.Marshal(r.config)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", data, r.base.ckpt.Hash())
	hashes, err := json.Marshal(r.data.hashes) // in the order of the names
	if err != nil {
		return "", err
	}
	h.Write(hashes)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// save writes the state in one step: a crash leaves the old one or the new.
func (r *run) save() error {
	if err := r.metrics.sync(); err != nil {
		return err
	}
	var err error
	if r.state.Run, err = r.identity(); err != nil {
		return err
	}
	r.state.Metrics = r.metrics.size
	about, err := json.Marshal(r.state)
	if err != nil {
		return err
	}
	var specs []safetensors.Spec
	values := map[string][]float32{}
	err = r.tensors(func(name string, shape []int, v []float32) error {
		specs = append(specs, safetensors.Spec{Name: name, DType: safetensors.F32, Shape: shape})
		values[name] = v
		return nil
	})
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<18)
	fill := func(w io.Writer, s safetensors.Spec) error {
		for v := values[s.Name]; len(v) > 0; {
			n := min(len(v), len(buf)/4)
			safetensors.EncodeF32(buf[:4*n], v[:n])
			if _, err := w.Write(buf[:4*n]); err != nil {
				return err
			}
			v = v[n:]
		}
		return nil
	}
	return safetensors.WriteFile(filepath.Join(r.workDir(), stateFile), specs, map[string]string{stateKey: string(about)}, fill)
}

// restore puts a saved state back. It returns false when there is none.
func (r *run) restore() (bool, error) {
	path := filepath.Join(r.workDir(), stateFile)
	f, err := safetensors.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	var s state
	if err := json.Unmarshal([]byte(f.Metadata[stateKey]), &s); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	want, err := r.identity()
	if err != nil {
		return false, err
	}
	if s.Run != want {
		return false, fmt.Errorf("%s: %w: its configuration, base or data differ; remove %s to begin anew", path, ErrOtherRun, r.workDir())
	}
	if err := r.average(); err != nil {
		return false, err
	}
	stored := map[string]*safetensors.Tensor{}
	for i := range f.Tensors {
		stored[f.Tensors[i].Name] = &f.Tensors[i]
	}
	err = r.tensors(func(name string, _ []int, v []float32) error {
		t, ok := stored[name]
		if !ok {
			return fmt.Errorf("%s: tensor %q: %w", path, name, loader.ErrNoTensor)
		}
		return t.ReadAt(v, 0)
	})
	if err != nil {
		return false, err
	}
	r.state = s
	r.opt.Steps = s.Step
	r.t.Refresh()
	r.say(fmt.Sprintf("going on after step %d", s.Step))
	return true, r.metrics.create(r.workDir(), s.Metrics)
}

// weights are the result's tensors as a loader.Source.
type weights struct {
	names  []string
	shapes map[string][]int
	values map[string][]float32
}

func newWeights(params []nn.Param) *weights {
	w := &weights{shapes: map[string][]int{}, values: map[string][]float32{}}
	for _, p := range params {
		w.names = append(w.names, p.Name)
		w.shapes[p.Name], w.values[p.Name] = p.Shape, p.Data
	}
	return w
}

// Names implements loader.Source.
func (w *weights) Names() []string { return w.names }

// Shape implements loader.Source.
func (w *weights) Shape(name string) ([]int, bool) {
	s, ok := w.shapes[name]
	return s, ok
}

// ReadAt implements loader.Source.
func (w *weights) ReadAt(dst []float32, name string, offset int) error {
	copy(dst, w.values[name][offset:])
	return nil
}

// finish measures the result, writes the checkpoint and removes the state.
func (r *run) finish() (*Result, error) {
	if r.ema != nil { // the average is the result: it takes the weights' place
		averaged := map[string][]float32{}
		if err := r.ema.State(func(name string, _ []int, v []float32) error { averaged[name] = v; return nil }); err != nil {
			return nil, err
		}
		for _, p := range r.t.Params() {
			copy(p.Data, averaged[p.Name])
		}
		r.t.Refresh()
	}
	w := newWeights(r.t.Params())
	run, err := r.identity()
	if err != nil {
		return nil, err
	}
	res := &Result{
		Run: run, Config: r.config, Hashes: r.data.hashes, Base: r.base.ckpt.Hash(), Steps: r.state.Step, Tokens: r.state.Tokens,
		Pairs: len(r.data.train), Drop: r.data.dropped, Probed: r.state.Probed,
	}
	if len(r.data.test) > 0 {
		if res.Test, err = r.evaluate(); err != nil {
			return nil, err
		}
		r.report(Progress{Test: res.Test})
	}
	about, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return nil, err
	}
	r.metrics.close()
	lines, err := os.ReadFile(filepath.Join(r.workDir(), metricsFile))
	if err != nil {
		return nil, err
	}
	contents := r.base.contents(w)
	contents.Replace = r.config.Replace
	contents.Extra = map[string][]byte{resultFile: append(about, '\n'), metricsFile: lines}
	if err := loader.Save(r.config.Out, contents); err != nil {
		return nil, err
	}
	return res, os.RemoveAll(r.workDir())
}
