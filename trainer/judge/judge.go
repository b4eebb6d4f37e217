package judge

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/trainer/rm"
	"github.com/warmserve/warmserve/warm"
	"github.com/warmserve/warmserve/warm/reward"
)

// Test is what to judge models on.
type Test struct {
	Files     []string
	Holdout   string // of the files, the pairs to take; "" for all
	Votes     rm.Votes
	SplitSeed uint64 // as in Config
	// Read says how checkpoints are read, of which nothing else counts: head, output,
	// pooling, ending and the longest sequence.
	Read     reward.Config
	DropLong bool
	SkipBad  bool
	// Tolerance is the largest difference in length, relative to the longer
	// answer, of the pairs of the length-matched accuracy; 0 is 0.1.
	Tolerance float64
	// Baseline are files that a bag of words learns from, for comparison; the
	// pairs that Holdout takes from Files are left out where the two overlap.
	Baseline []string
	Workers  int
	// Engine computes; nil is the CPU with Workers. It stays the caller's.
	Engine model.Engine
	// Open opens a checkpoint; nil is [loader.Open].
	Open func(dir string) (*loader.Checkpoint, error)
	// Say is told what was left out or cut; may be nil.
	Say func(message string)
	// Progress is told how many pairs or answers a model has scored, of how many; calls
	// do not overlap. May be nil.
	Progress func(model string, done, of int)
}

// told tells Progress.
func (t *Test) told(model string, done, of int) {
	if t.Progress != nil {
		t.Progress(model, done, of)
	}
}

// judge holds the pairs and what scores them.
type judge struct {
	test   Test
	texts  []rm.Preference
	pairs  []rm.Example // of texts, in their order; nil where a server scores them
	engine model.Engine
	groups []string // of each text, as clusters; nil when pairs are independent
	// matched are the texts whose answers are about equally long.
	matched []int
}

// Checkpoints measures checkpoints on preference pairs, alone, as weight average and as
// ensemble. All read text as the first one does.
func Checkpoints(ctx context.Context, dirs []string, t Test) (*Report, error) {
	b, err := t.openFirst(dirs)
	if err != nil {
		return nil, err
	}
	defer b.Checkpoint.Close()
	j, err := newJudge(t)
	if err != nil {
		return nil, err
	}
	d := &rm.Dataset{}
	if j.texts, j.pairs, err = t.encode(b, j.texts, d); err != nil {
		return nil, err
	}
	engine, done := t.engine()
	defer done()
	j.engine = engine
	r, err := j.begin(d.Dropped)
	if err != nil {
		return nil, err
	}
	if err := j.run(ctx, r, dirs); err != nil {
		return nil, err
	}
	return r, j.finish(r)
}

// openFirst opens the first checkpoint, whose way of reading text is that of all, and settles Open. Close its checkpoint.
func (t *Test) openFirst(dirs []string) (*rm.Base, error) {
	if len(dirs) == 0 {
		return nil, errors.New("no checkpoint directory")
	}
	if t.Open == nil {
		t.Open = loader.Open
	}
	first, err := t.Open(dirs[0])
	if err != nil {
		return nil, err
	}
	return rm.ReadBase(first, t.Read)
}

// engine returns what computes, and what lets it go.
func (t *Test) engine() (e model.Engine, done func()) {
	if t.Engine != nil {
		return t.Engine, func() {}
	}
	e = model.NewEngine(t.Workers)
	return e, e.Close
}

// computedOn says what computes, and in which number format; "" for the CPU in float32.
func computedOn(e model.Engine) string {
	if _, ok := e.(model.CPU); ok {
		return ""
	}
	return e.Device() + ", " + e.DTypes()[0].String()
}

// newJudge reads the pairs.
func newJudge(t Test) (*judge, error) {
	if t.Tolerance == 0 {
		t.Tolerance = 0.1
	}
	_, texts, err := t.divided(t.Files)
	return &judge{test: t, texts: texts}, err
}

// settings are those of a run that reads the same data.
func (t Test) settings() rm.Config {
	c := rm.Config{Votes: t.Votes, SplitSeed: t.SplitSeed, DropLong: t.DropLong,
		SkipBad: t.SkipBad}.WithDefaults()
	if t.Say != nil {
		c.Progress = func(p rm.Progress) { t.Say(p.Message) }
	}
	return c
}

// divided reads the pairs of files that may be learned from, and those to judge on: all of them
// without Holdout.
func (t Test) divided(files []string) (learn, test []rm.Preference, err error) {
	c := t.settings()
	pairs, err := c.ReadAll(files)
	if err != nil || t.Holdout == "" {
		return pairs, pairs, err
	}
	holdout, err := rm.ParseHoldout(t.Holdout)
	if err != nil {
		return nil, nil, err
	}
	return holdout.Split(pairs, t.SplitSeed)
}

