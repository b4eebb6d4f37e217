package api

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxMembers bounds the members of one model: far beyond what anyone averages.
const maxMembers = 1024

// ModelSpec is what a model is made of. A zero field is left to the server.
type ModelSpec struct {
	Members     []MemberSpec `json:"members,omitempty"`
	Weights     []float64    `json:"weights,omitempty"`    // one for each member, in place of the members' own
	Base        string       `json:"base,omitzero"`        // directory of the shared initialisation; needed when Alpha is not 1
	Alpha       *float64     `json:"alpha,omitzero"`       // distance of the average from Base; nil is 1
	Extrapolate bool         `json:"extrapolate,omitzero"` // negative weights and an Alpha outside [0, 1] are meant
	Ignore      []string     `json:"ignore,omitempty"`     // what the members may differ in: fields of config.json, special tokens, "tokenizer", "chat_template"
	Mode        string       `json:"mode,omitzero"`        // "" is wa
	DType       string       `json:"dtype,omitzero"`       // "" is float32
	Pooling     string       `json:"pooling,omitzero"`     // which token is scored; "" is the checkpoint's own
	Ending      string       `json:"ending,omitzero"`      // how the text of a conversation ends: as-is, eos or openrlhf; "" is the checkpoint's own
	DoubleBOS   bool         `json:"double_bos,omitzero"`  // the tokeniser's special tokens stand before a template's, and two BOS stay
	Head        string       `json:"head,omitzero"`        // the score head's tensors, or rows of them; "" is the one that is there
	Output      string       `json:"output,omitzero"`      // how the head's outputs become the reward; "" is the checkpoint's own
	MaxTokens   int          `json:"max_tokens,omitzero"`  // of a sequence; 0 is the model's context
	ABSample    float64      `json:"ab_sample,omitzero"`   // the share of requests in the mode wa whose ensemble is scored beside them, for the metrics; with the mode both
	Swap        string       `json:"swap,omitzero"`        // how a revision takes the place of the live one: SwapBeside, or SwapDrain; "" is SwapBeside
	Guard       *GuardSpec   `json:"guard,omitzero"`       // nil is none
	Aliases     []string     `json:"aliases,omitempty"`    // further names that requests may give the model
	Backend     *BackendSpec `json:"backend,omitzero"`     // the engine of others that computes the model; nil is the server's own
}

// How a revision takes the place of the live one.
const (
	// SwapBeside loads it beside the live one, which answers until it is exchanged.
	SwapBeside = "beside"
	// SwapDrain takes the live one out of memory first, for models of which two do not
	// fit: requests are held until the new one is live or, if it fails, the old one
	// is loaded again.
	SwapDrain = "drain"
)

// MemberSpec is one checkpoint of a model; in JSON a plain string is its Path.
type MemberSpec struct {
	Name   string   `json:"name,omitzero"` // "" is the last element of Path
	Path   string   `json:"path"`
	Weight float64  `json:"weight,omitzero"` // in the average, relative to the others'; all 0 for equal weights
	Mean   *float64 `json:"mean,omitzero"`   // of its rewards, for z-scores in an ensemble; with Std
	Std    *float64 `json:"std,omitzero"`
}

// GuardSpec refuses an average that lost what its members know: on preference
// pairs it must win, within MaxLoss points, as often as its members do on average.
type GuardSpec struct {
	Pairs   string  `json:"pairs"`             // a file of {"prompt"?, "chosen", "rejected"}, as training data has them
	MaxLoss float64 `json:"max_loss,omitzero"` // percentage points, 0 or more; below 0 asks for a gain
}

// UnmarshalJSONFrom reads a path or the full form.
func (m *MemberSpec) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*m = MemberSpec{}
	switch k := dec.PeekKind(); k {
	case '"':
		path, err := readString(dec)
		m.Path = path
		return err
	case '{':
		type plain MemberSpec
		return json.UnmarshalDecode(dec, (*plain)(m))
	default:
		return skip(dec, k, "a directory or an object")
	}
}

// Validate checks what can be known without a file. Its errors are *[Error] and
// name the first thing that is wrong.
func (s *ModelSpec) Validate() error {
	for _, check := range []func() *Error{s.checkMembers, s.checkWeights, s.checkRange, s.checkSwap, s.checkGuard, s.checkAliases, s.checkBackend} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// CheckModelName reports a name that no model may have, in requests, manifests
// and configurations alike.
func CheckModelName(name string) *Error {
	if name == "" || len(name) > 200 ||
		strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Errorf(CodeInvalidValue, "name",
			"a model's name is 1 to 200 printable ASCII characters without spaces")
	}
	return nil
}

