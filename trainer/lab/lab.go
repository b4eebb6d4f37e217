package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/rm"
)

// Lab is a directory in which experiments run. It is not safe for concurrent use;
// it uses several workers itself.
type Lab struct {
	// Dir holds what experiments made: sets/ the pairs, runs/ the members, scores/
	// the rewards, and NAME.json, NAME-FIGURE.svg and .png of each experiment.
	Dir string
	// Base is the checkpoint directory of the causal language model that members
	// start from.
	Base string
	// Data is the directory of the data sets: ukp, ethics, hh, paradetox, text.
	Data string
	// Size says how much is done.
	Size Size
	// Workers is the number of workers; 0 is GOMAXPROCS.
	Workers int
	// Progress is told how the work goes; may be nil. It may be called from
	// several goroutines at once.
	Progress func(Progress)

	engine *model.Engine
}

// Size names how much an experiment does. Each experiment has its settings for
// each size.
type Size string

// The sizes.
const (
	Tiny  Size = "tiny"  // seconds: for tests
	Small Size = "small" // all experiments within an hour on two cores
	Paper Size = "paper" // the paper's grid: hours to days
)

// ParseSize reads a size.
func ParseSize(s string) (Size, error) {
	switch z := Size(s); z {
	case Tiny, Small, Paper:
		return z, nil
	}
	return "", fmt.Errorf("size %q, want small or paper", s)
}

// Progress is how the work goes.
type Progress struct {
	// What is being done, such as "training members-c25: member-3".
	What string
	// Done and Of count it in units of its own, such as steps; Of is 0 where that
	// is not known.
	Done, Of int
	// Message is something to tell instead.
	Message string
}

func (l *Lab) say(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(Progress{Message: fmt.Sprintf(format, args...)})
	}
}

func (l *Lab) progress(what string, done, of int) {
	if l.Progress != nil {
		l.Progress(Progress{What: what, Done: done, Of: of})
	}
}

func (l *Lab) workers() int {
	if l.Workers > 0 {
		return l.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// Open prepares the lab's directory. Close it after use.
func (l *Lab) Open() error {
	if l.Dir == "" || l.Base == "" || l.Data == "" {
		return errors.New("a lab wants a directory, a base and data")
	}
	for _, sub := range []string{"sets", "runs", "scores"} {
		if err := os.MkdirAll(filepath.Join(l.Dir, sub), 0o755); err != nil {
			return err
		}
	}
	l.engine = model.NewEngine(l.workers())
	return nil
}

// Close lets the workers go.
func (l *Lab) Close() { l.engine.Close() }

// fingerprint is a short name for a value: the beginning of the hash of its JSON.
func fingerprint(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:6]), nil
}

// Members trains the members of a plan, or returns those that were trained
// before: their directories, in the plan's order. The plan's Out is set here; the
// same plan gives the same members whichever experiment asks. As many members are
// trained side by side as there are workers, each by one.
func (l *Lab) Members(ctx context.Context, name string, plan rm.Plan) ([]string, error) {
	plan.Out = ""
	id, err := fingerprint(plan)
	if err != nil {
		return nil, err
	}
	plan.Out = filepath.Join(l.Dir, "runs", name+"-"+id)
	plan.Run.Workers = l.workers()
	if err := plan.Initialize(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	plan.Run.Workers = 1
	runs, err := plan.Expand()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	next := make(chan *rm.MemberRun)
	for range min(l.workers(), len(runs)) {
		wg.Go(func() {
			for m := range next {
				what := name + ": " + m.Name
				err := plan.TrainMember(ctx, m, func(p rm.Progress) {
					if p.Steps > 0 {
						l.progress(what, p.Step, p.Steps)
					}
				})
				if err != nil {
					cancel() // the others stop after saving what they have
				}
			}
		})
	}
	for i := range runs {
		next <- &runs[i]
	}
	close(next)
	wg.Wait()
	dirs := make([]string, len(runs))
	var errs []error
	for i := range runs {
		dirs[i] = runs[i].Config.Out
		if err := runs[i].Err; err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", name, runs[i].Name, err))
		}
	}
	return dirs, errors.Join(errs...)
}

// Init returns the directory of the plan's shared initialisation θ₀, the base
// with its probed score head, once Members has made it.
func (l *Lab) Init(name string, plan rm.Plan) (string, error) {
	plan.Out = ""
	id, err := fingerprint(plan)
	return filepath.Join(l.Dir, "runs", name+"-"+id, "init"), err
}
