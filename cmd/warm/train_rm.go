package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/rm"
)

// trainFlags are the settings of one run as flags. The zero value of a Config's
// field is its default, which the help names.
func trainFlags(c *cobra.Command, f *rm.Config) {
	l := c.Flags()
	l.StringVar(&f.Base, "base", "",
		"checkpoint `directory` to start from: a causal language model or a classifier with one output, or embedded:base; required")
	l.StringVar(&f.Pooling, "pooling", "",
		"what the score head of a base without one reads, by `rule`: "+model.BasePoolings+" (default what its 1_Pooling says, else its class)")
	l.StringVar(&f.Out, "out", "", "`directory` of the result, or its address in a bucket, s3://… or gs://…; required")
	l.BoolVar(&f.Replace, "replace", false, "replace another run's checkpoint that is there")
	l.StringSliceVar(&f.Train, "train", nil, "`files` of preference pairs or votes; required")
	l.StringSliceVar(&f.Test, "test", nil, "`files` of pairs to measure on")
	l.StringVar(&f.Holdout, "holdout", "",
		"`rule` of the training pairs to measure on instead: id%N, group=NAME,… or text:SHARE")
	l.StringVar((*string)(&f.Votes), "votes", string(rm.DrawVote),
		"what votes become: draw, majority or soft")
	l.IntVar(&f.MaxPairs, "max-pairs", 0, "largest number of training pairs (default all)")
	l.Float64Var(&f.Corrupt, "corrupt", 0, "share of training pairs whose preference is swapped")
	l.Uint64Var(&f.CorruptSeed, "corrupt-seed", 0, "decides which pairs are swapped")
	l.IntVar(&f.MaxTokens, "max-tokens", 0, "longest sequence (default the model's context)")
	l.BoolVar(&f.DropLong, "drop-long", false, "leave out pairs that do not fit")
	l.BoolVar(&f.SkipBad, "skip-bad", false, "leave out lines that cannot be used, and say how many")
	l.Float64Var(&f.LR, "lr", 0, "peak learning rate; required")
	l.StringVar((*string)(&f.Schedule), "schedule", string(optim.Constant),
		"of the learning rate: constant, linear or cosine")
	l.Float64Var(&f.Warmup, "warmup", 0, "share of the steps that warm up")
	l.Float64Var(&f.Epochs, "epochs", 1, "how often the pairs are seen")
	l.IntVar(&f.Steps, "steps", 0, "largest number of steps (default by --epochs)")
	l.IntVar(&f.Batch, "batch", 32, "pairs in a step")
	l.IntVar(&f.TokenBudget, "token-budget", 16384, "tokens in memory at a time")
	l.StringVar((*string)(&f.Optimizer), "optimizer", string(optim.KindAdamW),
		"adamw, or adafactor with less memory")
	l.Float64Var(&f.Decay, "weight-decay", 0, "weight decay of matrices")
	l.Float64Var(&f.Clip, "clip", 1, "largest norm of the gradient, 0 for any")
	l.Float64Var(&f.Beta1, "beta1", 0.9, "AdamW's first decay")
	l.Float64Var(&f.Beta2, "beta2", 0.999, "AdamW's second decay")
	l.Float64Var(&f.Eps, "eps", 1e-8, "AdamW's epsilon")
	l.Float64Var(&f.EMA, "ema", 0,
		"decay of a moving average of the weights, which is then the result (default none)")
	l.Float64Var(&f.Center, "center", 0, "weight of centring the rewards")
	l.Float32Var(&f.Dropout.Attention, "dropout-attention", 0, "dropout of attention weights")
	l.Float32Var(&f.Dropout.Hidden, "dropout", 0, "dropout of what each layer adds")
	l.Float32Var(&f.Dropout.Embedding, "dropout-embedding", 0, "dropout of embeddings")
	l.Float64Var(&f.TokenDropout, "dropout-token", 0,
		"share of the answers' tokens that a step leaves out: where few texts recur in many pairs")
	l.Var(loraFlag{&f.LoRA}, "lora",
		"learn a low-rank change: `rank,alpha,target,…` such as 8,16,q_proj,v_proj; OUT is the merged model, OUT-adapter the change alone for PEFT")
	l.Uint64Var(&f.Seed, "seed", 0, "decides dropout")
	l.Uint64Var(&f.DataSeed, "data-seed", 0, "decides the order of the pairs")
	l.Uint64Var(&f.SplitSeed, "split-seed", 0,
		"decides which pairs are held out, chosen and drawn from votes")
	l.IntVar(&f.Probe, "probe", 4096, "pairs for linear probing of the score head")
	l.BoolVar(&f.NoProbe, "no-probe", false, "keep the score head of a base that has one")
	l.IntVar(&f.SaveEvery, "save-every", 100, "steps between saved states")
	l.IntVar(&f.EvalEvery, "eval-every", 0, "steps between measurements (default at the end)")
	l.StringVar(&f.TensorBoard, "tensorboard", "",
		"`directory` for event files of TensorBoard, written while the run goes (default none)")
	l.BoolVar(&f.BF16, "bf16", false, "multiply in bfloat16; weights and gradients stay float32")
	l.BoolVar(&f.Recompute, "recompute", false, "use a fraction of the memory for a third more time")
	l.IntVar(&f.Workers, "workers", 0, "number of workers (default one a processor)")
}