func (s *ModelSpec) checkMembers() *Error {
	switch {
	case s.Members == nil:
		return Errorf(CodeMissingField, "members", "members is missing")
	case len(s.Members) == 0:
		return Errorf(CodeInvalidValue, "members", "members is empty")
	case len(s.Members) > maxMembers:
		return Errorf(CodeInvalidValue, "members", "%d members, at most %d", len(s.Members), maxMembers)
	}
	for i, m := range s.Members {
		at := fmt.Sprintf("members[%d]", i)
		switch {
		case m.Path == "":
			return Errorf(CodeMissingField, at+".path", "a member needs the path of its checkpoint")
		case !finite(m.Weight):
			return Errorf(CodeInvalidValue, at+".weight", "%v is not finite", m.Weight)
		case (m.Mean == nil) != (m.Std == nil):
			return Errorf(CodeMissingField, at, "mean and std go together")
		case m.Mean != nil && (!finite(*m.Mean) || !finite(*m.Std) || *m.Std <= 0):
			return Errorf(CodeInvalidValue, at,
				"mean %v and std %v, want finite numbers and std above 0", *m.Mean, *m.Std)
		}
	}
	return nil
}

func (s *ModelSpec) checkWeights() *Error {
	if s.Weights == nil {
		return nil
	}
	if len(s.Weights) != len(s.Members) {
		return Errorf(CodeInvalidValue, "weights", "%d weights for %d members", len(s.Weights),
			len(s.Members))
	}
	for i, w := range s.Weights {
		if !finite(w) {
			return Errorf(CodeInvalidValue, fmt.Sprintf("weights[%d]", i), "%v is not finite", w)
		}
		if w == 0 {
			return Errorf(CodeInvalidValue, fmt.Sprintf("weights[%d]", i),
				"0 would leave the member out: leave it out of members")
		}
		if s.Members[i].Weight != 0 {
			return Errorf(CodeConflictingFields, "weights", "member %d has a weight of its own", i)
		}
	}
	return nil
}

func (s *ModelSpec) checkSwap() *Error {
	switch s.Swap {
	case "", SwapBeside, SwapDrain:
		return nil
	}
	return Errorf(CodeInvalidValue, "swap", "%q, want %s or %s", Clip(s.Swap), SwapBeside, SwapDrain)
}

func (s *ModelSpec) checkRange() *Error {
	if !(s.ABSample >= 0 && s.ABSample <= 1) {
		return Errorf(CodeInvalidValue, "ab_sample", "%v, want a share in [0, 1]", s.ABSample)
	}
	if s.ABSample > 0 && s.Mode != ModeBoth {
		return Errorf(CodeConflictingFields, "ab_sample", "ab_sample is read only with the mode both")
	}
	switch {
	case !knownMode(s.Mode):
		return Errorf(CodeInvalidValue, "mode", "mode %s, want wa, ens, both or member:NAME", quote(s.Mode))
	case s.Alpha != nil && !finite(*s.Alpha):
		return Errorf(CodeInvalidValue, "alpha", "%v is not finite", *s.Alpha)
	case s.MaxTokens < 0:
		return Errorf(CodeInvalidValue, "max_tokens", "%d, want 1 or more", s.MaxTokens)
	}
	return nil
}

func (s *ModelSpec) checkGuard() *Error {
	switch {
	case s.Guard == nil:
	case s.Guard.Pairs == "":
		return Errorf(CodeMissingField, "guard.pairs", "a guard needs a file of preference pairs")
	case math.IsNaN(s.Guard.MaxLoss) || math.Abs(s.Guard.MaxLoss) > 100:
		return Errorf(CodeInvalidValue, "guard.max_loss", "%v, want percentage points in [-100, 100]",
			s.Guard.MaxLoss)
	case !slices.Contains([]string{"", ModeWA, ModeBoth}, s.Mode):
		return Errorf(CodeConflictingFields, "guard",
			"a guard judges the average, which the mode %s does not serve", quote(s.Mode))
	}
	return nil
}

// maxAliases bounds the further names of one model.
const maxAliases = 64

