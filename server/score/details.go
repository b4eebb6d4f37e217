package score

import (
	"fmt"
	"slices"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
)

// wanted are what the request asks for of the reward of one model.
func (t *task) wanted() []string { return t.req.Details() }

// askCost is what the answers take more for that, in bytes.
func (t *task) askCost() (int64, error) {
	want := t.wanted()
	if len(want) == 0 {
		return 0, nil
	}
	d, ok := t.model.(live.Describer)
	if !ok {
		return 0, api.Errorf(api.CodeInvalidValue, "return",
			"model %q does not tell what its rewards are made of", t.info.ID)
	}
	sum := int64(0)
	for i := range t.prepared {
		n, err := d.AskCost(&t.prepared[i], want)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// ask makes room for it, once that is reserved.
func (t *task) ask() {
	if want := t.wanted(); len(want) > 0 {
		for i := range t.prepared {
			t.model.(live.Describer).Ask(&t.prepared[i], want)
		}
	}
}

// plain returns sequences of which nothing but rewards is wanted.
func plain(seqs []batch.Sequence) []batch.Sequence {
	if !slices.ContainsFunc(seqs, func(s batch.Sequence) bool { return s.Outputs != nil }) {
		return seqs
	}
	seqs = slices.Clone(seqs)
	for k := range seqs {
		seqs[k].Outputs, seqs[k].Every = nil, false
	}
	return seqs
}

// details sets what was asked for of the k-th answer.
func (t *task) details(r *api.Reward, k int) error {
	want := t.wanted()
	if len(want) == 0 {
		return nil
	}
	r.Details = t.model.(live.Describer).Details(&t.prepared[k], t.single(), want)
	for _, a := range r.Attributes {
		if !finite(a.Value) {
			return t.nonFinite(k, fmt.Sprintf("attribute %s", a.Name), a.Value)
		}
	}
	for _, v := range r.Steps {
		if !finite(v) {
			return t.nonFinite(k, "a step", v)
		}
	}
	return nil
}
