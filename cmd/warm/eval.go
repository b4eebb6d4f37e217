package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/eval/boards"
	"github.com/warmserve/warmserve/trainer/judge"
	"github.com/warmserve/warmserve/trainer/rm"
)

// evalFlags is the command line of warm eval.
type evalFlags struct {
	test        judge.Test
	read        api.ModelSpec // of checkpoints: how they are read, and nothing else
	url, key    string
	name        string
	mode        string
	calibration string
	json        bool
	device      string
	pool        []string
	format      string
	compare     string
}

func (p *program) eval() *cobra.Command {
	var f evalFlags
	c := &cobra.Command{
		Use:   "eval (--data FILE (MEMBER… | --url URL) | --pool REPORT,…)",
		Short: "Measure accuracy and calibration of members, their weight average and their ensemble",
		Long: `eval scores preference pairs with each checkpoint, with their weight average (WA) and
with the mean of their rewards (ENS); or, with --url, with a server's model: with
the mode both, its default where a model offers it, all of these from one request
a pair.

Accuracy is how often the chosen answer scores higher; a tie counts as a loss. Its
interval is Wilson's, or of a bootstrap over groups where the pairs have several.
Length-matched accuracy is that of pairs whose answers differ in length by a tenth
at most; a model that only likes long answers fails there.

Reliability asks whether probabilities hold: pairs are put in bins of equal mass by
σ(|margin|), and the share of right ones is set against it. ECE is the expected
calibration error, beside what a calibrated model would show by chance on as many
pairs; then the Brier score, the log loss, and the temperature by which margins
are to be divided for the least log loss.

Differences set WA against all others on the same pairs, with an interval of their own.

In a cross-validation every group of pairs is held out by one fold, and judged by members
that were trained without it. --pool puts the folds' reports, written by --json, together.

Mean and standard deviation of the rewards calibrate a member in an ensemble;
--calibration writes them as a configuration that warm serve --config reads.

--format reads an evaluation set as its authors publish it, JSON, JSON Lines or
Parquet, file or directory, and prints what its leaderboard would: its own sections
and weights, and what a tie is worth there. A prompt over the context loses its left,
because a board counts every question. --compare sets rewards against those that
JudgeBench publishes of five models (its outputs/…judge_name=reward_model… files).`,
		Example: `  warm eval --data pairs.jsonl.zst --holdout id%10 --baseline-train pairs.jsonl.zst runs/member-1 runs/member-2
  warm eval --data pairs.jsonl.zst --calibration serve.yaml --name helpful runs/member-1 runs/member-2
  warm eval --data pairs.jsonl.zst --url http://127.0.0.1:8080 --name helpful
  warm eval --pool fold-1.json,fold-2.json,fold-3.json
  warm eval --format rm-bench --data RM-Bench/data/total_dataset.json --url http://127.0.0.1:8080
  warm eval --format rewardbench2 --data test-00000-of-00001.parquet org/name`,
		RunE: func(c *cobra.Command, args []string) error {
			defer p.atOnce(c.Context())()
			d := newDisplay(p.stderr)
			told := newCounting(d)
			defer told.end()
			f.test.Say, f.test.Progress = func(message string) { d.say("%s", message) }, told.tell
			return p.runEval(c.Context(), &f, args, told)
		},
	}
	l := c.Flags()
	l.Var((*files)(&f.test.Files), "data",
		"`files` of preference pairs or votes, or with --format files and directories of its board; required without --pool")
	l.StringVar(&f.url, "url", "", "`address` of a server that scores, in place of checkpoints")
	l.StringVar(&f.name, "name", "",
		"`name` of the server's model, where several are served; or of the model in --calibration's file")
	l.StringVar(&f.mode, "mode", "",
		"mode of the server's model: wa, ens, both or member:NAME (default both where it is offered)")
	l.StringVar(&f.key, "key", "", "API `key` (default the variable WARM_API_KEY)")
	l.StringSliceVar(&f.test.Baseline, "baseline-train", nil,
		"`files` that a bag of words learns from, for comparison; held-out pairs are left out")
	l.StringVar(&f.calibration, "calibration", "",
		"write means and standard deviations to a `file` that warm serve --config reads")
	l.StringVar(&f.test.Holdout, "holdout", "",
		"`rule` of the pairs to take: id%N, group=NAME,… or text:SHARE (default all)")
	l.StringVar((*string)(&f.test.Votes), "votes", string(rm.DrawVote),
		"what votes become: "+strings.Join([]string{string(rm.DrawVote), string(rm.MajorityVote),
			string(rm.SoftVotes)}, ", "))
	l.Uint64Var(&f.test.SplitSeed, "split-seed", 0, "decides --holdout text and drawn votes")
	readFlags(c, &f.read)
	l.IntVar(&f.read.MaxTokens, "max-tokens", 0, "longest sequence (default the model's context)")
	l.BoolVar(&f.test.DropLong, "drop-long", false, "leave out pairs that do not fit")
	l.BoolVar(&f.test.SkipBad, "skip-bad", false, "leave out lines that cannot be used, and say how many")
	l.Float64Var(&f.test.Tolerance, "tolerance", 0.1,
		"largest relative difference in length of the length-matched pairs")
	l.IntVar(&f.test.Workers, "workers", 0, "number of workers (default one a processor)")
	deviceFlag(c, &f.device)
	l.StringSliceVar(&f.pool, "pool", nil,
		"`files` that --json wrote, of the folds of a cross-validation: print them as one")
	l.BoolVar(&f.json, "json", false, "print all of it as JSON")
	l.StringVar(&f.format, "format", "",
		"read --data as a `board` publishes it, and print its figures: "+strings.Join(boardNames(), ", "))
	l.StringVar(&f.compare, "compare", "",
		"`file` of JudgeBench's outputs: say how far our rewards are from those in it")
	refuses(c,
		rule{when: given(c, "pool"), why: "with --pool, which takes the reports as they are",
			flags: []string{"pool", "json"}, but: true},
		rule{when: func() bool { return f.url == "" }, why: "without --url", flags: []string{"mode", "key"}},
		rule{when: func() bool { return f.url == "" && f.calibration == "" },
			why: "without --url or --calibration", flags: []string{"name"}},
		rule{when: given(c, "format"), why: "with --format, which counts what its board counts",
			flags: []string{"baseline-train", "calibration", "holdout", "votes", "split-seed", "drop-long",
				"tolerance"}},
		rule{when: func() bool { return f.format != "judgebench" }, why: "without --format judgebench",
			flags: []string{"compare"}},
		rule{when: given(c, "url"), why: "with --url: the server scores, and has its own context",
			flags: []string{"workers", "device", "max-tokens", "pooling", "ending", "double-bos", "head", "output"}},
		rule{when: given(c, "url"), why: "with --url: a server does not say where its members lie",
			flags: []string{"calibration"}},
	)
	return c
}

