package rl

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/state"
)

// Algorithm says how rewards become advantages.
type Algorithm string

const (
	// Reinforce subtracts a moving average of past rewards.
	Reinforce Algorithm = "reinforce"
	// RLOO subtracts the mean reward of the other answers to the same prompt.
	RLOO Algorithm = "rloo"
	// GRPO subtracts the mean of the group and divides by its standard deviation.
	GRPO Algorithm = "grpo"
)

// Penalty says where the divergence from the reference is charged.
type Penalty string

// The places of the KL penalty.
const (
	// InReward takes KL·coefficient off an answer's reward.
	InReward Penalty = "reward"
	// InLoss adds the estimator k3 to every token's loss.
	InLoss Penalty = "loss"
)

// Weighting says what a token of an answer weighs in the loss of a batch.
type Weighting string

const (
	PerAnswer Weighting = "answer" // 1/answers: the loss of an answer is the sum of its tokens'
	PerLength Weighting = "length" // 1/(answers·tokens of the answer): its mean
	PerToken  Weighting = "token"  // 1/(tokens of the batch)
)

// Shaping changes a raw reward before advantages are computed, in this order.
type Shaping struct {
	// Scale divides by the standard deviation of all raw rewards so far.
	Scale bool `json:"scale,omitempty"`
	// Clip limits to [−Clip, Clip]; 0 is no limit.
	Clip float64 `json:"clip,omitempty"`
	// Length is taken off for each token of the answer.
	Length float64 `json:"length_penalty,omitempty"`
	// Unfinished is taken off an answer without an end token.
	Unfinished float64 `json:"unfinished_penalty,omitempty"`
}

// Config is one run.
type Config struct {
	// Policy is the directory of a causal language model, where the run starts.
	// Reference is that of the model which the penalty refers to; empty is Policy.
	Policy    string `json:"policy"`
	Reference string `json:"reference,omitempty"`
	// Open opens the checkpoints of both; nil is [loader.Open].
	Open func(dir string) (*loader.Checkpoint, error) `json:"-"`
	// Prompts are files of JSON Lines with a "prompt". Equal ones count once.
	Prompts []string `json:"prompts"`
	// SkipBad leaves out the lines of the files that cannot be used; else they are
	// an error that names them.
	SkipBad bool `json:"skip_bad,omitempty"`
	// Format makes the prompt of a line's fields, as "{prompt} ({stance})"; empty is
	// the prompt alone. Policy and reward model read the same text.
	Format string `json:"format,omitempty"`
	// Out is the directory of the result. Keep is the number of checkpoints along
	// the way in Out-1, Out-2 and so on, evenly spaced, the last step not counted.
	Out     string `json:"-"`
	Replace bool   `json:"-"`
	// Store is where the run lives besides this disk; nil: on this disk alone.
	Store state.Store `json:"-"`
	Keep  int         `json:"keep,omitempty"`

	// Scorer gives the rewards that are learned from. Control, when not nil, scores
	// the same answers only to be looked at: with a reward that is not optimised,
	// over-optimisation shows. Reward and ControlReward name them: the name belongs
	// to the run, the address may change.
	Scorer        Scorer `json:"-"`
	Control       Scorer `json:"-"`
	Reward        string `json:"reward,omitempty"`
	ControlReward string `json:"control_reward,omitempty"`

	Algorithm Algorithm `json:"algorithm"`         // default rloo
	Batch     int       `json:"batch"`             // prompts in a step; default 16
	Answers   int       `json:"answers"`           // to each prompt; default 4, 1 with reinforce
	Steps     int       `json:"steps"`             // default 100
	Epochs    int       `json:"epochs_per_batch"`  // updates made with a batch; default 1
	Ratio     float64   `json:"ratio_clip"`        // ratios beyond 1 ± Ratio are not pushed further; default 0.2
	Weighting Weighting `json:"weighting"`         // default length with grpo, else answer
	Baseline  float64   `json:"baseline_decay"`    // of reinforce's moving average, in [0, 1); default 0.9
	Whiten    bool      `json:"whiten,omitempty"`  // advantages of a batch have mean 0 and deviation 1
	Entropy   float64   `json:"entropy,omitempty"` // weight of an entropy bonus
	KL        float64   `json:"kl_coef"`           // weight of the penalty; 0 is none
	KLIn      Penalty   `json:"kl_in"`             // default reward
	Shaping   Shaping   `json:"shaping"`

	Temperature float64 `json:"temperature"`     // default 1
	TopP        float64 `json:"top_p,omitempty"` // in (0, 1]; 0 is 1
	TopK        int     `json:"top_k,omitempty"` // 0 for all
	Tokens      int     `json:"tokens"`          // longest answer; default 64

	// Holdout is the share of prompts that are only measured on, every EvalEvery
	// steps and at the end, Measured of them at most.
	Holdout   float64 `json:"holdout,omitempty"`
	EvalEvery int     `json:"eval_every,omitempty"`
	Measured  int     `json:"measured"` // default 64

	LR        float64        `json:"lr"`
	Schedule  optim.Schedule `json:"schedule"` // default constant
	Warmup    float64        `json:"warmup,omitempty"`
	Optimizer optim.Kind     `json:"optimizer"` // default adamw
	// LoRA learns a low-rank change instead of all weights: not nil to do so. The
	// result is the merged model; the change alone is written to Out-adapter in
	// the form of PEFT.
	LoRA     *model.LoRAConfig `json:"lora,omitempty"`
	Decay    float64           `json:"weight_decay,omitempty"`
	Clip     float64           `json:"clip,omitempty"` // largest norm of the gradient; 0 for any
	Beta1    float64           `json:"beta1"`          // default 0.9
	Beta2    float64           `json:"beta2"`          // default 0.999
	Eps      float64           `json:"eps"`            // default 1e-8
	Seed     uint64            `json:"seed"`           // of the answers
	DataSeed uint64            `json:"data_seed"`      // of the order of prompts, and of those held out

	TokenBudget int            `json:"token_budget"` // tokens in memory at a time; default 8192
	SaveEvery   int            `json:"-"`            // steps between saved states; default 20
	Recompute   bool           `json:"-"`            // less memory for a third more time; changes no bit
	Workers     int            `json:"-"`            // 0 is one a processor
	Progress    func(Progress) `json:"-"`
	Saw         func(Seen)     `json:"-"` // is shown the answers of every step
	TensorBoard string         `json:"-"` // directory for event files, which hold times; "" for none
}

