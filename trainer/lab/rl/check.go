package rl

import (
	"errors"
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/trainer/lab"
)

// check reports measurements that cannot be.
func (m *measurements) check() error {
	all := len(m.Unseen) * m.Judged
	if all == 0 || len(m.Runs) == 0 {
		return errors.New("nothing was measured")
	}
	fits := func(what string, j judgedAnswers) error {
		if len(j.Control) != all || len(j.Tokens) != all || len(j.Second) != len(m.Start.Second) ||
			len(j.Second) != 0 && len(j.Second) != all {
			return fmt.Errorf("%s: %d rewards by the control, %d by a second one, %d lengths of %d answers", what,
				len(j.Control), len(j.Second), len(j.Tokens), all)
		}
		return nil
	}
	if err := fits("start", m.Start); err != nil {
		return err
	}
	named := map[string]bool{}
	for _, p := range m.Proxies {
		if named[p.Name] = true; len(p.Start) != all {
			return fmt.Errorf("%s: %d rewards of %d answers", p.Name, len(p.Start), all)
		}
	}
	for _, r := range m.Runs {
		if !named[r.Proxy] {
			return fmt.Errorf("proxy %s has not judged the start", r.Proxy)
		}
		if len(r.Judged) == 0 || len(r.Judged) != len(m.Runs[0].Judged) || len(r.Steps) == 0 ||
			len(r.Steps) != len(m.Runs[0].Steps) {
			return fmt.Errorf("%s, seed %d: %d steps, %d checkpoints, unlike the first run", r.Proxy, r.Seed,
				len(r.Steps), len(r.Judged))
		}
		for _, j := range r.Judged {
			if err := fits(fmt.Sprintf("%s, seed %d, step %d", r.Proxy, r.Seed, j.Step), j); err != nil {
				return err
			}
			if len(j.KL) != 0 && len(j.KL) != all || len(j.KL) != len(m.Runs[0].Judged[0].KL) {
				return fmt.Errorf("%s, seed %d: %d KL of %d answers after step %d", r.Proxy, r.Seed, len(j.KL), all, j.Step)
			}
			if len(j.Proxy) != all || j.Step < 1 || j.Step > len(r.Steps) {
				return fmt.Errorf("%s, seed %d: %d rewards of %d answers after step %d", r.Proxy, r.Seed,
					len(j.Proxy), all, j.Step)
			}
		}
	}
	if m.Valid == nil {
		return nil
	}
	judges := slices.Concat(m.Valid.Members, []lab.Scored{m.Valid.Control})
	if m.Valid.Second != nil {
		judges = append(judges, *m.Valid.Second)
	}
	for _, s := range judges {
		if n := len(m.Valid.Groups); n == 0 || len(s.Chosen) != n || len(s.Rejected) != n {
			return fmt.Errorf("a judge's %d and %d rewards of %d valid pairs", len(s.Chosen), len(s.Rejected), n)
		}
	}
	return nil
}
