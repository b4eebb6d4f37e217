package rm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/state"
)

// Prepared is what a run learns from, as tokens, for another trainer than this package's.
type Prepared struct {
	// ID is the hash of all that decides the run: its settings, base and data, wherever
	// these lie.
	ID      string
	Base    string            // hash of the base checkpoint
	Hashes  map[string]string // of each file of data
	Pairs   []Example         // to learn from
	Probe   []int             // of Pairs, those that the score head is probed on
	Steps   int
	Dropped int // pairs that do not fit the context
	// PadTokenID is the token that batches are padded with: the model's own, or the
	// tokenizer's, or the end of text where neither has one.
	PadTokenID int32
	Head       string        // parameter of the score head
	Body       *model.Base   // nil for a base that has a score head
	Model      *model.Config // of the reward model, with PadTokenID
}

// Preparer prepares the runs of a plan. It opens, and hashes, each base once, and encodes
// pairs once for all runs that learn from the same. Close it.
type Preparer struct {
	bases map[string]*Base
	pads  map[string]int32
	data  map[string]*Dataset
}

// Close closes the bases.
func (r *Preparer) Close() error {
	var errs []error
	for _, b := range r.bases {
		errs = append(errs, b.Checkpoint.Close())
	}
	return errors.Join(errs...)
}

// Prepare reads and encodes what a run learns from, and trains nothing.
func (r *Preparer) Prepare(c Config) (*Prepared, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.WithDefaults()
	b, pad, err := r.open(c)
	if err != nil {
		return nil, err
	}
	d, err := r.load(c, b)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Base: b.Checkpoint.Hash(), Hashes: d.hashes, Pairs: d.train, PadTokenID: pad,
		Head: b.parsed.HeadParameter(), Body: b.body, Model: b.parsed, Dropped: d.Dropped}
	order := state.Order{N: len(p.Pairs), Batch: c.Batch, Seed: nn.Mix(c.DataSeed, seedOrder)}
	p.Steps = order.Steps(c.Epochs, c.Steps)
	p.Probe = order.Epoch(0)[:min(c.Probe, len(p.Pairs))]
	p.ID, err = c.identity(p)
	return p, err
}

// open opens a run's base, whose encoder goes by the token that batches are padded with.
func (r *Preparer) open(c Config) (*Base, int32, error) {
	key := fmt.Sprintf("%q %q %d", c.Base, c.Pooling, c.MaxTokens)
	if b := r.bases[key]; b != nil {
		return b, r.pads[key], nil
	}
	b, err := c.openBase()
	if err != nil {
		return nil, 0, err
	}
	pad, err := b.padding()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("%s: %w", c.Base, err), b.Checkpoint.Close())
	}
	b.parsed.PadTokenID = &pad
	if r.bases == nil {
		r.bases, r.pads, r.data = map[string]*Base{}, map[string]int32{}, map[string]*Dataset{}
	}
	r.bases[key], r.pads[key] = b, pad
	return b, pad, nil
}

// load reads and encodes a run's pairs.
func (r *Preparer) load(c Config, b *Base) (*Dataset, error) {
	key, err := state.Hash(Config{Base: c.Base, Pooling: c.Pooling, Train: c.Train, Test: c.Test,
		Holdout: c.Holdout, Votes: c.Votes, MaxPairs: c.MaxPairs, Corrupt: c.Corrupt,
		CorruptSeed: c.CorruptSeed, MaxTokens: c.MaxTokens, DropLong: c.DropLong, SkipBad: c.SkipBad,
		SplitSeed: c.SplitSeed})
	if err != nil || r.data[key] != nil {
		return r.data[key], err
	}
	d, err := c.load(b.Encoder)
	if err == nil {
		r.data[key] = d
	}
	return d, err
}

// identity hashes the settings without places, the base and the data in their order.
func (c Config) identity(p *Prepared) (string, error) {
	more := [][]byte{[]byte("\n" + p.Base)}
	for _, file := range slices.Concat(c.Train, c.Test) {
		more = append(more, []byte("\n"+p.Hashes[file]))
	}
	c.Base, c.Train, c.Test = "", nil, nil
	return state.Hash(c, more...)
}

// padding returns the id of the token that batches are padded with.
func (b *Base) padding() (int32, error) {
	if id := b.parsed.PadTokenID; id != nil && *id >= 0 {
		return *id, nil
	}
	for _, role := range []string{"pad_token", "eos_token"} {
		if id, err := b.token(role); err != nil || id >= 0 {
			return id, err
		}
	}
	return -1, fmt.Errorf("there is no padding token: tokenizer_config.json names neither pad_token nor eos_token")
}

// Start is one of the initialisations that a plan's members share.
type Start struct {
	Dir string
	// Config is the run whose prepared pairs the head is probed on, and whose Base it is
	// made of.
	Config Config
}

// Starts are the initialisations of a plan, in the order in which members take them.
func (p *Plan) Starts() []Start {
	var out []Start
	for i := range p.bases() {
		out = append(out, Start{p.initDir(i), p.initConfig(i)})
	}
	return out
}

// startsThere is how many of the initialisations are there.
func (p *Plan) startsThere() (n int) {
	for i := range p.bases() {
		if _, err := os.Stat(filepath.Join(p.initDir(i), "config.json")); err == nil {
			n++
		}
	}
	return n
}

// CheckStarts refuses initialisations that are there and were made of another base or other
// pairs. It says how many are there.
func (p *Plan) CheckStarts() (there int, err error) {
	if there = p.startsThere(); there < len(p.bases()) {
		return there, nil
	}
	return there, p.checkInit()
}

// Told is what lies beside an initialisation, by its file's name: what it was made of.
func (s Start) Told(p *Prepared) (file string, content any) {
	return initFile, initTold{s.Config, p.Base, p.Hashes}
}

// WriteBase returns a directory that transformers opens as a reward model: the base's own, or
// dir, where it writes what is no directory, or has the names or layers of a reward model's body
// otherwise.
func (c Config) WriteBase(dir string) (string, error) {
	b, err := c.openBase()
	if err != nil {
		return "", err
	}
	defer b.Checkpoint.Close() // read-only: nothing can be lost
	contents := b.Checkpoint.Contents()
	_, err = os.Stat(filepath.Join(c.Base, "config.json"))
	switch named := slices.Contains(b.Checkpoint.Names(), b.parsed.HeadParameter()); {
	case b.body == nil && !named:
		return "", fmt.Errorf("%s: its score head %s has not the name that transformers gives it, %s", c.Base,
			b.parsed.HeadTensors()[0], b.parsed.HeadParameter())
	case b.body != nil && !b.body.Plain():
		contents = b.contents(b.body)
	case err == nil:
		return filepath.Abs(c.Base)
	}
	contents.Replace = true
	if err := loader.Save(dir, contents); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}
