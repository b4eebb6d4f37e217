package warm

import (
	"errors"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
)

// Open opens checkpoints by their references and prepares their average, with weights that are nil for equal
// ones, and with a base that is "" for none. Call done when it is no longer read. The error names every
// checkpoint that does not open.
func Open(open func(ref string) (*loader.Checkpoint, error), refs []string, weights []float64, base string,
	o Options) (a *Average, done func(), err error) {
	var opened []*loader.Checkpoint
	closeAll := func() {
		for _, c := range opened {
			c.Close() // read-only: nothing can be lost
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	var errs []error
	get := func(ref string) *loader.Checkpoint {
		c, err := open(ref)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		opened = append(opened, c)
		return c
	}
	var members []Member
	for i, ref := range refs {
		m := Member{Name: filepath.Clean(ref), Checkpoint: get(ref)}
		if weights != nil {
			m.Weight = weights[i]
		}
		members = append(members, m)
	}
	if base != "" {
		o.Base = get(base)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	a, err = NewAverage(members, o)
	return a, closeAll, err
}
