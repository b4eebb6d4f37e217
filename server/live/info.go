package live

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/api"
)

// Info is what a model says of itself: what GET /v1/models shows of it, of which
// Object and OwnedBy are not the model's to say, and what is for the server alone.
//
// The ID is the name: it is as api.CheckModelName has it, and the Revision a hash
// of all that decides a reward. The Mode is one of Modes; Members may be empty when
// Modes has neither ens nor both. ContextLength is 1 or more. Normalized says that
// an ensemble's rewards are made of its members' z-scores.
type Info struct {
	api.Model
	Memory int64  // bytes that the model takes while it is held
	Label  string // of the score, id2label["0"]; may be ""
	// Exact is the spec that makes this model again, where the one that it was
	// built from names what may change, as a branch on a hub; nil where it does not.
	Exact *api.ModelSpec
	// Sample is the share of requests in the mode wa, in [0, 1], whose ensemble
	// is scored beside them, in the background, for the metrics alone. Above 0
	// it needs the modes wa and ens.
	Sample float64
}

// Wire returns the model as GET /v1/models has it.
func (i *Info) Wire() api.Model {
	out := i.Model
	out.Object, out.OwnedBy = "model", "warmserve"
	return out
}

// Lanes lists the names of the lanes that the model's modes need.
func (i *Info) Lanes() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, mode := range i.Modes {
		if mode == api.ModeWA || mode == api.ModeBoth {
			add(api.ModeWA)
		}
		switch mode {
		case api.ModeWA:
		case api.ModeEns, api.ModeBoth:
			for _, m := range i.Members {
				add(api.ModeMember + m)
			}
		default:
			add(mode)
		}
	}
	return names
}

// check reports everything that is wrong with a model's description.
func (i *Info) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("server: model %q: "+format, append([]any{i.ID}, args...)...))
	}
	if err := api.CheckModelName(i.ID); err != nil {
		bad("%s", err.Message)
	}
	if i.ContextLength < 1 {
		bad("context length %d, want 1 or more", i.ContextLength)
	}
	if !slices.Contains(i.Modes, i.Mode) {
		bad("the default mode %q is not one of the modes %q", i.Mode, i.Modes)
	}
	i.checkSample(bad)
	for _, mode := range i.Modes {
		name, member := strings.CutPrefix(mode, api.ModeMember)
		switch {
		case mode == api.ModeWA:
		case (mode == api.ModeEns || mode == api.ModeBoth) && len(i.Members) == 0:
			bad("mode %q without members", mode)
		case mode == api.ModeEns || mode == api.ModeBoth:
		case !member:
			bad("mode %q is not one", mode)
		case !slices.Contains(i.Members, name):
			bad("mode %q names no member of %q", mode, i.Members)
		}
	}
	return errors.Join(errs...)
}

// checkSample refuses a share that is none, and one without an ensemble.
func (i *Info) checkSample(bad func(format string, args ...any)) {
	if !(i.Sample >= 0 && i.Sample <= 1) {
		bad("sample %v, want a share in [0, 1]", i.Sample)
	}
	if i.Sample > 0 && (!slices.Contains(i.Modes, api.ModeWA) || !slices.Contains(i.Modes, api.ModeEns)) {
		bad("a sample needs the modes wa and ens, there are %q", i.Modes)
	}
}
