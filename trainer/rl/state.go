package rl

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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

// finished returns the result of this run that an earlier call wrote, perhaps without
// removing its state; nil when there is none.
func (r *run) finished() (*Result, error) {
	c := &r.config
	if _, err := os.Stat(filepath.Join(c.Out, state.ResultFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	data, err := state.HashFiles(c.Prompts)
	if err != nil {
		return nil, err
	}
	res := &Result{Before: true}
	models := map[string]string{"policy": r.writer.policy.Hash, "reference": r.refHash}
	done, err := state.Finished(c.Out, state.Run{Config: *c, Places: []string{"policy", "reference", "prompts"}, Models: models, Data: data}, res)
	switch {
	case done:
		return res, os.RemoveAll(r.dir())
	case c.Replace && errors.Is(err, loader.ErrExists):
		return nil, nil
	}
	return nil, err
}

// begin takes up a saved state, or a new run's files.
func (r *run) begin() error {
	id, err := r.identity()
	if err != nil {
		return err
	}
	var a about
	saved, err := state.Find(r.dir(), id, &a, &a.Head)
	if err != nil {
		return err
	}
	if saved == nil {
		if err := r.metrics.Create(r.dir(), 0); err != nil {
			return err
		}
		return r.times.open(r.dir(), 0)
	}
	defer saved.Close()
	if err := saved.Fill(r.tensors); err != nil {
		return err
	}
	r.about = a
	r.opt.Resume(a.Step * r.config.Epochs)
	r.m.Refresh()
	r.say(fmt.Sprintf("going on after step %d", a.Step))
	if err := r.metrics.Create(r.dir(), a.Metrics); err != nil {
		return err
	}
	return r.times.open(r.dir(), a.Step)
}

// identity hashes all that decides the result, but the rewards.
func (r *run) identity() (string, error) {
	data, err := json.Marshal([]any{r.config, r.writer.policy.Hash, r.refHash, r.prompts.hashes})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	h.Write(data)
	h.Write(r.writer.policy.Contents.Tokenizer)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// tensors calls f for every tensor of the state.
func (r *run) tensors(f func(name string, shape []int, values []float32) error) error {
	for _, p := range r.m.Params() {
		if err := f("w."+p.Name, p.Shape, p.Data); err != nil {
			return err
		}
	}
	return r.opt.State(f)
}

func (r *run) save() error {
	size, err := r.metrics.Sync()
	if err != nil {
		return err
	}
	if r.about.Run, err = r.identity(); err != nil {
		return err
	}
	r.about.Metrics = size
	return state.Save(r.dir(), r.about, r.tensors)
}

// keep writes a checkpoint along the way, where one is due. A resumed run writes
// it again: the same bytes.
func (r *run) keep() error {
	n := r.config.Keep
	for k := 1; k <= n; k++ {
		if r.about.Step == k*r.config.Steps/(n+1) {
			c := r.writer.policy.Contents
			c.Source, c.Replace = state.NewWeights(r.m.Params()), true
			return loader.Save(fmt.Sprintf("%s-%d", filepath.Clean(r.config.Out), k), c)
		}
	}
	return nil
}

// finish measures the result, writes the checkpoint and removes the state.
func (r *run) finish(ctx context.Context) (*Result, error) {
	if err := r.measure(ctx); err != nil {
		return nil, r.stopped(ctx, err)
	}
	id, err := r.identity()
	if err != nil {
		return nil, err
	}
	res := &Result{
		Run: id, Config: r.config, Hashes: r.prompts.hashes, Policy: r.writer.policy.Hash, Reference: r.refHash, Steps: r.about.Step,
		Prompts: len(r.prompts.train), Dropped: r.prompts.long, Tokens: r.about.Tokens, Rescored: r.about.Rescored, Held: r.about.Held, Times: r.about.Times,
	}
	params := r.m.Params()
	for i := range params {
		res.Parameters += params[i].Len()
	}
	text, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return nil, err
	}
	lines, err := r.metrics.Read(r.dir())
	if err != nil {
		return nil, err
	}
	table, err := state.CSV(lines)
	if err != nil {
		return nil, err
	}
	times, err := r.times.read()
	if err != nil {
		return nil, err
	}
	c := r.writer.policy.Contents
	c.Source, c.Replace = state.NewWeights(params), r.config.Replace
	c.Extra = map[string][]byte{state.ResultFile: append(text, '\n'), state.MetricsFile: lines, state.CSVFile: table, TimesFile: times}
	if err := loader.Save(r.config.Out, c); err != nil {
		return nil, err
	}
	return res, os.RemoveAll(r.dir())
}

// TimesFile is the name of the steps' times, one JSON line a step, in a run's
// directory and in its result.
const TimesFile = "times.jsonl"

// timesFile appends the times of steps.
type timesFile struct{ file *os.File }

// open keeps the lines of the first steps alone, those that a saved state knows.
func (t *timesFile) open(dir string, steps int) error {
	f, err := os.OpenFile(filepath.Join(dir, TimesFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	t.file = f
	var size int64
	s := bufio.NewScanner(f)
	for n := 0; n < steps && s.Scan(); n++ {
		size += int64(len(s.Bytes())) + 1
	}
	if err := errors.Join(s.Err(), f.Truncate(size)); err != nil {
		return err
	}
	_, err = f.Seek(size, 0)
	return err
}

func (t *timesFile) add(v Times) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = t.file.Write(append(data, '\n'))
	return err
}

func (t *timesFile) read() ([]byte, error) {
	name := t.file.Name()
	t.close()
	return os.ReadFile(name)
}

// close closes the file; more than once is no harm.
func (t *timesFile) close() {
	if t.file != nil {
		t.file.Close() // it is read for its own sake: nothing else depends on it
		t.file = nil
	}
}
