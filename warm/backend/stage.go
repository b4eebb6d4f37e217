package backend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/binding"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/warm"
)

// namePrefix begins the names of folders of ours, which are also the names that engines
// are told of their weights.
const namePrefix = "warm-"

// recordFile lies in each such folder and says what it holds.
const recordFile = "warm_backend.json"

// scoreName is what engines call a decoder's score head.
const scoreName = "score"

// Load implements [model.Engine]: it writes the directory of the model and computes what
// it should be scored as, and does not speak to the engine but to ask how long sequences
// may be. [Engine.Activate] has it served.
func (e *Engine) Load(c *model.Config, src model.Source, o model.LoadOptions) (model.Model, error) {
	whole, err := contentsOf(src)
	if err != nil {
		return nil, err
	}
	net := c.Network()
	if err := e.serves(c, net); err != nil {
		return nil, err
	}
	s := staged{net: net, dtype: o.DType, longest: net.Positions}
	params := net.Params()
	tensors := c.Tensors(src)
	if err := binding.Check(net, params, tensors); err != nil {
		return nil, err
	}
	progress := o.Progress
	o.Progress = part(progress, 0, 0.4)
	// Read once for the digest, which names the folder, and once more where that is not there yet.
	w, err := binding.Read(net, params, tensors, o, 1, func(int, int, []float32) {})
	if err != nil {
		return nil, err
	}
	s.parameters, s.digest = w.Parameters, w.Digest
	written := newWritten(e.o.Kind, c, net, params, tensors, &o, part(progress, 0.4, 0.8))
	if s.bias, err = written.bias(); err != nil {
		return nil, err
	}
	if whole.Tokenizer != nil && e.o.Kind == TEI {
		if s.tokenizer, err = (tokenizer.Files{Tokenizer: whole.Tokenizer, TokenizerConfig: whole.TokenizerConfig,
			SpecialTokensMap: whole.SpecialTokensMap, ModelConfig: whole.Config}).Parse(); err != nil {
			return nil, err
		}
	}
	s.labels = labelsOf(c.Outputs())
	if err := e.write(&s, c, whole, written); err != nil {
		return nil, err
	}
	s.longest = e.longest(s.longest)
	if s.probes, err = e.makeProbes(&s); err != nil {
		return nil, err
	}
	if !e.o.ByName {
		o.Progress = part(progress, 0.8, 1)
		if s.expected, err = scoreHere(&s, o); err != nil {
			return nil, fmt.Errorf("the scores that the engine is checked by: %w", err)
		}
	}
	m := &Model{engine: e, staged: s, look: make(chan struct{}, 1)}
	m.ctx, m.end = context.WithCancelCause(context.Background())
	return m, nil
}

// part is the progress of a part of the work, from a share of it to another.
func part(f func(float64), from, to float64) func(float64) {
	if f == nil {
		return nil
	}
	return func(share float64) { f(from + (to-from)*share) }
}

// contentsOf returns the files beside the tensors of what is loaded.
func contentsOf(src model.Source) (loader.Contents, error) {
	switch s := src.(type) {
	case *warm.Average:
		return s.Files(), nil
	case *loader.Checkpoint:
		return s.Contents(), nil
	}
	return loader.Contents{}, errors.New("an engine of others is given checkpoints, and no random weights")
}

// serves refuses what the engine would compute otherwise than this project does.
func (e *Engine) serves(c *model.Config, net *nn.Network) error {
	no := func(format string, args ...any) error {
		return fmt.Errorf("%s: %s", e.Device(), fmt.Sprintf(format, args...)+
			"; without a backend the model is served here")
	}
	head := net.Head
	switch {
	case !strings.HasSuffix(c.Architecture, "ForSequenceClassification"):
		return no("%s has a score head of its own class: engines take …ForSequenceClassification, one linear layer", c.Architecture)
	case c.Inside:
		return no("the model is the text part of another, which engines read whole")
	case len(head.Branches) != 1 || head.Branches[0].Program != nil:
		return no("the score head is more than one linear layer, which engines do not have")
	case len(head.Constants) > 0:
		return no("the reward is made with tensors beside the score head, which engines do not have")
	case e.o.Kind == TEI && net.Causal:
		return no("it classifies with encoders alone, and %s is a decoder: sglang or vllm", c.Architecture)
	case e.o.Kind == TEI && teiLeavesOut(c) != "":
		return no("%s", teiLeavesOut(c))
	case e.o.Kind == SGLang && !net.Causal:
		return no("it classifies token ids with decoders alone, and %s is an encoder: tei or vllm", c.Architecture)
	case net.Causal && net.SeesAhead():
		return no("the reward is read at the mean of all tokens, which engines do not do for %s", c.Architecture)
	case net.Causal && len(net.Stretched) > 0:
		return no("its rotary embedding goes by the length of each text, and engines rotate otherwise")
	case e.o.Kind == VLLM && net.Types > 1:
		return no("it takes no token types with ids, which %s reads: tei", c.Architecture)
	}
	return nil
}