// check reports a command line that asks for what cannot be.
func (f *evalFlags) check(dirs []string) error {
	switch {
	case len(f.pool) > 0 && len(dirs) > 0:
		return usagef("--pool takes the place of members: %q", dirs)
	case len(f.pool) > 0:
		return nil
	case len(f.test.Files) == 0:
		return usagef("eval needs --data FILE")
	case f.url == "" && len(dirs) == 0:
		return usagef("eval needs members' directories, or --url URL")
	case f.url != "" && len(dirs) > 0:
		return usagef("--url takes the place of the members' directories: %q", dirs)
	}
	if f.format != "" {
		if _, err := boards.Named(f.format); err != nil {
			return usageError{fmt.Errorf("--format: %w", err)}
		}
	}
	if _, err := rm.ParseHoldout(f.test.Holdout); err != nil {
		return usageError{err}
	}
	return nil
}

func (p *program) runEval(ctx context.Context, f *evalFlags, dirs []string, told *counting) error {
	err := f.check(dirs)
	if err != nil {
		return err
	}
	if f.test.Read, err = reading(&f.read); err != nil {
		return err
	}
	if f.url == "" && len(f.pool) == 0 {
		if dirs, err = references(dirs); err != nil {
			return err
		}
		e, err := p.compute(f.device, f.test.Workers)
		if err != nil {
			return err
		}
		defer e.Close()
		f.test.Engine, f.test.Open = e, p.open(ctx)
	}
	if f.format != "" {
		return p.evalBoard(ctx, f, dirs, told)
	}
	measure := p.judge
	if len(f.pool) > 0 {
		measure = pool
	}
	r, err := measure(ctx, f, dirs)
	if err != nil {
		return err
	}
	told.end()
	if f.json {
		err = json.NewEncoder(p.stdout).Encode(r)
	} else {
		err = printReport(p.stdout, r)
	}
	if err != nil || f.calibration == "" {
		return err
	}
	return writeCalibration(f.calibration, f.name, r, dirs)
}

// judge measures checkpoints, or a server's model.
func (p *program) judge(ctx context.Context, f *evalFlags, dirs []string) (*judge.Report, error) {
	if f.url == "" {
		return judge.Checkpoints(ctx, dirs, f.test)
	}
	m, err := p.remote(f)
	if err != nil {
		return nil, err
	}
	return judge.Server(ctx, m, f.test)
}

// remote is the model of --url.
func (p *program) remote(f *evalFlags) (judge.Remote, error) {
	f.key = cmp.Or(f.key, p.getenv("WARM_API_KEY"))
	client, err := api.NewClient(f.url, api.WithKey(f.key), api.WithRetry(api.Retry{}))
	if err != nil {
		return judge.Remote{}, usageError{err}
	}
	return judge.Remote{Client: client, Model: f.name, Mode: f.mode}, nil
}

// pool reads the reports of folds.
func pool(_ context.Context, f *evalFlags, _ []string) (*judge.Report, error) {
	var folds []*judge.Report
	for _, path := range f.pool {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		r := new(judge.Report)
		if err := json.Unmarshal(data, r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		folds = append(folds, r)
	}
	return judge.Pool(folds)
}

// calibratedModel is a model of a configuration, as warm serve reads it.
type calibratedModel struct {
	Mode    string             `yaml:"mode"`
	Members []calibratedMember `yaml:"members"`
}

type calibratedMember struct {
	Name string  `yaml:"name"`
	Path string  `yaml:"path"`
	Mean float64 `yaml:"mean"`
	Std  float64 `yaml:"std"`
}

// writeCalibration writes the configuration of an ensemble whose members are
// z-scored by the rewards that were measured.
func writeCalibration(path, name string, r *judge.Report, dirs []string) error {
	name = cmp.Or(name, "default")
	m := calibratedModel{Mode: "both"}
	if len(dirs) == 1 {
		m.Mode = "ens"
	}
	for i, j := range r.Members {
		if j.Std == 0 {
			return fmt.Errorf("%s: %s gives every answer the same reward: there is nothing to calibrate", path, j.Name)
		}
		dir := dirs[i]
		if !strings.HasPrefix(dir, embedded.Prefix) {
			var err error
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
		}
		m.Members = append(m.Members, calibratedMember{j.Name, dir, j.Mean, j.Std})
	}
	data, err := yaml.Marshal(map[string]map[string]calibratedModel{"models": {name: m}})
	if err != nil {
		return err
	}
	head := fmt.Sprintf("# Means and standard deviations of rewards on %d pairs; read by warm serve --config.\n", r.Pairs)
	return os.WriteFile(path, append([]byte(head), data...), 0o644)
}
