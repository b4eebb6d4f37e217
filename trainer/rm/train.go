package rm

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/loss"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/state"
)

// Errors of Train.
var (
	ErrInterrupted = state.ErrInterrupted
	ErrNotFinite   = state.ErrNotFinite
)

// Result is what a run came to.
type Result struct {
	Run    string            `json:"run"` // hash of all that decides the result
	Config Config            `json:"config"`
	Hashes map[string]string `json:"data"` // of the files of data
	Base   string            `json:"base"` // hash of the base checkpoint
	Steps  int               `json:"steps"`
	Pairs  int               `json:"train_pairs"`
	Drop   int               `json:"dropped_pairs,omitempty"` // longer than the context
	Tokens int               `json:"tokens"`                  // that were learned from
	Probed *Score            `json:"probed,omitempty"`        // on the test pairs, of the probed head alone
	Test   *Score            `json:"test,omitempty"`          // on the test pairs, of the result
	// Before says that an earlier call had finished the run, and nothing was done.
	Before bool `json:"-"`
}

// run is one training on its way.
type run struct {
	state.Run
	config  Config
	base    *Base
	data    *Dataset
	t       *model.Training
	lora    *model.LoRA   // nil when all weights learn
	learner state.Learner // t or lora
	opt     optim.Optimizer
	ema     *optim.EMA
	engine  model.Engine
	order   state.Order

	about    about
	result   Result
	room     []float32
	grad     []float32
	pairs    []loss.Pair
	sequence []model.Sequence
}

