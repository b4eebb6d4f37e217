package serve

import (
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/trainer/data"
)

// What the pairs of a guard may take, as they are held while it judges.
const (
	maxPairs     = 100_000
	maxPairLine  = 4 << 20   // bytes
	maxPairBytes = 512 << 20 // of all texts
)

// Pairs implements live.Builder. The pairs are those of training and of warm
// eval, in all their forms, so that the guard counts as they do.
func (b *builder) Pairs(path string) ([]api.Pair, error) {
	r, err := data.Open(path, data.Options{MaxLine: maxPairLine})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readPairs(path, r)
}

// readPairs reads pairs to the end. Its errors hold no text of a pair.
func readPairs(name string, r *data.Reader) ([]api.Pair, error) {
	var pairs []api.Pair
	size := 0
	for p, err := range r.Pairs() {
		if err != nil {
			return nil, err
		}
		pair, err := wirePair(&p)
		if err != nil {
			return nil, &data.Error{Place: p.At, Err: err}
		}
		pairs = append(pairs, pair)
		if len(pairs) > maxPairs {
			return nil, fmt.Errorf("%s: more than %d pairs", name, maxPairs)
		}
		if size += p.Prompt.Len() + p.Chosen.Len() + p.Rejected.Len(); size > maxPairBytes {
			return nil, fmt.Errorf("%s: texts of more than %d bytes", name, maxPairBytes)
		}
	}
	return pairs, nil
}

// wirePair returns a pair as the wire has it.
func wirePair(p *data.Pair) (out api.Pair, err error) {
	if p.Chosen.IsChat() {
		out.Chosen, out.Rejected = new(api.Candidate), new(api.Candidate)
		for _, side := range []struct {
			to    *[]api.Message
			which data.Text
		}{{&out.Chosen.Messages, p.Chosen}, {&out.Rejected.Messages, p.Rejected}} {
			if *side.to, err = api.MessagesOf(side.which.Messages); err != nil {
				return out, plainError(err)
			}
		}
		if len(p.Prompt.Messages) > 0 {
			out.Prompt = new(api.Prompt)
			if out.Prompt.Messages, err = api.MessagesOf(p.Prompt.Messages); err != nil {
				return out, plainError(err)
			}
		}
	} else {
		chosen, rejected := p.Chosen.Plain, p.Rejected.Plain // of p the rest is not kept
		out.Prompt = &api.Prompt{Text: p.Prompt.Plain}
		out.Chosen, out.Rejected = &api.Candidate{Text: &chosen}, &api.Candidate{Text: &rejected}
	}
	return out, plainError((&api.CompareRequest{Pairs: []api.Pair{out}}).Validate(2))
}

// plainError returns an error without its message, which may quote the text.
func plainError(err error) error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return errors.New(string(e.Code))
	}
	if err != nil {
		return errors.New("a message that no request could have, as with a part that is no text")
	}
	return nil
}
