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

func parsePrompt(f fields, o lineInfo) Prompt {
	f.wanted = "want prompt, a text or a list of messages"
	all := fields{members: maps.Clone(f.members), err: new(error)}
	p := Prompt{At: o.at}
	p.ID, p.Set, p.Group = f.head(o)
	names, null := f.names(), f.has("prompt")
	prompt, has := f.text("prompt")
	if !has {
		prompt = parsePair(all, o).Prompt
		if *all.err != nil || prompt.Len() == 0 {
			f.missing("prompt", null, names)
		}
	}
	p.Prompt, p.Meta = prompt, f.meta()
	return p
}