// written is the tensors of a model as its directory has them: under the names of the
// class, whatever the checkpoint calls them, and the head of a decoder as "score".
type written struct {
	src       model.Source
	net       *nn.Network
	names     []string
	params    map[string]*nn.Param
	zero      map[string][]int // tensors of zeros, which have no parameter
	biasOf    *nn.Param        // the head's bias, which is added here
	interrupt func() error
	progress  func(share float64)
	total     int
	done      int
}

func newWritten(k Kind, c *model.Config, net *nn.Network, params []nn.Param, src model.Source, o *model.LoadOptions,
	progress func(float64)) *written {
	w := &written{src: src, net: net, params: map[string]*nn.Param{}, zero: map[string][]int{},
		interrupt: o.Interrupted, progress: progress}
	own := strings.TrimSuffix(c.HeadParameter(), ".weight")
	for i := range params {
		p := &params[i]
		name := p.Name
		w.total += p.Len()
		if net.Causal && (name == own+".weight" || name == own+".bias") {
			if name == own+".bias" {
				w.biasOf = p
				continue
			}
			name = scoreName + ".weight"
		}
		w.params[name] = p
		w.names = append(w.names, name)
	}
	if k == SGLang && (c.Architecture == "Qwen2ForSequenceClassification" || c.Architecture == "Qwen3ForSequenceClassification") {
		// SGLang's classes have a bias, which stays as random as it was made where the
		// checkpoint has none.
		name := scoreName + ".bias"
		w.zero[name] = []int{c.Outputs()}
		w.names = append(w.names, name)
	}
	slices.Sort(w.names)
	return w
}

// bias reads the head's, nil where it has none or the engine adds it.
func (w *written) bias() ([]float32, error) {
	if w.biasOf == nil {
		return nil, nil
	}
	out := make([]float32, w.biasOf.Len())
	return out, binding.ReadRows(w.src, out, w.net.SourceName(w.biasOf.Name), w.biasOf, 0)
}

// Names implements loader.Source.
func (w *written) Names() []string { return w.names }

// Shape implements loader.Source.
func (w *written) Shape(name string) ([]int, bool) {
	if shape, ok := w.zero[name]; ok {
		return shape, true
	}
	p, ok := w.params[name]
	if !ok {
		return nil, false
	}
	return p.Shape, true
}

// ReadAt implements loader.Source.
func (w *written) ReadAt(dst []float32, name string, offset int) error {
	if err := w.interrupt(); err != nil {
		return err
	}
	if _, ok := w.zero[name]; ok {
		clear(dst)
		return nil
	}
	p := w.params[name]
	if w.done += len(dst); w.progress != nil {
		w.progress(float64(w.done) / float64(w.total))
	}
	source := w.net.SourceName(p.Name)
	if p.Rows == nil {
		return w.src.ReadAt(dst, source, offset)
	}
	all := make([]float32, p.Len()) // rows of a head, of which there are few
	if err := binding.ReadRows(w.src, all, source, p, 0); err != nil {
		return err
	}
	copy(dst, all[offset:])
	return nil
}

// Release implements loader.Releaser.
func (w *written) Release(name string) {
	if r, ok := w.src.(loader.Releaser); ok && w.params[name] != nil {
		r.Release(w.net.SourceName(w.params[name].Name))
	}
}

