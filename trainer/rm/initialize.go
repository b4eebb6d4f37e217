package rm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/trainer/state"
)

// Initialize writes the shared initialisations that are not there yet: the bases
// as reward models, with one score head that is probed on the first.
func (p *Plan) Initialize(ctx context.Context) (err error) {
	if p.Run.Store != nil {
		held, busy := p.holdStarts(ctx)
		if busy != nil && !errors.Is(busy, state.ErrBusy) {
			return busy
		} // else what another process writes, too, is the same to the byte, and it stores that
		defer func() {
			for _, h := range held {
				if err == nil {
					err = h.Save(ctx)
				}
				err = errors.Join(err, h.Close())
			}
		}()
	}
	if p.startsThere() == len(p.bases()) {
		if err := p.checkInit(); err == nil || !p.Run.Replace || !errors.Is(err, loader.ErrExists) {
			return err
		}
	}
	var head []float32
	for i := range p.bases() {
		c := p.initConfig(i)
		if err := c.Validate(); err != nil {
			return err
		}
		var err error
		if head, err = initialize(ctx, c, head); err != nil {
			return err
		}
	}
	return nil
}

// holdStarts takes the initialisations from the store. With an error those are returned that were
// taken before.
func (p *Plan) holdStarts(ctx context.Context) (all []state.Held, err error) {
	for i := range p.bases() {
		held, err := p.Run.Store.Hold(ctx, p.initDir(i), p.initDir(i))
		if err != nil {
			return all, err
		}
		all = append(all, held)
	}
	return all, nil
}

// initConfig is the run that makes the i-th initialisation: of the members' settings what
// decides it.
func (p *Plan) initConfig(i int) Config {
	r := &p.Run
	return Config{
		Base: p.bases()[i], Pooling: r.Pooling, Open: r.Open, Out: p.initDir(i), Replace: r.Replace,
		LR:    1e-9, // it plays no part
		Train: r.Train, Test: r.Test, Holdout: r.Holdout, Votes: r.Votes, MaxPairs: r.MaxPairs,
		Corrupt: r.Corrupt, CorruptSeed: r.CorruptSeed,
		MaxTokens: r.MaxTokens, DropLong: r.DropLong, SkipBad: r.SkipBad, TokenBudget: r.TokenBudget,
		BF16: r.BF16, DataSeed: r.DataSeed,
		SplitSeed: r.SplitSeed, Probe: r.Probe, NoProbe: r.NoProbe, Recompute: r.Recompute,
		Workers: r.Workers, Progress: r.Progress,
	}.WithDefaults()
}

// initFile tells what an initialisation was made of.
const initFile = "initialisation.json"

// initTold is what initFile holds. The first base decides the head of all.
type initTold struct {
	Config Config            `json:"config"`
	Base   string            `json:"base"`
	Hashes map[string]string `json:"data"`
}

// checkInit refuses initialisations that were made of another base or other pairs: members
// that start there would not be those of the plan.
func (p *Plan) checkInit() error {
	for i := range p.bases() {
		c := p.initConfig(i)
		text, err := os.ReadFile(filepath.Join(c.Out, initFile))
		if errors.Is(err, fs.ErrNotExist) {
			c.Say("%s does not tell what it was made of, and is taken as it is", c.Out)
			continue
		}
		if err != nil {
			return err
		}
		b, err := c.openBase()
		if err != nil {
			return err
		}
		differs, err := c.origin(b).Differences(text)
		if err = errors.Join(err, b.Checkpoint.Close()); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(c.Out, initFile), err)
		}
		if len(differs) > 0 {
			return fmt.Errorf("%s: %w: it is the start of other members (%s); name another directory, or --replace all of it", c.Out, loader.ErrExists, strings.Join(differs, "; "))
		}
	}
	return nil
}

// initialize writes one initialisation, with the given head or a probed one, and
// returns the head. It is no error when another process has written it.
func initialize(ctx context.Context, c Config, head []float32) ([]float32, error) {
	r := &run{config: c}
	defer r.close()
	var err error
	if r.base, err = c.openBase(); err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	if head != nil {
		copy(r.head().Data, head)
	} else {
		if r.base.body != nil || !c.NoProbe {
			r.say("probing the score head")
			if err := r.probe(ctx); err != nil {
				return nil, state.Interrupted(ctx, c.Out, err)
			}
		}
		head = slices.Clone(r.head().Data)
	}
	told, err := json.MarshalIndent(initTold{c, r.base.Checkpoint.Hash(), r.data.hashes}, "", "  ")
	if err != nil {
		return nil, err
	}
	contents := r.base.contents(state.NewWeights(r.t.Params()))
	contents.Replace, contents.Extra = c.Replace, map[string][]byte{initFile: append(told, '\n')}
	if err = loader.Save(c.Out, contents); err != nil && !c.Replace {
		if _, there := os.Stat(filepath.Join(c.Out, "config.json")); there == nil {
			err = nil
		}
	}
	return head, err
}
