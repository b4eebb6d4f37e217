package main

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/telemetry"
	"github.com/warmserve/warmserve/trainer/optim"
	"github.com/warmserve/warmserve/trainer/rl"
)

// rlFlags is the command line of warm rl beside the run's own settings.
type rlFlags struct {
	run     rl.Config
	rewards rl.ClientConfig
	control string // name of the control model
	saveIn  string // file of answers
	json    bool
}

func (p *program) rl() *cobra.Command {
	var f rlFlags
	c := &cobra.Command{
		Use:   "rl --policy DIR --prompts FILE --url URL --out DIR --lr RATE",
		Short: "Fine-tune a policy by the rewards of a server",
		Long: `rl fine-tunes a causal language model (a directory of "warm train lm" or "sft") by
reinforcement learning. In every step the policy answers --batch prompts, --answers
times each; a server scores the answers, over HTTP alone; and the policy is pushed
towards what scored better. The result is a checkpoint like the one it came from.

Algorithms
  reinforce  reward less a moving average of past rewards (one answer a prompt)
  rloo       reward less the mean of the other answers to the same prompt
  grpo       reward less the group's mean, over its standard deviation

A penalty of --kl-coef times the KL divergence keeps the policy near where it
started (--reference for another model): subtracted from the reward, or added to
the loss of every token (--kl-in loss). Watch "KL" against "reward": a reward that
rises while --control, a second model that is not learned from, falls is being
over-optimised.

Rewards
  --dialect native    POST /v1/reward with prompt and answers: the reward model's own
                      chat template, the prompt computed once for all answers
  --dialect openrlhf  POST /get_reward with whole texts, as OpenRLHF sends them
A server that restarts, swaps models or is busy is waited for, up to
--reward-timeout; the answers are kept. All answers to a prompt are scored by one
revision of the reward model: with --per-request, a group that met two is scored
again as a whole, and counted as "rescored".

While it runs, OUT.train holds its state. After SIGTERM, a crash or a server that
stayed away, the same command goes on, and with the same rewards it ends in the
same bytes. OUT gets metrics.jsonl, metrics.csv and .svg, training.json and times.jsonl.`,
		Example: `  warm serve --model detox=rm-1,rm-2,rm-3 &
  warm rl --policy sft --prompts prompts.jsonl --url http://127.0.0.1:8080 --out policy --lr 1e-5 --kl-coef 0.05
  warm rl --algorithm grpo --answers 8 --kl-in loss --kl-coef 0.04 --epochs-per-batch 2 --policy sft \
      --prompts pairs.jsonl.zst --format "{prompt} ({stance}): " --url http://rewards:8080 --out policy --lr 1e-5`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return p.runRL(c, f) },
	}
	f.runFlags(c)
	f.learnFlags(c)
	f.rewardFlags(c)
	r := &f.run
	refuses(c,
		rule{when: adafactor(&r.Optimizer), why: "with --optimizer adafactor", flags: adamFlags},
		rule{when: func() bool { return r.Holdout == 0 },
			why:   "without --holdout: there is nothing to measure on",
			flags: []string{"eval-every", "measured"}},
		rule{when: func() bool { return r.Algorithm != rl.Reinforce },
			why: "without --algorithm reinforce", flags: []string{"baseline-decay"}},
		rule{when: func() bool { return r.KL == 0 }, why: "without --kl-coef", flags: []string{"kl-in"}},
		rule{when: func() bool { return r.Epochs == 1 },
			why: "without --epochs-per-batch: the ratios of one update are 1", flags: []string{"ratio-clip"}},
	)
	return c
}

