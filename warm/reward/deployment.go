package reward

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/warm"
)

// Mode says which weights a deployment holds, and so what it can answer.
type Mode string

const (
	ModeWA   Mode = "wa"   // the weight average alone: the cost of one model
	ModeEns  Mode = "ens"  // every member, whose scores are aggregated
	ModeBoth Mode = "both" // the average and every member
	// ModeMember and a member's name is that member alone.
	ModeMember Mode = "member:"
)

// Member is one checkpoint of a deployment.
type Member struct {
	Name   string  // "" is the last element of Dir
	Dir    string  // a Hugging Face checkpoint directory
	Weight float64 // in the average, relative to the others'; all 0 for equal weights
	// Calibration, when not nil, makes z-scores of the member's rewards before
	// an ensemble aggregates them.
	Calibration *warm.Calibration
}

// Config says what a deployment is made of.
type Config struct {
	Members     []Member
	Mode        Mode     // "" is ModeWA
	Base        string   // directory of the shared initialisation θ₀; "" for none
	Alpha       *float64 // distance from Base; nil is 1, which needs no base
	Extrapolate bool     // negative weights and an Alpha outside [0, 1] are meant
	Ignore      []string // what the members may differ in: see [warm.Options]
	DType       kernel.DType
	Pooling     model.Pooling // "" is the checkpoint's own, else its class's, else model.PoolHF
	Ending      model.Ending  // "" is the checkpoint's own, else its class's, else model.EndAsIs
	DoubleBOS   bool          // a template's text gets the tokenizer's special tokens, and two BOS stay
	Head        string        // the score head's tensors, where the files do not tell: see [model.Settings]
	Output      string        // how its outputs become the reward; "" is the checkpoint's own, else its class's
	MaxTokens   int           // of a sequence; 0 is the model's context

	// Engine takes the weights to its device; nil is the CPU.
	Engine model.Engine

	// Open opens the checkpoint of a Dir or of Base; nil is [loader.Open].
	Open func(dir string) (*loader.Checkpoint, error)

	// Progress is told what is being done and how much of it, in [0, 1]; may be nil.
	Progress func(what string, share float64)
}

// head is what is said of the score head of the checkpoint in dir.
func (c *Config) head(dir string) model.Settings {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return model.Settings{Head: c.Head, Output: c.Output, Path: dir}
}

// Deployment is a loaded reward model: immutable and safe for concurrent use.
type Deployment struct {
	*Encoder
	Mode     Mode
	Revision string // "sha256:…", of all that decides a reward
	DType    kernel.DType
	Created  time.Time
	LoadTime time.Duration
	Times    []model.LoadTime // of the first model, where its device tells
	Warnings []string         // what is allowed and yet probably a mistake

	members []Member
	average model.Model   // nil unless wa or both
	models  []model.Model // of the members; nil where not loaded
	unlike  string        // a member whose head has other outputs than the first's; "" for none

	calibrations []warm.Calibration // of the members; nil unless all are loaded and have one
}

// Open loads a deployment. Workers is the number of tensors read at a time. Once
// ctx has ended Open returns its cause within the time of a piece of the work: a
// member's small files, or some megabytes of its weights.
func Open(ctx context.Context, c Config, workers int) (*Deployment, error) {
	if c.Mode == "" {
		c.Mode = ModeWA
	}
	if c.Engine == nil {
		c.Engine = model.CPU{} // which needs no worker of its own to load
	}
	d := &Deployment{Mode: c.Mode, DType: c.DType, Created: time.Now(), members: slices.Clone(c.Members)}
	if err := nameMembers(d.members); err != nil {
		return nil, err
	}
	only := strings.TrimPrefix(string(c.Mode), string(ModeMember)) // a member's name, or the mode
	if m := slices.IndexFunc(d.members,
		func(m Member) bool { return m.Name == only }); strings.HasPrefix(string(c.Mode),
		string(ModeMember)) {
		if m < 0 {
			return nil, fmt.Errorf("mode %q: no member has that name", c.Mode)
		}
		d.members = d.members[m : m+1]
	} else if !slices.Contains([]Mode{ModeWA, ModeEns, ModeBoth}, c.Mode) {
		return nil, fmt.Errorf("mode %q: want wa, ens, both or member:NAME", c.Mode)
	}
	if path, ok := strings.CutPrefix(d.members[0].Dir, RandomPrefix); ok {
		if err := openRandom(ctx, d, c, path, workers); err != nil {
			d.Close()
			return nil, err
		}
		return d, nil
	}
	if c.Open == nil {
		c.Open = loader.Open
	}
	open, err := openAll(ctx, d.members, c)
	defer open.close()
	if err != nil {
		return nil, err
	}
	l := &loading{config: c, workers: workers, open: open, d: d, interrupt: interruptOf(ctx)}
	if err := l.run(); err != nil {
		d.Close()
		return nil, err
	}
	d.seal(open.checkpoints[0].ChatTemplate)
	return d, nil
}

