package state

import (
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

// Errors of runs that can be resumed.
var (
	// ErrInterrupted is returned when a run's context ends: the state is saved, and
	// the same call goes on from there.
	ErrInterrupted = errors.New("interrupted: the state is saved, run the same again to go on")
	// ErrOtherRun is returned when the saved state belongs to another
	// configuration, base or data.
	ErrOtherRun = errors.New("the saved state is of another run")
	// ErrNotFinite is returned, with where it came from, when a loss, score or
	// gradient is NaN or infinite. The state stays as last saved.
	ErrNotFinite = errors.New("not a finite number")
)

// File is the name of the state in a run's directory.
const File = "state.safetensors"

const key = "warmserve.state"

// Dir is where a run keeps its state, beside its result.
func Dir(out string) string { return filepath.Clean(out) + ".train" }

// Begun says whether a run that writes to out has saved a state.
func Begun(out string) bool {
	_, err := os.Stat(filepath.Join(Dir(out), File))
	return err == nil
}

// Tensors calls f for every tensor of a state, always in the same order.
type Tensors func(f func(name string, shape []int, values []float32) error) error

// Save writes the state in one step: a crash leaves the old one or the new. about
// is what the run knows besides tensors, as JSON.
func Save(dir string, about any, tensors Tensors) error {
	text, err := json.Marshal(about)
	if err != nil {
		return err
	}
	var specs []safetensors.Spec
	w := &Weights{params: map[string]nn.Param{}}
	err = tensors(func(name string, shape []int, v []float32) error {
		specs = append(specs, safetensors.Spec{Name: name, DType: safetensors.F32, Shape: shape})
		w.params[name] = nn.Param{Data: v}
		return nil
	})
	if err != nil {
		return err
	}
	return safetensors.WriteFile(filepath.Join(dir, File), specs,
		map[string]string{key: string(text)}, w.Fill)
}

// Head is what every run knows besides tensors.
type Head struct {
	Run     string `json:"run"` // hash of all that decides the result
	Step    int    `json:"step"`
	Tokens  int    `json:"tokens"`
	Metrics int64  `json:"metrics"` // bytes of [MetricsFile]
}

// Saved is a state on disk.
type Saved struct {
	path string
	file *safetensors.File
}

// Find opens the state that a run has saved in a directory, and decodes what it knew besides tensors into
// about, which holds head. It returns nil without an error when there is none, and [ErrOtherRun] when it
// is not of this run.
func Find(dir, run string, about any, head *Head) (*Saved, error) {
	s, err := open(dir)
	if s == nil {
		return nil, err
	}
	err = json.Unmarshal([]byte(s.file.Metadata[key]), about)
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %w", s.path, err)
	case head.Run != run:
		err = fmt.Errorf("%s: %w: its configuration, base or data differ; remove it to begin anew", dir,
			ErrOtherRun)
	default:
		return s, nil
	}
	return nil, errors.Join(err, s.Close())
}

// open opens the state in a directory; nil without an error when there is none.
func open(dir string) (*Saved, error) {
	path := filepath.Join(dir, File)
	f, err := safetensors.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &Saved{path: path, file: f}, nil
}

// Close releases the file.
func (s *Saved) Close() error { return s.file.Close() }

// Fill reads the tensors.
func (s *Saved) Fill(tensors Tensors) error {
	stored := map[string]*safetensors.Tensor{}
	for i := range s.file.Tensors {
		stored[s.file.Tensors[i].Name] = &s.file.Tensors[i]
	}
	return tensors(func(name string, _ []int, v []float32) error {
		t, ok := stored[name]
		if !ok {
			return fmt.Errorf("%s: tensor %q: %w", s.path, name, loader.ErrNoTensor)
		}
		return t.ReadAt(v, 0)
	})
}

// EachWeight calls f for parameters under the names that a state has them by.
func EachWeight(params []nn.Param, f func(name string, shape []int, values []float32) error) error {
	for _, p := range params {
		if err := f("w."+p.Name, p.Shape, p.Data); err != nil {
			return err
		}
	}
	return nil
}

// Weights are parameters as a loader.Source.
type Weights struct {
	names  []string
	params map[string]nn.Param
}

// NewWeights returns a source of the parameters' data as it is when it is read.
func NewWeights(params []nn.Param) *Weights {
	w := &Weights{params: map[string]nn.Param{}}
	for _, p := range params {
		w.names = append(w.names, p.Name)
		w.params[p.Name] = p
	}
	return w
}

// Names implements loader.Source.
func (w *Weights) Names() []string { return w.names }

// Shape implements loader.Source.
func (w *Weights) Shape(name string) ([]int, bool) {
	p, ok := w.params[name]
	return p.Shape, ok
}

// ReadAt implements loader.Source.
func (w *Weights) ReadAt(dst []float32, name string, offset int) error {
	p, ok := w.params[name]
	if !ok {
		return fmt.Errorf("tensor %q: %w", name, loader.ErrNoTensor)
	}
	copy(dst, p.Data[offset:])
	return nil
}

// Fill writes a tensor to a safetensors file.
func (w *Weights) Fill(dst io.Writer, s safetensors.Spec) error {
	const block = 1 << 16
	buf := make([]byte, 4*block)
	for v := w.params[s.Name].Data; len(v) > 0; {
		n := min(len(v), block)
		safetensors.EncodeF32(buf[:4*n], v[:n])
		if _, err := dst.Write(buf[:4*n]); err != nil {
			return err
		}
		v = v[n:]
	}
	return nil
}
