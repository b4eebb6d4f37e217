package rm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/state"
)

// about is what a run knows besides its tensors.
type about struct {
	state.Head
	Probed *Score `json:"probed,omitempty"`
}

// tensors calls f for every tensor of the state: weights, the optimiser's
// moments and the moving average.
func (r *run) tensors(f func(name string, shape []int, values []float32) error) error {
	for _, p := range r.learning() {
		if err := f("w."+p.Name, p.Shape, p.Data); err != nil {
			return err
		}
	}
	if err := r.opt.State(f); err != nil || r.ema == nil {
		return err
	}
	return r.ema.State(func(name string, shape []int, values []float32) error { return f("ema."+name, shape, values) })
}

// identity hashes all that decides the result of the run.
func (r *run) identity() (string, error) {
	data, err := json.Marshal(r.config)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", data, r.base.Checkpoint.Hash())
	hashes, err := json.Marshal(r.data.hashes) // in the order of the names
	if err != nil {
		return "", err
	}
	h.Write(hashes)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// save writes the state in one step: a crash leaves the old one or the new.
func (r *run) save() error {
	size, err := r.metrics.Sync()
	if err != nil {
		return err
	}
	if r.about.Run, err = r.identity(); err != nil {
		return err
	}
	r.about.Metrics = size
	return state.Save(r.workDir(), r.about, r.tensors)
}

// restore puts a saved state back. It returns false when there is none.
func (r *run) restore() (bool, error) {
	id, err := r.identity()
	if err != nil {
		return false, err
	}
	var a about
	saved, err := state.Find(r.workDir(), id, &a, &a.Head)
	if saved == nil {
		return false, err
	}
	defer saved.Close()
	if err := r.average(); err != nil {
		return false, err
	}
	if err := saved.Fill(r.tensors); err != nil {
		return false, err
	}
	r.about = a
	r.opt.Resume(a.Step)
	r.refresh()
	r.say(fmt.Sprintf("going on after step %d", a.Step))
	return true, r.metrics.Create(r.workDir(), a.Metrics)
}

// finish measures the result, writes the checkpoint and removes the state.
func (r *run) finish() (*Result, error) {
	if r.ema != nil { // the average is the result: it takes the weights' place
		averaged := map[string][]float32{}
		if err := r.ema.State(func(name string, _ []int, v []float32) error { averaged[name] = v; return nil }); err != nil {
			return nil, err
		}
		for _, p := range r.learning() {
			copy(p.Data, averaged[p.Name])
		}
		r.refresh()
	}
	w := state.NewWeights(r.t.Params())
	run, err := r.identity()
	if err != nil {
		return nil, err
	}
	res := &Result{
		Run: run, Config: r.config, Hashes: r.data.hashes, Base: r.base.Checkpoint.Hash(), Steps: r.about.Step, Tokens: r.about.Tokens,
		Pairs: len(r.data.train), Drop: r.data.Dropped, Probed: r.about.Probed,
	}
	if len(r.data.test) > 0 {
		if res.Test, err = r.evaluate(); err != nil {
			return nil, err
		}
		r.report(Progress{Test: res.Test})
	}
	text, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return nil, err
	}
	lines, err := r.metrics.Read(r.workDir())
	if err != nil {
		return nil, err
	}
	table, err := state.CSV(lines)
	if err != nil {
		return nil, err
	}
	if r.lora != nil {
		base, err := r.adapterBase()
		if err == nil {
			err = r.saveAdapter(base)
		}
		if err != nil {
			return nil, err
		}
	}
	contents := r.base.contents(w)
	contents.Replace = r.config.Replace
	contents.Extra = map[string][]byte{state.ResultFile: append(text, '\n'), state.MetricsFile: lines, state.CSVFile: table}
	if err := loader.Save(r.config.Out, contents); err != nil {
		return nil, err
	}
	return res, os.RemoveAll(r.workDir())
}
