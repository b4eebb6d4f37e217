package data

import (
	"encoding/json"
	"fmt"
)

// votes are the spellings of a vote.
var votes = map[string]Vote{"a1": First, "a2": Second, "equal": Equal}

func parseVotes(f fields, o lineInfo) (Votes, error) {
	v, names := Votes{At: o.at}, f.names()
	var err error
	if v.ID, v.Set, v.Group, err = f.head(o); err != nil {
		return Votes{}, err
	}
	if v.Prompt, _, err = f.text("prompt"); err != nil {
		return Votes{}, err
	}
	for _, a := range []struct {
		name string
		dst  *Text
	}{{"a1", &v.A1}, {"a2", &v.A2}} {
		if *a.dst, err = f.answer(a.name, wantedVotes, names); err != nil {
			return Votes{}, err
		}
		if err = checkAnswer(a.name, *a.dst); err != nil {
			return Votes{}, err
		}
	}
	if err := fit(v.Prompt, v.Prompt.IsChat() || v.Prompt.Plain != "", "a2", v.A1, v.A2); err != nil {
		return Votes{}, err
	}
	if v.Votes, err = f.votes(); err != nil {
		return Votes{}, err
	}
	v.Meta = f.meta()
	return v, nil
}

func (f fields) votes() ([]Vote, error) {
	raw, err := f.required("votes", wantedVotes)
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal(raw, &names); err != nil {
		return nil, fault("votes", ErrType, "want a list of strings, got %s", kind(raw))
	}
	if len(names) == 0 {
		return nil, fault("votes", ErrEmpty, "")
	}
	out := make([]Vote, len(names))
	for i, name := range names {
		v, ok := votes[name]
		if !ok {
			return nil, fault(fmt.Sprintf("votes[%d]", i), ErrType, "want a1, a2 or equal, got %q", name)
		}
		out[i] = v
	}
	return out, nil
}