// runFlags say what is run and where it is written.
func (f *rlFlags) runFlags(c *cobra.Command) {
	jsonFlag(c, &f.json)
	l, r := c.Flags(), &f.run
	l.StringVar(&r.Policy, "policy", "",
		"checkpoint `directory` of a causal language model, where the run starts, or embedded:base; required")
	l.StringVar(&r.Reference, "reference", "",
		"`directory` of the model that the KL refers to (default that of --policy)")
	l.StringSliceVar(&r.Prompts, "prompts", nil,
		"`files` of JSON Lines with a \"prompt\", also of pairs; also .zst, .gz and Parquet; required")
	l.BoolVar(&r.SkipBad, "skip-bad", false, "leave out lines that cannot be used, and say how many")
	l.StringVar(&r.Format, "format", "",
		"prompt made of a line's `fields`, as \"{prompt} ({stance}): \" (default the prompt alone)")
	l.StringVar(&r.Out, "out", "", "`directory` of the result, or its address in a bucket, s3://… or gs://…; required")
	l.BoolVar(&r.Replace, "replace", false, "replace another run's checkpoint that is there")
	l.IntVar(&r.Keep, "keep", 0, "number of checkpoints to keep along the way, in OUT-1, OUT-2, …")
	l.StringVar(&f.saveIn, "answers-to", "",
		"`file` that every answer with its rewards is appended to, as JSON Lines")
	l.IntVar(&r.Batch, "batch", 16, "prompts in a step")
	l.IntVar(&r.Answers, "answers", 0, "answers to each prompt (default 4, with reinforce 1)")
	l.IntVar(&r.Steps, "steps", 100, "number of steps")
	l.IntVar(&r.Tokens, "tokens", 64, "longest answer, in tokens")
	l.Float64Var(&r.Temperature, "temperature", 1, "of the answers' draw")
	l.Float64Var(&r.TopP, "top-p", 1, "share of probability that is drawn from")
	l.IntVar(&r.TopK, "top-k", 0, "number of tokens that are drawn from (default all)")
	l.Float64Var(&r.Holdout, "holdout", 0,
		"share of the prompts that is only measured on, one at least of several")
	l.IntVar(&r.EvalEvery, "eval-every", 0,
		"steps between measurements on held-out prompts (default at the end)")
	l.IntVar(&r.Measured, "measured", 64, "largest number of held-out prompts to measure on")
	l.Uint64Var(&r.Seed, "seed", 0, "decides the answers")
	l.Uint64Var(&r.DataSeed, "data-seed", 0, "decides the order of the prompts and which are held out")
	l.StringVar(&r.TensorBoard, "tensorboard", "",
		"`directory` for event files of TensorBoard, written while the run goes (default none)")
	l.IntVar(&r.SaveEvery, "save-every", 20, "steps between saved states")
	l.IntVar(&r.TokenBudget, "token-budget", 8192, "tokens in memory at a time")
	l.BoolVar(&r.Recompute, "recompute", false, "use a fraction of the memory for a third more time")
	l.IntVar(&r.Workers, "workers", 0, "number of workers (default one a processor)")
}

