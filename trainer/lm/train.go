package lm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/state"
)

// Result is what a run came to.
type Result struct {
	Run        string            `json:"run"`
	Config     Config            `json:"config"`
	Hashes     map[string]string `json:"data"`
	Base       string            `json:"base,omitempty"` // hash of the base checkpoint
	Parameters int               `json:"parameters"`
	Steps      int               `json:"steps"`
	Texts      int               `json:"texts"`               // windows and examples that were learned from
	Tokens     int               `json:"tokens"`              // targets, all steps together
	Cut        int               `json:"cut_texts,omitempty"` // longer than the context: their ends are left out
	Valid      *float64          `json:"valid,omitempty"`
	// Before says that an earlier call had finished the run, and nothing was done.
	Before bool `json:"-"`
}

// line is one line of the metrics.
type line struct {
	Step   int      `json:"step"`
	Loss   *float64 `json:"loss,omitempty"`
	LR     float64  `json:"lr,omitempty"`
	Norm   float64  `json:"grad_norm,omitempty"`
	Tokens int      `json:"tokens,omitempty"`
	Valid  *float64 `json:"valid,omitempty"`
}

type run struct {
	config Config
	base   *base
	data   *corpus
	m      *model.Language
	opt    optim.Optimizer
	steps  int

	about   state.Head
	metrics state.Metrics
	epoch   int
	order   []int
}

