package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/trainer/lm"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/rm"
)

// languageFlags are the settings that pretraining and fine-tuning share.
func languageFlags(c *cobra.Command, f *lm.Config) {
	l := c.Flags()
	l.StringSliceVar(&f.Text, "text", nil,
		"`files` of plain text, or of JSON Lines with a \"text\" each (.jsonl); also .zst and .gz")
	l.StringSliceVar(&f.Pairs, "pairs", nil,
		"`files` of preference pairs, of which prompt and chosen answer are learned, each once")
	l.StringVar(&f.Out, "out", "", "`directory` of the result, or its address in a bucket, s3://… or gs://…; required")
	l.BoolVar(&f.SkipBad, "skip-bad", false, "leave out lines that cannot be used, and say how many")
	l.BoolVar(&f.Replace, "replace", false, "replace another run's checkpoint that is there")
	l.IntVar(&f.Keep, "keep", 0, "number of checkpoints to keep along the way, in OUT-1, OUT-2, …")
	l.IntVar(&f.Context, "window", 0, "longest window of tokens (default the model's context)")
	l.Float64Var(&f.Valid, "valid", 0.01,
		"share of the windows or examples that is kept for measuring, one at least of several")
	l.Float64Var(&f.LR, "lr", 0, "peak learning rate; required")
	l.StringVar((*string)(&f.Schedule), "schedule", string(optim.Cosine),
		"of the learning rate: constant, linear or cosine")
	l.Float64Var(&f.Warmup, "warmup", 0.02, "share of the steps that warm up")
	l.Float64Var(&f.Epochs, "epochs", 1, "how often the text is seen")
	l.IntVar(&f.Steps, "steps", 0, "largest number of steps (default by --epochs)")
	l.IntVar(&f.Batch, "batch", 32, "windows or examples in a step")
	l.IntVar(&f.TokenBudget, "token-budget", 8192, "tokens in memory at a time")
	l.StringVar((*string)(&f.Optimizer), "optimizer", string(optim.KindAdamW),
		"adamw, or adafactor with less memory")
	l.Float64Var(&f.Decay, "weight-decay", 0.1, "weight decay of matrices")
	l.Float64Var(&f.Clip, "clip", 1, "largest norm of the gradient, 0 for any")
	l.Float64Var(&f.Beta1, "beta1", 0.9, "AdamW's first decay")
	l.Float64Var(&f.Beta2, "beta2", 0.95, "AdamW's second decay")
	l.Float64Var(&f.Eps, "eps", 1e-8, "AdamW's epsilon")
	l.Float32Var(&f.Dropout.Attention, "dropout-attention", 0, "dropout of attention weights")
	l.Float32Var(&f.Dropout.Hidden, "dropout", 0, "dropout of what each layer adds")
	l.Float32Var(&f.Dropout.Embedding, "dropout-embedding", 0, "dropout of embeddings")
	l.Uint64Var(&f.Seed, "seed", 0, "decides new weights and dropout")
	l.Uint64Var(&f.DataSeed, "data-seed", 0, "decides the order of the text")
	l.IntVar(&f.SaveEvery, "save-every", 100, "steps between saved states")
	l.IntVar(&f.EvalEvery, "eval-every", 0, "steps between measurements (default at the end)")
	l.StringVar(&f.TensorBoard, "tensorboard", "",
		"`directory` for event files of TensorBoard, written while the run goes (default none)")
	l.BoolVar(&f.BF16, "bf16", false, "multiply in bfloat16; weights and gradients stay float32")
	l.BoolVar(&f.Recompute, "recompute", false, "use a fraction of the memory for a third more time")
	l.IntVar(&f.Workers, "workers", 0, "number of workers (default one a processor)")
	refuses(c,
		rule{when: adafactor(&f.Optimizer), why: "with --optimizer adafactor", flags: adamFlags},
		rule{when: func() bool { return f.Valid == 0 },
			why: "with --valid 0: nothing is kept to measure on", flags: []string{"eval-every"}},
	)
}

// adamFlags are settings of AdamW alone.
var adamFlags = []string{"beta1", "beta2", "eps"}

func adafactor(k *optim.Kind) func() bool { return func() bool { return *k == optim.KindAdafactor } }

func (p *program) trainLM() *cobra.Command {
	var f lm.Config
	var s lm.Shape
	var asJSON bool
	c := &cobra.Command{
		Use:   "lm --tokenizer DIR --layers N --hidden N --heads N --text FILE --out DIR --lr RATE",
		Short: "Pretrain a language model from scratch",
		Long: `lm trains a new Llama on text: the base of reward models. The result is a Hugging
Face checkpoint. An interrupted run goes on when the same command is given again.`,
		Example: `  warm train lm --tokenizer tok --layers 6 --hidden 384 --heads 6 --context 256 --text book.txt.zst --lr 1e-3 --out base`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			f.Shape = &s
			return p.runLanguage(c, f, asJSON)
		},
	}
	languageFlags(c, &f)
	l := c.Flags()
	l.StringVar(&f.Tokenizer, "tokenizer", "", "`directory` with tokenizer.json; required")
	l.IntVar(&s.Layers, "layers", 0, "number of layers; required")
	l.IntVar(&s.Hidden, "hidden", 0, "hidden size; required")
	l.IntVar(&s.Heads, "heads", 0, "number of attention heads; required")
	l.IntVar(&s.KVHeads, "kv-heads", 0, "number of key and value heads (default as --heads)")
	l.IntVar(&s.Intermediate, "intermediate", 0, "size of the feed-forward layer (default 8/3 of --hidden)")
	l.IntVar(&s.Context, "context", 512, "longest sequence")
	l.Float64Var(&s.RopeTheta, "rope-theta", 10000, "base of the rotary embedding")
	jsonFlag(c, &asJSON)
	return c
}

// runLanguage runs one training and tells its progress on stderr.
func (p *program) runLanguage(c *cobra.Command, f lm.Config, asJSON bool) error {
	if err := f.Validate(); err != nil {
		return usageError{err}
	}
	o, err := p.outside(f.Out, p.mention)
	if err != nil {
		return err
	}
	f.Out, f.Store, f.Open = o.path, o.store(), p.open(c.Context())
	t := newTrainLog(newDisplay(p.stderr))
	t.language = true
	f.Progress = func(s lm.Progress) {
		q := rm.Progress{Step: s.Step, Steps: s.Steps, Loss: s.Loss, LR: s.LR, Norm: s.Norm,
			Tokens: s.Tokens, Message: s.Message}
		t.progress(q)
		if s.Valid != nil {
			t.d.say("step %d of %d: validation loss %.4f", s.Step, s.Steps, *s.Valid)
		}
	}
	r, err := lm.Train(c.Context(), f)
	t.end()
	if err != nil {
		return err
	}
	out := shown(f.Store, f.Out)
	if r.Before {
		p.finishedBefore(out)
		return p.printLanguage(asJSON, out, r)
	}
	measured := ""
	if r.Valid != nil {
		measured = fmt.Sprintf(", validation loss %.4f", *r.Valid)
	}
	fmt.Fprintf(p.stderr, "wrote %s: %d parameters, %d steps, %d tokens%s\n", out, r.Parameters,
		r.Steps, r.Tokens, measured)
	return p.printLanguage(asJSON, out, r)
}