// labelsOf names outputs as transformers does where nobody names them.
func labelsOf(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "LABEL_" + strconv.Itoa(i)
	}
	return out
}

// configOf is the config.json of the directory: that of the checkpoint with the class that
// engines know and as many labels as there are outputs, and what the engine misses there.
func configOf(k Kind, c *model.Config, data []byte) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	for _, key := range []string{"auto_map", "warmserve", "quantization_config", "problem_type", "num_labels", "classifier_from_token", "method"} {
		delete(all, key) // what has engines run or compute something else
	}
	ids, labels := map[string]string{}, map[string]int{}
	for i, name := range labelsOf(c.Outputs()) {
		ids[strconv.Itoa(i)], labels[name] = name, i
	}
	fields := map[string]any{"architectures": []string{c.Architecture}, "id2label": ids, "label2id": labels,
		"vocab_size": c.VocabSize, "dtype": "", "torch_dtype": ""} // Save fills the types in
	if k == TEI {
		for key, v := range teiFields(c) {
			if said := string(all[key]); said == "" || said == "null" || slices.Contains(teiOwn, key) {
				fields[key] = v
			}
		}
	}
	for key, v := range fields {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		all[key] = text
	}
	return json.MarshalIndent(all, "", "  ")
}

// write writes the folder of a model, unless it is there.
func (e *Engine) write(s *staged, c *model.Config, whole loader.Contents, tensors *written) error {
	config, err := configOf(e.o.Kind, c, whole.Config)
	if err != nil {
		return err
	}
	stored := map[kernel.DType]string{kernel.Float32: "F32", kernel.BFloat16: "BF16"}[s.dtype]
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s %q", s.digest, stored, tensors.names)
	for _, text := range [][]byte{config, whole.Tokenizer, whole.TokenizerConfig, whole.SpecialTokensMap} {
		one := sha256.Sum256(text)
		sum.Write(one[:])
	}
	s.id = namePrefix + hex.EncodeToString(sum.Sum(nil))[:16]
	s.dir = filepath.Join(e.o.Directory, s.id)
	record, err := json.MarshalIndent(map[string]string{"name": s.id, "digest": s.digest, "dtype": stored}, "", "  ")
	if err != nil {
		return err
	}
	whole.Config, whole.Source, whole.DType, whole.Extra = config, tensors, stored, map[string][]byte{recordFile: record}
	saved, err := whole.Saved(s.dir)
	if err == nil && !saved {
		err = loader.Save(s.dir, whole)
		if errors.Is(err, loader.ErrExists) {
			if again, _ := whole.Saved(s.dir); again {
				return nil // another server wrote it meanwhile
			}
			err = fmt.Errorf("%w and is not what its name says: remove it", err)
		}
	}
	if err != nil {
		return fmt.Errorf("the average for the engine: %w", err)
	}
	return nil
}

// prune removes the folders of the models that the engine was given before the last two:
// a failed change goes back to the one before. Folders of other programs, and those that
// engines are started on, stay.
func (e *Engine) prune(now *Model) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.given = slices.DeleteFunc(e.given, func(dir string) bool { return dir == now.dir })
	e.given = append(e.given, now.dir)
	for e.o.Kind != TEI && len(e.given) > 2 {
		dir := e.given[0]
		if data, err := os.ReadFile(filepath.Join(dir, recordFile)); err == nil && bytes.Contains(data, []byte(namePrefix)) {
			_ = os.RemoveAll(dir) // what stays takes room and nothing else
		}
		e.given = e.given[1:]
	}
}

// engineDir is the folder of a model as the engine sees it.
func (e *Engine) engineDir(s *staged) string {
	if e.o.EngineDirectory != "" {
		return strings.TrimRight(e.o.EngineDirectory, "/") + "/" + s.id
	}
	if abs, err := filepath.Abs(s.dir); err == nil {
		return abs
	}
	return s.dir
}

// longest asks the engine how long sequences may be. One that is away is no reason not
// to write its directory, on which it may have to be started.
func (e *Engine) longest(own int) int {
	st, err := e.state(context.Background())
	if err != nil || st.longest <= 0 {
		return own
	}
	return min(own, st.longest)
}
