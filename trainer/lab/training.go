package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Training is a plan of members under the name that the lab keeps them by.
type Training struct {
	Name string
	Plan rm.Plan
}

// base is the checkpoint directory that members start from, the first of several.
func (t *Training) base() string {
	if len(t.Plan.Bases) > 0 {
		return t.Plan.Bases[0]
	}
	return t.Plan.Run.Base
}

// Members trains the members of a plan, or returns those that were trained
// before: their directories, in the plan's order. The plan's Out is set here; the
// same plan on the same base and data gives the same members whichever experiment
// asks. As many members are trained side by side as there are workers, each by
// one.
func (l *Lab) Members(ctx context.Context, name string, plan rm.Plan) ([]string, error) {
	trained, err := l.train(ctx, []Training{{name, plan}})
	if err != nil {
		return nil, err
	}
	var dirs []string
	for i := range trained[0] {
		dirs = append(dirs, trained[0][i].Config.Out)
	}
	return dirs, nil
}

// train is Members of several trainings, whose members learn side by side too: one that has fewer than
// there are workers leaves none of them idle.
func (l *Lab) train(ctx context.Context, trainings []Training) ([][]rm.MemberRun, error) {
	type job struct {
		of  *Training
		run *rm.MemberRun
	}
	next := make(chan job)
	var wg sync.WaitGroup
	for range l.Workers {
		wg.Go(func() {
			for j := range next {
				l.trainMember(ctx, j.of.Name, &j.of.Plan, j.run)
			}
		})
	}
	var out [][]rm.MemberRun
	var errs []error
	trainings = slices.Clone(trainings)
	for k := range trainings {
		t := &trainings[k]
		runs, err := l.begin(ctx, t.Name, &t.Plan)
		if err != nil {
			errs = append(errs, err)
			break
		}
		out = append(out, runs)
		for i := range runs {
			next <- job{t, &runs[i]}
		}
	}
	close(next)
	wg.Wait()
	for k, runs := range out {
		errs = append(errs, failures(trainings[k].Name, runs))
	}
	return out, worst(errs)
}

// worst joins errors, but for interruptions where there is another reason, and all of them but the first.
func worst(errs []error) error {
	var interrupted error
	var others []error
	for _, err := range errs {
		switch {
		case errors.Is(err, rm.ErrInterrupted):
			interrupted = cmp.Or(interrupted, err)
		default:
			others = append(others, err)
		}
	}
	return cmp.Or(errors.Join(others...), interrupted)
}

// Member trains the i-th member of a plan alone, counted from 0, as Members would.
func (l *Lab) Member(ctx context.Context, name string, plan rm.Plan, i int) error {
	runs, err := l.begin(ctx, name, &plan)
	if err != nil {
		return err
	}
	if i < 0 || i >= len(runs) {
		return fmt.Errorf("%s: member %d, want 0 to %d", name, i, len(runs)-1)
	}
	l.trainMember(ctx, name, &plan, &runs[i])
	return failures(name, runs[i:i+1])
}

// begin writes the initialisation that the members share and returns their runs.
func (l *Lab) begin(ctx context.Context, name string, plan *rm.Plan) ([]rm.MemberRun, error) {
	var err error
	if plan.Out, err = l.planDir(name, *plan); err != nil {
		return nil, err
	}
	plan.Run.Workers, plan.Run.Store = l.Workers, l.Store
	unlock, err := lock(ctx, plan.Out+".lock")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	err = plan.Initialize(ctx)
	unlock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	plan.Run.Workers = 1
	if l.Size == Standard { // its steps take seconds, which another process may want at any time
		plan.Run.SaveEvery = 25
	}
	runs, err := plan.Expand()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return runs, nil
}

// trainMember trains a member, or waits for the process that does so already.
func (l *Lab) trainMember(ctx context.Context, name string, plan *rm.Plan, m *rm.MemberRun) {
	what := name + ": " + m.Name
	unlock, err := lock(ctx, m.Config.Out+".lock")
	if err != nil {
		if m.Err = err; ctx.Err() != nil {
			m.Err = rm.ErrInterrupted
		}
		return
	}
	defer unlock()
	defer l.Ended(what)
	_ = plan.TrainMember(ctx, m, func(p rm.Progress) { // the error is m's, too
		if p.Message == "" {
			l.Tell(what, p.Step, p.Steps)
		}
	})
}

// failures are the errors of runs.
func failures(name string, runs []rm.MemberRun) error {
	var errs []error
	for i := range runs {
		switch err := runs[i].Err; {
		case errors.Is(err, rm.ErrInterrupted):
			errs = append(errs, fmt.Errorf("%s: %w", name, rm.ErrInterrupted))
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %s: %w", name, runs[i].Name, err))
		}
	}
	return worst(errs)
}

// Init returns the directory of the plan's shared initialisation θ₀, the base
// with its probed score head, once Members has made it.
func (l *Lab) Init(name string, plan rm.Plan) (string, error) {
	dir, err := l.planDir(name, plan)
	return filepath.Join(dir, "init"), err
}

// planDir names the directory of a plan by what decides its members: the settings,
// and the contents of base and data rather than their places.
func (l *Lab) planDir(name string, plan rm.Plan) (string, error) {
	content := plan
	content.Out = ""
	content.Bases, content.Run.Train, content.Run.Test = slices.Clone(plan.Bases),
		slices.Clone(plan.Run.Train), slices.Clone(plan.Run.Test)
	var errs []error
	replace := func(path *string, hash func(string) (string, error)) {
		if *path == "" {
			return
		}
		h, err := hash(*path)
		errs = append(errs, err)
		*path = h
	}
	replace(&content.Run.Base, l.CheckpointHash)
	for i := range content.Bases {
		replace(&content.Bases[i], l.CheckpointHash)
	}
	for _, files := range [][]string{content.Run.Train, content.Run.Test} {
		for i := range files {
			replace(&files[i], disk.SumOf)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	id, err := Fingerprint(content)
	return filepath.Join(l.Dir, "runs", name+"-"+id), err
}
