package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/warmserve/warmserve/trainer/lab"
)

// runTask does one task, or lists all of them.
func (p *program) runTask(ctx context.Context, o *outside, f *labFlags, experiments []*lab.Experiment) error {
	l, err := p.openLab(f, o)
	if err != nil {
		return err
	}
	defer l.Close()
	tasks, err := l.Tasks(experiments)
	if err != nil {
		return err
	}
	if f.list {
		p.listTasks(tasks, f.gflops)
		return nil
	}
	if f.task > len(tasks) {
		return usagef("--task: %d, want 1 to %d", f.task, len(tasks))
	}
	t := &tasks[f.task-1]
	if !t.Measures { // other machines train others of the lab's members meanwhile
		return p.doTask(ctx, l, f, t, len(tasks))
	}
	return holdingLab(ctx, o, func(func() error) error { return p.doTask(ctx, l, f, t, len(tasks)) })
}

// doTask does one of several tasks.
func (p *program) doTask(ctx context.Context, l *lab.Lab, f *labFlags, t *lab.Task, of int) error {
	progress := newLabProgress(p.stderr, nil, l.Size)
	defer progress.end()
	l.Progress = progress.tell
	progress.message(fmt.Sprintf("task %d of %d: %s", f.task, of, t.Name))
	r, err := l.RunTask(ctx, t)
	if err == nil && r != nil {
		progress.end()
		return p.printVerdicts(r, f.json)
	}
	return err
}

// listTasks prints tasks with estimates.
func (p *program) listTasks(tasks []lab.Task, gflops float64) {
	fmt.Fprintf(p.stdout, "%4s  %-34s %12s %10s  %s\n", "task", "what", "tokens", "time", "for")
	hours, members, left := 0.0, 0, 0
	for i, t := range tasks {
		tokens, estimate := "-", "-"
		if !t.Measures {
			h := t.FLOP / (gflops * 1e9) / 3600
			tokens, estimate = fmt.Sprint(t.Tokens), time.Duration(h*float64(time.Hour)).Round(time.Second).String()
			members++
			if t.Done {
				estimate = "done"
			} else {
				hours, left = hours+h, left+1
			}
		}
		fmt.Fprintf(p.stdout, "%4d  %-34s %12s %10s  %s\n", i+1, t.Name, tokens, estimate,
			strings.Join(t.Experiments, ", "))
	}
	fmt.Fprintf(p.stdout, "\ntasks 1 to %d train members: %d are left, %.1f hours of one worker at %g GFLOP/s\n", members, left, hours, gflops)
	fmt.Fprintf(p.stdout, "tasks %d to %d measure, when the members are trained\n", members+1, len(tasks))
}
