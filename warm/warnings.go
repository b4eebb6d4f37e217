package warm

import (
	"bytes"
	"errors"
	"fmt"
	"math"

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
	// WarnIgnored: a member differs in what was to be ignored; the first member's value holds for all.
	WarnIgnored WarningKind = "ignored difference"
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
func duplicates(members []Member, names []string, interrupt func() error) (out []Warning, err error) {
	for i := range members {
		for j := range i {
			a, b := members[j].Checkpoint, members[i].Checkpoint
			var same bool
			err := loader.Guard(func() (err error) {
				for _, limit := range []int{4096, math.MaxInt} {
					if same, err = equalTensors(a, b, names, limit, interrupt); !same {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
			if same {
				out = append(out, Warning{Kind: WarnDuplicate,
					Members: []string{members[j].Name, members[i].Name},
					Detail:  "all tensors are equal"})
				break // One warning for each copy, not for each pair of copies.
			}
		}
	}
	return out, nil
}

// compareBytes is how much of a stored tensor is compared at a time.
const compareBytes = 1 << 20

// equalTensors compares the first limit stored bytes of every tensor, or the first limit/4 values
// of one that an adapter changes and that is stored nowhere.
func equalTensors(a, b *loader.Checkpoint, names []string, limit int, interrupt func() error) (bool, error) {
	for _, name := range names {
		if err := interrupt(); err != nil {
			return false, err
		}
		x, storedA := a.Raw(name)
		y, storedB := b.Raw(name)
		same := storedA == storedB && a.DType(name) == b.DType(name) && len(x) == len(y)
		switch {
		case !same:
		case !storedA:
			var err error
			if same, err = equalValues(a, b, name, limit/4, interrupt); err != nil {
				return false, err
			}
		default:
			for at, n := 0, min(limit, len(x)); same && at < n; at += compareBytes {
				if err := interrupt(); err != nil {
					return false, err
				}
				end := min(at+compareBytes, n)
				same = bytes.Equal(x[at:end], y[at:end])
			}
		}
		if !same {
			return false, nil
		}
		if limit == math.MaxInt {
			a.Release(name)
			b.Release(name)
		}
	}
	return true, nil
}

// equalValues compares the first limit values of a tensor that both have in one shape.
func equalValues(a, b *loader.Checkpoint, name string, limit int, interrupt func() error) (bool, error) {
	n := min(loader.Elements(a, name), limit)
	x, y := make([]float32, convertBlock), make([]float32, convertBlock)
	for at := 0; at < n; at += convertBlock {
		if err := interrupt(); err != nil {
			return false, err
		}
		x, y = x[:min(convertBlock, n-at)], y[:min(convertBlock, n-at)]
		if err := errors.Join(a.ReadAt(x, name, at), b.ReadAt(y, name, at)); err != nil {
			return false, err
		}
		for i := range x {
			if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
				return false, nil
			}
		}
	}
	return true, nil
}
