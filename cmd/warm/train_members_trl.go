package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	members "github.com/warmserve/warmserve/deploy/members/trl"
	"github.com/warmserve/warmserve/trainer/rm"
	"github.com/warmserve/warmserve/trainer/trl"
)

// otherTrainer is the command line of members that TRL trains.
type otherTrainer struct {
	with     string
	on       string // where: local, slurm or kubernetes
	launcher string
	trl.Options
}

// trlFlags are the flags of --with trl, beside it.
var trlFlags = []string{"on", "python", "gpus", "launcher", "save-dtype", "image", "claim"}

func trlFlagsOf(c *cobra.Command, f *otherTrainer) {
	l := c.Flags()
	l.StringVar(&f.with, "with", "", "`trainer` instead of the one here: trl, which is TRL's RewardTrainer on PyTorch")
	l.StringVar(&f.on, "on", "local", "with trl, `where` runs are carried out: local, slurm or kubernetes")
	l.StringVar(&f.Python, "python", "python3", "with trl, the `program` that has torch and TRL")
	l.IntVar(&f.GPUs, "gpus", 0, "with trl, the GPUs of each member: from 2 on one process each, by torchrun")
	l.StringVar(&f.launcher, "launcher", "",
		"with trl, the `command` in front of the program instead, such as \"accelerate launch --config_file fsdp.yaml\"")
	l.StringVar(&f.DType, "save-dtype", "float32", "with trl, the number `format` of the members: float32 or bfloat16")
	l.StringVar(&f.Image, "image", "", "with trl on kubernetes, the `image` that has torch and TRL")
	l.StringVar(&f.Claim, "claim", "", "with trl on kubernetes, the `claim` of the volume with plan, base and results")
}

func trlRules(c *cobra.Command, f *otherTrainer) []rule {
	return []rule{
		{when: func() bool { return f.with == "" }, why: "without --with trl", flags: trlFlags},
		{when: given(c, "with"), why: "with --with", flags: []string{"parallel", "tensorboard"}},
		{when: func() bool { return f.on != "local" }, why: "without --on local", flags: []string{"task", "index"}},
		{when: func() bool { return f.on != "kubernetes" }, why: "without --on kubernetes", flags: []string{"image", "claim"}},
	}
}

// check reports what cannot be.
func (f *otherTrainer) check() error {
	switch {
	case f.with != "" && f.with != "trl":
		return usagef("--with: %q, want trl", f.with)
	case !slices.Contains([]string{"local", "slurm", "kubernetes"}, f.on):
		return usagef("--on: %q, want local, slurm or kubernetes", f.on)
	case f.GPUs < 0:
		return usagef("--gpus: %d, want 0 or more", f.GPUs)
	case f.DType != "float32" && f.DType != "bfloat16":
		return usagef("--save-dtype: %q, want float32 or bfloat16", f.DType)
	case f.on == "kubernetes" && (f.Image == "" || f.Claim == ""):
		return usagef("--on kubernetes needs --image and --claim")
	}
	f.Program, f.Launcher = members.Program, strings.Fields(f.launcher)
	return nil
}

// trainWithTRL writes the runs of a plan for TRL, carries out those that are not done where
// they are to be carried out here, and compares what there is when nothing is left.
func (p *program) trainWithTRL(ctx context.Context, plan *rm.Plan, runs []rm.MemberRun, f membersFlags) error {
	d := newDisplay(p.stderr)
	plan.Run.Progress = newTrainLog(d).progress
	for i := range runs {
		runs[i].Config.Progress = plan.Run.Progress
	}
	set, err := trl.Write(plan, runs, f.trl.Options)
	if err != nil {
		return err
	}
	d.say("wrote %s: the runs of %d members", set.Dir, len(runs))
	var left []int // numbers of members
	for i := range runs {
		m := &runs[i]
		if m.Result, m.Err = set.Check(i); m.Err == nil && m.Result == nil && f.trl.on == "local" &&
			(f.task == 0 || f.task == i+1) {
			m.Result, m.Err = p.trainOneWithTRL(ctx, d, set, i)
		}
		if errors.Is(m.Err, rm.ErrInterrupted) {
			return fmt.Errorf("%s: %w", plan.Out, rm.ErrInterrupted)
		}
		switch {
		case m.Err != nil:
			m.Error = m.Err.Error()
			d.say("%s failed: %v", m.Name, m.Err)
		case m.Result != nil && m.Result.Before:
			d.say("%s was trained before: nothing to do", m.Name)
		case m.Result != nil:
			d.say("%s: %d steps on %d pairs", m.Config.Out, m.Result.Steps, m.Result.Pairs)
		}
		if m.Result == nil {
			left = append(left, i+1)
		}
	}
	switch {
	case len(left) == 0:
		return p.compareMembers(ctx, plan, runs, nil, f.json)
	case f.task > 0 && runs[f.task-1].Result != nil:
		return p.printTrained(f.json, runs[f.task-1].Config.Out, runs[f.task-1].Result)
	case f.trl.on != "local":
		return fmt.Errorf("%d of %d members are left: %s\nthen give this command again", len(left), len(runs), set.Submit(f.trl.on, left))
	}
	return fmt.Errorf("%d of %d: not every member was trained; the same command goes on", len(left), len(runs))
}

func (p *program) trainOneWithTRL(ctx context.Context, d *display, set *trl.Set, i int) (*rm.Result, error) {
	m := &set.Members[i]
	d.say("%s: lr %g, %s, base %s", m.Name, m.Config.LR, dropouts(m.Config.Dropout), m.Config.Base)
	log := newTrainLog(d)
	err := set.Run(ctx, i, log.progress)
	log.end()
	if err != nil {
		return nil, err
	}
	r, err := set.Check(i)
	if err == nil && r == nil {
		err = errors.New("the run ended well and left no result")
	}
	return r, err
}
