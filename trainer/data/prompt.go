package data

import (
	"encoding/json"
	"iter"
)

// Prompt is what a policy answers: a line with a "prompt", which may be one of
// pairs or votes.
type Prompt struct {
	// ID, Set and Group are as in Pair.
	ID, Set, Group string
	Prompt         Text
	// Meta are the other fields of the line, as they stand there.
	Meta map[string]json.RawMessage
}

// Prompts yields the prompts of the remaining lines, as Pairs does. A line without
// one is an error, except that of a pair whose two answers begin with the same
// prompt, as in HH-RLHF.
func (r *Reader) Prompts() iter.Seq2[Prompt, error] {
	return func(yield func(Prompt, error) bool) { each(r, parsePrompt, yield) }
}

func parsePrompt(line []byte, o lineInfo) (Prompt, error) {
	f, err := parseFields(line)
	if err != nil {
		return Prompt{}, err
	}
	var p Prompt
	if p.ID, p.Set, p.Group, err = f.head(o); err != nil {
		return Prompt{}, err
	}
	prompt, has, err := f.text("prompt")
	if err != nil {
		return Prompt{}, err
	}
	if !has {
		pair, err := parsePair(line, o)
		if prompt = pair.Prompt; err != nil || prompt.Len() == 0 {
			return Prompt{}, fault("prompt", ErrMissing, "")
		}
	}
	p.Prompt, p.Meta = prompt, f.meta()
	return p, nil
}
