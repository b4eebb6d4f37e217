package warm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/warmserve/warmserve/loader"
)

// Member is one checkpoint of an average.
type Member struct {
	Name       string // unique; the checkpoint's directory when empty
	Checkpoint *loader.Checkpoint
	Weight     float64 // relative to the other members'; all zero means equal weights
}

// Options change what NewAverage computes. The zero value is the plain average.
type Options struct {
	// Alpha scales the distance from Base: θ₀ + α·(mean − θ₀). Nil means 1, which needs no base. In [0, 1]
	// unless Extrapolate is set; 0 is the base itself.
	Alpha *float64

	// Base is θ₀, the initialisation that the members share, as a reward model with the same
	// tensors (that is, with the probed head they all started from). Required when Alpha is not 1;
	// with 1 it is compared and not read.
	Base *loader.Checkpoint

	// Extrapolate allows negative weights and an Alpha outside of [0, 1].
	Extrapolate bool

	// Ignore names what members may differ in, because it changes no score or because the caller
	// answers for it: fields of config.json, roles of special tokens such as pad_token, "tokenizer"
	// and "chat_template". The first member's by name hold.
	Ignore []string

	// Interrupt is asked between the members, and between pieces of what is compared: its error
	// ends the work and is returned as it is. May be nil.
	Interrupt func() error
}

// Errors of NewAverage and Interpolate, besides [IncompatibleError].
var (
	// ErrNoMembers is returned for an average of nothing.
	ErrNoMembers = errors.New("no members")
	// ErrMemberName is returned when two members have one name.
	ErrMemberName = errors.New("members need different names")
	// ErrWeight is returned for weights that cannot be normalised, or would extrapolate without
	// being asked to.
	ErrWeight = errors.New("weights")
	// ErrAlpha is returned for an alpha that is not finite, or extrapolates without being asked to.
	ErrAlpha = errors.New("alpha")
	// ErrBase is returned when alpha needs a base and there is none.
	ErrBase = errors.New("base")
	// ErrIgnore is returned for a name to be ignored that nothing has.
	ErrIgnore = errors.New("ignore")
)

// Average is a weight average of open checkpoints, which must stay open as long as it is read. It
// has the methods of a checkpoint, and is safe for concurrent use.
type Average struct {
	first    *loader.Checkpoint // the first member by name, for everything that is not a tensor
	config   []byte
	names    []string
	skipped  []string
	warnings []Warning
	tensors  map[string]*averaged
	terms    []term // those with a coefficient other than 0
	coefs    []float64
	divisor  float64
	record   Record
	sources  []*loader.Checkpoint // of the record's members
	scratch  sync.Pool            // of *scratch
}

// term is one summand: coef times the checkpoint's tensors.
type term struct {
	coef       float64
	checkpoint *loader.Checkpoint
}

// averaged is what is known about one tensor: where each term's values lie, nil where they need converting.
type averaged struct {
	shape    []int
	elements int
	views    [][]float32
}

// scratch is one reader's memory.
type scratch struct {
	columns [][]float32
	buffers [][]float32 // of convertBlock elements for the terms that need converting; nil for the others
}

// convertBlock is how many elements of a term are converted to float32 at a time: 16 KiB a member.
const convertBlock = 4096

// NewAverage checks that the members may be averaged and prepares the average, without reading the
// tensors (but for some bytes of each, to find members that are listed twice). An
// [IncompatibleError] holds every reason against it.
func NewAverage(members []Member, opts Options) (*Average, error) {
	if opts.Interrupt == nil {
		opts.Interrupt = never
	}
	members, err := named(members)
	if err != nil {
		return nil, fmt.Errorf("average: %w", err)
	}
	weights, equal, err := normalise(members, opts.Extrapolate)
	if err != nil {
		return nil, fmt.Errorf("average: %w", err)
	}
	alpha, err := opts.alpha()
	if err != nil {
		return nil, fmt.Errorf("average: %w", err)
	}
	divisor := 1.0
	if equal && alpha == 1 {
		divisor = float64(len(members))
	}
	var terms []term
	for i, m := range members {
		terms = append(terms, term{alpha * weights[i], m.Checkpoint})
		if divisor != 1 {
			terms[i].coef = 1 // The products are left out, and one division follows the sum.
		}
	}
	a, err := newAverage(members, opts.Base, append(terms, term{1 - alpha, opts.Base}), divisor, opts)
	if err != nil {
		return nil, err
	}
	a.record = Record{Alpha: alpha, Ignored: opts.Ignore}
	a.sources = nil
	for i, m := range members {
		a.record.Members = append(a.record.Members, RecordMember{Name: m.Name, Weight: weights[i]})
		a.sources = append(a.sources, m.Checkpoint)
	}
	if opts.Base != nil && alpha != 1 {
		a.record.Base = &RecordMember{Name: opts.Base.Dir, Weight: 1 - alpha}
		a.sources = append(a.sources, opts.Base)
	}
	return a, nil
}

