package chat

import (
	"slices"
	"strings"

	"github.com/warmserve/warmserve/model/chat/jinja"
	"github.com/warmserve/warmserve/model/chat/origin"
)

// entry is a key of a message as templates see it. field is the key that its value arrived under.
type entry struct {
	key, field string
	value      jinja.Value
}

// reasoningFields are the names that clients give to a message's reasoning, first come first.
var reasoningFields = []string{"reasoning_content", "thinking", "reasoning"}

// form is how a template wants conversations written.
type form struct {
	nullContent   bool // content that is null beside tool calls stays null
	argumentsText bool // the arguments of tool calls are JSON in a string
}

// forTemplates returns the message as templates expect it. Clients write the same thing in several
// ways, of which templates read one: the arguments of a tool call as an object, as vLLM hands them
// on, or as JSON in a string, whichever way they came; null content beside tool calls or reasoning as
// an empty text, unless the template tells null beside calls apart; other keys whose value is null
// not at all, as an SDK's message names every field that it knows; the reasoning as reasoning_content,
// and as thinking where that is absent. The last two are as transformers 5.24 does. The entries are
// appended to out.
func (m Message) forTemplates(out []entry, f form) []entry {
	calls := m.Has("tool_calls")
	for k, v := range m.dict().All() {
		key := name(k)
		switch {
		case key == "tool_calls" && calls:
			v = f.calls(v)
		case key == "content" && v == nil && m.speaksOtherwise() && !(calls && f.nullContent):
			v = origin.Given("", origin.Request)
		case key != "content" && v == nil:
			continue
		}
		out = append(out, entry{key, key, v})
	}
	return withReasoning(out)
}

// speaksOtherwise tells whether the message may be without content: it calls tools, its list of calls
// is empty, as some servers write it, or it ended while it was thinking.
func (m Message) speaksOtherwise() bool {
	calls, _ := m.dict().Get("tool_calls")
	_, list := calls.(*jinja.List)
	return list || slices.ContainsFunc(reasoningFields, func(key string) bool {
		v, _ := m.dict().Get(key)
		return v != nil
	})
}

// Says tells whether the message has content, or what may stand in for it: a list of tool calls or a
// reasoning. Templates print null as "None" and what is absent as nothing.
func (m Message) Says() bool {
	content, _ := m.dict().Get("content")
	return content != nil || m.speaksOtherwise()
}

// withReasoning gives the reasoning the names that templates read, at the places where transformers
// puts them: thinking first, reasoning_content where it was or last.
func withReasoning(entries []entry) []entry {
	find := func(key string) int {
		return slices.IndexFunc(entries, func(e entry) bool { return e.key == key })
	}
	for _, key := range reasoningFields {
		i := find(key)
		if i < 0 {
			continue
		}
		content, thinking := entries[i], entries[i]
		content.key, thinking.key = "reasoning_content", "thinking"
		if j := find(thinking.key); j >= 0 {
			thinking = entries[j]
			entries = slices.Delete(entries, j, j+1)
		}
		entries = slices.Insert(entries, 0, thinking)
		if j := find(content.key); j >= 0 {
			entries[j] = content
			return entries
		}
		return append(entries, content)
	}
	return entries
}

// calls returns tool calls with their arguments in the form wanted.
func (f form) calls(v jinja.Value) jinja.Value {
	calls, ok := v.(*jinja.List)
	if !ok {
		return v
	}
	out := &jinja.List{Items: make([]jinja.Value, len(calls.Items))}
	for i, item := range calls.Items {
		out.Items[i] = f.call(item)
	}
	return out
}

// call returns a tool call, or the function in it, with its arguments in the form wanted.
func (f form) call(v jinja.Value) jinja.Value {
	call, ok := v.(*jinja.Dict)
	if !ok {
		return v
	}
	m := Message{call}
	if inner, ok := call.Get("function"); ok {
		m = m.with("function", f.call(inner))
	}
	if a, ok := call.Get("arguments"); ok {
		a = parsedArguments(a)
		if f.argumentsText {
			a = argumentsText(a)
		}
		m = m.with("arguments", a)
	}
	return m.d
}

// parsedArguments is the object that a string of arguments spells. None at all are an empty object;
// what spells no object stays as it is.
func parsedArguments(v jinja.Value) jinja.Value {
	s, ok := v.(origin.Text)
	if v == nil || ok && strings.TrimSpace(s.Peek()) == "" {
		return jinja.NewDict(0)
	}
	if !ok {
		return v
	}
	args, err := jinja.DecodeJSON([]byte(s.Peek()))
	if _, object := args.(*jinja.Dict); err != nil || !object {
		return v
	}
	return args
}

// argumentsText is an object of arguments as the JSON that spells it.
func argumentsText(v jinja.Value) jinja.Value {
	if _, object := v.(*jinja.Dict); !object {
		return v
	}
	s, err := jinja.EncodeJSON(v)
	if err != nil {
		return v // nested deeper than may be printed: the template fails on it as it is
	}
	return origin.Given(s, origin.Request)
}