// learnFlags say how rewards change the policy.
func (f *rlFlags) learnFlags(c *cobra.Command) {
	l, r := c.Flags(), &f.run
	l.StringVar((*string)(&r.Algorithm), "algorithm", string(rl.RLOO), "reinforce, rloo or grpo")
	l.Float64Var(&r.KL, "kl-coef", 0, "weight of the KL divergence from the reference")
	l.StringVar((*string)(&r.KLIn), "kl-in", string(rl.InReward), "where that is charged: reward or loss")
	l.IntVar(&r.Epochs, "epochs-per-batch", 1, "updates made with the answers of a step")
	l.Float64Var(&r.Ratio, "ratio-clip", 0.2, "ratios of likelihoods beyond 1 ± this are not pushed further")
	l.StringVar((*string)(&r.Weighting), "weighting", "",
		"of an answer's tokens in the loss: answer (their sum), length (their mean) or token (default answer, with grpo length)")
	l.Float64Var(&r.Baseline, "baseline-decay", 0.9, "of reinforce's moving average")
	l.BoolVar(&r.Whiten, "whiten", false, "give the advantages of a step mean 0 and deviation 1")
	l.Float64Var(&r.Entropy, "entropy", 0, "weight of an entropy bonus")
	l.BoolVar(&r.Shaping.Scale, "reward-scale", false, "divide rewards by the deviation of all so far")
	l.Float64Var(&r.Shaping.Clip, "reward-clip", 0, "limit rewards to ± this, 0 for no limit")
	l.Float64Var(&r.Shaping.Length, "length-penalty", 0, "taken off for each token of an answer")
	l.Float64Var(&r.Shaping.Unfinished, "unfinished-penalty", 0, "taken off an answer without an end token")
	l.Float64Var(&r.LR, "lr", 0, "peak learning rate; required")
	l.StringVar((*string)(&r.Schedule), "schedule", string(optim.Constant),
		"of the learning rate: constant, linear or cosine")
	l.Float64Var(&r.Warmup, "warmup", 0, "share of the updates that warm up")
	l.StringVar((*string)(&r.Optimizer), "optimizer", string(optim.KindAdamW),
		"adamw, or adafactor with less memory")
	l.Var(loraFlag{&r.LoRA}, "lora",
		"learn a low-rank change: `rank,alpha,target,…` such as 8,16,q_proj,v_proj; OUT is the merged policy, OUT-adapter the change alone for PEFT")
	l.Float64Var(&r.Decay, "weight-decay", 0, "weight decay of matrices")
	l.Float64Var(&r.Clip, "clip", 1, "largest norm of the gradient, 0 for any")
	l.Float64Var(&r.Beta1, "beta1", 0.9, "AdamW's first decay")
	l.Float64Var(&r.Beta2, "beta2", 0.999, "AdamW's second decay")
	l.Float64Var(&r.Eps, "eps", 1e-8, "AdamW's epsilon")
}

// rewardFlags say where rewards come from.
func (f *rlFlags) rewardFlags(c *cobra.Command) {
	l, r := c.Flags(), &f.rewards
	l.StringVar(&r.URL, "url", "http://127.0.0.1:8080", "address of the server")
	l.StringVar(&r.Model, "name", "", "`name` of the server's reward model, where several are served")
	l.StringVar(&r.Mode, "mode", "", "how it scores: wa, ens or member:NAME (default its own)")
	l.StringVar(&f.control, "control", "",
		"`name` of a second model of the server, which scores the answers only to be looked at")
	l.StringVar((*string)(&r.Dialect), "dialect", string(rl.Native), "native or openrlhf")
	l.IntVar(&r.PerRequest, "per-request", 0, "answers in a request (default all to a prompt)")
	l.IntVar(&r.Connections, "connections", 16, "requests under way at most")
	l.DurationVar(&r.Timeout, "reward-timeout", 10*time.Minute, "how long rewards are waited for")
	l.DurationVar(&r.Attempt, "request-timeout", time.Minute, "how long one request may take")
	l.StringVar(&r.Key, "key", "", "API `key` (default the variable WARM_API_KEY)")
}

