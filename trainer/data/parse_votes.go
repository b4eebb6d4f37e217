package data

import "fmt"

// votes are the spellings of a vote.
var votes = map[string]Vote{"a1": First, "a2": Second, "equal": Equal}

func parseVotes(f fields, o lineInfo) Votes {
	f.wanted = wantedVotes
	v, names := Votes{At: o.at}, f.names()
	v.ID, v.Set, v.Group = f.head(o)
	v.Prompt, _ = f.text("prompt")
	v.A1 = f.answer("a1", names)
	f.fail(checkAnswer("a1", v.A1))
	v.A2 = f.answer("a2", names)
	f.fail(checkAnswer("a2", v.A2))
	f.fail(fit(v.Prompt, v.Prompt.IsChat() || v.Prompt.Plain != "", "a2", v.A1, v.A2))
	v.Votes, v.Meta = f.votes(), f.meta()
	return v
}

func (f fields) votes() []Vote {
	var names []string
	f.decode("votes", f.required("votes"), &names, "a list of strings")
	if len(names) == 0 {
		f.fault("votes", ErrEmpty, "")
	}
	out := make([]Vote, len(names))
	for i, name := range names {
		v, ok := votes[name]
		if !ok {
			f.fault(fmt.Sprintf("votes[%d]", i), ErrType, "want a1, a2 or equal, got %q", name)
		}
		out[i] = v
	}
	return out
}
