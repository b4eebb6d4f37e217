package rl

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/lm"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/state"
)

// run is a training under way.
type run struct {
	state.Run
	config    Config
	writer    *writer
	prompts   *promptSet
	m         *model.Language
	lora      *model.LoRA   // nil when all weights learn
	learner   state.Learner // m or lora
	opt       optim.Optimizer
	reference *model.Decoder // nil where it is the policy without its low-rank change
	refHash   string

	order  state.Order
	about  about
	result Result
	times  state.Metrics // of [Times]
}

// Train runs a training to its end, or on from where an earlier call was
// interrupted. When an earlier call came to the end it returns that result. When ctx
// ends it saves the state and returns
// [state.ErrInterrupted]; when the scorer gives up, [ErrRewards].
func Train(ctx context.Context, c Config) (*Result, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if c.Scorer == nil {
		return nil, errors.New("rl: no scorer")
	}
	r := &run{config: c}
	r.Run = state.Run{Out: c.Out, Replace: c.Replace, Adapter: c.LoRA != nil, Keep: c.Keep,
		SaveEvery: c.SaveEvery, Say: r.say, Events: c.TensorBoard, Store: c.Store,
		Curves: state.Curves{Label: "reward; KL in nats an answer",
			Columns: []string{"reward", "control", "kl", "held.reward"}}}
	defer r.close()
	err := r.openModels()
	if err != nil {
		return nil, err
	}
	if r.result.Before, err = r.Run.Train(ctx, r, &r.result); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// Open implements [state.Trainer].
func (r *run) Open() (int, string, error) {
	c, p := &r.config, r.writer.policy
	var err error
	if r.prompts, err = c.load(r.writer); err != nil {
		return 0, "", err
	}
	r.order = state.Order{N: len(r.prompts.train), Batch: c.Batch, Seed: c.DataSeed}
	if n := r.prompts.long; n > 0 {
		r.say(fmt.Sprintf("left out %d prompts that leave no room for %d tokens in a context of %d",
			n, c.Tokens, p.Config.MaxPositions))
	}
	if r.m, err = model.NewLanguage(p.Config, p.Source, p.Tied, c.Workers, kernel.Float32); err != nil {
		return 0, "", fmt.Errorf("%s: %w", c.Policy, err)
	}
	r.m.Recompute(c.Recompute)
	r.learner = r.m
	if c.LoRA != nil {
		if r.lora, err = model.NewLoRA(r.m, *c.LoRA, c.Seed); err != nil {
			return 0, "", fmt.Errorf("%s: %w", c.Policy, err)
		}
		r.learner = r.lora
	}
	r.opt = optim.New(c.Optimizer, c.adamW(), r.learner.Params())
	if r.writer.decoder, err = r.m.Decoder(); err != nil {
		return 0, "", fmt.Errorf("%s: %w", c.Policy, err)
	}
	id, err := r.Origin().Identity(r.prompts.hashes, p.Contents.Tokenizer) // all but the rewards
	return c.Steps, id, err
}

// openModels opens the policy and the reference.
func (r *run) openModels() error {
	p, err := lm.Open(r.config.Policy, r.config.Open)
	if err != nil {
		return err
	}
	r.writer = &writer{policy: p}
	return r.openReference()
}

// openReference reads the model that the penalty refers to, whose weights stay.
func (r *run) openReference() error {
	c, p := &r.config, r.writer.policy
	var err error
	if c.Reference != "" {
		r.reference, r.refHash, err = openReference(c.Reference, c.Open, p, c.Workers)
		return err
	}
	r.refHash = p.Hash
	if c.LoRA == nil {
		r.reference, err = model.NewDecoder(p.Config, p.Source, p.Tied, c.Workers)
	}
	return err
}

func (r *run) close() {
	if r.writer != nil {
		if r.writer.decoder != nil {
			r.writer.decoder.Close()
		}
		r.writer.policy.Close() // read-only: nothing can be lost
	}
	if r.m != nil {
		r.m.Close()
	}
	if r.reference != nil {
		r.reference.Close()
	}
	r.times.Close()
}

func (r *run) say(message string) {
	if f := r.config.Progress; f != nil {
		f(Progress{Message: message, Steps: r.config.Steps})
	}
}

// experience is a batch of answers with all that is learned from.
type experience struct {
	asked     []question
	answers   []Answer
	scored    []Scored
	reference [][]float64 // log-probabilities of the answers' tokens
	kls       []float64   // of each answer
	advantage []float64
	returns   []float64
}

// Step implements [state.Trainer]. Until it begins to learn it changes nothing that is saved.
func (r *run) Step(ctx context.Context) error {
	c := &r.config
	step := r.about.Step
	if n := c.EvalEvery; n > 0 && step%n == 0 {
		if err := r.measure(ctx); err != nil {
			return err
		}
	}
	var t Times
	s := c.sampling()
	s.Seed = nn.Mix(c.Seed, uint64(step))
	e, err := r.explore(ctx, r.asked(step), s, &t)
	if err != nil {
		return err
	}
	begin := time.Now()
	line := r.judge(e)
	if err := r.update(e, line); err != nil {
		return err
	}
	t.Learning = since(begin)
	r.about.Step++
	r.about.Tokens += line.Tokens
	r.about.Rescored += line.Rescored
	line.Step, t.Step = r.about.Step, r.about.Step
	if c.Saw != nil {
		seen := Seen{Step: line.Step, Answers: e.answers, Control: c.Control != nil}
		for _, q := range e.asked {
			seen.Prompts = append(seen.Prompts, q.said)
		}
		c.Saw(seen)
	}
	if f := c.Progress; f != nil {
		f(Progress{Steps: c.Steps, Metrics: line, Times: t})
	}
	r.about.Times.add(t)
	return errors.Join(r.times.Add(t), r.Metrics.Add(line))
}

// asked returns the prompts of a step.
func (r *run) asked(step int) []question {
	var out []question
	for _, i := range r.order.Step(step) {
		out = append(out, r.prompts.train[i])
	}
	return out
}

// explore samples and scores answers. The reference's likelihoods are computed
// while the rewards are on their way. The state is saved when none come.
func (r *run) explore(ctx context.Context, asked []question, s Sampling, t *Times) (*experience, error) {
	e := &experience{asked: asked}
	begin := time.Now()
	var err error
	if e.answers, err = r.writer.sample(ctx, asked, s); err != nil {
		return nil, err
	}
	t.Sampling += since(begin)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.score(ctx, e, s.N) }()
	begin = time.Now()
	refErr := r.refer(ctx, e)
	if refErr != nil {
		cancel()
	}
	t.Reference += since(begin)
	begin = time.Now()
	err = <-done
	t.Waiting += since(begin)
	if refErr != nil {
		return nil, refErr
	}
	if errors.Is(err, ErrRewards) {
		err = errors.Join(r.Save(), err)
	}
	if err != nil {
		return nil, err
	}
	for i := range e.answers {
		t.Tokens += len(e.answers[i].IDs)
	}
	for _, g := range e.scored {
		t.Retries += g.Retries
	}
	return e, nil
}