// Seen is the answers of a step with their rewards.
type Seen struct {
	Step    int
	Prompts []string // as the policy read them, without special tokens
	Answers []Answer
	Control bool // the answers have a control reward
}

// Progress is how a run goes.
type Progress struct {
	Steps   int
	Metrics *Metrics // of the last step; nil beside Held or Message
	Held    *Held    // a measurement instead of a step
	Times   Times    // of the last step
	Message string   // instead of a step
}

// Times says where the time of a step went.
type Times struct {
	Step      int     `json:"step,omitempty"`
	Sampling  float64 `json:"sampling"`  // seconds
	Reference float64 `json:"reference"` // computing the reference's likelihoods, while rewards are on their way
	Waiting   float64 `json:"waiting"`   // for rewards after that
	Learning  float64 `json:"learning"`
	Tokens    int     `json:"tokens"`            // of the answers
	Retries   int     `json:"retries,omitempty"` // requests for rewards that were sent again
}

// Total is the whole time in seconds.
func (t Times) Total() float64 { return t.Sampling + t.Reference + t.Waiting + t.Learning }

func (t *Times) add(o Times) {
	t.Sampling += o.Sampling
	t.Reference += o.Reference
	t.Waiting += o.Waiting
	t.Learning += o.Learning
	t.Tokens += o.Tokens
	t.Retries += o.Retries
}

func since(t time.Time) float64 { return time.Since(t).Seconds() }

