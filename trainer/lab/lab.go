package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/state"
)

// Lab is a directory in which experiments run. It is not safe for concurrent use;
// it uses several workers itself.
type Lab struct {
	// Dir holds what experiments made: sets/ the pairs, runs/ the members, scores/
	// the rewards, and NAME.json, NAME-FIGURE.svg and .png of each experiment.
	Dir string
	// Base is the checkpoint directory that members start from: a causal language model
	// or an encoder.
	Base string
	// Policy is the checkpoint directory of the language model that becomes the policy of
	// best-of-N and reinforcement learning, and Control that which the control's members
	// start from; Open makes Base of "".
	Policy, Control string
	// Data is the directory of the data sets: ukp, ethics, hh, paradetox, text.
	Data string
	// Size says how much is done.
	Size Size
	// Workers is the number of workers; Open makes GOMAXPROCS of 0.
	Workers int
	// Store is where its trainings live besides this disk; nil: on this disk alone.
	Store state.Store
	// Progress is told how the work goes; may be nil. It may be called from
	// several goroutines at once.
	Progress func(Progress)
	// Serve starts a reward server on the members, as warm serve does in a mode such
	// as wa, ens or member:NAME, and returns its address, such as
	// http://127.0.0.1:41234; stop ends it. Members are named member-1, member-2 and
	// so on in their order. It is nil where no experiment needs a server.
	Serve func(ctx context.Context, name string, members []string, mode string) (url string,
		stop func() error, err error)

	engine model.Engine
	mu     sync.Mutex
	hashes map[string]string // of checkpoints that were used, by path
	read   map[string]string // hashes of the data files that were read since Run began, by name
}

// Size names how much an experiment does. Each experiment has its settings for
// each size.
type Size string

const (
	Tiny  Size = "tiny"  // seconds: for tests
	Small Size = "small" // all experiments within an hour on two cores
	// Standard is for pre-trained bases of 20 to 150 million parameters: hours on two cores.
	Standard Size = "standard"
	Paper    Size = "paper" // the paper's grid: hours to days
)

// ParseSize reads a size.
func ParseSize(s string) (Size, error) {
	switch z := Size(s); z {
	case Tiny, Small, Standard, Paper:
		return z, nil
	}
	return "", fmt.Errorf("size %q, want small, standard or paper", s)
}

// Progress is how the work goes.
type Progress struct {
	// What is being done, such as "training members-c25: member-3".
	What string
	// Done and Of count it in units of its own, such as steps; Of is 0 where that
	// is not known.
	Done, Of int
	// Ended says that it is being done no more, whether it came to its end or failed.
	Ended bool
	// Message is something to tell instead.
	Message string
}

// Say tells a message.
func (l *Lab) Say(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(Progress{Message: fmt.Sprintf(format, args...)})
	}
}

// Tell tells how far something is.
func (l *Lab) Tell(what string, done, of int) {
	if l.Progress != nil {
		l.Progress(Progress{What: what, Done: done, Of: of})
	}
}

// Ended tells that something is being done no more, however far it came.
func (l *Lab) Ended(what string) {
	if l.Progress != nil {
		l.Progress(Progress{What: what, Ended: true})
	}
}

// Through goes through items and tells how far that is, and that it has ended however it does.
func Through[T any](l *Lab, what string, items []T) iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		defer l.Ended(what)
		for i, x := range items {
			l.Tell(what, i, len(items))
			if !yield(i, x) {
				return
			}
		}
	}
}

// Open prepares the lab's directory. Close it after use.
func (l *Lab) Open() error {
	if l.Dir == "" || l.Base == "" || l.Data == "" {
		return errors.New("a lab wants a directory, a base and data")
	}
	// What a run is called must not depend on where the program was started.
	l.Policy, l.Control = cmp.Or(l.Policy, l.Base), cmp.Or(l.Control, l.Base)
	for _, p := range []*string{&l.Dir, &l.Base, &l.Policy, &l.Control, &l.Data} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	for _, sub := range []string{"sets", "runs", "scores"} {
		if err := os.MkdirAll(filepath.Join(l.Dir, sub), 0o755); err != nil {
			return err
		}
	}
	if l.Workers <= 0 {
		l.Workers = runtime.GOMAXPROCS(0)
	}
	l.hashes, l.read = map[string]string{}, map[string]string{}
	l.engine = model.NewEngine(l.Workers)
	return nil
}

// Close lets the workers go.
func (l *Lab) Close() { l.engine.Close() }

// Engine computes on the lab's workers.
func (l *Lab) Engine() model.Engine { return l.engine }