// seal names the revision, at the end of loading.
func (d *Deployment) seal(template string) {
	for i, m := range d.members {
		if m.Calibration == nil || d.models[i] == nil {
			d.calibrations = nil
			break
		}
		d.calibrations = append(d.calibrations, *m.Calibration)
	}
	d.shorten()
	d.Revision = d.revision(template)
	d.LoadTime = time.Since(d.Created)
	if all := d.loaded(); len(all) > 0 {
		if t, ok := all[0].(model.Timed); ok {
			d.Times = t.Times()
		}
	}
}

// shorten makes the context one that the device has room for. As it decides how long texts are
// cut, and so their rewards, it is in the revision, as is one that is set.
func (d *Deployment) shorten() {
	longest := d.Context
	for _, m := range d.loaded() {
		longest = min(longest, m.Longest())
	}
	if longest < d.Context {
		d.Warnings = append(d.Warnings, fmt.Sprintf("the device takes %d tokens of a text, the context is %d: "+
			"longer ones are cut or refused, as with max_tokens; the CPU takes them all", longest, d.Context))
		d.Context = longest
	}
}

// nameMembers fills in missing names and refuses doubled ones.
func nameMembers(members []Member) error {
	if len(members) == 0 {
		return errors.New("no checkpoint directory")
	}
	seen := map[string]string{}
	for i := range members {
		m := &members[i]
		if m.Name == "" {
			abs, err := filepath.Abs(m.Dir)
			if err != nil {
				return err
			}
			m.Name = filepath.Base(abs)
		}
		if other, ok := seen[m.Name]; ok {
			return fmt.Errorf("two members are called %q (%s and %s): name them apart", m.Name, other, m.Dir)
		}
		seen[m.Name] = m.Dir
	}
	return nil
}

// Members returns the members, named.
func (d *Deployment) Members() []Member { return d.members }

// Config returns the configuration of the first member, whose architecture is
// that of the average.
func (d *Deployment) Config() *model.Config { return d.config }

// Average returns the weight average, nil when it is not loaded.
func (d *Deployment) Average() model.Model { return d.average }

// Member returns the i-th member's model, nil when it is not loaded.
func (d *Deployment) Member(i int) model.Model { return d.models[i] }

// Calibrated reports whether an ensemble's rewards are made of its members' z-scores.
func (d *Deployment) Calibrated() bool { return d.calibrations != nil }

// Aggregate makes the ensemble's reward of its members', and returns their
// spread. how and lambda are as in [warm.ParseEnsemble].
func (d *Deployment) Aggregate(members []float32, how string, lambda float64) (reward, std float64,
	err error) {
	e, err := warm.ParseEnsemble(how, lambda)
	if err != nil {
		return 0, 0, err
	}
	e.Calibration = d.calibrations
	return e.Reward(members)
}

// Bytes returns the memory of all packed weights.
func (d *Deployment) Bytes() int {
	n := 0
	for _, m := range d.loaded() {
		n += m.Bytes()
	}
	return n
}

// HugePages moves the weights to huge pages where they lie in the processor's memory, and
// returns how many bytes of them lie there: see [model.HugePaged].
func (d *Deployment) HugePages(ctx context.Context) int {
	n := 0
	for _, m := range d.loaded() {
		if h, ok := m.(model.HugePaged); ok {
			n += h.HugePages(ctx)
		}
	}
	return n
}

// Close gives the device's memory back: see [model.Model].
func (d *Deployment) Close() {
	for _, m := range d.loaded() {
		m.Close()
	}
}

// loaded are the models of the deployment, the average first.
func (d *Deployment) loaded() (all []model.Model) {
	for _, m := range append([]model.Model{d.average}, d.models...) {
		if m != nil {
			all = append(all, m)
		}
	}
	return all
}
