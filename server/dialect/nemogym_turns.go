package dialect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// gymTurns gathers the items of a rollout into messages. Items of the policy
// that follow each other (its reasoning, its text, its calls) are one message
// of the assistant, as NeMo Gym's own converter makes of them.
type gymTurns struct {
	messages   []api.Message
	instructed bool // whether the first message is the instructions

	open      bool // whether there is a message of the assistant to come
	reasoning []string
	content   strings.Builder
	calls     []gymCall
}

// gymCall is a function call in the terms of chat templates.
type gymCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string         `json:"name"`
		Arguments jsontext.Value `json:"arguments"`
	} `json:"function"`
}

// instruct begins with the instructions, which the system's messages right
// behind them are part of, as templates read one alone, the first.
func (t *gymTurns) instruct(text string) {
	t.messages, t.instructed = []api.Message{api.Says("system", text)}, true
}

// addAll takes a list of items. What was asked and what was said are never one
// message.
func (t *gymTurns) addAll(v jsontext.Value) *api.Error {
	var items []gymItem
	if err := read(v, "", &items); err != nil {
		return err.(*api.Error)
	}
	for i := range items {
		if err := t.add(&items[i]); err != nil {
			return err.Under(fmt.Sprintf("[%d]", i))
		}
	}
	t.flush()
	return nil
}

// add takes the next item.
func (t *gymTurns) add(g *gymItem) *api.Error {
	switch g.Type {
	case "", "message":
		return t.message(g)
	case "reasoning":
		text, err := g.thought()
		if err == nil && text != "" {
			t.open, t.reasoning = true, append(t.reasoning, text)
		}
		return err
	case "function_call":
		call := gymCall{ID: g.CallID, Type: "function"}
		call.Function.Name, call.Function.Arguments = g.Name, g.Arguments
		if !given(g.Arguments) {
			call.Function.Arguments = jsontext.Value(`""`)
		}
		t.open, t.calls = true, append(t.calls, call)
		return nil
	case "function_call_output":
		text, err := gymText(g.Output)
		if err != nil {
			return err.Under("output")
		}
		t.flush()
		m := api.Says("tool", text)
		if g.CallID != "" {
			m.Extra = []api.Field{{Name: "tool_call_id", Value: encoded(g.CallID)}}
		}
		t.messages = append(t.messages, m)
		return nil
	}
	return api.Errorf(api.CodeUnsupportedInput, "type",
		"items of this type are not read: want message, function_call, function_call_output or reasoning")
}

// message takes an item that has a role.
func (t *gymTurns) message(g *gymItem) *api.Error {
	role := g.Role
	switch role {
	case "developer":
		role = "system" // the later name of the same; chat templates know the earlier
	case "":
		return api.Errorf(api.CodeMissingField, "role", "a message needs a role")
	}
	text, err := gymText(g.Content)
	if err != nil {
		return err.Under("content")
	}
	if role == "assistant" {
		t.open = true
		t.content.WriteString(text)
		return nil
	}
	t.flush()
	if role == "system" && t.instructed && len(t.messages) == 1 {
		t.messages[0].Content.Text += "\n\n" + text
		return nil
	}
	t.messages = append(t.messages, api.Says(role, text))
	return nil
}

// flush ends the message of the assistant that is open.
func (t *gymTurns) flush() {
	if !t.open {
		return
	}
	m := api.Says("assistant", t.content.String())
	if len(t.reasoning) > 0 {
		m.Extra = append(m.Extra,
			api.Field{Name: "reasoning_content", Value: encoded(strings.Join(t.reasoning, "\n"))})
	}
	if len(t.calls) > 0 {
		if m.Content.Text == "" {
			m.Content.Null = true
		}
		m.Extra = append(m.Extra, api.Field{Name: "tool_calls", Value: encoded(t.calls)})
	}
	*t = gymTurns{messages: append(t.messages, m), instructed: t.instructed}
}

// encoded is the JSON of what was decoded from JSON.
func encoded(v any) jsontext.Value {
	data, err := json.Marshal(v)
	if err != nil {
		panic("dialect: what was decoded does not encode: " + err.Error())
	}
	return data
}

// thought is the text of reasoning: its content where the policy shows it, else
// its summary, which is where NeMo Gym puts what stood in <think>.
func (g *gymItem) thought() (string, *api.Error) {
	text, err := gymText(g.Content)
	if err != nil {
		return "", err.Under("content")
	}
	if text != "" {
		return text, nil
	}
	if text, err = gymText(g.Summary); err != nil {
		return "", err.Under("summary")
	}
	return text, nil
}

// gymText reads a content: a string or parts of text.
func gymText(v jsontext.Value) (string, *api.Error) {
	if !given(v) {
		return "", nil
	}
	var text string
	var parts []gymPart
	var err error
	if v.Kind() == '"' {
		err = read(v, "", &text)
	} else {
		err = read(v, "", &parts)
	}
	if err != nil {
		return "", err.(*api.Error)
	}
	var b strings.Builder
	b.WriteString(text)
	for i, p := range parts {
		switch p.Type {
		case "input_text", "output_text", "text", "summary_text", "reasoning_text":
			b.WriteString(p.Text)
		case "refusal":
			b.WriteString(p.Refusal)
		default:
			return "", api.Errorf(api.CodeUnsupportedInput, fmt.Sprintf("[%d].type", i),
				"parts of this type are not read, only text")
		}
	}
	return b.String(), nil
}

// gymTools gives the template the functions that the policy could call, in the
// shape in which templates read them.
func gymTools(v jsontext.Value) (api.Fields, *api.Error) {
	const param = "responses_create_params.tools"
	var tools []api.Fields
	if given(v) {
		if err := read(v, param, &tools); err != nil {
			return nil, err.(*api.Error)
		}
	}
	if len(tools) == 0 {
		return nil, nil
	}
	out := make([]api.Fields, len(tools))
	for i, tool := range tools {
		if kind := tool.Get("type"); string(kind) != `"function"` {
			return nil, api.Errorf(api.CodeUnsupportedInput, fmt.Sprintf("%s[%d].type", param, i),
				"tools of this type have no place in a chat template: want function")
		}
		function := slices.DeleteFunc(tool,
			func(f api.Field) bool { return f.Name == "type" || f.Value.Kind() == 'n' })
		out[i] = api.Fields{{Name: "type", Value: jsontext.Value(`"function"`)},
			{Name: "function", Value: encoded(function)}}
	}
	return api.Fields{{Name: "tools", Value: encoded(out)}}, nil
}
