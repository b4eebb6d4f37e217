package dialect

import (
	"strings"

	"github.com/warmserve/warmserve/api"
)

// markup is how a policy's chat template writes messages. Reading it back gives
// the messages to a reward model with another template.
type markup struct {
	name        string
	begin       string // before everything, once; may be absent from a text
	open, close string // around a role
	end         string // after a content
	gap         string // between messages, removed
}

// The markups that clients may name.
var markups = []*markup{
	{name: "chatml", open: "<|im_start|>", close: "\n", end: "<|im_end|>", gap: "\n"},
	{name: "llama3", begin: "<|begin_of_text|>", open: "<|start_header_id|>", close: "<|end_header_id|>\n\n", end: "<|eot_id|>"},
}

// markupOf returns the markup called name, nil for "" and "none".
func markupOf(name string) (*markup, error) {
	if name == "" || name == "none" {
		return nil, nil
	}
	for _, m := range markups {
		if m.name == name {
			return m, nil
		}
	}
	return nil, api.Errorf(api.CodeInvalidValue, "retemplate", "want chatml, llama3 or none")
}

// conversation reads a prompt and its answer back from text. Where text begins
// with prompt, markup in the answer is part of the answer.
func (m *markup) conversation(prompt, text string) ([]api.Message, *api.Error) {
	answer, known := strings.CutPrefix(text, prompt)
	if prompt == "" || !known {
		return m.messages(text)
	}
	messages, err := m.messages(prompt)
	if err != nil {
		return nil, err
	}
	last := &messages[len(messages)-1]
	if last.Role != "assistant" {
		return nil, api.Errorf(api.CodeInvalidValue, "", "the prompt does not end by opening the assistant's answer in %s markup", m.name)
	}
	last.Content.Text += m.content(answer)
	return messages, nil
}

// messages reads text as a whole.
func (m *markup) messages(text string) ([]api.Message, *api.Error) {
	text = strings.TrimPrefix(text, m.begin)
	before, rest, ok := strings.Cut(text, m.open)
	if !ok || strings.TrimSpace(before) != "" {
		return nil, api.Errorf(api.CodeInvalidValue, "", "the text is not in %s markup: it does not begin with %s", m.name, m.open)
	}
	var out []api.Message
	for _, part := range strings.Split(rest, m.open) {
		role, content, ok := strings.Cut(part, m.close)
		if !ok || role == "" {
			return nil, api.Errorf(api.CodeInvalidValue, "", "message %d has no role in %s markup", len(out), m.name)
		}
		out = append(out, api.Says(role, m.content(content)))
	}
	return out, nil
}

// content removes the end of a turn, once, and what stands between turns.
func (m *markup) content(s string) string {
	if cut, ok := strings.CutSuffix(strings.TrimSuffix(s, m.gap), m.end); ok {
		return cut
	}
	return s
}
