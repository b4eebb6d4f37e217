package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/model/nn"
)

// Trainer is what a [Run] asks of the one that trains. The methods are called by one goroutine, in the
// order in which they stand here.
type Trainer interface {
	// Origin tells what decides the result, before data is read.
	Origin() Origin
	// Open reads the data and makes what learns. It returns the number of steps and the hash of all that
	// decides the result.
	Open() (steps int, id string, err error)
	// About is what a state holds besides tensors, as a pointer for encoding/json, and the head within it.
	About() (any, *Head)
	// Begin prepares the first step of a run that has no state.
	Begin(context.Context) error
	// Resume goes on from a state, whose About is decoded already.
	Resume(*Saved) error
	// Step makes a step and counts it in the head. A step that ends with ctx's error has changed nothing
	// that a state holds.
	Step(context.Context) error
	// Tensors are those of the state.
	Tensors(f func(name string, shape []int, values []float32) error) error
	// Finish completes the result after the last step, and returns files of the trainer's own that lie
	// beside it. As with Step, ctx's error has changed nothing.
	Finish(context.Context) (map[string][]byte, error)
	// Contents is the checkpoint as it is now.
	Contents() loader.Contents
}

// Learner is what a run learns: all weights of a model, or a low-rank change of some.
type Learner interface {
	Params() []nn.Param
	ZeroGrads()
	Refresh() // the model follows what learns
}

// Run is the way of a training from its first step to its result, over interruptions: it finds the state
// or the result of an earlier call, saves the state, keeps checkpoints and writes the result.
type Run struct {
	Out       string       // directory of the result
	Replace   bool         // another run's checkpoint that lies there
	Keep      int          // checkpoints along the way, in Out-1, Out-2, …
	Adapter   bool         // the trainer writes [AdapterDir] besides
	SaveEvery int          // steps between saved states
	Events    string       // directory for TensorBoard's event files; "" for none
	Curves    Curves       // the figure beside the metrics
	Store     Store        // where the run lives besides this disk; nil: on this disk alone
	Say       func(string) // told of what goes on

	Metrics Metrics
	Steps   int    // of the whole run
	ID      string // hash of all that decides the result
	trainer Trainer
	head    *Head
	held    Held // by Store
}

// Train goes the way to its end, or on from where an earlier call was interrupted. The trainer has result
// complete after Finish; when an earlier call came to the end, its result is decoded there and before is
// true. When ctx ends, the state is saved and the error wraps [ErrInterrupted].
func (r *Run) Train(ctx context.Context, t Trainer, result any) (before bool, err error) {
	r.trainer = t
	_, r.head = t.About()
	if err := r.hold(ctx); err != nil {
		return false, Interrupted(ctx, r.Out, err)
	}
	before, err = r.train(ctx, result)
	if r.held != nil {
		if closed := r.held.Close(); closed != nil {
			err = errors.Join(err, closed)
		}
	}
	return before, err
}

// train is Train, of a run that nobody else works on.
func (r *Run) train(ctx context.Context, result any) (before bool, err error) {
	if before, err = r.finished(result); before || err != nil {
		return before, errors.Join(err, r.storeResult(ctx, err))
	}
	if !Begun(r.Out) {
		if err := r.checkOut(); err != nil {
			return false, err
		}
	}
	if r.Steps, r.ID, err = r.trainer.Open(); err != nil {
		return false, err
	}
	release, err := Lock(r.dir())
	if err != nil {
		return false, err
	}
	defer release()
	defer r.Metrics.Close()
	if err := r.begin(ctx); err != nil {
		return false, Interrupted(ctx, r.Out, err)
	}
	if err := r.store(ctx); err != nil {
		return false, err
	}
	files, err := r.loop(ctx)
	if stopped := Interrupted(ctx, r.Out, err); stopped != err {
		return false, errors.Join(r.Save(), r.storeStopped(ctx), stopped)
	}
	if err != nil {
		return false, err
	}
	err = r.write(result, files)
	return false, errors.Join(err, r.storeResult(ctx, err))
}

func (r *Run) dir() string { return Dir(r.Out) }

