package lm

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/state"
)

// Shape is the size of a new model, a Llama.
type Shape struct {
	Layers       int     `json:"layers"`
	Hidden       int     `json:"hidden"`
	Heads        int     `json:"heads"`
	KVHeads      int     `json:"kv_heads"`     // 0 is Heads
	Intermediate int     `json:"intermediate"` // 0 is 8/3 of Hidden in multiples of 32
	Context      int     `json:"context"`      // 0 is 512
	RopeTheta    float64 `json:"rope_theta"`   // 0 is 10000
}

// Config is one training run. Fields that packages rm and lm share mean the same.
type Config struct {
	// Base is the checkpoint to go on from. Empty means a new model of Shape with
	// the tokenizer of the directory Tokenizer.
	Base      string `json:"base,omitempty"`
	Shape     *Shape `json:"shape,omitempty"`
	Tokenizer string `json:"tokenizer,omitempty"`
	// Open opens the checkpoint of Base; nil is [loader.Open].
	Open func(dir string) (*loader.Checkpoint, error) `json:"-"`
	// Text are files of plain text, or of JSON Lines with a "text" each, also
	// compressed. Pairs are files of preferences, of which the prompt and the
	// chosen answer are learned, each once.
	Text  []string `json:"text,omitempty"`
	Pairs []string `json:"pairs,omitempty"`
	// SkipBad leaves out the lines of the files that cannot be used; else they are
	// an error that names them.
	SkipBad bool `json:"skip_bad,omitempty"`
	// Out is the directory of the result. Keep is the number of checkpoints along
	// the way in Out-1, Out-2 and so on, evenly spaced, the last step not counted.
	Out     string `json:"-"`
	Replace bool   `json:"-"`
	Keep    int    `json:"keep,omitempty"`
	// Store is where the run lives besides this disk; nil: on this disk alone.
	Store state.Store `json:"-"`

	// Context is the length of the windows; 0 is the model's.
	Context int `json:"context,omitempty"`
	// Valid is the share of windows or examples that are kept for measuring, one at
	// least of several.
	Valid float64 `json:"valid,omitempty"`

	LR          float64              `json:"lr"`
	Schedule    optim.Schedule       `json:"schedule"`
	Warmup      float64              `json:"warmup,omitempty"`
	Epochs      float64              `json:"epochs"`          // default 1
	Steps       int                  `json:"steps,omitempty"` // ends earlier
	Batch       int                  `json:"batch"`           // windows or examples in a step; default 32
	TokenBudget int                  `json:"token_budget"`    // default 8192
	Optimizer   optim.Kind           `json:"optimizer"`       // default adamw
	Decay       float64              `json:"weight_decay,omitempty"`
	Clip        float64              `json:"clip,omitempty"`
	Beta1       float64              `json:"beta1"` // default 0.9
	Beta2       float64              `json:"beta2"` // default 0.95
	Eps         float64              `json:"eps"`   // default 1e-8
	Dropout     model.Regularization `json:"dropout"`
	BF16        bool                 `json:"bf16,omitempty"` // products in bfloat16
	Seed        uint64               `json:"seed"`           // of new weights and dropout
	DataSeed    uint64               `json:"data_seed"`

	SaveEvery int            `json:"-"` // default 100
	EvalEvery int            `json:"eval_every,omitempty"`
	Recompute bool           `json:"-"` // less memory for a third more time; changes no bit
	Workers   int            `json:"-"`
	Progress  func(Progress) `json:"-"`

	TensorBoard string `json:"-"` // directory for event files, which hold times; "" for none
}

// Progress is how a run goes.
type Progress struct {
	Step, Steps int
	Loss        float64 // mean over the step's targets, in nats
	LR, Norm    float64
	Tokens      int
	Valid       *float64 // mean loss on what was kept, when it was measured
	Message     string   // instead of a step
}