// runRL runs one training and tells its progress on stderr.
func (p *program) runRL(c *cobra.Command, f rlFlags) error {
	run := f.run
	if err := run.Validate(); err != nil {
		return usageError{err}
	}
	t := &rlLog{trainLog: newTrainLog(newDisplay(p.stderr))}
	f.rewards.Key = cmp.Or(f.rewards.Key, p.getenv("WARM_API_KEY"))
	f.rewards.Say = t.say
	log := p.newLog("", slog.LevelWarn)
	exported, err := p.telemetry(c.Context(), telemetry.Config{Service: "warm-rl"}, log)
	if err != nil {
		return err
	}
	defer exported.close(log)
	f.rewards.Transport = exported.Transport
	scorer, err := rl.NewClient(f.rewards)
	if err != nil {
		return usageError{err}
	}
	run.Scorer, run.Reward = exported.scorer(scorer), f.name(f.rewards.Model, f.rewards.Mode)
	if f.control != "" {
		control := f.rewards
		control.Model, control.Mode = f.control, ""
		if run.Control, err = rl.NewClient(control); err != nil {
			return usageError{err}
		}
		run.ControlReward = f.name(f.control, "")
	}
	o, err := p.outside(run.Out, t.say)
	if err != nil {
		return err
	}
	done := func() error { return nil }
	if f.saveIn != "" {
		if run.Saw, done, err = saveAnswers(f.saveIn); err != nil {
			return err
		}
	}
	run.Out, run.Store = o.path, o.store()
	run.Progress, run.Open = t.progress, p.open(c.Context())
	r, err := rl.Train(c.Context(), run)
	t.end()
	if closing := done(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	out := shown(run.Store, run.Out)
	if r.Before {
		p.finishedBefore(out)
		return p.printPolicy(f.json, out, r)
	}
	fmt.Fprintf(p.stderr, "wrote %s: %d parameters, %d steps, %d answer tokens\n", out,
		r.Parameters, r.Steps, r.Tokens)
	timeTable(p.stderr, r)
	return p.printPolicy(f.json, out, r)
}

// name says which rewards a run learns from, wherever the server is.
func (f *rlFlags) name(model, mode string) string {
	return fmt.Sprintf("model=%s mode=%s dialect=%s", model, mode, f.rewards.Dialect)
}

// timeTable says where the time went.
func timeTable(w io.Writer, r *rl.Result) {
	t := r.Times
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "time\tseconds\tshare\t")
	for _, row := range []struct {
		name string
		v    float64
	}{{"sampling", t.Sampling}, {"reference", t.Reference}, {"waiting for rewards", t.Waiting},
		{"learning", t.Learning}} {
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f %%\t\n", row.name, row.v, 100*row.v/max(t.Total(), 1e-9))
	}
	tw.Flush() // stderr: a broken pipe is nobody's loss
	fmt.Fprintf(w, "%.0f tokens/s sampled, %.0f tokens/s in all",
		float64(t.Tokens)/max(t.Sampling, 1e-9), float64(t.Tokens)/max(t.Total(), 1e-9))
	if t.Retries > 0 {
		fmt.Fprintf(w, "; %d requests were sent again", t.Retries)
	}
	if r.Rescored > 0 {
		fmt.Fprintf(w, "; %d groups met two revisions and were scored again", r.Rescored)
	}
	fmt.Fprintln(w)
}

// rlLog tells the progress of a run as trainLog does.
type rlLog struct {
	mu sync.Mutex // rewards are waited for by several goroutines
	*trainLog
	spent rl.Times // since the run or this program began
}

func (t *rlLog) say(message string) { t.d.say("%s", message) }

func (t *rlLog) progress(p rl.Progress) {
	switch {
	case p.Message != "":
		t.say(p.Message)
		return
	case p.Held != nil:
		h := p.Held
		t.say(fmt.Sprintf("after step %d: %d held-out prompts: reward %.4f ± %.4f, KL %.3f, length %.1f%s", h.Step, h.Prompts, h.Reward, h.Error, h.KL, h.Length, controlled(h.Control)))
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m, now := p.Metrics, time.Now()
	if t.first < 0 {
		t.first = m.Step - 1
	}
	t.spent.Waiting += p.Times.Waiting
	t.spent.Learning += p.Times.Total() - p.Times.Waiting
	t.tokens += p.Times.Tokens
	if !t.due(now) && m.Step < p.Steps {
		return
	}
	t.last = now
	total := max(t.spent.Total(), 1e-9)
	parts := []string{fmt.Sprintf("step %d of %d: reward %.4f ± %.4f", m.Step, p.Steps, m.Reward,
		m.RewardStd)}
	if m.Step < p.Steps {
		parts = append(parts, left(time.Duration(total*float64(time.Second)),
			float64(p.Steps-m.Step)/float64(m.Step-t.first)))
	}
	if m.Control != nil {
		parts = append(parts, strings.TrimPrefix(controlled(m.Control), ", "))
	}
	t.tell(append(parts, fmt.Sprintf("KL %.3f", m.KL), fmt.Sprintf("length %.1f", m.Length),
		fmt.Sprintf("entropy %.3f", m.Entropy),
		fmt.Sprintf("%.0f %% waiting", 100*t.spent.Waiting/total),
		fmt.Sprintf("%.0f tokens/s", float64(t.tokens)/total)))
}

func controlled(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(", control %.4f", *v)
}