// refer computes the reference's likelihoods and the answers' KL from it. Before anything was
// learned they are those that sampling computed, to the bit; of a low-rank change the reference
// is the policy's own weights without it.
func (r *run) refer(ctx context.Context, e *experience) error {
	if r.about.Step == 0 && r.config.Reference == "" {
		e.kls = make([]float64, len(e.answers))
		for i := range e.answers {
			e.reference = append(e.reference, e.answers[i].LogProbs)
		}
		return nil
	}
	s := r.config.sampling()
	by := func(d *model.Decoder) (err error) {
		e.reference, e.kls, err = diverge(ctx, d, e.asked, e.answers, s.temperature())
		return err
	}
	if r.reference == nil {
		return r.lora.Without(func() error { return by(r.writer.decoder) })
	}
	return by(r.reference)
}

// score asks for rewards, and for those that are only looked at.
func (r *run) score(ctx context.Context, e *experience, n int) error {
	groups := make([]Group, len(e.asked))
	for i := range groups {
		q := &e.asked[i]
		groups[i].Prompt = q.text
		for _, a := range e.answers[i*n : (i+1)*n] {
			groups[i].Answers = append(groups[i].Answers, a.Text)
			groups[i].Written = append(groups[i].Written, r.writer.written(q, a.IDs))
		}
	}
	ask := func(s Scorer, set func(a *Answer, v float64)) ([]Scored, error) {
		scored, err := s.Score(ctx, groups)
		if err == nil && len(scored) != len(groups) {
			err = fmt.Errorf("%d groups scored of %d", len(scored), len(groups))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRewards, err)
		}
		for i, g := range scored {
			if len(g.Rewards) != n ||
				slices.ContainsFunc(g.Rewards,
					func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }) {
				return nil, fmt.Errorf("%w: rewards %v of %d answers", ErrRewards, g.Rewards, n)
			}
			for j, v := range g.Rewards {
				set(&e.answers[i*n+j], v)
			}
		}
		return scored, nil
	}
	var err error
	if e.scored, err = ask(r.config.Scorer,
		func(a *Answer, v float64) { a.Reward = v }); err != nil || r.config.Control == nil {
		return err
	}
	_, err = ask(r.config.Control, func(a *Answer, v float64) { a.Control = v })
	return err
}

