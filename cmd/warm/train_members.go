package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/judge"
	"github.com/warmserve/warmserve/trainer/mirror"
	"github.com/warmserve/warmserve/trainer/rm"
	"github.com/warmserve/warmserve/warm/reward"
)

// membersFlags is the command line of warm train members, beside the settings of
// one run.
type membersFlags struct {
	plan     string
	m        int
	gridSeed uint64
	lrs      []string
	dropouts []string
	bases    []string
	task     int
	index    int // task − 1, or −1
	list     bool
	json     bool
	parallel int
	dropout  bool // given for all members
	trl      otherTrainer
}

func (p *program) trainMembers() *cobra.Command {
	var f membersFlags
	var run rm.Config
	c := &cobra.Command{
		Use:   "members --base DIR --train FILE --out DIR",
		Short: "Train the members of a weight average",
		Long: `members trains several reward models from one shared initialisation: a score head
probed once, then one run a member with its own learning rate, dropout, data order
and seed. Members that are done are not trained again, and one that fails does not
stop the others. At the end a table compares members, weight average (WA) and
ensemble (ENS) on the test pairs.

The combinations come from --lrs and --dropouts, from a default grid about the
usual rates for the model's size, or from a plan file with "members" or "grid";
--lr and --dropout are the same for all members. The file has all settings of a plan:
flags beside it are those of how it is carried out. With --task K only the K-th member
is trained, counted from 1, so that an array of jobs trains all; results have the same
bytes.

--with trl has TRL's RewardTrainer carry out the same plan, for members that are larger
than the trainer here takes: one after another, or written out for Slurm or Kubernetes
(--on). The command ends with 0 when every member is there, and was checked; given again,
it trains what is left.`,
		Example: `  warm train members --base base --train pairs.jsonl.zst --holdout id%10 --m 4 --out runs
  warm train members --plan plan.yaml
  warm train members --plan plan.yaml --task "$SLURM_ARRAY_TASK_ID"
  warm train members --plan plan.yaml --with trl --gpus 8`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			f.dropout = c.Flags().Changed("dropout")
			if err := f.trl.check(); err != nil {
				return err
			}
			plan, err := f.read(run, p.open(c.Context()))
			if err != nil {
				return err
			}
			return p.runMembers(c.Context(), plan, f)
		},
	}
	membersFlagsOf(c, &f, &run)
	trlFlagsOf(c, &f.trl)
	rules := []rule{
		{when: given(c, "plan"), why: "with --plan, whose file has the settings", but: true,
			flags: append([]string{"plan", "task", "index", "list", "json", "parallel", "workers", "save-every",
				"recompute", "replace", "tensorboard", "with"}, trlFlags...)},
		{when: given(c, "lrs"), why: "with --lrs", flags: []string{"lr"}},
		{when: given(c, "dropouts"), why: "with --dropouts", flags: []string{"dropout"}},
		{when: given(c, "bases"), why: "with --bases", flags: []string{"base"}},
		{when: given(c, "task"), why: "with --task", flags: []string{"index", "parallel"}},
		{when: given(c, "index"), why: "with --index", flags: []string{"parallel"}},
		{when: given(c, "list"), why: "with --list, which trains nothing",
			flags: append([]string{"task", "index", "parallel", "workers", "save-every", "recompute",
				"replace", "tensorboard", "with"}, trlFlags...)},
	}
	refuses(c, slices.Concat(rules, trainRules(&run), trlRules(c, &f.trl))...)
	return c
}