func (s *ModelSpec) checkAliases() *Error {
	if len(s.Aliases) > maxAliases {
		return Errorf(CodeInvalidValue, "aliases", "%d aliases, at most %d", len(s.Aliases), maxAliases)
	}
	for i, alias := range s.Aliases {
		at := fmt.Sprintf("aliases[%d]", i)
		if err := CheckModelName(alias); err != nil {
			return Errorf(CodeInvalidValue, at,
				"an alias is a name: 1 to 200 printable ASCII characters without spaces")
		}
		if slices.Contains(s.Aliases[:i], alias) {
			return Errorf(CodeInvalidValue, at, "%q is given twice", alias)
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Clone returns a copy of s that shares nothing with it.
func (s *ModelSpec) Clone() *ModelSpec {
	if s == nil {
		return nil
	}
	out := *s
	out.Members, out.Weights = slices.Clone(s.Members), slices.Clone(s.Weights)
	out.Ignore, out.Aliases = slices.Clone(s.Ignore), slices.Clone(s.Aliases)
	out.Alpha = clonePointer(s.Alpha)
	for i := range out.Members {
		m := &out.Members[i]
		m.Mean, m.Std = clonePointer(m.Mean), clonePointer(m.Std)
	}
	out.Guard, out.Backend = clonePointer(s.Guard), clonePointer(s.Backend)
	return &out
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// PathField is a path in a spec and where it stands there.
type PathField struct {
	Param string
	Path  *string
	File  bool // of a file of data rather than of a checkpoint
}

// Paths returns every path of s that is set.
func (s *ModelSpec) Paths() []PathField {
	var paths []PathField
	for i := range s.Members {
		paths = append(paths, PathField{Param: fmt.Sprintf("members[%d].path", i), Path: &s.Members[i].Path})
	}
	if s.Base != "" {
		paths = append(paths, PathField{Param: "base", Path: &s.Base})
	}
	if s.Backend != nil {
		paths = append(paths, PathField{Param: "backend.directory", Path: &s.Backend.Directory, File: true})
	}
	if s.Guard != nil {
		paths = append(paths, PathField{Param: "guard.pairs", Path: &s.Guard.Pairs, File: true})
	}
	return paths
}

// The states of a model, and the outcomes of a change.
const (
	StateLive    = "live"    // it answers; a load may be under way beside it
	StateLoading = "loading" // it has never been live, and is being loaded
	StateFailed  = "failed"  // it has never been live, and its last load failed
	StateTried   = "tried"   // it has never been live, and its last load was a dry run

	OutcomeLive       = "live"       // the revision went live
	OutcomeUnchanged  = "unchanged"  // the load came to the revision that was live already
	OutcomeFailed     = "failed"     // the load failed; what was live before goes on
	OutcomeRefused    = "refused"    // the guard refused the revision; what was live before goes on
	OutcomeSuperseded = "superseded" // a later change of the model took its place
	OutcomeRemoved    = "removed"    // the model was taken out of service
	OutcomeTried      = "tried"      // a dry run: the revision would have gone live
)

// ModelDetail is the body of GET /v1/models/{name}.
type ModelDetail struct {
	ID     string `json:"id"`
	Object string `json:"object"` // "model"
	State  string `json:"state"`
	*Model        // nil while the model is not live
	// Weights are the members' shares in the average, in their order; Alpha is how
	// far from its base it is, nil where it has none. Both are of the live model.
	Weights []float64 `json:"weights,omitempty"`
	Alpha   *float64  `json:"alpha,omitzero"`
	// MemoryBytes is what the live model takes.
	MemoryBytes int64 `json:"memory_bytes,omitzero"`
	// Previous is the revision before, while it still answers requests that are
	// pinned to it.
	Previous string       `json:"previous,omitzero"`
	Loads    []LoadStatus `json:"loads,omitempty"` // under way, then those that wait
	History  []ModelEvent `json:"history"`         // oldest first
	// Warning says why a change of the model would not survive a restart; "" when it would.
	Warning string `json:"warning,omitzero"`
}

// LoadStatus says how far a load is.
type LoadStatus struct {
	Cause    string  `json:"cause"`
	Asked    int64   `json:"asked"` // Unix time, seconds
	DryRun   bool    `json:"dry_run,omitzero"`
	Doing    string  `json:"doing"`    // for people
	Progress float64 `json:"progress"` // of Doing, in [0, 1]
	Settings
}

// Settings says which fields a PUT left as they were, and which went back to
// their defaults.
type Settings struct {
	Kept  []string `json:"kept,omitempty"`
	Reset []string `json:"reset,omitempty"`
}

// ModelEvent is one change of a model, or an attempt at one.
type ModelEvent struct {
	Time        int64    `json:"time"` // Unix time, seconds
	Cause       string   `json:"cause"`
	Outcome     string   `json:"outcome"`
	Revision    string   `json:"revision,omitzero"`
	LoadSeconds float64  `json:"load_seconds"`
	Members     []string `json:"members,omitempty"`
	Sources     []string `json:"sources,omitempty"` // of members that came from a hub: the name and the commit, in their order
	Error       string   `json:"error,omitzero"`    // why it failed or was refused
	DryRun      bool     `json:"dry_run,omitzero"`
	Guard       *Verdict `json:"guard,omitzero"` // nil where no guard judged
	Settings
}

// Verdict is what a guard saw. Shares are of the pairs won, in [0, 1]; losses are
// in percentage points.
type Verdict struct {
	Pairs        int          `json:"pairs"`
	Average      float64      `json:"average"`
	Interpolated float64      `json:"interpolated"` // the members', weighted as in the average
	Members      []MemberWins `json:"members"`
	Loss         float64      `json:"loss"` // of the average against Interpolated; below 0 it gains
	MaxLoss      float64      `json:"max_loss"`
}

// MemberWins is the share of the guard's pairs that one member wins.
type MemberWins struct {
	Name string  `json:"name"`
	Wins float64 `json:"wins"`
}

// Deleted is the body of DELETE /v1/models/{name}.
type Deleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"` // "model"
	Deleted bool   `json:"deleted"`
	Warning string `json:"warning,omitzero"` // why the removal would not survive a restart
}
