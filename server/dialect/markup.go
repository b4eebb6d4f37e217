package dialect

import (
	"regexp"
	"strings"

	"github.com/warmserve/warmserve/api"
)

// markup is how a policy's chat template writes messages. Reading it back gives
// the messages to a reward model with another template.
//
// A message begins where its opening mark, one of the format's roles and the
// closing mark follow each other at the start of the text or right behind the
// end of another message; everywhere else they are text, as is the mark of an
// end that nothing of the kind follows. Only a content that imitates the end of
// a message and the beginning of the next cannot be told from them: the answer
// can where the prompt is known.
type markup struct {
	name    string
	opening string         // of the first message, for people
	first   *regexp.Regexp // the opening of a message, its role the first group
	next    *regexp.Regexp // the end of a message and the opening of the next
	lead    *regexp.Regexp // what may stand before everything: beginnings of text and padding
	trail   *regexp.Regexp // what may stand behind everything: ends of messages and of text, and padding
}

// newMarkup makes the reader of a format: open and close stand around a role,
// one of ends behind a content. lead and pad are marks before everything and at
// either end.
func newMarkup(name, open, closing string, roles, ends, lead, pad []string) *markup {
	either := func(marks []string) string {
		quoted := make([]string, len(marks))
		for i, m := range marks {
			quoted[i] = regexp.QuoteMeta(m)
		}
		return "(?:" + strings.Join(quoted, "|") + ")"
	}
	opening := regexp.QuoteMeta(open) + "(" + strings.Join(roles, "|") + ")" + regexp.QuoteMeta(closing)
	behind := append(append([]string{}, ends...), pad...)
	return &markup{
		name: name, opening: open,
		first: regexp.MustCompile(`^` + opening),
		next:  regexp.MustCompile(either(ends) + `\s*` + opening),
		lead:  regexp.MustCompile(`^(?:` + either(append(append([]string{}, behind...), lead...)) + `|\s)+`),
		trail: regexp.MustCompile(`(?:` + either(behind) + `\s*)+$`),
	}
}

// The markups that clients may name. The marks of text and padding are those of
// the tokenisers whose models speak the format.
var markups = []*markup{
	newMarkup("chatml", "<|im_start|>", "\n",
		[]string{"system", "developer", "user", "assistant", "tool", "function"}, []string{"<|im_end|>"},
		[]string{"<s>", "<|begin_of_text|>", "<|startoftext|>", "<bos>"},
		[]string{"<|endoftext|>", "</s>", "<pad>", "<|pad|>", "<|vision_pad|>", "<|PAD_TOKEN|>"}),
	newMarkup("llama3", "<|start_header_id|>", "<|end_header_id|>\n\n",
		[]string{"system", "user", "assistant", "ipython", "tool"}, []string{"<|eot_id|>", "<|eom_id|>"},
		[]string{"<|begin_of_text|>"},
		[]string{"<|end_of_text|>", "<|finetune_right_pad_id|>", "<pad>", "<|pad|>", "[PAD]"}),
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

// input is the conversation that a prompt and its answer are; what is wrong
// with them is the input's fault.
func (m *markup) input(prompt, text string) api.Input {
	messages, err := m.conversation(prompt, text)
	if err != nil {
		return api.Input{Fault: err}
	}
	return api.Conversation(messages...)
}

// conversation reads a prompt and its answer back from text. Where text begins
// with prompt, markup in the answer is part of the answer.
func (m *markup) conversation(prompt, text string) ([]api.Message, *api.Error) {
	prompt, text = m.lead.ReplaceAllString(prompt, ""), m.lead.ReplaceAllString(text, "")
	answer, known := strings.CutPrefix(text, prompt)
	if prompt == "" || !known {
		return m.messages(m.trail.ReplaceAllString(text, ""))
	}
	messages, err := m.messages(prompt)
	if err != nil {
		return nil, err
	}
	last := &messages[len(messages)-1]
	if last.Role != "assistant" {
		return nil, api.Errorf(api.CodeInvalidValue, "",
			"the prompt does not end by opening the assistant's answer in %s markup", m.name)
	}
	last.Content.Text += m.trail.ReplaceAllString(answer, "")
	return messages, nil
}

// messages reads text, whose last message is open.
func (m *markup) messages(text string) ([]api.Message, *api.Error) {
	at := m.first.FindStringSubmatchIndex(text)
	if at == nil {
		return nil, api.Errorf(api.CodeInvalidValue, "",
			"the text is not in %s markup: it does not begin with %s and a role of the format",
			m.name, m.opening)
	}
	var out []api.Message
	for {
		role := text[at[2]:at[3]]
		if role == "ipython" {
			role = "tool" // what templates call the turn that Llama's writes so
		}
		text = text[at[1]:]
		if at = m.next.FindStringSubmatchIndex(text); at == nil {
			return append(out, api.Says(role, text)), nil
		}
		out = append(out, api.Says(role, text[:at[0]]))
	}
}