// Interpolate returns (1−λ)·a + λ·b for λ in [0, 1]; 0 is a and 1 is b, to the bit.
func Interpolate(a, b *loader.Checkpoint, lambda float64) (*Average, error) {
	if !(lambda >= 0 && lambda <= 1) {
		return nil, fmt.Errorf("interpolate: %w: λ is %v, want [0, 1]; NewAverage can extrapolate",
			ErrWeight, lambda)
	}
	members := []Member{{Name: "a: " + a.Dir, Checkpoint: a}, {Name: "b: " + b.Dir, Checkpoint: b}}
	out, err := newAverage(members, nil, []term{{1 - lambda, a}, {lambda, b}}, 1, Options{Interrupt: never})
	if err != nil {
		return nil, err
	}
	out.record = Record{Alpha: 1,
		Members: []RecordMember{{Name: a.Dir, Weight: 1 - lambda}, {Name: b.Dir, Weight: lambda}}}
	out.sources = []*loader.Checkpoint{a, b}
	return out, nil
}

// never interrupts nothing.
func never() error { return nil }

// newAverage does the work for terms whose coefficients are known. base may be nil.
func newAverage(members []Member, base *loader.Checkpoint, terms []term, divisor float64,
	opts Options) (*Average, error) {
	compared, err := checkMembers(members, base, opts.Ignore, opts.Interrupt)
	if err != nil {
		return nil, err
	}
	names := compared.names
	a := &Average{
		first: members[0].Checkpoint, config: members[0].Checkpoint.Config, names: names,
		skipped: compared.skipped,
		tensors: make(map[string]*averaged, len(names)), divisor: divisor,
	}
	// A coefficient of 0 leaves its term out: 0·x would turn an infinity into a NaN and −0 into 0.
	a.terms = slices.DeleteFunc(terms, func(t term) bool { return t.coef == 0 })
	for _, t := range a.terms {
		a.coefs = append(a.coefs, t.coef)
	}
	for _, r := range compared.ignored {
		a.warnings = append(a.warnings,
			Warning{Kind: WarnIgnored, Members: []string{r.Member, r.Against}, Detail: r.Detail})
	}
	for _, name := range names {
		shape, _ := a.first.Shape(name)
		t := &averaged{shape: shape, elements: loader.Elements(a.first, name), views: make([][]float32, len(a.terms))}
		for i := range a.terms {
			if v, ok := a.terms[i].checkpoint.View(name); ok {
				t.views[i] = v
			}
		}
		a.tensors[name] = t
	}
	if len(members) > 1 {
		if err := a.dropNormalisation(members); err != nil {
			return nil, fmt.Errorf("average: %w", err)
		}
		twice, err := duplicates(members, names, opts.Interrupt)
		if stop := opts.Interrupt(); stop != nil {
			return nil, stop
		}
		if err != nil {
			return nil, fmt.Errorf("average: %w", err)
		}
		a.warnings = append(a.warnings, twice...)
	}
	return a, nil
}

