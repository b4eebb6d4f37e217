package rl

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/state"
)

// about is what a saved state knows besides tensors.
type about struct {
	state.Head
	Baseline float64 `json:"baseline"`
	Rewards  moments `json:"rewards"` // all raw rewards so far
	Held     *Held   `json:"held,omitempty"`
	Rescored int     `json:"rescored,omitempty"`
	Times    Times   `json:"times"`
}

// Result is what a run came to.
type Result struct {
	Run        string            `json:"run"`
	Config     Config            `json:"config"`
	Hashes     map[string]string `json:"data"`
	Policy     string            `json:"policy"`    // hash of the model that the run started from
	Reference  string            `json:"reference"` // hash of the reference
	Parameters int               `json:"parameters"`
	Steps      int               `json:"steps"`
	Prompts    int               `json:"prompts"`            // that were learned from
	Dropped    int               `json:"dropped,omitempty"`  // prompts that left no room for an answer
	Tokens     int               `json:"tokens"`             // of all answers
	Rescored   int               `json:"rescored,omitempty"` // groups that had met several revisions
	Held       *Held             `json:"held,omitempty"`
	Times      Times             `json:"-"` // all steps together
	// Before says that an earlier call had finished the run, and nothing was done.
	Before bool `json:"-"`
}

// Origin implements [state.Trainer].
func (r *run) Origin() state.Origin {
	return state.Origin{Config: r.config, Places: []string{"policy", "reference", "prompts"},
		Models: map[string]string{"policy": r.writer.policy.Hash, "reference": r.refHash},
		Files:  r.config.Prompts}
}

// About implements [state.Trainer].
func (r *run) About() (any, *state.Head) { return &r.about, &r.about.Head }

// Begin implements [state.Trainer].
func (r *run) Begin(context.Context) error { return r.openTimes(0) }

// Resume implements [state.Trainer].
func (r *run) Resume(s *state.Saved) error {
	if err := s.Fill(r.Tensors); err != nil {
		return err
	}
	r.opt.Resume(r.about.Step * r.config.Epochs)
	r.learner.Refresh()
	return r.openTimes(r.about.Step)
}

// Tensors implements [state.Trainer].
func (r *run) Tensors(f func(name string, shape []int, values []float32) error) error {
	if err := state.EachWeight(r.learner.Params(), f); err != nil {
		return err
	}
	return r.opt.State(f)
}

// Finish implements [state.Trainer].
func (r *run) Finish(ctx context.Context) (map[string][]byte, error) {
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	r.result = Result{
		Run: r.ID, Config: r.config, Hashes: r.prompts.hashes, Policy: r.writer.policy.Hash,
		Reference: r.refHash, Steps: r.about.Step,
		Prompts: len(r.prompts.train), Dropped: r.prompts.long, Tokens: r.about.Tokens,
		Rescored: r.about.Rescored, Held: r.about.Held, Times: r.about.Times,
	}
	for _, p := range r.m.Params() {
		r.result.Parameters += p.Len()
	}
	if err := r.saveAdapter(); err != nil {
		return nil, err
	}
	times, err := r.times.Read()
	return map[string][]byte{TimesFile: times}, err
}

// Contents implements [state.Trainer].
func (r *run) Contents() loader.Contents {
	c := r.writer.policy.Contents
	c.Source = state.NewWeights(r.m.Params())
	return c
}

// TimesFile is the name of the steps' times, one JSON line a step, in a run's
// directory and in its result.
const TimesFile = "times.jsonl"

// openTimes opens them and keeps the lines of the first steps alone, those that a saved state knows.
func (r *run) openTimes(steps int) error {
	path := filepath.Join(state.Dir(r.Out), TimesFile)
	lines, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	size := 0
	for range steps {
		size += bytes.IndexByte(lines[size:], '\n') + 1
	}
	return r.times.Create(path, int64(size))
}
