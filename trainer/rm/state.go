package rm

import (
	"context"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/state"
)

// about is what a run knows besides its tensors.
type about struct {
	state.Head
	Probed *Score `json:"probed,omitempty"`
}

// About implements [state.Trainer].
func (r *run) About() (any, *state.Head) { return &r.about, &r.about.Head }

// Tensors implements [state.Trainer]: weights, the optimiser's moments and the moving average.
func (r *run) Tensors(f func(name string, shape []int, values []float32) error) error {
	if err := state.EachWeight(r.learner.Params(), f); err != nil {
		return err
	}
	if err := r.opt.State(f); err != nil || r.ema == nil {
		return err
	}
	return r.ema.State(func(name string, shape []int, values []float32) error { return f("ema."+name, shape, values) })
}

// Resume implements [state.Trainer].
func (r *run) Resume(s *state.Saved) error {
	if err := r.average(); err != nil {
		return err
	}
	if err := s.Fill(r.Tensors); err != nil {
		return err
	}
	r.opt.Resume(r.about.Step)
	r.learner.Refresh()
	return nil
}

// Finish implements [state.Trainer].
func (r *run) Finish(ctx context.Context) (map[string][]byte, error) {
	if r.ema != nil { // the average is the result: it takes the weights' place
		ctx = context.WithoutCancel(ctx) // a state holds what the average replaces
		averaged := map[string][]float32{}
		if err := r.ema.State(func(name string, _ []int, v []float32) error { averaged[name] = v; return nil }); err != nil {
			return nil, err
		}
		for _, p := range r.learner.Params() {
			copy(p.Data, averaged[p.Name])
		}
		r.learner.Refresh()
	}
	r.result = Result{
		Run: r.ID, Config: r.config, Hashes: r.data.hashes, Base: r.base.Checkpoint.Hash(), Steps: r.about.Step, Tokens: r.about.Tokens,
		Pairs: len(r.data.train), Drop: r.data.Dropped, Probed: r.about.Probed,
	}
	if len(r.data.test) > 0 {
		var err error
		if r.result.Test, err = r.evaluate(ctx); err != nil {
			return nil, err
		}
		if err := r.Metrics.Add(line{Step: r.about.Step, Test: r.result.Test}); err != nil { // where the curves end
			return nil, err
		}
		r.report(Progress{Test: r.result.Test})
	}
	beside := card(r.base.parsed)
	if r.lora == nil {
		return beside, nil
	}
	base, err := r.adapterBase()
	if err != nil {
		return nil, err
	}
	return beside, r.saveAdapter(base)
}

// Contents implements [state.Trainer].
func (r *run) Contents() loader.Contents { return r.base.contents(state.NewWeights(r.t.Params())) }
