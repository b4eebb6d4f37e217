package warm

import (
	"bytes"
	"fmt"

	"github.com/warmserve/warmserve/loader"
)

// WarningKind says what is suspicious.
type WarningKind string

// The kinds of warnings.
const (
	// WarnDuplicate: two members have the same tensors, so that one checkpoint counts twice.
	WarnDuplicate WarningKind = "duplicate members"
	// WarnNormalisation: the members' mean and std of rewards were dropped. Calibrate the average on data.
	WarnNormalisation WarningKind = "normalisation dropped"
	// WarnUnrelated: two members do not look like children of one initialisation.
	WarnUnrelated WarningKind = "unrelated members"
	// WarnHeads: two members are related but their score heads are not: they were initialised apart.
	WarnHeads WarningKind = "unrelated score heads"
)

// Warning is something that is allowed and yet probably a mistake.
type Warning struct {
	Kind    WarningKind
	Members []string // by name
	Detail  string
}

func (w Warning) String() string { return fmt.Sprintf("%s %q: %s", w.Kind, w.Members, w.Detail) }

// dropNormalisation takes OpenRLHF's mean and std out of the average's configuration.
func (a *Average) dropNormalisation(members []Member) error {
	var who []string
	for _, m := range members {
		if hasNormalisation(m.Checkpoint.Config) {
			who = append(who, m.Name)
		}
	}
	if who == nil {
		return nil
	}
	config, err := loader.EditObject(a.config, nil, normalisationFields...)
	if err != nil {
		return err
	}
	a.config = config
	a.warnings = append(a.warnings, Warning{Kind: WarnNormalisation, Members: who,
		Detail: "mean and std of members are not those of their average; calibrate it on data"})
	return nil
}

// duplicates finds members with the same tensors. It compares some bytes of every tensor first, which tells
// different members apart at no cost, and everything only where those agree.
func duplicates(members []Member, names []string) (out []Warning, err error) {
	for i := range members {
		for j := range i {
			a, b := members[j].Checkpoint, members[i].Checkpoint
			var same bool
			err := loader.Guard(func() error {
				same = equalTensors(a, b, names, 4096) && equalTensors(a, b, names, -1)
				return nil
			})
			if err != nil {
				return nil, err
			}
			if same {
				out = append(out, Warning{Kind: WarnDuplicate, Members: []string{members[j].Name, members[i].Name},
					Detail: "all tensors are equal"})
				break // One warning for each copy, not for each pair of copies.
			}
		}
	}
	return out, nil
}

// equalTensors compares the first limit stored bytes of every tensor, or all when limit is negative.
func equalTensors(a, b *loader.Checkpoint, names []string, limit int) bool {
	for _, name := range names {
		x, _ := a.Raw(name)
		y, _ := b.Raw(name)
		if a.DType(name) != b.DType(name) || len(x) != len(y) {
			return false
		}
		if limit >= 0 {
			x, y = x[:min(limit, len(x))], y[:min(limit, len(y))]
		}
		if !bytes.Equal(x, y) {
			return false
		}
		if limit < 0 {
			a.Release(name)
			b.Release(name)
		}
	}
	return true
}
