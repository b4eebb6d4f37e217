package lm

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
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
	state.Run
	config Config
	base   *base
	data   *corpus
	m      *model.Language
	opt    optim.Optimizer
	order  state.Order

	about  state.Head
	result Result
}

// Train runs a training to its end, or on from where an earlier call was
// interrupted. When an earlier call came to the end it returns that result.
func Train(ctx context.Context, c Config) (*Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	r := &run{config: c}
	r.Run = state.Run{Out: c.Out, Replace: c.Replace, Keep: c.Keep, SaveEvery: c.SaveEvery,
		Say: r.say, Events: c.TensorBoard, Store: c.Store,
		Curves: state.Curves{Label: "loss in nats a token", Columns: []string{"loss", "valid"}}}
	defer r.close()
	var err error
	if r.base, err = c.open(); err != nil {
		return nil, err
	}
	if r.result.Before, err = r.Run.Train(ctx, r, &r.result); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// Origin implements [state.Trainer].
func (r *run) Origin() state.Origin {
	c := &r.config
	models := map[string]string{}
	if c.Base != "" {
		models["base"] = r.base.hash
	}
	return state.Origin{Config: *c, Places: []string{"base", "text", "pairs"}, Models: models,
		Files: slices.Concat(c.Text, c.Pairs)}
}

// Open implements [state.Trainer].
func (r *run) Open() (int, string, error) {
	c := &r.config
	r.say("reading text")
	var err error
	if r.data, err = c.load(r.base); err != nil {
		return 0, "", err
	}
	var src model.Source = r.base.ckpt
	if r.base.ckpt == nil {
		src = newFresh(r.base.config, r.base.tied, c.Seed)
	}
	if r.m, err = model.NewLanguage(r.base.config, src, r.base.tied, c.Workers, c.dtype()); err != nil {
		return 0, "", err
	}
	r.m.Recompute(c.Recompute)
	r.opt = optim.New(c.Optimizer, c.adamW(), r.m.Params())
	r.order = state.Order{N: len(r.data.train), Batch: c.Batch, Seed: c.DataSeed}
	id, err := r.Origin().Identity(r.data.hashes, r.base.contents.Tokenizer)
	return r.order.Steps(c.Epochs, c.Steps), id, err
}

// About implements [state.Trainer].
func (r *run) About() (any, *state.Head) { return &r.about, &r.about }

// Begin implements [state.Trainer]: there is nothing to prepare.
func (r *run) Begin(context.Context) error { return nil }

// Resume implements [state.Trainer].
func (r *run) Resume(s *state.Saved) error {
	if err := s.Fill(r.Tensors); err != nil {
		return err
	}
	r.opt.Resume(r.about.Step)
	r.m.Refresh()
	return nil
}

func (r *run) close() {
	if r.m != nil {
		r.m.Close()
	}
	if r.base != nil {
		r.base.close() // read-only: nothing can be lost
	}
}

func (r *run) say(message string) {
	if f := r.config.Progress; f != nil {
		f(Progress{Message: message, Steps: r.Steps})
	}
}

// Step implements [state.Trainer].
func (r *run) Step(context.Context) error {
	c := &r.config
	batch := r.batch(r.about.Step)
	p := Progress{LR: c.LR * c.Schedule.Factor(r.about.Step, int(c.Warmup*float64(r.Steps)), r.Steps)}
	for i := range batch {
		p.Tokens += batch[i].Count()
	}
	r.m.ZeroGrads()
	for at := 0; at < len(batch); {
		n := Part(batch[at:], c.TokenBudget)
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
		return fmt.Errorf("step %d: loss %v, gradient norm %v: %w; texts %v of the data's order",
			r.about.Step+1, p.Loss, p.Norm, state.ErrNotFinite, r.order.Step(r.about.Step))
	}
	r.opt.Step(r.m.Work(), p.LR)
	r.m.Refresh()
	r.about.Step++
	r.about.Tokens += p.Tokens
	if n := c.EvalEvery; n > 0 && r.about.Step%n == 0 && r.about.Step < r.Steps && len(r.data.valid) > 0 {
		v, err := r.evaluate()
		if err != nil {
			return err
		}
		p.Valid = &v
	}
	p.Step, p.Steps = r.about.Step, r.Steps
	if f := c.Progress; f != nil {
		f(p)
	}
	return r.Metrics.Add(line{Step: p.Step, Loss: &p.Loss, LR: p.LR, Norm: p.Norm, Tokens: p.Tokens,
		Valid: p.Valid})
}

// evaluate returns the mean loss of the texts that were kept, in nats a token.
func (r *run) evaluate() (float64, error) {
	sum, n := 0.0, 0
	for at := 0; at < len(r.data.valid); {
		k := Part(r.data.valid[at:], r.config.TokenBudget)
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

// Part returns how many of the first texts a budget of tokens holds, one at least. What a text
// begins with as the one before it does is computed and counted once.
func Part(texts []model.Text, budget int) int {
	tokens := 0
	for i := range texts {
		if i == 0 {
			tokens += len(texts[i].IDs)
		} else if tokens += model.Own(texts[i].IDs, texts[i-1].IDs); tokens > budget {
			return i
		}
	}
	return len(texts)
}

func (r *run) batch(step int) []model.Text {
	var out []model.Text
	for _, i := range r.order.Step(step) {
		out = append(out, r.data.train[i])
	}
	return out
}

// Tensors implements [state.Trainer].
func (r *run) Tensors(f func(name string, shape []int, values []float32) error) error {
	if err := state.EachWeight(r.m.Params(), f); err != nil {
		return err
	}
	return r.opt.State(f)
}

// Finish implements [state.Trainer].
func (r *run) Finish(context.Context) (map[string][]byte, error) {
	r.result = Result{Run: r.ID, Config: r.config, Hashes: r.data.hashes, Base: r.base.hash,
		Steps: r.about.Step,
		Texts: len(r.data.train), Tokens: r.about.Tokens, Cut: r.data.cut}
	for _, p := range r.m.Params() {
		r.result.Parameters += p.Len()
	}
	if len(r.data.valid) == 0 {
		return nil, nil
	}
	v, err := r.evaluate()
	if err != nil {
		return nil, err
	}
	r.result.Valid = &v
	return nil, r.Metrics.Add(line{Step: r.about.Step, Valid: &v}) // where the curves end
}

// Contents implements [state.Trainer].
func (r *run) Contents() loader.Contents {
	c := r.base.contents
	c.Source = state.NewWeights(r.m.Params())
	return c
}
