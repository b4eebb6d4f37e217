package reward

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	MaxTokens   int           // of a sequence; 0 is the model's context

	// Open opens the checkpoint of a Dir or of Base; nil is [loader.Open].
	Open func(dir string) (*loader.Checkpoint, error)

	// Progress is told what is being done and how much of it, in [0, 1]; may be nil.
	Progress func(what string, share float64)
}

// Deployment is a loaded reward model: immutable and safe for concurrent use.
type Deployment struct {
	*Encoder
	Mode     Mode
	Revision string // "sha256:…", of all that decides a reward
	DType    kernel.DType
	Created  time.Time
	LoadTime time.Duration
	Warnings []string // what is allowed and yet probably a mistake

	members []Member
	average *model.Model   // nil unless wa or both
	models  []*model.Model // of the members; nil where not loaded

	calibrations []warm.Calibration // of the members; nil unless all are loaded and have one
}

// Open loads a deployment. Workers is the number of tensors read at a time. Once
// ctx has ended Open returns its cause within the time of a piece of the work: a
// member's small files, or some megabytes of its weights.
func Open(ctx context.Context, c Config, workers int) (*Deployment, error) {
	if c.Mode == "" {
		c.Mode = ModeWA
	}
	d := &Deployment{Mode: c.Mode, DType: c.DType, Created: time.Now(), members: slices.Clone(c.Members)}
	if err := nameMembers(d.members); err != nil {
		return nil, err
	}
	only := strings.TrimPrefix(string(c.Mode), string(ModeMember)) // a member's name, or the mode
	if m := slices.IndexFunc(d.members, func(m Member) bool { return m.Name == only }); strings.HasPrefix(string(c.Mode), string(ModeMember)) {
		if m < 0 {
			return nil, fmt.Errorf("mode %q: no member has that name", c.Mode)
		}
		d.members = d.members[m : m+1]
	} else if !slices.Contains([]Mode{ModeWA, ModeEns, ModeBoth}, c.Mode) {
		return nil, fmt.Errorf("mode %q: want wa, ens, both or member:NAME", c.Mode)
	}
	if path, ok := strings.CutPrefix(d.members[0].Dir, RandomPrefix); ok {
		if err := openRandom(ctx, d, c, path, workers); err != nil {
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
	d.Revision = d.revision(template)
	d.LoadTime = time.Since(d.Created)
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
	d.models = make([]*model.Model, len(d.members))
	if l.config.Mode == ModeWA {
		return nil
	}
	for i, ckpt := range l.open.checkpoints {
		c, err := l.resolve(ckpt.Dir, ckpt.Config, ckpt)
		if err != nil {
			return err
		}
		if err := l.sharesText(c, d.models[:i]); err != nil {
			return fmt.Errorf("%s: %w", ckpt.Dir, err)
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
		members = append(members, warm.Member{Name: m.Name, Checkpoint: l.open.checkpoints[i], Weight: m.Weight})
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
			return r.Against != "" && (r.Aspect == warm.AspectConfig || r.Aspect == warm.AspectTensors || r.Aspect == warm.AspectShapes)
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
func (l *loading) sharesText(c *model.Config, before []*model.Model) error {
	e := l.d.Encoder
	switch {
	case c.VocabSize != e.config.VocabSize:
		return fmt.Errorf("vocab_size %d, the first member has %d", c.VocabSize, e.config.VocabSize)
	case (c.TypeVocab > 0) != (e.config.TypeVocab > 0):
		return fmt.Errorf("%s and %s read text differently", c.Architecture, e.config.Architecture)
	case c.Reading != e.config.Reading:
		return fmt.Errorf("%s and %s read text differently: set pooling and ending", c.Architecture, e.config.Architecture)
	case c.MaxPositions < e.Context:
		return fmt.Errorf("context of %d tokens, the ensemble's is %d: set max_tokens", c.MaxPositions, e.Context)
	}
	return nil
}

func (l *loading) load(what string, c *model.Config, src model.Source) (*model.Model, error) {
	o := model.LoadOptions{DType: l.config.DType, Workers: l.workers, Interrupt: l.interrupt}
	if p := l.config.Progress; p != nil {
		o.Progress = func(share float64) { p(what, share) }
	}
	return model.Load(c, src, o)
}

// resolve reads a configuration together with the tensors it describes, and warns where they disagree.
func (l *loading) resolve(dir string, data []byte, src model.Source) (*model.Config, error) {
	c, notes, err := model.Resolve(data, src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if zero, err := zeroHead(c, src); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	} else if zero != "" {
		notes = append(notes, zero)
	}
	if err := readAs(c, data, l.config); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
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

// revision hashes all that decides a reward: the weights before rounding, the
// number format, and how text becomes tokens.
func (d *Deployment) revision(template string) string {
	h := sha256.New()
	add := func(name string, value any) { fmt.Fprintf(h, "%s %q\n", name, fmt.Sprint(value)) }
	if d.average != nil {
		add("average", d.average.Digest())
	}
	for i, m := range d.models {
		if m != nil {
			add("member "+d.members[i].Name, m.Digest())
			if z := d.members[i].Calibration; z != nil {
				add("calibration", *z)
			}
		}
	}
	add("config", fmt.Sprintf("%+v", functionOf(d.config)))
	add("dtype", d.DType)
	add("pooling", d.Pooling)
	if d.Ending != model.EndAsIs {
		add("ending", d.Ending)
	}
	if d.DoubleBOS {
		add("double_bos", true)
	}
	add("context", d.Context)
	add("tokenizer", hex.EncodeToString(d.digests.tokenizer))
	for _, role := range slices.Sorted(maps.Keys(d.digests.special)) {
		add(role, d.digests.special[role])
	}
	add("template", hex.EncodeToString(sum([]byte(template))))
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// functionOf returns the configuration as values without pointers.
func functionOf(c *model.Config) string {
	data, err := json.Marshal(c)
	if err != nil {
		panic("reward: " + err.Error()) // plain numbers and strings
	}
	return string(data)
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

// Members returns the members, named.
func (d *Deployment) Members() []Member { return d.members }

// Config returns the configuration of the first member, whose architecture is
// that of the average.
func (d *Deployment) Config() *model.Config { return d.config }

// Average returns the weight average, nil when it is not loaded.
func (d *Deployment) Average() *model.Model { return d.average }

// Member returns the i-th member's model, nil when it is not loaded.
func (d *Deployment) Member(i int) *model.Model { return d.models[i] }

// Calibrated reports whether an ensemble's rewards are made of its members' z-scores.
func (d *Deployment) Calibrated() bool { return d.calibrations != nil }

// Aggregate makes the ensemble's reward of its members', and returns their
// spread. how and lambda are as in [warm.ParseEnsemble].
func (d *Deployment) Aggregate(members []float32, how string, lambda float64) (reward, std float64, err error) {
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
	for _, m := range append([]*model.Model{d.average}, d.models...) {
		if m != nil {
			n += m.Bytes()
		}
	}
	return n
}
