package data

import (
	"encoding/json"
	"iter"
	"maps"
)

// Prompt is what a policy answers: a line with a "prompt", which may be one of
// pairs or votes.
type Prompt struct {
	// At is where it was read.
	At Place `json:"-"`
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
	return objects(r, parsePrompt)
}

func parsePrompt(f fields, o lineInfo) (Prompt, error) {
	p, all := Prompt{At: o.at}, maps.Clone(f)
	var err error
	if p.ID, p.Set, p.Group, err = f.head(o); err != nil {
		return Prompt{}, err
	}
	names, null := f.names(), f["prompt"] != nil
	prompt, has, err := f.text("prompt")
	if err != nil {
		return Prompt{}, err
	}
	if !has {
		pair, err := parsePair(all, o)
		if prompt = pair.Prompt; err != nil || prompt.Len() == 0 {
			return Prompt{}, missing("prompt", null, names, "want prompt, a text or a list of messages")
		}
	}
	p.Prompt, p.Meta = prompt, f.meta()
	return p, nil
}