func (c Config) withDefaults() Config {
	c.Epochs = cmp.Or(c.Epochs, 1)
	c.Beta1 = cmp.Or(c.Beta1, 0.9)
	c.Beta2 = cmp.Or(c.Beta2, 0.95)
	c.Eps = cmp.Or(c.Eps, 1e-8)
	c.Batch = cmp.Or(c.Batch, 32)
	c.TokenBudget = cmp.Or(c.TokenBudget, 8192)
	c.SaveEvery = cmp.Or(c.SaveEvery, 100)
	c.Optimizer = cmp.Or(c.Optimizer, optim.KindAdamW)
	c.Schedule = cmp.Or(c.Schedule, optim.Constant)
	return c
}

// Validate reports every setting that cannot be.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.Base == "" && c.Shape == nil:
		bad("base: no checkpoint directory, and no shape of a new model")
	case c.Base != "" && c.Shape != nil:
		bad("base and shape: want one of them")
	case c.Base == "" && c.Tokenizer == "":
		bad("tokenizer: no directory for a new model")
	}
	if c.Shape != nil {
		errs = append(errs, c.Shape.validate())
	}
	if c.Out == "" {
		bad("out: no directory")
	}
	if len(c.Text)+len(c.Pairs) == 0 {
		bad("text: no file to learn from")
	}
	_, kind := optim.ParseKind(string(c.Optimizer))
	_, schedule := optim.ParseSchedule(string(c.Schedule))
	errs = append(errs, kind, schedule)
	errs = append(errs, state.Within([]state.Limit{
		{"lr", c.LR, math.SmallestNonzeroFloat64, 1}, {"warmup", c.Warmup, 0, 1}, {"valid", c.Valid, 0, 0.9},
		{"epochs", c.Epochs, math.SmallestNonzeroFloat64, 1e6}, {"clip", c.Clip, 0, math.MaxFloat64},
		{"dropout: attention", float64(c.Dropout.Attention), 0, 0.99},
		{"dropout: hidden", float64(c.Dropout.Hidden), 0, 0.99},
		{"dropout: embedding", float64(c.Dropout.Embedding), 0, 0.99},
		{"batch", float64(c.Batch), 1, 1e9}, {"token_budget", float64(c.TokenBudget), 1, 1e9},
		{"save_every", float64(c.SaveEvery), 1, 1e9},
		{"steps", float64(c.Steps), 0, 1e9}, {"eval_every", float64(c.EvalEvery), 0, 1e9},
		{"keep", float64(c.Keep), 0, 1000},
		{"context", float64(c.Context), 0, 1 << 21},
	})...)
	errs = append(errs, c.adamW().Validate()...)
	return errors.Join(errs...)
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

func (s *Shape) validate() error {
	if s.Layers < 1 || s.Hidden < 2 || s.Heads < 1 || s.Hidden%s.Heads != 0 || s.Hidden/s.Heads%2 != 0 {
		return fmt.Errorf("shape: %d layers of %d with %d heads: want heads of an even size", s.Layers,
			s.Hidden, s.Heads)
	}
	if s.KVHeads < 0 || s.KVHeads > 0 && s.Heads%s.KVHeads != 0 {
		return fmt.Errorf("shape: %d heads share %d key heads unevenly", s.Heads, s.KVHeads)
	}
	return nil
}

// config returns the new model's config.json.
func (s Shape) config(vocab int, special map[string]int32) ([]byte, error) {
	c := map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "vocab_size": vocab,
		"hidden_size": s.Hidden, "num_hidden_layers": s.Layers, "num_attention_heads": s.Heads,
		"num_key_value_heads": cmp.Or(s.KVHeads, s.Heads), "head_dim": s.Hidden / s.Heads,
		"intermediate_size":       cmp.Or(s.Intermediate, (s.Hidden*8/3+31)/32*32),
		"max_position_embeddings": cmp.Or(s.Context, 512), "rms_norm_eps": 1e-5, "rope_theta": cmp.Or(s.RopeTheta, 10000),
		"hidden_act":     "silu",
		"attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true,
		"initializer_range": 0.02, "torch_dtype": "float32",
	}
	for name, id := range special {
		c[name+"_token_id"] = id
	}
	data, err := json.MarshalIndent(c, "", "  ")
	return append(data, '\n'), err
}