// membersFlagsOf makes the flags of a plan and of the settings of its runs.
func membersFlagsOf(c *cobra.Command, f *membersFlags, run *rm.Config) {
	trainFlags(c, run)
	l := c.Flags()
	// What a run requires of its own, a plan, a grid or --bases may say here.
	for name, usage := range map[string]string{
		"base":  "; required without --bases or --plan",
		"train": "; required without --plan",
		"out":   "; required without --plan",
		"lr":    " (default those of a grid)",
	} {
		l.Lookup(name).Usage = strings.Replace(l.Lookup(name).Usage, "; required", usage, 1)
	}
	l.StringVar(&f.plan, "plan", "", "`file` of the plan in YAML or JSON, instead of the settings here")
	l.IntVar(&f.m, "m", 0, "number of members drawn from the grid (default 4)")
	l.Uint64Var(&f.gridSeed, "grid-seed", 0, "decides which combinations are drawn")
	l.StringSliceVar(&f.lrs, "lrs", nil, "learning `rates` to choose from")
	l.StringSliceVar(&f.dropouts, "dropouts", nil, "dropouts to choose from")
	l.StringSliceVar(&f.bases, "bases", nil,
		"several start `directories` along one trajectory, one a member in turn")
	l.IntVar(&f.task, "task", 0, "train this member alone, counted from 1")
	l.IntVar(&f.index, "index", -1, "as --task, counted from 0, as a Kubernetes Indexed Job counts")
	l.IntVar(&f.parallel, "parallel", 1,
		"members trained side by side, each with its share of the workers: faster for small models, the same bytes")
	l.BoolVar(&f.list, "list", false, "print the members' settings and train nothing")
	jsonFlag(c, &f.json)
}