// loraFlag reads rank, alpha and targets.
type loraFlag struct{ config **model.LoRAConfig }

func (f loraFlag) Type() string { return "lora" }

func (f loraFlag) String() string {
	if f.config == nil || *f.config == nil {
		return ""
	}
	c := *f.config
	return fmt.Sprintf("%d,%g,%s", c.Rank, c.Alpha, strings.Join(c.Targets, ","))
}

func (f loraFlag) Set(s string) error {
	parts := strings.Split(s, ",")
	if len(parts) < 3 {
		return fmt.Errorf("%q: want rank,alpha,target,…", s)
	}
	rank, err := strconv.Atoi(parts[0])
	if err != nil {
		return fmt.Errorf("rank %q: want a whole number", parts[0])
	}
	alpha, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return fmt.Errorf("alpha %q: want a number", parts[1])
	}
	*f.config = &model.LoRAConfig{Rank: rank, Alpha: alpha, Targets: parts[2:]}
	return nil
}

func (p *program) trainRM() *cobra.Command {
	var f rm.Config
	var asJSON bool
	c := &cobra.Command{
		Use:   "rm --base DIR --train FILE --out DIR --lr RATE",
		Short: "Train one reward model from preference pairs",
		Long: `rm trains a reward model by the Bradley-Terry loss. A language model first gets a
score head by linear probing on frozen features. The result is a Hugging Face
checkpoint with metrics.jsonl, metrics.csv, the learning curves metrics.svg and
training.json beside the weights. With --lora that is the whole model, the low-rank
change merged; OUT-adapter is the change alone, as PEFT writes it, with the base's
whole path.

While it runs, OUT.train holds its state. A run that was interrupted goes on when
the same command is given again, and ends in the same bytes. One that is finished is
not run again. With --out in a bucket the same command goes on on any machine.`,
		Example: `  warm train rm --base base --train pairs.jsonl.zst --holdout id%10 --lr 5e-4 --out runs/rm-1
  warm train rm --base base --train pairs.jsonl.zst --lr 5e-4 --out s3://bucket/runs/rm-1`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.Validate(); err != nil {
				return usageError{err}
			}
			o, err := p.outside(f.Out, p.mention)
			if err != nil {
				return err
			}
			f.Out, f.Store = o.path, o.store()
			r, err := p.runTraining(c.Context(), f)
			if err != nil {
				return err
			}
			return p.printTrained(asJSON, shown(f.Store, f.Out), r)
		},
	}
	trainFlags(c, &f)
	jsonFlag(c, &asJSON)
	refuses(c, trainRules(&f)...)
	return c
}

// trainRules are the settings of one run that have no effect beside others.
func trainRules(f *rm.Config) []rule {
	return []rule{
		{when: adafactor(&f.Optimizer), why: "with --optimizer adafactor", flags: adamFlags},
		{when: func() bool { return f.Corrupt == 0 }, why: "without --corrupt",
			flags: []string{"corrupt-seed"}},
		{when: func() bool { return f.NoProbe }, why: "with --no-probe", flags: []string{"probe"}},
		{when: func() bool { return len(f.Test) == 0 && f.Holdout == "" },
			why:   "without --test or --holdout: there is nothing to measure on",
			flags: []string{"eval-every"}},
	}
}

// runTraining runs one training and tells its progress on stderr.
func (p *program) runTraining(ctx context.Context, c rm.Config) (*rm.Result, error) {
	t := newTrainLog(newDisplay(p.stderr))
	c.Progress, c.Open = t.progress, p.open(ctx)
	r, err := rm.Train(ctx, c)
	t.end()
	switch {
	case err != nil:
	case r.Before:
		p.finishedBefore(shown(c.Store, c.Out))
	default:
		out := shown(c.Store, filepath.Clean(c.Out))
		t.d.say("wrote %s: %d steps, %d pairs%s", out, r.Steps, r.Pairs, accuracy(r.Test))
		if c.LoRA != nil {
			t.d.say("%s is the whole model, with the low-rank change merged; %s-adapter is the change alone, as PEFT opens it", out, out)
		}
	}
	return r, err
}