// encode returns the pairs that fit the context, as texts and as tokens.
func (t Test) encode(b *rm.Base, pairs []rm.Preference, d *rm.Dataset) ([]rm.Preference, []rm.Example,
	error) {
	c := t.settings()
	out, texts, err := c.Encode(b.Encoder, pairs, d)
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("no pair to judge on in %v", t.Files)
	}
	if d.Cut > 0 {
		c.Say("%d answers do not fit the context with their prompt, which loses its left", d.Cut)
	}
	return texts, out, err
}

// words judges a bag of words that learned from the baseline's files.
func (j *judge) words() (*Judged, error) {
	pairs, _, err := j.test.divided(j.test.Baseline)
	if err != nil {
		return nil, err
	}
	b, err := newBagOfWords(pairs)
	if err != nil {
		return nil, err
	}
	chosen, rejected := make([]float64, len(j.texts)), make([]float64, len(j.texts))
	for i, p := range j.texts {
		chosen[i], rejected[i] = b.score(rm.TextKey(p.Chosen)), b.score(rm.TextKey(p.Rejected))
	}
	return j.judged(NameWords, chosen, rejected)
}

// run judges every member, their ensemble and their weight average.
func (j *judge) run(ctx context.Context, r *Report, dirs []string) error {
	n := len(j.pairs)
	score := func(name, dir string, config []byte, src model.Source) ([]float64, error) {
		m, err := j.test.load(dir, config, src, j.engine)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		const part = 256 // pairs between two words of progress
		var chosen, rejected []float64
		for some := range slices.Chunk(j.pairs, part) {
			j.test.told(name, len(chosen), n)
			c, r, err := rm.ScorePairs(ctx, j.engine, m, some)
			if err != nil {
				return nil, err
			}
			chosen, rejected = append(chosen, c...), append(rejected, r...)
		}
		j.test.told(name, n, n)
		return slices.Concat(chosen, rejected), nil
	}
	return j.test.scoreModels(ctx, dirs, score, func(is role, name string, rewards []float64) error {
		one, err := j.judged(name, rewards[:n], rewards[n:])
		if err != nil {
			return err
		}
		r.add(is, one)
		return nil
	})
}

// role is what a scored model is among the others.
type role uint8

const (
	isMember role = iota
	isEns
	isWA
)

// add puts a judged model in its place.
func (r *Report) add(is role, one *Judged) {
	switch is {
	case isEns:
		r.Ens = one
	case isWA:
		r.WA = one
	default:
		r.Members = append(r.Members, *one)
	}
}

// scoreModels scores every checkpoint and, where there are several, what becomes of them: the ensemble,
// which is the mean of their rewards, and the weight average. each is given the rewards of one, by its
// name, in that order.
func (t Test) scoreModels(ctx context.Context, dirs []string,
	score func(name, dir string, config []byte, src model.Source) ([]float64, error),
	each func(is role, name string, rewards []float64) error) error {
	var members []warm.Member
	defer func() {
		for _, m := range members {
			m.Checkpoint.Close()
		}
	}()
	var ens []float64
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		ckpt, err := t.Open(dir)
		if err != nil {
			return err
		}
		members = append(members, warm.Member{Name: dir, Checkpoint: ckpt})
		name := filepath.Base(filepath.Clean(dir))
		rewards, err := score(name, dir, ckpt.Config, ckpt)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		if ens == nil {
			ens = make([]float64, len(rewards))
		}
		for i, v := range rewards {
			ens[i] += v / float64(len(dirs))
		}
		if err := each(isMember, name, rewards); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	if len(dirs) == 1 {
		return nil
	}
	if err := each(isEns, NameEns, ens); err != nil {
		return err
	}
	average, err := warm.NewAverage(members, warm.Options{})
	if err != nil {
		return err
	}
	rewards, err := score(NameWA, dirs[0], average.Config(), average)
	if err != nil {
		return err
	}
	return each(isWA, NameWA, rewards)
}

// load makes a model of weights, of the checkpoint in dir or of an average that it is in, in the
// number format that is the device's own.
func (t Test) load(dir string, config []byte, src model.Source, e model.Engine) (model.Model, error) {
	c, _, err := reward.Resolve(dir, config, src, t.Read) // the notes are those of warm check
	if err != nil {
		return nil, err
	}
	return e.Load(c, src, model.LoadOptions{DType: e.DTypes()[0], Workers: e.Workers()})
}