// read returns the plan of a file, or of flags.
func (f *membersFlags) read(run rm.Config, open func(string) (*loader.Checkpoint, error)) (*rm.Plan, error) {
	plan := &rm.Plan{}
	if f.plan != "" {
		data, err := os.ReadFile(f.plan)
		if err != nil {
			return nil, err
		}
		if data, err = yaml.YAMLToJSON(data); err != nil { // JSON is YAML too
			return nil, usagef("%s: %w", f.plan, err)
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		if err := dec.Decode(plan); err != nil {
			return nil, usagef("%s: %w", f.plan, err)
		}
		plan.Run.Workers, plan.Run.SaveEvery, plan.Run.Recompute, plan.Run.Replace = run.Workers,
			run.SaveEvery, run.Recompute, run.Replace
		plan.Run.TensorBoard, plan.Run.Open = run.TensorBoard, open
		return plan, nil
	}
	plan = &rm.Plan{Out: run.Out, Run: run, Bases: f.bases, M: f.m, GridSeed: f.gridSeed}
	plan.Run.Out, plan.Run.Open = "", open
	if f.dropout && run.Dropout.Hidden == 0 { // said, and not what nothing said means
		f.dropouts = []string{"0"}
	}
	if len(f.lrs)+len(f.dropouts) > 0 {
		plan.Grid = map[string][]json.RawMessage{}
	}
	for _, v := range f.lrs {
		plan.Grid["lr"] = append(plan.Grid["lr"], json.RawMessage(v))
	}
	for _, v := range f.dropouts {
		plan.Grid["dropout"] = append(plan.Grid["dropout"], json.RawMessage(`{"hidden":`+v+`}`))
	}
	return plan, nil
}

func (p *program) runMembers(ctx context.Context, plan *rm.Plan, f membersFlags) error {
	o, err := p.outside(plan.Out, p.mention)
	if err != nil {
		return err
	}
	if f.trl.with != "" && o.mirror != nil {
		return usagef("--with trl: its runs write to a directory, which %s is not: bring the members to the bucket when they are done", plan.Out)
	}
	plan.Out, plan.Run.Store = o.path, o.store()
	runs, err := plan.Expand()
	if err != nil {
		return usageError{err}
	}
	if f.index >= 0 {
		f.task = f.index + 1
	}
	if f.task < 0 || f.task > len(runs) {
		return usagef("--task: %d, want 1 to %d", f.task, len(runs))
	}
	if f.list {
		return p.printRuns(f.json, runs)
	}
	if f.trl.with != "" {
		return p.trainWithTRL(ctx, plan, runs, f)
	}
	d := newDisplay(p.stderr)
	plan.Run.Progress = newTrainLog(d).progress
	if err := plan.Initialize(ctx); err != nil {
		return err
	}
	chosen := runs
	if f.task > 0 {
		chosen = runs[f.task-1 : f.task]
	}
	failed, err := p.trainSelected(ctx, d, plan, chosen, f.parallel)
	if err != nil {
		return err
	}
	switch one := &chosen[0]; {
	case f.task == 0:
		err = p.compareMembers(ctx, plan, runs, o.mirror, f.json)
	case one.Result != nil:
		err = p.printTrained(f.json, shown(plan.Run.Store, one.Config.Out), one.Result)
	}
	if failed > 0 {
		err = errors.Join(fmt.Errorf("%d of %d: not every member was trained", failed, len(chosen)), err)
	}
	return err
}

// trainSelected trains members and says how it goes. It returns how many failed;
// the error is rm.ErrInterrupted.
func (p *program) trainSelected(ctx context.Context, d *display, plan *rm.Plan,
	chosen []rm.MemberRun, parallel int) (failed int, err error) {
	var mu sync.Mutex // of the logs
	logs := make([]*trainLog, len(chosen))
	err = plan.TrainMembers(ctx, chosen, parallel, func(i int, r rm.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if logs[i] == nil {
			m := &chosen[i]
			d.say("%s: lr %g, %s, base %s", m.Name, m.Config.LR, dropouts(m.Config.Dropout), m.Config.Base)
			if logs[i] = newTrainLog(d); parallel > 1 {
				logs[i].name = m.Name + ": "
			}
		}
		logs[i].progress(r)
		if r.Steps > 0 && r.Step == r.Steps {
			logs[i].end()
		}
	})
	if errors.Is(err, rm.ErrInterrupted) {
		return 0, fmt.Errorf("%s: %w", plan.Out, rm.ErrInterrupted)
	}
	for i := range chosen {
		switch m := &chosen[i]; {
		case m.Err != nil:
			failed++
			d.say("%s failed: %v", m.Name, m.Err)
		case m.Result.Before:
			d.say("%s was trained before: nothing to do", m.Name)
		}
	}
	return failed, nil
}

// dropouts names the dropouts that a run has.
func dropouts(r model.Regularization) string {
	text := fmt.Sprintf("dropout %g", r.Hidden)
	if r.Attention > 0 {
		text += fmt.Sprintf(", of attention %g", r.Attention)
	}
	if r.Embedding > 0 {
		text += fmt.Sprintf(", of embeddings %g", r.Embedding)
	}
	return text
}

// summaryFile is where the comparison of a plan's members goes.
const summaryFile = "summary.json"

// compareMembers judges the members that were trained, when there are test pairs.
func (p *program) compareMembers(ctx context.Context, plan *rm.Plan, runs []rm.MemberRun,
	bucket *mirror.Mirror, asJSON bool) error {
	var dirs []string
	for _, m := range runs {
		if m.Result != nil {
			dirs = append(dirs, m.Config.Out)
		}
	}
	c := plan.Run
	t := judge.Test{Files: c.Test, Votes: c.Votes, SplitSeed: c.SplitSeed,
		Read:     reward.Config{MaxTokens: c.MaxTokens},
		DropLong: c.DropLong, SkipBad: c.SkipBad, Workers: c.Workers, Baseline: c.Train}
	if len(c.Test) == 0 {
		t.Files, t.Holdout = c.Train, c.Holdout
	}
	if len(dirs) == 0 || t.Holdout == "" && len(c.Test) == 0 {
		return nil
	}
	told := newCounting(newDisplay(p.stderr))
	t.Progress = told.tell
	report, err := judge.Checkpoints(ctx, dirs, t)
	told.end()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(struct {
		Members []rm.MemberRun `json:"members"`
		Report  *judge.Report  `json:"report"`
	}{runs, report}, "", "  ")
	if err != nil {
		return err
	}
	summary := filepath.Join(plan.Out, summaryFile)
	if err := disk.Write(summary, append(data, '\n')); err != nil {
		return err
	}
	if bucket != nil {
		if err := bucket.Publish(ctx, summary); err != nil {
			return err
		}
	}
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(report)
	}
	return printReport(p.stdout, report)
}