// Interrupted says where a run that writes to out goes on, of an error that is the end of the context.
func Interrupted(ctx context.Context, out string, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return fmt.Errorf("%s: %w", Dir(out), ErrInterrupted)
	}
	return err
}

// begin takes up the saved state, or prepares the first step.
func (r *Run) begin(ctx context.Context) error {
	about, head := r.trainer.About()
	saved, err := Find(r.dir(), r.ID, about, head)
	if err != nil {
		return err
	}
	if saved == nil {
		if err := r.Metrics.Create(filepath.Join(r.dir(), MetricsFile), 0); err != nil {
			return err
		}
		if err := r.Metrics.tell(r.Events, 0); err != nil {
			return err
		}
		return r.trainer.Begin(ctx)
	}
	defer saved.Close() // read-only: nothing can be lost
	if err := r.trainer.Resume(saved); err != nil {
		return err
	}
	r.Say(fmt.Sprintf("going on after step %d", head.Step))
	if err := r.Metrics.Create(filepath.Join(r.dir(), MetricsFile), head.Metrics); err != nil {
		return err
	}
	return r.Metrics.tell(r.Events, head.Step+1)
}

// loop makes the remaining steps and completes the result.
func (r *Run) loop(ctx context.Context) (map[string][]byte, error) {
	for saved := r.head.Step; r.head.Step < r.Steps; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.trainer.Step(ctx); err != nil {
			return nil, err
		}
		if r.head.Step == r.Steps {
			break
		}
		if err := r.keep(); err != nil {
			return nil, err
		}
		if r.head.Step-saved >= r.SaveEvery {
			if err := r.Save(); err != nil {
				return nil, err
			}
			if err := r.store(ctx); err != nil {
				return nil, err
			}
			saved = r.head.Step
		}
	}
	return r.trainer.Finish(ctx)
}

// Save writes the state as it is between two steps.
func (r *Run) Save() (err error) {
	about, head := r.trainer.About()
	if head.Metrics, err = r.Metrics.Sync(); err != nil {
		return err
	}
	head.Run = r.ID
	return Save(r.dir(), about, r.trainer.Tensors)
}

// kept are the directories of the checkpoints that a run keeps along the way.
func (r *Run) kept() []string {
	var dirs []string
	for k := 1; k <= r.Keep; k++ {
		dirs = append(dirs, fmt.Sprintf("%s-%d", filepath.Clean(r.Out), k))
	}
	return dirs
}

// results are all directories that a run writes but for its state's.
func (r *Run) results() []string {
	dirs := append(r.kept(), r.Out)
	if r.Adapter {
		dirs = append(dirs, AdapterDir(r.Out))
	}
	return dirs
}

// keep writes a checkpoint along the way, where one is due. A resumed run writes it again: the same bytes.
// Before the first there is a state, by which a run that was killed after it knows it as its own.
func (r *Run) keep() error {
	for i, dir := range r.kept() {
		if r.head.Step == (i+1)*r.Steps/(r.Keep+1) {
			if !Begun(r.Out) {
				if err := r.Save(); err != nil {
					return err
				}
			}
			c := r.trainer.Contents()
			c.Replace = true
			return loader.Save(dir, c)
		}
	}
	return nil
}

// write writes the checkpoint with the result and other files beside it, and removes the state.
func (r *Run) write(result any, files map[string][]byte) error {
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	lines, err := r.Metrics.Read()
	if err != nil {
		return err
	}
	table, err := CSV(lines)
	if err != nil {
		return err
	}
	c := r.trainer.Contents()
	c.Replace = r.Replace
	extra := maps.Clone(c.Extra) // what the start had beside it
	c.Extra = map[string][]byte{ResultFile: append(text, '\n'), MetricsFile: lines, CSVFile: table}
	maps.Copy(c.Extra, extra)
	if picture, err := r.Curves.draw(lines); err != nil {
		return err
	} else if picture != nil {
		c.Extra[CurvesFile] = picture
	}
	maps.Copy(c.Extra, files)
	if err := loader.Save(r.Out, c); err != nil {
		return err
	}
	return os.RemoveAll(r.dir())
}

// Hash is the hash of a value, as JSON, and further bytes.
func Hash(v any, more ...[]byte) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return disk.Sum(slices.Concat(append([][]byte{data}, more...)...)), nil
}