// Train runs a training to its end, or on from where an earlier call was
// interrupted. When an earlier call came to the end it returns that result.
func Train(ctx context.Context, c Config) (*Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	r := &run{config: c, epoch: -1}
	defer r.close()
	var err error
	if r.base, err = c.open(); err != nil {
		return nil, err
	}
	if res, err := r.finished(); res != nil || err != nil {
		return res, err
	}
	if !state.Begun(c.Out) {
		if err := state.CheckOut(c.Out, c.Replace, state.Beside(c.Out, c.Keep)...); err != nil {
			return nil, err
		}
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	release, err := state.Lock(r.dir())
	if err != nil {
		return nil, err
	}
	defer release()
	resumed, err := r.restore()
	if err != nil {
		return nil, err
	}
	if !resumed {
		if err := r.metrics.Create(r.dir(), 0); err != nil {
			return nil, err
		}
	}
	if err := r.loop(ctx); err != nil {
		return nil, err
	}
	return r.finish()
}

// finished returns the result of this run that an earlier call wrote, perhaps without
// removing its state; nil when there is none.
func (r *run) finished() (*Result, error) {
	c := &r.config
	if _, err := os.Stat(filepath.Join(c.Out, state.ResultFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	data, err := state.HashFiles(c.Text, c.Pairs)
	if err != nil {
		return nil, err
	}
	res := &Result{Before: true}
	models := map[string]string{}
	if c.Base != "" {
		models["base"] = r.base.hash
	}
	done, err := state.Finished(c.Out, state.Run{Config: *c, Places: []string{"base", "text", "pairs"}, Models: models, Data: data}, res)
	switch {
	case done:
		return res, os.RemoveAll(r.dir())
	case c.Replace && errors.Is(err, loader.ErrExists):
		return nil, nil
	}
	return nil, err
}

func (r *run) dir() string { return state.Dir(r.config.Out) }

func (r *run) open() error {
	c := &r.config
	r.say("reading text")
	var err error
	if r.data, err = c.load(r.base); err != nil {
		return err
	}
	var src model.Source = r.base.ckpt
	if r.base.ckpt == nil {
		src = newFresh(r.base.config, r.base.tied, c.Seed)
	}
	if r.m, err = model.NewLanguage(r.base.config, src, r.base.tied, c.Workers, c.dtype()); err != nil {
		return err
	}
	r.m.Recompute(c.Recompute)
	r.opt = optim.New(c.Optimizer, c.adamW(), r.m.Params())
	r.steps = max(1, int(math.Ceil(c.Epochs*float64(len(r.data.train))/float64(c.Batch)-1e-9)))
	if c.Steps > 0 {
		r.steps = min(r.steps, c.Steps)
	}
	return nil
}

func (r *run) close() {
	if r.m != nil {
		r.m.Close()
	}
	if r.base != nil {
		r.base.close() // read-only: nothing can be lost
	}
	r.metrics.Close()
}

func (r *run) say(message string) {
	if f := r.config.Progress; f != nil {
		f(Progress{Message: message, Steps: r.steps})
	}
}

// loop makes the remaining steps.
func (r *run) loop(ctx context.Context) error {
	saved := r.about.Step
	for r.about.Step < r.steps {
		if ctx.Err() != nil {
			return errors.Join(r.save(), fmt.Errorf("%s: %w", r.dir(), state.ErrInterrupted))
		}
		if err := r.step(); err != nil {
			return err
		}
		if r.about.Step == r.steps {
			break
		}
		if err := r.keep(); err != nil {
			return err
		}
		if r.about.Step-saved >= r.config.SaveEvery {
			if err := r.save(); err != nil {
				return err
			}
			saved = r.about.Step
		}
	}
	return nil
}

// step makes one step.
func (r *run) step() error {
	c := &r.config
	batch := r.batch(r.about.Step)
	p := Progress{LR: c.LR * c.Schedule.Factor(r.about.Step, int(c.Warmup*float64(r.steps)), r.steps)}
	for i := range batch {
		p.Tokens += batch[i].Count()
	}
	r.m.ZeroGrads()
	for at := 0; at < len(batch); {
		n := r.part(batch[at:])
		pass := model.Pass{Regularization: c.Dropout, Seed: c.Seed, Step: uint64(r.about.Step), First: at}
		loss, err := r.m.Step(batch[at:at+n], 1/float32(max(1, p.Tokens)), pass)
		if err != nil {
			return err
		}
		p.Loss += loss / float64(max(1, p.Tokens))
		at += n
	}
	p.Norm = optim.Clip(r.m.Work(), r.m.Params(), c.Clip)
	if bad := p.Loss + p.Norm; math.IsNaN(bad) || math.IsInf(bad, 0) {
		return fmt.Errorf("step %d: loss %v, gradient norm %v: %w; texts %v of the data's order", r.about.Step+1, p.Loss, p.Norm, state.ErrNotFinite, r.indices(r.about.Step))
	}
	r.opt.Step(r.m.Work(), p.LR)
	r.m.Refresh()
	r.about.Step++
	r.about.Tokens += p.Tokens
	if n := c.EvalEvery; n > 0 && r.about.Step%n == 0 && r.about.Step < r.steps && len(r.data.valid) > 0 {
		v, err := r.evaluate()
		if err != nil {
			return err
		}
		p.Valid = &v
	}
	p.Step, p.Steps = r.about.Step, r.steps
	if f := c.Progress; f != nil {
		f(p)
	}
	return r.metrics.Add(line{Step: p.Step, Loss: &p.Loss, LR: p.LR, Norm: p.Norm, Tokens: p.Tokens, Valid: p.Valid})
}

// evaluate returns the mean loss of the texts that were kept, in nats a token.
func (r *run) evaluate() (float64, error) {
	sum, n := 0.0, 0
	for at := 0; at < len(r.data.valid); {
		k := r.part(r.data.valid[at:])
		part := r.data.valid[at : at+k]
		loss, err := r.m.Step(part, 0, model.Pass{})
		if err != nil {
			return 0, err
		}
		sum += loss
		for i := range part {
			n += part[i].Count()
		}
		at += k
	}
	return sum / float64(max(1, n)), nil
}

// part returns how many of the first texts the token budget holds, one at least.
func (r *run) part(texts []model.Text) int {
	tokens := 0
	for i := range texts {
		tokens += len(texts[i].IDs)
		if i > 0 && tokens > r.config.TokenBudget {
			return i
		}
	}
	return len(texts)
}

// indices returns the texts of a step: the next of an endless row of epochs, each
// in an order of its own.
func (r *run) indices(step int) []int {
	n := len(r.data.train)
	out := make([]int, r.config.Batch)
	for i := range out {
		k := step*r.config.Batch + i
		if k/n != r.epoch {
			r.epoch = k / n
			r.order = nn.Permutation(n, nn.Mix(r.config.DataSeed, uint64(r.epoch)))
		}
		out[i] = r.order[k%n]
	}
	return out
}

func (r *run) batch(step int) []model.Text {
	var out []model.Text
	for _, i := range r.indices(step) {
		out = append(out, r.data.train[i])
	}
	return out
}

// tensors calls f for every tensor of the state.
func (r *run) tensors(f func(name string, shape []int, values []float32) error) error {
	for _, p := range r.m.Params() {
		if err := f("w."+p.Name, p.Shape, p.Data); err != nil {
			return err
		}
	}
	return r.opt.State(f)
}

// identity hashes all that decides the result.
func (r *run) identity() (string, error) {
	data, err := json.Marshal([]any{r.config, r.base.hash, r.data.hashes})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(data)
	h.Write(r.base.contents.Tokenizer)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func (r *run) save() error {
	size, err := r.metrics.Sync()
	if err != nil {
		return err
	}
	if r.about.Run, err = r.identity(); err != nil {
		return err
	}
	r.about.Metrics = size
	return state.Save(r.dir(), r.about, r.tensors)
}

func (r *run) restore() (bool, error) {
	id, err := r.identity()
	if err != nil {
		return false, err
	}
	var a state.Head
	saved, err := state.Find(r.dir(), id, &a, &a)
	if saved == nil {
		return false, err
	}
	defer saved.Close()
	if err := saved.Fill(r.tensors); err != nil {
		return false, err
	}
	r.about = a
	r.opt.Resume(a.Step)
	r.m.Refresh()
	r.say(fmt.Sprintf("going on after step %d", a.Step))
	return true, r.metrics.Create(r.dir(), a.Metrics)
}

// keep writes a checkpoint along the way, where one is due. A resumed run writes
// it again: the same bytes.
func (r *run) keep() error {
	n := r.config.Keep
	for k := 1; k <= n; k++ {
		if r.about.Step == k*r.steps/(n+1) {
			c := r.base.contents
			c.Source, c.Replace = state.NewWeights(r.m.Params()), true
			return loader.Save(fmt.Sprintf("%s-%d", filepath.Clean(r.config.Out), k), c)
		}
	}
	return nil
}

// finish measures the result, writes the checkpoint and removes the state.
func (r *run) finish() (*Result, error) {
	id, err := r.identity()
	if err != nil {
		return nil, err
	}
	res := &Result{Run: id, Config: r.config, Hashes: r.data.hashes, Base: r.base.hash, Steps: r.about.Step, Texts: len(r.data.train), Tokens: r.about.Tokens, Cut: r.data.cut}
	params := r.m.Params()
	for i := range params {
		res.Parameters += params[i].Len()
	}
	if len(r.data.valid) > 0 {
		v, err := r.evaluate()
		if err != nil {
			return nil, err
		}
		res.Valid = &v
	}
	text, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return nil, err
	}
	lines, err := r.metrics.Read(r.dir())
	if err != nil {
		return nil, err
	}
	table, err := state.CSV(lines)
	if err != nil {
		return nil, err
	}
	c := r.base.contents
	c.Source, c.Replace = state.NewWeights(params), r.config.Replace
	c.Extra = map[string][]byte{state.ResultFile: append(text, '\n'), state.MetricsFile: lines, state.CSVFile: table}
	if err := loader.Save(r.config.Out, c); err != nil {
		return nil, err
	}
	return res, os.RemoveAll(r.dir())
}