// judge computes advantages and the metrics that do not depend on learning. It
// moves the run's running averages.
func (r *run) judge(e *experience) *Metrics {
	c := &r.config
	for i := range e.answers {
		r.about.Rewards.add(e.answers[i].Reward)
	}
	e.returns = c.Shaping.shape(e.answers, &r.about.Rewards)
	if c.KLIn == InReward {
		for i := range e.returns {
			e.returns[i] -= c.KL * e.kls[i]
		}
	}
	mean := momentsOf(e.returns).Mean
	if r.about.Step == 0 {
		r.about.Baseline = mean
	}
	baseline := r.about.Baseline
	r.about.Baseline = c.Baseline*baseline + (1-c.Baseline)*mean
	e.advantage = c.advantages(e.returns, baseline)

	told := describe(e.answers, e.kls)
	line := &Metrics{
		Reward: told.reward.Mean, RewardStd: told.reward.std(), Return: mean,
		KL: told.kl.Mean, KLToken: told.kl.Mean / told.length.Mean, Length: told.length.Mean,
		Ended: told.ended.Mean, Tokens: told.tokens,
	}
	if c.Control != nil {
		line.Control = &told.control.Mean
	}
	if c.Algorithm == Reinforce {
		line.Baseline = &baseline
	}
	revisions := map[string]bool{}
	for _, g := range e.scored {
		revisions[g.Revision] = true
		line.Revision = g.Revision
		line.Rescored += g.Rescored
	}
	if len(revisions) > 1 {
		line.Revisions = len(revisions)
	}
	return line
}

// measure measures the policy on held-out prompts, unless that was done after the
// same step. The draws are the same at every measurement.
func (r *run) measure(ctx context.Context) error {
	c := &r.config
	if len(r.prompts.held) == 0 || r.about.Held != nil && r.about.Held.Step == r.about.Step {
		return nil
	}
	s := c.sampling()
	s.N, s.Seed = 1, nn.Mix(c.Seed, heldSeed)
	e, err := r.explore(ctx, r.prompts.held[:min(len(r.prompts.held), c.Measured)], s, new(Times))
	if err != nil {
		return err
	}
	told := describe(e.answers, e.kls)
	r.about.Held = told.held(r.about.Step)
	if c.Control != nil {
		r.about.Held.Control = &told.control.Mean
	}
	if f := c.Progress; f != nil {
		f(Progress{Steps: c.Steps, Held: r.about.Held})
	}
	return r.Metrics.Add(map[string]any{"step": r.about.Step, "held": r.about.Held})
}

// heldSeed is no step's number.
const heldSeed = math.MaxUint64