func (c Config) withDefaults() Config {
	c.Algorithm = cmp.Or(c.Algorithm, RLOO)
	c.Batch = cmp.Or(c.Batch, 16)
	if c.Algorithm == Reinforce {
		c.Answers = cmp.Or(c.Answers, 1)
	}
	c.Answers = cmp.Or(c.Answers, 4)
	c.Steps = cmp.Or(c.Steps, 100)
	c.Epochs = cmp.Or(c.Epochs, 1)
	c.Ratio = cmp.Or(c.Ratio, 0.2)
	if c.Algorithm == GRPO {
		c.Weighting = cmp.Or(c.Weighting, PerLength)
	}
	c.Weighting = cmp.Or(c.Weighting, PerAnswer)
	c.Baseline = cmp.Or(c.Baseline, 0.9)
	c.KLIn = cmp.Or(c.KLIn, InReward)
	c.Temperature = cmp.Or(c.Temperature, 1)
	c.Tokens = cmp.Or(c.Tokens, 64)
	c.Measured = cmp.Or(c.Measured, 64)
	c.Schedule = cmp.Or(c.Schedule, optim.Constant)
	c.Optimizer = cmp.Or(c.Optimizer, optim.KindAdamW)
	c.Beta1 = cmp.Or(c.Beta1, 0.9)
	c.Beta2 = cmp.Or(c.Beta2, 0.999)
	c.Eps = cmp.Or(c.Eps, 1e-8)
	c.TokenBudget = cmp.Or(c.TokenBudget, 8192)
	c.SaveEvery = cmp.Or(c.SaveEvery, 20)
	return c
}

// Validate reports every setting that cannot be.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.Policy == "":
		bad("policy: no checkpoint directory")
	case len(c.Prompts) == 0:
		bad("prompts: no file")
	}
	if c.Out == "" {
		bad("out: no directory")
	}
	one := func(name, v string, of ...string) {
		if !slices.Contains(of, v) {
			bad("%s: %q, want one of %v", name, v, of)
		}
	}
	one("algorithm", string(c.Algorithm), string(Reinforce), string(RLOO), string(GRPO))
	one("kl_in", string(c.KLIn), string(InReward), string(InLoss))
	one("weighting", string(c.Weighting), string(PerAnswer), string(PerLength), string(PerToken))
	if c.Algorithm != Reinforce && c.Answers < 2 {
		bad("answers: %d to a prompt, %s compares 2 or more", c.Answers, c.Algorithm)
	}
	_, kind := optim.ParseKind(string(c.Optimizer))
	_, schedule := optim.ParseSchedule(string(c.Schedule))
	errs = append(errs, kind, schedule)
	errs = append(errs, state.Within(c.ranges())...)
	if c.LoRA != nil {
		errs = append(errs, c.LoRA.Validate())
	}
	errs = append(errs, c.sampling().Validate())
	errs = append(errs, c.adamW().Validate()...)
	return errors.Join(errs...)
}

func (c *Config) ranges() []state.Limit {
	const tiny, huge = math.SmallestNonzeroFloat64, math.MaxFloat64
	return []state.Limit{
		{"batch", float64(c.Batch), 1, 1e6}, {"answers", float64(c.Answers), 1, 1e6},
		{"steps", float64(c.Steps), 1, 1e9},
		{"epochs_per_batch", float64(c.Epochs), 1, 1000}, {"ratio_clip", c.Ratio, tiny, huge},
		{"baseline_decay", c.Baseline, 0, 0.9999},
		{"entropy", c.Entropy, -1e3, 1e3}, {"kl_coef", c.KL, 0, 1e6},
		{"reward clip", c.Shaping.Clip, 0, huge}, {"length_penalty", c.Shaping.Length, -1e6, 1e6},
		{"unfinished_penalty", c.Shaping.Unfinished, 0, 1e6},
		{"temperature", c.Temperature, 1e-3, 1e3}, {"holdout", c.Holdout, 0, 0.9},
		{"eval_every", float64(c.EvalEvery), 0, 1e9},
		{"measured", float64(c.Measured), 1, 1e6}, {"keep", float64(c.Keep), 0, 1000},
		{"lr", c.LR, tiny, 1}, {"warmup", c.Warmup, 0, 1}, {"clip", c.Clip, 0, huge},
		{"token_budget", float64(c.TokenBudget), 1, 1e9}, {"save_every", float64(c.SaveEvery), 1, 1e9},
	}
}

func (c *Config) adamW() optim.AdamWConfig {
	return optim.AdamWConfig{Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps, Decay: c.Decay}
}

func (c *Config) sampling() Sampling {
	return Sampling{N: c.Answers, Temperature: c.Temperature, TopP: c.TopP, TopK: c.TopK,
		Tokens: c.Tokens, Seed: c.Seed}
}
