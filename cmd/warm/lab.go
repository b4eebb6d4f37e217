package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/experiments"
)

// labFlags is the command line of warm lab.
type labFlags struct {
	size, base, data, out string
	policy, control       string
	json                  bool
	workers               int
	list                  bool
	task, index           int // the task, counted from 1 and from 0
	gflops                float64
}

func (p *program) lab() *cobra.Command {
	var f labFlags
	c := &cobra.Command{
		Use:   "lab",
		Short: "Measure the claims about weight averaging on real data",
		Long: `lab repeats the experiments that weight averaging of reward models rests on (WARM,
arXiv 2401.12187) and reports what is seen, whichever way it points. Each experiment
writes to the directory --out a JSON file with what it measured, and its figures as
SVG and PNG; "warm lab report" makes one page, report.html, of all of them, and
report.md with the tables.

What took time is kept in --out: an interrupted command goes on when the same is
given again (a signal saves first; a crash loses at most 100 steps of each member),
and experiments share the members that they have in common.

The data is a directory, --data or $WARM_DATA: ukp/strict and ukp/votes (arguments
of UKPConvArg1 and the votes on them), ethics/train and ethics/test, hh/harmless and
paradetox/pairs, each a .jsonl.zst of pairs or votes as "warm train rm" reads them,
and text/openstax_ccby.txt.zst. Members start from --base, by default the small
language model that is part of this program.

Sizes: small runs everything within an hour on two cores, from the small language
model; standard is for pre-trained bases of 20 to 150 million parameters, hours to
days on two cores; paper is the paper's grid, days of work, for an array of jobs:
--list prints its tasks and --task does one. The larger two say what they take before
they begin.

` + experimentsHelp(),
		Example: `  warm lab all --data data --out lab
  warm lab connectivity --data data --out lab --base runs/sft
  warm lab all --size paper --list
  warm lab report --out lab`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	for _, e := range experiments.All() {
		long := wrapped(e.Question, 79, 0)
		if e.Minutes > 0 {
			long += fmt.Sprintf("\n\nMinutes that size small takes on two cores, less what other experiments have\ntrained before: about %.0f.", e.Minutes)
		}
		c.AddCommand(p.labExperiments(&f, e.Name, e.Title, long, []*lab.Experiment{e}))
	}
	all := experiments.All()
	c.AddCommand(p.labExperiments(&f, "all", "All experiments, and the report",
		"all runs every experiment in turn and writes the report. An experiment that fails stops\nno other.\n\n"+experimentsHelp(), all), p.labReport(&f))
	return c
}

// experimentsHelp lists what the experiments ask and cost.
func experimentsHelp() string {
	var b strings.Builder
	b.WriteString("What the experiments ask, and what size small takes on two cores, in minutes:\n")
	sum, known := 0.0, true
	for _, e := range experiments.All() {
		minutes := "  -"
		if e.Minutes > 0 {
			minutes = fmt.Sprintf("%3.0f", e.Minutes)
		}
		known = known && e.Minutes > 0
		fmt.Fprintf(&b, "\n%-14s%s  %s", e.Name, minutes, wrapped(e.Question, 62, 19))
		sum += e.Minutes
	}
	if known {
		fmt.Fprintf(&b, "\n%-14s%3.0f", "all", sum)
	}
	return b.String()
}

// wrapped breaks text into lines of a width, those after the first indented.
func wrapped(s string, width, indent int) string {
	var b strings.Builder
	at := 0
	for word := range strings.FieldsSeq(s) {
		n := len([]rune(word))
		switch {
		case at == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = 0
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}

func (p *program) labExperiments(f *labFlags, name, title, long string,
	experiments []*lab.Experiment) *cobra.Command {
	c := &cobra.Command{
		Use:   name,
		Short: title,
		Long:  long,
		Args:  arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return p.runLab(c.Context(), f, experiments)
		},
	}
	l := c.Flags()
	l.StringVar(&f.size, "size", string(lab.Small), "how much is done: small, standard or paper")
	l.StringVar(&f.base, "base", embedded.Prefix,
		"checkpoint `directory` that members start from, a language model or an encoder, or embedded:base")
	l.StringVar(&f.policy, "policy", "",
		"checkpoint `directory` of the language model that answers in bon and rl (default --base)")
	l.StringVar(&f.control, "control", "",
		"checkpoint `directory` that the control of bon and rl starts from (default --base)")
	l.StringVar(&f.data, "data", "", "`directory` of the data sets (default $WARM_DATA)")
	l.StringVar(&f.out, "out", "lab", "`directory` for what is made and measured, or its address in a bucket, s3://… or gs://…")
	l.IntVar(&f.workers, "workers", 0,
		"number of workers, each of which trains a member (default one a processor)")
	l.BoolVar(&f.json, "json", false, "print what was found as JSON, an experiment a line")
	l.BoolVar(&f.list, "list", false, "print the tasks with estimates and do nothing else")
	l.IntVar(&f.task, "task", 0, "do this task alone, counted from 1 as --list does")
	l.IntVar(&f.index, "index", -1, "as --task, counted from 0")
	l.Float64Var(&f.gflops, "gflops", 100,
		"speed of a worker that the estimates of --list take for granted, in GFLOP/s")
	refuses(c,
		rule{when: func() bool { return !f.list }, why: "without --list", flags: []string{"gflops"}},
		rule{when: func() bool { return f.list }, why: "with --list, which does nothing else",
			flags: []string{"task", "index", "workers", "json"}},
		rule{when: given(c, "task"), why: "with --task", flags: []string{"index"}},
		rule{when: func() bool {
			return !slices.ContainsFunc(experiments, func(e *lab.Experiment) bool { return e.Contest != nil })
		},
			why: "in an experiment without a policy", flags: []string{"policy", "control"}},
	)
	return c
}

func (p *program) labReport(f *labFlags) *cobra.Command {
	var summaries []string
	c := &cobra.Command{
		Use:   "report",
		Short: "Make the report from what was measured",
		Long: `report computes verdicts, tables and figures again from the measurements in the
experiments' JSON files, and writes report.html, one page that needs no other file,
and report.md. It wants neither base nor data.

With --summary, which may be repeated, it prints one page instead: of each base that
a laboratory is of, a table of the paper's observations and what was seen of them.`,
		Example: `  warm lab report --out lab
  warm lab report --summary MiniLM=lab/minilm --summary SmolLM2=lab/smollm2`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if len(summaries) > 0 {
				return p.printSummary(summaries)
			}
			o, err := p.outside(f.out, p.mention)
			if err != nil {
				return err
			}
			return holdingLab(c.Context(), o, func(func() error) error { return p.writeReport(o) })
		},
	}
	c.Flags().StringVar(&f.out, "out", "lab", "`directory` of the lab, or its address in a bucket")
	c.Flags().StringArrayVar(&summaries, "summary", nil,
		"print the summary of the lab of a base, as `NAME=DIR`; may be repeated")
	refuses(c, rule{when: func() bool { return len(summaries) > 0 }, why: "with --summary, which writes no report", flags: []string{"out"}})
	return c
}

// printSummary prints what laboratories, each NAME=DIR, saw of the paper's observations.
func (p *program) printSummary(of []string) error {
	var labs []lab.Summarised
	for _, one := range of {
		name, dir, ok := strings.Cut(one, "=")
		if !ok || name == "" || dir == "" {
			return usagef("--summary %q: want NAME=DIR, as in MiniLM=lab/minilm", one)
		}
		labs = append(labs, lab.Summarised{Name: name, Dir: dir})
	}
	page, err := experiments.Summary(labs)
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(page)
	return err
}

// writeReport writes the report of a lab's directory.
func (p *program) writeReport(o *outside) error {
	dir := o.path
	r, err := lab.NewReport(dir, experiments.All())
	if err != nil {
		return err
	}
	for _, part := range r.Parts {
		if part.Changed {
			fmt.Fprintf(p.stderr, "%s: the analysis gives other findings than those in %s.json, which is written again\n", part.Experiment, part.Experiment)
		}
	}
	if err := r.Write(dir); err != nil {
		return err
	}
	if len(r.Missing) > 0 {
		fmt.Fprintf(p.stderr, "not run: %s\n", strings.Join(r.Missing, ", "))
	}
	fmt.Fprintln(p.stdout, shown(o.store(), filepath.Join(dir, "report.html")))
	return nil
}

// openLab checks the settings and opens the lab.
func (p *program) openLab(f *labFlags, o *outside) (*lab.Lab, error) {
	size, err := lab.ParseSize(f.size)
	if err != nil {
		return nil, usagef("--size: %w", err)
	}
	f.data = cmp.Or(f.data, p.getenv("WARM_DATA"))
	if err := checkData(f.data); err != nil {
		return nil, err
	}
	base := f.base
	if name, ok := strings.CutPrefix(base, embedded.Prefix); ok {
		if base, err = extractBase(o.path, cmp.Or(name, embedded.Base)); err != nil {
			return nil, err
		}
	}
	l := &lab.Lab{Dir: o.path, Store: o.store(), Base: base, Policy: f.policy, Control: f.control, Data: f.data, Size: size, Workers: f.workers,
		Serve: p.serveMembers(f.workers)}
	return l, l.Open()
}

const wantedData = `the lab wants a directory with preference data: --data DIR or $WARM_DATA. In it:

  ukp/strict.jsonl.zst, ukp/votes.jsonl.zst   UKPConvArg1: gold preferences, and each crowd vote
  ethics/train.jsonl.zst                      ETHICS utilitarianism pairs
  hh/harmless.jsonl.zst                       HH-RLHF harmless-base test pairs
  paradetox/pairs.jsonl.zst                   ParaDetox pairs
  text/openstax_ccby.txt.zst                  English text

as JSON Lines of {"chosen", "rejected"} and, in votes.jsonl.zst, of votes`

// checkData tells what a data directory must hold, when it does not look like one.
func checkData(dir string) error {
	if dir == "" {
		return usagef("%s", wantedData)
	}
	if _, err := os.Stat(filepath.Join(dir, "ukp", "strict.jsonl.zst")); err != nil {
		return usagef("%w\n\n%s", err, wantedData)
	}
	return nil
}

// extractBase writes an embedded checkpoint below the lab's directory, under the name of
// its contents, and returns its directory.
func extractBase(out, name string) (string, error) {
	m := embedded.New()
	c, err := m.Checkpoint(name)
	if err != nil {
		return "", err
	}
	_, hash, _ := strings.Cut(c.Hash(), ":")
	if err := c.Close(); err != nil {
		return "", err
	}
	dir := filepath.Join(out, "base-"+hash[:min(12, len(hash))])
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	temporary, err := os.MkdirTemp(out, ".tmp-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	if err := m.Extract(temporary); err != nil {
		return "", err
	}
	err = os.Rename(filepath.Join(temporary, name), dir)
	if _, there := os.Stat(filepath.Join(dir, "config.json")); there == nil {
		err = nil // another task was quicker
	}
	return dir, err
}

var errExperimentsFailed = errors.New("not every experiment was measured")

// runLab runs experiments, or one of their tasks, or lists the tasks.
func (p *program) runLab(ctx context.Context, f *labFlags, experiments []*lab.Experiment) error {
	if f.index >= 0 {
		f.task = f.index + 1
	}
	if f.task < 0 {
		return usagef("--task: %d, want 1 or more", f.task)
	}
	o, err := p.outside(f.out, p.mention)
	if err != nil {
		return err
	}
	if f.list || f.task != 0 {
		return p.runTask(ctx, o, f, experiments)
	}
	return holdingLab(ctx, o, func(save func() error) error {
		return p.runExperiments(ctx, o, f, experiments, save)
	})
}

// holdingLab has body work in a lab: where that is in a bucket on what is there, and nobody else, and
// save brings there what has come of it.
func holdingLab(ctx context.Context, o *outside, body func(save func() error) error) error {
	if o.mirror == nil {
		return body(func() error { return nil })
	}
	held, err := o.mirror.HoldAll(ctx, o.path)
	if err != nil {
		return err
	}
	save := func() error {
		ctx, cancel := ctx, func() {}
		if ctx.Err() != nil { // what was made before the interruption is kept
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		}
		defer cancel()
		return held.Save(ctx)
	}
	err = body(save)
	return errors.Join(err, save(), held.Close())
}

// runExperiments runs experiments in a lab.
func (p *program) runExperiments(ctx context.Context, o *outside, f *labFlags, experiments []*lab.Experiment,
	save func() error) error {
	l, err := p.openLab(f, o)
	if err != nil {
		return err
	}
	defer l.Close()
	progress := newLabProgress(p.stderr, experiments, l.Size)
	defer progress.end()
	l.Progress = progress.tell
	before := map[*lab.Experiment]*lab.Result{}
	var left []*lab.Experiment
	for _, e := range experiments {
		if before[e], err = l.Finished(e); err != nil {
			return err
		}
		if before[e] == nil {
			left = append(left, e)
		}
	}
	p.tellCost(l, progress, left)
	failed := 0
	for _, e := range experiments {
		if r := before[e]; r != nil {
			progress.message(fmt.Sprintf("%s was measured before: nothing to do", e.Name))
			if err := p.printVerdicts(r, f.json); err != nil {
				return err
			}
			continue
		}
		progress.begin(e)
		r, err := l.Run(ctx, e)
		if ctx.Err() != nil {
			return interrupted(e.Name + ": interrupted: what was made is kept, run the same again to go on")
		}
		if err != nil {
			failed++
			progress.message(fmt.Sprintf("failed: %v", err)) // which names the experiment
			continue
		}
		progress.done(e)
		if err := errors.Join(p.printVerdicts(r, f.json), save()); err != nil {
			return err
		}
	}
	progress.end()
	if failed == len(experiments) {
		return fmt.Errorf("%d of %d: %w", failed, len(experiments), errExperimentsFailed)
	}
	if len(experiments) > 1 {
		err = p.writeReport(o)
	}
	if failed > 0 {
		err = errors.Join(fmt.Errorf("%d of %d: %w", failed, len(experiments), errExperimentsFailed), err)
	}
	return err
}

// tellCost says what a run of the larger sizes takes before it begins.
func (p *program) tellCost(l *lab.Lab, progress *labProgress, experiments []*lab.Experiment) {
	if len(experiments) == 0 || l.Size != lab.Standard && l.Size != lab.Paper {
		return
	}
	here, paper, err := l.Estimate(experiments)
	if err != nil { // which the experiments will tell, too
		progress.message(fmt.Sprintf("no estimate: %v", err))
		return
	}
	progress.message(costWords(l.Size, here, l.Workers))
	if l.Size != lab.Paper {
		progress.message(costWords(lab.Paper, paper, l.Workers))
	}
}

// costWords says what an estimate comes to.
func costWords(size lab.Size, e lab.Estimate, workers int) string {
	words := fmt.Sprintf("size %s: ", size)
	if e.Left == 0 {
		words += fmt.Sprintf("all %d members are trained", e.Members)
	} else {
		words += fmt.Sprintf("%d members, %d of them to train, %.1f million tokens: about %v of one worker at the speed measured now, %v of all",
			e.Members, e.Left, float64(e.Tokens)/1e6, e.Time.Round(time.Minute), (e.Time / time.Duration(max(1, min(workers, e.Left)))).Round(time.Minute))
	}
	if e.PolicyTokens > 0 {
		words += fmt.Sprintf("; policies write %.1f million tokens at most: about %v of all, with what is learned from them",
			float64(e.PolicyTokens)/1e6, (e.PolicyTime / time.Duration(max(1, workers))).Round(time.Minute))
	}
	return words + "; what is measured comes on top"
}

// verdictsOf is what --json prints of an experiment; its file has all of it.
type verdictsOf struct {
	Experiment string        `json:"experiment"`
	Title      string        `json:"title"`
	Size       lab.Size      `json:"size"`
	Seconds    float64       `json:"seconds"` // of measuring
	Verdicts   []lab.Verdict `json:"verdicts,omitempty"`
	Tables     []lab.Table   `json:"tables"`
}

// verdictStyle colours what became of a claim.
var verdictStyle = map[lab.Outcome]string{lab.Seen: green, lab.Contradicted: red, lab.Unclear: yellow}

// printVerdicts prints what an experiment found.
func (p *program) printVerdicts(r *lab.Result, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(verdictsOf{r.Experiment, r.Title, r.Size, r.Seconds,
			r.Findings.Verdicts, r.Findings.Tables})
	}
	fmt.Fprintf(p.stdout, "%s (%.0f s of measuring)\n", r.Title, r.Seconds)
	for _, v := range r.Findings.Verdicts {
		seen := painted(p.stdout).as(verdictStyle[v.Seen], fmt.Sprintf("%-12s", v.Seen))
		const indent = 16
		fmt.Fprintf(p.stdout, "  %s  %s\n%*s%s\n", seen,
			wrapped(v.Claim+" ("+v.Source+")", 79-indent, indent), indent, "", wrapped(v.Figures, 79-indent, indent))
	}
	if len(r.Findings.Verdicts) > 0 {
		return nil
	}
	for _, t := range r.Findings.Tables { // it claims nothing
		fmt.Fprintf(p.stdout, "  %s\n", wrapped(t.Title, 77, 2))
		for _, row := range t.Rows {
			var cells []string
			for i, c := range row[1:] {
				cells = append(cells, t.Columns[1+i]+": "+c)
			}
			fmt.Fprintf(p.stdout, "    %s\n        %s\n", row[0], wrapped(strings.Join(cells, "; "), 71, 8))
		}
	}
	return nil
}
