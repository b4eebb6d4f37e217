package live

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/api"
)

// Info describes a deployment.
type Info struct {
	Name          string // 1 to 200 bytes of printable ASCII without spaces
	Revision      string // a hash of what is served
	Mode          string // of a request that names none; one of Modes
	Modes         []string
	Members       []string // by name; may be empty when Modes has neither ens nor both
	Architecture  string
	Parameters    int64 // of one member
	Memory        int64 // bytes that the deployment takes while it is held
	ContextLength int   // the most tokens in one sequence, at least 1
	Pooling       string
	DType         string
	Normalized    bool      // the ensemble's members are calibrated: its rewards are made of z-scores
	Label         string    // of the score, id2label["0"]; may be ""
	Created       time.Time // when the deployment was made
	// Sample is the share of requests in the mode wa, in [0, 1], whose ensemble
	// is scored beside them, in the background, for the metrics alone. Above 0
	// it needs the modes wa and ens.
	Sample float64
}

// Wire returns the model as GET /v1/models has it.
func (i *Info) Wire() api.Model {
	return api.Model{
		ID: i.Name, Object: "model", Created: i.Created.Unix(), OwnedBy: "warmserve",
		Revision: i.Revision, Mode: i.Mode, Modes: i.Modes, Members: i.Members,
		Architecture: i.Architecture, Parameters: i.Parameters, ContextLength: i.ContextLength,
		Pooling: i.Pooling, DType: i.DType, Normalized: i.Normalized,
	}
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

// validName reports whether a model may be called name.
func validName(name string) bool {
	return len(name) > 0 && len(name) <= 200 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// check reports everything that is wrong with a deployment's description.
func (i *Info) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("server: model %q: "+format, append([]any{i.Name}, args...)...))
	}
	if !validName(i.Name) {
		bad("the name must be 1 to 200 printable ASCII characters without spaces")
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