// named returns the members sorted by name, so that the order in which they are listed shows nowhere.
func named(members []Member) ([]Member, error) {
	if len(members) == 0 {
		return nil, ErrNoMembers
	}
	members = slices.Clone(members)
	for i := range members {
		if members[i].Checkpoint == nil {
			return nil, fmt.Errorf("member %q: %w: it has no checkpoint", members[i].Name, ErrNoMembers)
		}
		if members[i].Name == "" {
			members[i].Name = members[i].Checkpoint.Dir
		}
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(members); i++ {
		if members[i].Name == members[i-1].Name {
			return nil, fmt.Errorf("%w: two are called %q", ErrMemberName, members[i].Name)
		}
	}
	return members, nil
}

// Names returns the names of the averaged tensors, sorted; it is read-only.
func (a *Average) Names() []string { return a.names }

// Skipped returns the members' tensors that are not parameters and therefore left out; it is read-only.
func (a *Average) Skipped() []string { return a.skipped }

// Warnings returns what is suspicious but allowed; it is read-only.
func (a *Average) Warnings() []Warning { return a.warnings }

// Config returns the first member's config.json, without OpenRLHF's mean and std when there are
// several members: the normalisation of members is not that of their average.
func (a *Average) Config() []byte { return a.config }

// Tokenizer returns the members' tokenizer.json, nil when they have none.
func (a *Average) Tokenizer() []byte { return a.first.Tokenizer }

// TokenizerConfig returns the first member's tokenizer_config.json, nil when it has none.
func (a *Average) TokenizerConfig() []byte { return a.first.TokenizerConfig }

// SpecialTokensMap returns the first member's special_tokens_map.json, nil when it has none.
func (a *Average) SpecialTokensMap() []byte { return a.first.SpecialTokensMap }

// ChatTemplate returns the members' chat template, "" when they have none.
func (a *Average) ChatTemplate() string { return a.first.ChatTemplate }

// Files returns what [loader.Save] needs to write the average, without a record of what
// it is made of, and so without reading the members.
func (a *Average) Files() loader.Contents {
	c := a.first.Contents()
	c.Config, c.Source = a.config, a
	return c
}

// Contents returns what [loader.Save] needs to write the average in float32, with a record of what
// it is made of, for which the members are read once to hash them.
func (a *Average) Contents() (loader.Contents, error) {
	extra, err := a.describe()
	if err != nil {
		return loader.Contents{}, fmt.Errorf("average: %w", err)
	}
	c := a.Files()
	c.Extra = extra
	return c, nil
}

// CheckFinite reads the members' tensors and names each NaN and infinity by its member: the way to
// find whose value made the average one.
func (a *Average) CheckFinite() error {
	var errs []error
	for _, c := range a.sources {
		if err := loader.CheckFinite(c, nil); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Dir, err))
		}
	}
	return errors.Join(errs...)
}

// Shape returns the shape of a tensor; it is read-only.
func (a *Average) Shape(name string) (shape []int, ok bool) {
	t, ok := a.tensors[name]
	if !ok {
		return nil, false
	}
	return t.shape, true
}

// Prefetch asks the kernel to read a tensor of every member ahead, without waiting for it.
func (a *Average) Prefetch(name string) {
	for _, t := range a.terms {
		t.checkpoint.Prefetch(name)
	}
}

// Release gives the members' memory behind a tensor back until it is read again.
func (a *Average) Release(name string) {
	for _, t := range a.terms {
		t.checkpoint.Release(name)
	}
}

// ReadAt computes the elements [offset, offset+len(dst)) of a tensor in row-major order. It is safe
// for concurrent use, so that the caller spreads tensors or pieces of them over goroutines; the
// values do not depend on the pieces. It allocates nothing once it is warm.
func (a *Average) ReadAt(dst []float32, name string, offset int) error {
	t, ok := a.tensors[name]
	if !ok {
		return fmt.Errorf("average: tensor %q: %w", name, loader.ErrNoTensor)
	}
	if offset < 0 || offset > t.elements || len(dst) > t.elements-offset {
		return fmt.Errorf("average: tensor %q: elements [%d, %d) of %d", name, offset, offset+
			len(dst), t.elements)
	}
	if len(a.terms) == 1 && a.coefs[0] == 1 {
		return a.terms[0].checkpoint.ReadAt(dst, name, offset) // Even the bits of a NaN stay.
	}
	s, _ := a.scratch.Get().(*scratch)
	if s == nil {
		s = &scratch{columns: make([][]float32, len(a.terms)), buffers: make([][]float32, len(a.terms))}
	}
	defer a.scratch.Put(s)
	block := len(dst)
	for i, v := range t.views {
		if v == nil {
			block = min(block, convertBlock)
			if s.buffers[i] == nil {
				s.buffers[i] = make([]float32, convertBlock)
			}
		}
	}
	for at := 0; at < len(dst); at += block {
		if err := a.readBlock(dst[at:min(at+block, len(dst))], t, s, name, offset+at); err != nil {
			return fmt.Errorf("average: tensor %q: %w", name, err)
		}
	}
	return nil
}

// readBlock computes one block, converting the members that need it.
func (a *Average) readBlock(dst []float32, t *averaged, s *scratch, name string, offset int) error {
	for i, v := range t.views {
		if v != nil {
			s.columns[i] = v[offset : offset+len(dst)]
			continue
		}
		s.columns[i] = s.buffers[i][:len(dst)]
		if err := a.terms[i].checkpoint.ReadAt(s.columns[i], name, offset); err != nil {
			return err
		}
	}
	return loader.Guard(func() error {
		combine(dst, s.columns, a.coefs, a.divisor)
		return nil
	})
}
