package reward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/warm"
)

// opened is the checkpoints of a deployment while it is loaded.
type opened struct {
	checkpoints []*loader.Checkpoint
	base        *loader.Checkpoint
}

func (o *opened) close() {
	for _, c := range append(o.checkpoints, o.base) {
		if c != nil {
			c.Close()
		}
	}
}

// interruptOf asks a context, for packages whose work is arithmetic.
func interruptOf(ctx context.Context) func() error {
	return func() error { return context.Cause(ctx) }
}

func openAll(ctx context.Context, members []Member, config Config) (*opened, error) {
	o := &opened{}
	var errs []error
	for _, m := range members {
		if err := context.Cause(ctx); err != nil {
			return o, err
		}
		c, err := config.Open(m.Dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		o.checkpoints = append(o.checkpoints, c)
	}
	if config.Base != "" {
		c, err := config.Open(config.Base)
		if err != nil {
			errs = append(errs, fmt.Errorf("base: %w", err))
		}
		o.base = c
	}
	return o, errors.Join(errs...)
}

// loading is the work of Open.
type loading struct {
	config  Config
	workers int
	open    *opened
	d       *Deployment
	// interrupt says whether the deployment is still wanted.
	interrupt func() error
}

func (l *loading) run() error {
	average, err := l.combine()
	if err != nil {
		return err
	}
	d, first := l.d, l.open.checkpoints[0]
	configJSON, tensors := first.Config, model.Source(first)
	if average != nil {
		configJSON, tensors = average.Config(), average
	}
	cfg, err := l.resolve(first.Dir, configJSON, tensors)
	if err != nil {
		return err
	}
	if err := l.interrupt(); err != nil {
		return err
	}
	if d.Encoder, err = newEncoder(first, cfg, l.config); err != nil {
		return fmt.Errorf("%s: %w", first.Dir, err)
	}
	if err := checkConfigured(l.open.checkpoints); err != nil {
		return err
	}
	d.Warnings = append(d.Warnings, d.Encoder.notes...)
	if average != nil {
		if d.average, err = l.load("weight average", cfg, average); errors.Is(err, model.ErrNotFinite) {
			return cmp.Or(average.CheckFinite(), err)
		} else if err != nil {
			return err
		}
	}
	d.models = make([]model.Model, len(d.members))
	if l.config.Mode == ModeWA {
		return nil
	}
	for i, ckpt := range l.open.checkpoints {
		c, err := l.resolve(ckpt.Dir, ckpt.Config, ckpt)
		if err != nil {
			return err
		}
		if err := l.sharesText(c); err != nil {
			return fmt.Errorf("%s: %w", ckpt.Dir, err)
		}
		if !likeHeads(c, d.config) {
			d.unlike = d.members[i].Name
		}
		if d.models[i], err = l.load(d.members[i].Name, c, ckpt); err != nil {
			return fmt.Errorf("%s: %w", ckpt.Dir, err)
		}
	}
	return nil
}

// combine checks that the members go together in the deployment's mode, and
// returns their average where that is served.
func (l *loading) combine() (*warm.Average, error) {
	var members []warm.Member
	for i, m := range l.d.members {
		members = append(members,
			warm.Member{Name: m.Name, Checkpoint: l.open.checkpoints[i], Weight: m.Weight})
	}
	wants := l.config.Mode == ModeWA || l.config.Mode == ModeBoth
	o := warm.Options{Ignore: l.config.Ignore, Interrupt: l.interrupt}
	if wants {
		o.Alpha, o.Base, o.Extrapolate = l.config.Alpha, l.open.base, l.config.Extrapolate
	}
	a, err := warm.NewAverage(members, o)
	if bad := (*warm.IncompatibleError)(nil); !wants && errors.As(err, &bad) {
		// An ensemble's members may be different networks, as long as they
		// read the same text in the same way.
		rest := slices.DeleteFunc(slices.Clone(bad.Reasons), func(r warm.Reason) bool {
			return r.Against != "" &&
				(r.Aspect == warm.AspectConfig || r.Aspect == warm.AspectTensors ||
					r.Aspect == warm.AspectShapes)
		})
		if len(rest) == 0 {
			return nil, nil
		}
		return nil, &warm.IncompatibleError{Reasons: rest}
	}
	if err != nil {
		return nil, err
	}
	for _, w := range a.Warnings() {
		l.d.Warnings = append(l.d.Warnings, w.String())
	}
	if !wants {
		return nil, nil
	}
	return a, nil
}

// sharesText refuses a member of an ensemble that would need other sequences
// than the first.
func (l *loading) sharesText(c *model.Config) error {
	e := l.d.Encoder
	switch {
	case c.VocabSize != e.config.VocabSize:
		return fmt.Errorf("vocab_size %d, the first member has %d", c.VocabSize, e.config.VocabSize)
	case (c.TypeVocab > 0) != (e.config.TypeVocab > 0), c.Causal() != e.causal:
		return fmt.Errorf("%s and %s read text differently", c.Architecture, e.config.Architecture)
	case c.Reading != e.config.Reading:
		return fmt.Errorf("%s and %s read text differently: set pooling and ending", c.Architecture,
			e.config.Architecture)
	case c.Reads(1) != e.config.Reads(1):
		return fmt.Errorf("its score head reads %d tokens of a text, that of the first member %d",
			c.Reads(1), e.config.Reads(1))
	case c.MaxPositions < e.Context:
		return fmt.Errorf("context of %d tokens, the ensemble's is %d: set max_tokens",
			c.MaxPositions, e.Context)
	}
	return nil
}

// likeHeads reports whether what two heads say beside a reward is of one form.
func likeHeads(a, b *model.Config) bool {
	return a.Outputs() == b.Outputs() && a.Stepwise() == b.Stepwise() &&
		slices.Equal(a.AttributeNames(), b.AttributeNames())
}

func (l *loading) load(what string, c *model.Config, src model.Source) (model.Model, error) {
	o := model.LoadOptions{DType: l.config.DType, Workers: l.workers, Interrupt: l.interrupt}
	if p := l.config.Progress; p != nil {
		o.Progress = func(share float64) { p(what, share) }
	}
	return l.config.Engine.Load(c, src, o)
}

// resolve reads a configuration together with the tensors it describes, and warns where they disagree.
func (l *loading) resolve(dir string, data []byte, src model.Source) (*model.Config, error) {
	c, notes, err := Resolve(dir, data, src, l.config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if zero, err := zeroHead(c, src); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	} else if zero != "" {
		notes = append(notes, zero)
	}
	for _, n := range notes {
		if w := dir + ": " + n; !slices.Contains(l.d.Warnings, w) {
			l.d.Warnings = append(l.d.Warnings, w)
		}
	}
	return c, nil
}

func parseConfig(dir string, data []byte) (*model.Config, error) {
	c, err := model.ParseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return c, nil
}
