package state

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store is where runs live besides this disk, as a bucket does: what a run has written is kept there
// and brought from there, wherever the run goes on.
type Store interface {
	// Hold brings what the store has of the run that writes to out, where this disk has not the same,
	// and keeps other machines from it until it is closed. The directories are all that the run
	// writes. The error is [ErrBusy] while another process has it.
	Hold(ctx context.Context, out string, dirs ...string) (Held, error)
	// Name is the reference by which any machine opens what lies at a path of this disk.
	Name(path string) string
}

// Held are the directories of a run that nobody else works on.
type Held interface {
	// Save has the store hold the directories as they are now. Whoever finds them there, whenever
	// this is interrupted, finds them as they were after one call. The error is [ErrBusy] when
	// another process has taken over.
	Save(ctx context.Context) error
	// Close lets others have it.
	Close() error
}

// hold takes the run from its store, if it has one.
func (r *Run) hold(ctx context.Context) (err error) {
	if r.Store == nil {
		return nil
	}
	r.held, err = r.Store.Hold(ctx, r.Out, append(r.results(), r.dir())...)
	return err
}

// store has the store hold the state. A store that is away does not stop the run, whose state is on
// this disk: the next time brings it.
func (r *Run) store(ctx context.Context) error {
	if r.held == nil {
		return nil
	}
	err := r.held.Save(ctx)
	if err == nil || ctx.Err() != nil { // which the next step ends with
		return nil
	}
	if errors.Is(err, ErrBusy) {
		return fmt.Errorf("%w; the state is in %s", err, r.dir())
	}
	r.Say(fmt.Sprintf("the state of step %d is not in the store, and goes there with the next: %v", r.head.Step, err))
	return nil
}

// stopTime is how long the state of an interrupted run may take to its store.
const stopTime = time.Minute

// storeStopped is store at the end of an interrupted run.
func (r *Run) storeStopped(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	return r.store(ctx)
}

// storeResult has the store hold what a run that is finished has written, unless writing failed.
func (r *Run) storeResult(ctx context.Context, failed error) error {
	if r.held == nil || failed != nil {
		return nil
	}
	err := r.held.Save(ctx)
	if ctx.Err() != nil {
		return Interrupted(ctx, r.Out, err)
	}
	if err != nil {
		return fmt.Errorf("%s is finished on this disk and not in its store: give the same command again: %w", r.Out, err)
	}
	return nil
}
