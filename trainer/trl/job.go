package trl

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Job is one member's run, as the program reads it. Paths are relative to the job's file.
type Job struct {
	Run        string               `json:"run"` // hash of all that decides the result
	Start      string               `json:"start"`
	Out        string               `json:"out"`
	State      string               `json:"state"` // of a run that is on its way
	Pairs      string               `json:"pairs"`
	Replace    bool                 `json:"replace,omitempty"` // what another run left in Out
	PadTokenID int32                `json:"pad_token_id"`
	Batch      int                  `json:"batch"` // pairs of a step, of all processes
	Micro      int                  `json:"micro"` // of these at most at a time in a process
	Dropout    model.Regularization `json:"dropout"`
	LoRA       *model.LoRAConfig    `json:"lora,omitempty"`
	Head       string               `json:"head"`  // parameter of the score head
	DType      string               `json:"dtype"` // of the weights that are saved
	Launch     []string             `json:"launch,omitempty"`
	Arguments  Arguments            `json:"arguments"`
}

// Arguments are those of TRL's RewardConfig, by its names.
type Arguments struct {
	LearningRate    float64  `json:"learning_rate"`
	Scheduler       string   `json:"lr_scheduler_type"`
	WarmupSteps     int      `json:"warmup_steps"`
	MaxSteps        int      `json:"max_steps"`
	Optimizer       string   `json:"optim"`
	Decay           float64  `json:"weight_decay"`
	Clip            float64  `json:"max_grad_norm"`
	Beta1           float64  `json:"adam_beta1"`
	Beta2           float64  `json:"adam_beta2"`
	Eps             float64  `json:"adam_epsilon"`
	Center          *float64 `json:"center_rewards_coefficient,omitempty"`
	Seed            uint64   `json:"seed"`
	DataSeed        uint64   `json:"data_seed"`
	BF16            bool     `json:"bf16"`
	Recompute       bool     `json:"gradient_checkpointing"`
	SaveSteps       int      `json:"save_steps"`
	DisableDropout  bool     `json:"disable_dropout"`
	MaxLength       *int     `json:"max_length"` // null: pairs are cut already
	SaveTotalLimit  int      `json:"save_total_limit"`
	LoggingSteps    int      `json:"logging_steps"`
	ReportTo        string   `json:"report_to"`
	DisableProgress bool     `json:"disable_tqdm"`
}

// arguments translates a run's settings.
func arguments(c rm.Config, p *rm.Prepared) Arguments {
	a := Arguments{LearningRate: c.LR, Scheduler: string(c.Schedule),
		WarmupSteps: int(c.Warmup * float64(p.Steps)), MaxSteps: p.Steps, Optimizer: "adamw_torch", Decay: c.Decay, Clip: c.Clip, Beta1: c.Beta1, Beta2: c.Beta2,
		Eps: c.Eps, Seed: c.Seed, DataSeed: c.DataSeed, BF16: c.BF16, Recompute: c.Recompute,
		SaveSteps: c.SaveEvery, SaveTotalLimit: 1, LoggingSteps: 1, ReportTo: "none", DisableProgress: true}
	if c.Schedule == optim.Constant {
		a.Scheduler = "constant_with_warmup"
	}
	if c.Optimizer == optim.KindAdafactor {
		a.Optimizer = "adafactor"
	}
	if c.Center != 0 {
		a.Center = &c.Center
	}
	a.DisableDropout = c.Dropout == model.Regularization{} // else what the base has stays beside the plan's
	return a
}

// refusals are the settings and pairs of a run that TRL's trainer would learn from otherwise.
func refusals(c rm.Config, p *rm.Prepared) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, s := range []struct {
		name string
		set  bool
	}{{"ema", c.EMA != 0}, {"token_dropout", c.TokenDropout != 0}, {"eval_every", c.EvalEvery != 0}} {
		if s.set {
			bad("%s: TRL's trainer has no such setting: leave it out", s.name)
		}
	}
	for name, seed := range map[string]uint64{"seed": c.Seed, "data_seed": c.DataSeed} {
		if seed > math.MaxUint32 {
			bad("%s: %d, want a seed below 2³² for TRL", name, seed)
		}
	}
	if p.Model.NoPooler || p.Model.Causal() && p.Model.Reading.Pooling == model.PoolMean {
		bad("pooling: the head reads %s of the body's states, and a %s of transformers another way", p.Model.Reading.Pooling, p.Model.Architecture)
	}
	for i := range p.Pairs {
		if err := refused(&p.Pairs[i], p); err != nil { // of all alike, mostly
			bad("pair %q: %w", p.Pairs[i].ID, err)
			break
		}
	}
	return errors.Join(errs...)
}

// refused says why TRL would read a pair otherwise than it is meant.
func refused(x *rm.Example, p *rm.Prepared) error {
	if x.Label != 1 {
		return fmt.Errorf("its label is %g: TRL's trainer has no soft labels (votes: draw or majority)", x.Label)
	}
	for _, s := range []*model.Sequence{&x.Chosen, &x.Rejected} {
		if slices.ContainsFunc(s.Types, func(t int32) bool { return t != 0 }) {
			return errors.New("it has two segments, and TRL's trainer tells no model of them: give texts without a prompt")
		}
		if !p.Model.Causal() {
			continue
		}
		last := len(s.IDs) - 1 // as transformers: the last token that is not padding
		for last > 0 && s.IDs[last] == p.PadTokenID {
			last--
		}
		if len(s.Read) != 1 || int(s.Read[0]) != last {
			return fmt.Errorf("the model reads token %v of it, transformers %d, the last that is not padding", s.Read, last)
		}
	}
	return nil
}

// micro is how many pairs a process takes at a time for a budget of tokens.
func micro(c rm.Config, p *rm.Prepared) int {
	longest := 1
	for i := range p.Pairs {
		longest = max(longest, len(p.Pairs[i].Chosen.IDs), len(p.Pairs[i].Rejected.IDs))
	}
	return min(c.Batch, max(1, c.TokenBudget/(2*longest)))
}
