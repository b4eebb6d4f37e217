package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/serve"
)

// scoreFlags is the command line of warm score.
type scoreFlags struct {
	in, out   string
	skipBad   bool
	model     api.ModelSpec
	alpha     float64
	aggregate string
	lambda    float64
	truncate  string
	threads   int
	device    string
	returns   []string
	summary   string
}

func (p *program) score() *cobra.Command {
	var f scoreFlags
	c := &cobra.Command{
		Use:   "score MEMBER…",
		Short: "Score JSONL with checkpoints; accuracy on preference pairs",
		Long: `score reads one input a line and writes one line for each with its rewards.

A line is an input of POST /v1/reward (messages; prompt with response or
responses; text; input_ids) or a preference pair (prompt, chosen, rejected, or
conversations). A JSON array of them is read as well; input may be plain, gzip,
zstd or a Parquet file. For pairs the accuracy of the weight average, of every
ensemble and of each member is printed at the end, on stderr, as far as --mode
holds them.

While it runs, rewards are written to OUT.part, which takes the place of --out when
all are there: until then what --out held stays. After Ctrl-C, a crash or a bad line
the same command goes on behind what OUT.part holds, if members, settings and the
input so far are the same (OUT.part.json says which); remove it to begin anew.
A line that cannot be scored ends the run; --skip-bad leaves such lines out and says
which they were.`,
		Example: `  warm score --mode both --in pairs.jsonl.zst --out scores.jsonl runs/rm-1 runs/rm-2
  echo '{"prompt":"Hi","response":"Hello!"}' | warm score runs/rm-1`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("alpha") {
				f.model.Alpha = &f.alpha
			}
			for _, d := range args {
				f.model.Members = append(f.model.Members, api.MemberSpec{Path: d})
			}
			var err error
			if f.model.Members, err = p.sources().Members(f.model.Members); err != nil {
				return err
			}
			return p.runScore(c.Context(), f)
		},
	}
	l := c.Flags()
	l.StringVar(&f.in, "in", "-", "what to read, a `file` or - for standard input")
	l.StringVar(&f.out, "out", "-", "where to write, a `file` or - for standard output")
	l.BoolVar(&f.skipBad, "skip-bad", false, "leave out lines that cannot be scored, and say which")
	l.StringVar(&f.aggregate, "aggregate", api.AggregateMean,
		"how members become the ensemble's reward: mean, min, median, mean_minus_std or mean_minus_var")
	l.Float64Var(&f.lambda, "lambda", api.DefaultLambda,
		"weight of the spread in mean_minus_std and mean_minus_var")
	l.StringVar(&f.truncate, "truncate", string(reward.TruncatePromptLeft),
		"text over the context: prompt_left, left, right or error")
	l.IntVar(&f.threads, "threads", 0, "engine workers (default all processors)")
	deviceFlag(c, &f.device)
	l.StringSliceVar(&f.returns, "return", nil,
		"what to write beside rewards: attributes (what a reward is made of), steps (at the mark of each step) and trajectory (the reward after every token, with the token ids)")
	l.StringVar(&f.summary, "summary", "",
		"`file` for the accuracies on pairs as JSON, beside what is printed")
	modelFlags(c, &f.model, &f.alpha)
	refuses(c, baseAlone(c), rule{when: func() bool { return f.model.Mode != string(reward.ModeEns) && f.model.Mode != string(reward.ModeBoth) },
		why: "without --mode ens or both: there is no ensemble", flags: []string{"aggregate", "lambda"}})
	return c
}

func (p *program) runScore(ctx context.Context, f scoreFlags) (err error) {
	if _, err := serve.RewardConfig(&f.model, nil); err != nil {
		return usageError{err}
	}
	if e, err := warm.ParseEnsemble(f.aggregate, f.lambda); err != nil {
		return usageError{err}
	} else if err := e.Validate(1); err != nil {
		return usageError{err}
	}
	want, err := parseReturns(f.returns)
	if err != nil {
		return err
	}
	if want != (reward.Want{}) && f.model.Mode == string(reward.ModeEns) {
		return usagef("--return is of one model, and --mode ens has none that the reward is of: want wa, both or member:NAME")
	}
	in, err := p.openInput(f.in)
	if err != nil {
		return err
	}
	defer in.Close()
	place, err := findOutput(f.out, in.file)
	if err != nil {
		return err
	}
	e, err := p.compute(f.device, f.threads)
	if err != nil {
		return err
	}
	defer e.Close()
	f.model.DType = dtypeOn(e, f.model.DType)
	rc, err := serve.RewardConfig(&f.model, e)
	if err != nil {
		return usageError{err}
	}
	rc.Open = p.open(ctx)
	d, err := reward.Open(ctx, rc, e.Workers())
	if err != nil {
		return err
	}
	if err := d.Offers(want); err != nil {
		return usagef("--return %v", err)
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(p.stderr, "warning: %s\n", w)
	}
	show := newDisplay(p.stderr)
	s := &scoring{flags: f, want: want, engine: e, model: d, bad: &data.Bad{File: in.name}, in: in,
		bar: p.progressOf(show, in.size, "scoring")}
	if s.out, err = s.open(place, p.stdout); err != nil {
		return err
	}
	if n := s.out.Records; n > 0 {
		show.say("going on behind %d records, whose rewards are in %s", n, s.out.part)
	}
	err = s.run(ctx)
	s.bar.finish()
	if err == nil {
		err = s.out.finish()
	}
	if err != nil {
		return errors.Join(s.out.explain(err), s.out.close())
	}
	if s.bad.Count > 0 {
		fmt.Fprintln(p.stderr, s.bad)
	}
	switch s.cut {
	case 0:
	case 1:
		fmt.Fprintln(p.stderr, "1 answer does not fit the context and is cut: its row says truncated")
	default:
		fmt.Fprintf(p.stderr, "%d answers do not fit the context and are cut: their rows say truncated\n", s.cut)
	}
	return s.summary(p.stderr)
}
