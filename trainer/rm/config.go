package rm

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/state"
)

// Config is one training run. The zero value of a field is its default where
// one is named.
type Config struct {
	// Base is the checkpoint directory to start from: a causal language model,
	// whose score head is then probed, or a sequence classifier with one output.
	Base string `json:"base"`
	// Pooling is what the head of a base without one reads, one of [model.BasePoolings]; ""
	// is what its 1_Pooling says, else its class.
	Pooling string `json:"pooling,omitempty"`
	// Open opens the checkpoint of Base; nil is [loader.Open].
	Open func(dir string) (*loader.Checkpoint, error) `json:"-"`
	// Out is the directory of the result. It must not hold anything but the result
	// of the same run unless Replace is set.
	Out     string `json:"-"`
	Replace bool   `json:"-"`
	// Store is where the run lives besides this disk; nil: on this disk alone.
	Store state.Store `json:"-"`

	// Train and Test are files of preferences (JSON Lines, also compressed).
	// Test pairs come from Test or from Holdout.
	Train []string `json:"train"`
	Test  []string `json:"test,omitempty"`
	// Holdout keeps pairs of Train for testing: "" for none, or a rule of
	// [ParseHoldout].
	Holdout string `json:"holdout,omitempty"`
	// Votes says how a line of votes becomes a preference: draw (one vote by
	// SplitSeed), majority, or soft (the share of votes as label). Default draw.
	Votes Votes `json:"votes,omitempty"`
	// MaxPairs bounds the training pairs, chosen by SplitSeed; 0 for all.
	MaxPairs int `json:"max_pairs,omitempty"`
	// Corrupt is the share of training pairs whose preference is swapped, drawn
	// by CorruptSeed, in [0, 1].
	Corrupt     float64 `json:"corrupt,omitempty"`
	CorruptSeed uint64  `json:"corrupt_seed,omitempty"`
	// MaxTokens is the longest sequence; 0 is the model's context. Longer ones
	// lose the left of their prompt; those that cannot be cut are an error that
	// names the pair, or are left out with DropLong.
	MaxTokens int  `json:"max_tokens,omitempty"`
	DropLong  bool `json:"drop_long,omitempty"`
	// SkipBad leaves out the lines of the files that cannot be used; else they are
	// an error that names them.
	SkipBad bool `json:"skip_bad,omitempty"`

	// LR is the peak learning rate.
	LR       float64        `json:"lr"`
	Schedule optim.Schedule `json:"schedule"` // default constant
	// Warmup is the share of the steps that warm up, in [0, 1].
	Warmup float64 `json:"warmup,omitempty"`
	// Epochs is how often the training pairs are seen; Steps ends earlier when
	// it is not 0.
	Epochs float64 `json:"epochs"` // default 1
	Steps  int     `json:"steps,omitempty"`
	// Batch is the number of pairs in a step; TokenBudget bounds the tokens that
	// are in memory at a time, and changes no more than rounding.
	Batch       int `json:"batch"`        // default 32
	TokenBudget int `json:"token_budget"` // default 16384
	// Optimizer is adamw, the default, or adafactor, whose state is a fraction of
	// AdamW's.
	Optimizer optim.Kind `json:"optimizer"`
	// Decay, Clip, Beta1, Beta2 and Eps are AdamW's and the largest gradient
	// norm; Clip 0 is none.
	Decay float64 `json:"weight_decay,omitempty"`
	Clip  float64 `json:"clip,omitempty"`
	Beta1 float64 `json:"beta1"` // default 0.9
	Beta2 float64 `json:"beta2"` // default 0.999
	Eps   float64 `json:"eps"`   // default 1e-8
	// EMA is the decay of a moving average of the weights, which is then the
	// result; 0 for none.
	EMA float64 `json:"ema,omitempty"`
	// Center is the weight of the loss's centring.
	Center float64 `json:"center,omitempty"`
	// Dropout is the regularisation during training.
	Dropout model.Regularization `json:"dropout"`
	// TokenDropout is the share of the answers' tokens that each step leaves out, others
	// each time: few texts that recur in many pairs are harder to learn by heart.
	TokenDropout float64 `json:"token_dropout,omitempty"`
	// BF16 multiplies in bfloat16; weights, gradients and measurements stay
	// float32.
	BF16 bool `json:"bf16,omitempty"`
	// LoRA learns a low-rank change instead of all weights: not nil to do so. The
	// result is the merged model; the change alone is written to Out-adapter in
	// PEFT's format.
	LoRA *model.LoRAConfig `json:"lora,omitempty"`
	// Seed decides dropouts, DataSeed the order of the pairs. SplitSeed decides which
	// pairs there are: held out, chosen, drawn from votes. Members of an average
	// share it.
	Seed      uint64 `json:"seed"`
	DataSeed  uint64 `json:"data_seed"`
	SplitSeed uint64 `json:"split_seed"`

	// Probe is the number of training pairs for linear probing of the score
	// head before the first step; 0 is 4096. NoProbe keeps the head of a base
	// that has one.
	Probe   int  `json:"probe"`
	NoProbe bool `json:"no_probe,omitempty"`

	// SaveEvery is the number of steps between saved states; 0 is 100. EvalEvery
	// is that between measurements on the test pairs; 0 for at the end alone.
	SaveEvery int `json:"-"`
	EvalEvery int `json:"eval_every,omitempty"`
	// TensorBoard is a directory for event files, which hold times; "" is none.
	TensorBoard string `json:"-"`
	// Recompute keeps less of the forward pass and computes it again when it is
	// needed: a third more time for a fraction of the memory. It changes no bit.
	Recompute bool `json:"-"`
	// Workers is the number of workers; 0 is GOMAXPROCS. It changes no bit.
	Workers int `json:"-"`
	// Progress is told how the run goes; may be nil.
	Progress func(Progress) `json:"-"`
}