// Train runs a training to its end, or on from where an earlier call was
// interrupted. When an earlier call came to the end it returns that result.
func Train(ctx context.Context, c Config) (*Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.WithDefaults()
	r := &run{config: c}
	r.Run = state.Run{Out: c.Out, Replace: c.Replace, Adapter: c.LoRA != nil, SaveEvery: c.SaveEvery,
		Say: r.say, Events: c.TensorBoard, Store: c.Store,
		Curves: state.Curves{Label: "loss in nats; share of pairs in order",
			Columns: []string{"loss", "accuracy", "test.accuracy"}}}
	defer r.close()
	var err error
	if r.base, err = c.openBase(); err != nil {
		return nil, err
	}
	if r.result.Before, err = r.Run.Train(ctx, r, &r.result); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// Origin implements [state.Trainer].
func (r *run) Origin() state.Origin { return r.config.origin(r.base) }

// origin is what decides the result of a run that starts from b.
func (c *Config) origin(b *Base) state.Origin {
	return state.Origin{Config: *c, Places: []string{"base", "train", "test"},
		Models: map[string]string{"base": b.Checkpoint.Hash()}, Files: slices.Concat(c.Train, c.Test)}
}

// Open implements [state.Trainer].
func (r *run) Open() (int, string, error) {
	if err := r.open(); err != nil {
		return 0, "", err
	}
	id, err := r.Origin().Identity(r.data.hashes)
	return r.order.Steps(r.config.Epochs, r.config.Steps), id, err
}

func (r *run) open() error {
	c := &r.config
	var err error
	if r.base.body != nil && c.NoProbe {
		return fmt.Errorf("%s: it has no score head to keep, which --no-probe asks for", c.Base)
	}
	r.say("reading data")
	if r.data, err = c.load(r.base.Encoder); err != nil {
		return err
	}
	r.order = state.Order{N: len(r.data.train), Batch: c.Batch, Seed: nn.Mix(c.DataSeed, seedOrder)}
	if r.t, err = model.NewTraining(r.base.parsed, r.base.source(), c.Workers, c.dtype()); err != nil {
		return fmt.Errorf("%s: %w", c.Base, err)
	}
	r.t.Recompute = c.Recompute
	r.engine = model.NewEngine(c.Workers)
	r.learner = r.t
	if c.LoRA != nil {
		if r.lora, err = model.NewLoRA(r.t, *c.LoRA, c.Seed); err != nil {
			return err
		}
		r.learner = r.lora
	}
	r.opt = optim.New(c.Optimizer, c.adamW(), r.learner.Params())
	return nil
}

func (r *run) close() {
	if r.t != nil {
		r.t.Close()
	}
	if r.engine != nil {
		r.engine.Close()
	}
	if r.base != nil {
		r.base.Checkpoint.Close()
	}
}

func (r *run) say(message string) {
	if f := r.config.Progress; f != nil {
		f(Progress{Message: message, Steps: r.Steps})
	}
}

// Begin implements [state.Trainer]: it prepares the score head, and the moving average.
func (r *run) Begin(ctx context.Context) error {
	if r.base.body != nil || !r.config.NoProbe {
		r.say("probing the score head")
		if err := r.probe(ctx); err != nil {
			return err
		}
		if len(r.data.test) > 0 {
			s, err := r.evaluate(ctx)
			if err != nil {
				return err
			}
			r.about.Probed = s
			if err := r.Metrics.Add(line{Step: 0, Test: s}); err != nil {
				return err
			}
			r.report(Progress{Test: s})
		}
	}
	if err := r.average(); err != nil {
		return err
	}
	return r.Save()
}

// average begins the moving average of weights, when one is wanted.
func (r *run) average() (err error) {
	if r.config.EMA > 0 {
		r.ema, err = optim.NewEMA(r.config.EMA, r.learner.Params())
	}
	return err
}

func (r *run) report(p Progress) {
	if f := r.config.Progress; f != nil {
		p.Step, p.Steps = r.about.Step, r.Steps
		f(p)
	}
}

// Step implements [state.Trainer].
func (r *run) Step(context.Context) error {
	c := &r.config
	batch := r.order.Step(r.about.Step)
	p := Progress{LR: c.LR * c.Schedule.Factor(r.about.Step, int(c.Warmup*float64(r.Steps)), r.Steps)}
	r.learner.ZeroGrads()
	total := loss.Result{}
	for at := 0; at < len(batch); {
		part := r.part(batch[at:])
		result, tokens, err := r.accumulate(part, 2*at, 1/float64(len(batch)))
		if err != nil {
			return err
		}
		at += len(part)
		p.Tokens += tokens
		total.Loss += result.Loss
		total.Correct += result.Correct
	}
	if r.lora != nil {
		r.lora.Project()
	}
	p.Norm = optim.Clip(r.t.Work(), r.learner.Params(), c.Clip)
	if math.IsNaN(p.Norm) || math.IsInf(p.Norm, 0) {
		return fmt.Errorf("step %d: gradient norm %v: %w; pairs %q", r.about.Step+1, p.Norm,
			ErrNotFinite, r.ids(batch))
	}
	r.opt.Step(r.t.Work(), p.LR)
	if r.ema != nil {
		r.ema.Update(r.t.Work())
	}
	r.learner.Refresh()
	r.about.Step++
	r.about.Tokens += p.Tokens
	p.Loss, p.Accuracy = total.Loss/float64(len(batch)), float64(total.Correct)/float64(len(batch))
	if n := c.EvalEvery; n > 0 && r.about.Step%n == 0 && r.about.Step < r.Steps && len(r.data.test) > 0 {
		s, err := r.evaluate(context.Background()) // the weights are those of the next step already
		if err != nil {
			return err
		}
		p.Test = s
	}
	r.report(p)
	return r.Metrics.Add(line{Step: r.about.Step, Loss: &p.Loss, Accuracy: &p.Accuracy, LR: p.LR,
		Norm: p.Norm, Tokens: p.Tokens, Test: p.Test})
}

// accumulate adds the gradients of some pairs, of which the first sequence has
// the number first within the step.
func (r *run) accumulate(part []int, first int, scale float64) (loss.Result, int, error) {
	seqs, tokens := r.lay(part)
	if r.config.TokenDropout > 0 {
		tokens = r.dropTokens(seqs, first)
	}
	scores := r.scores(len(seqs))
	pass := model.Pass{Regularization: r.config.Dropout, Seed: r.config.Seed,
		Step: uint64(r.about.Step), First: first}
	if err := r.t.Forward(scores, seqs, pass); err != nil {
		return loss.Result{}, 0, err
	}
	r.pairs = r.pairs[:0]
	for i, k := range part {
		x := &r.data.train[k]
		r.pairs = append(r.pairs,
			loss.Pair{Chosen: 2 * i, Rejected: 2*i + 1, Margin: x.Margin, Label: x.Label})
	}
	r.grad = slices.Grow(r.grad[:0], len(seqs))[:len(seqs)]
	result := loss.BradleyTerry{Center: r.config.Center}.Gradient(r.grad, scores, r.pairs, scale)
	if result.Bad >= 0 {
		return result, 0, fmt.Errorf("step %d: pair %q scores %v and %v: %w; pairs of the batch: %q",
			r.about.Step+1,
			r.data.train[part[result.Bad]].ID, scores[2*result.Bad], scores[2*result.Bad+1],
			ErrNotFinite, r.ids(part))
	}
	r.t.Backward(r.grad)
	return result, tokens, nil
}
