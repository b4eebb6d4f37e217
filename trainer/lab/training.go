package lab

import (
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
	dir, err := l.planDir(name, plan)
	if err != nil {
		return nil, err
	}
	plan.Out = dir
	runs, err := l.begin(ctx, name, &plan)
	if err != nil {
		return nil, err
	}
	parallel := min(l.Workers, len(runs))
	var wg sync.WaitGroup
	next := make(chan *rm.MemberRun)
	for range parallel {
		wg.Go(func() {
			for m := range next {
				l.trainMember(ctx, name, &plan, m)
			}
		})
	}
	for i := range runs {
		next <- &runs[i]
	}
	close(next)
	wg.Wait()
	dirs := make([]string, len(runs))
	for i := range runs {
		dirs[i] = runs[i].Config.Out
	}
	return dirs, failures(name, runs)
}

// Member trains the i-th member of a plan alone, counted from 0, as Members would.
func (l *Lab) Member(ctx context.Context, name string, plan rm.Plan, i int) error {
	dir, err := l.planDir(name, plan)
	if err != nil {
		return err
	}
	plan.Out = dir
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

// failures joins the errors of runs. An interruption is told once, and not when
// there is a worse reason.
func failures(name string, runs []rm.MemberRun) error {
	var errs []error
	interrupted := false
	for i := range runs {
		switch err := runs[i].Err; {
		case errors.Is(err, rm.ErrInterrupted):
			interrupted = true
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %s: %w", name, runs[i].Name, err))
		}
	}
	if interrupted && len(errs) == 0 {
		return fmt.Errorf("%s: %w", name, rm.ErrInterrupted)
	}
	return errors.Join(errs...)
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