// Votes says how votes become a preference.
type Votes string

const (
	DrawVote     Votes = "draw"     // one vote of each pair, drawn by a seed
	MajorityVote Votes = "majority" // what most prefer
	SoftVotes    Votes = "soft"     // the share of votes is the label
)

// Progress is how a run goes.
type Progress struct {
	Step, Steps int
	Loss        float64 // mean of the step's pairs
	Accuracy    float64 // of the step's pairs
	LR          float64
	Norm        float64 // of the gradient, before clipping
	Tokens      int     // of the step
	Test        *Score  // when the step was followed by a measurement
	Message     string  // instead of a step: what is being done
}

// WithDefaults returns the configuration with its defaults filled in.
func (c Config) WithDefaults() Config {
	c.Epochs = cmp.Or(c.Epochs, 1)
	c.Beta1 = cmp.Or(c.Beta1, 0.9)
	c.Beta2 = cmp.Or(c.Beta2, 0.999)
	c.Eps = cmp.Or(c.Eps, 1e-8)
	c.Batch = cmp.Or(c.Batch, 32)
	c.TokenBudget = cmp.Or(c.TokenBudget, 16384)
	c.Probe = cmp.Or(c.Probe, 4096)
	c.SaveEvery = cmp.Or(c.SaveEvery, 100)
	c.Optimizer = cmp.Or(c.Optimizer, optim.KindAdamW)
	c.Schedule = cmp.Or(c.Schedule, optim.Constant)
	c.Votes = cmp.Or(c.Votes, DrawVote)
	return c
}

// Validate reports every setting that cannot be.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Base == "" {
		bad("base: no checkpoint directory")
	}
	if c.Out == "" {
		bad("out: no directory")
	}
	if len(c.Train) == 0 {
		bad("train: no file")
	}
	if len(c.Test) > 0 && c.Holdout != "" {
		bad("test and holdout: want one of them")
	}
	_, holdout := ParseHoldout(c.Holdout)
	_, kind := optim.ParseKind(string(c.Optimizer))
	_, schedule := optim.ParseSchedule(string(c.Schedule))
	errs = append(errs, holdout, kind, schedule, model.ParseBasePooling(c.Pooling))
	if !slices.Contains([]Votes{DrawVote, MajorityVote, SoftVotes}, c.Votes) {
		bad("votes: %q, want draw, majority or soft", c.Votes)
	}
	errs = append(errs, state.Within(c.limits())...)
	if c.LoRA != nil {
		errs = append(errs, c.LoRA.Validate())
	}
	errs = append(errs, c.adamW().Validate()...)
	return errors.Join(errs...)
}

// limits are where the numbers must lie.
func (c *Config) limits() []state.Limit {
	const tiny, huge = math.SmallestNonzeroFloat64, math.MaxFloat64
	return []state.Limit{
		{"lr", c.LR, tiny, 1}, {"warmup", c.Warmup, 0, 1}, {"epochs", c.Epochs, tiny, 1e6},
		{"corrupt", c.Corrupt, 0, 1}, {"clip", c.Clip, 0, huge}, {"center", c.Center, 0, huge},
		{"ema", c.EMA, 0, 1 - 1e-9}, {"dropout: attention", float64(c.Dropout.Attention), 0, 0.99},
		{"dropout: hidden", float64(c.Dropout.Hidden), 0, 0.99},
		{"dropout: embedding", float64(c.Dropout.Embedding), 0, 0.99}, {"token_dropout", c.TokenDropout, 0, 0.99},
		{"batch", float64(c.Batch), 1, 1e9}, {"token_budget", float64(c.TokenBudget), 1, 1e9},
		{"probe", float64(c.Probe), 1, 1e9}, {"save_every", float64(c.SaveEvery), 1, 1e9},
		{"max_pairs", float64(c.MaxPairs), 0, 1e9}, {"max_tokens", float64(c.MaxTokens), 0, 1e9},
		{"steps", float64(c.Steps), 0, 1e9}, {"eval_every", float64(c.EvalEvery), 0, 1e9},
	}
}

func (c *Config) dtype() kernel.DType {
	if c.BF16 {
		return kernel.BFloat16
	}
	return kernel.Float32
}

func (c *Config) adamW() optim.AdamWConfig {
	return optim.AdamWConfig{Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps, Decay: c.Decay}
}
