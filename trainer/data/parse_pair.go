package data

import (
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/model/chat"
)

// What records hold.
const (
	wantedPair  = "want chosen and rejected, with or without prompt"
	wantedVotes = "want a1, a2 and votes, with or without prompt"
)

func parsePair(f fields, o lineInfo) Pair {
	f.wanted = wantedPair
	p, names := Pair{At: o.at}, f.names()
	p.ID, p.Set, p.Group = f.head(o)
	prompt, has := f.text("prompt")
	p.Chosen, p.Rejected = f.answer("chosen", names), f.answer("rejected", names)
	p.Margin = f.number("margin")
	if has {
		prompt, has = p.join(prompt)
	}
	f.fail(fit(prompt, has, "rejected", p.Chosen, p.Rejected))
	if p.Prompt, p.Meta = prompt, f.meta(); !has {
		p.Prompt = p.implicit()
	}
	f.fail(p.check())
	return p
}

// fit checks that the prompt and two answers, the second named second, are of one form.
func fit(prompt Text, has bool, second string, a, b Text) error {
	if a.IsChat() != b.IsChat() {
		return fault(second, ErrForm, "one answer is text, the other is messages")
	}
	if !has {
		return nil
	}
	switch {
	case prompt.IsChat() && !a.IsChat():
		return fault("prompt", ErrForm, "the prompt is messages, the answers are text")
	case !prompt.IsChat() && a.IsChat():
		return fault("prompt", ErrForm,
			"the prompt is text, the answers are messages that do not begin with it")
	}
	return nil
}

// join makes prompt and answers of one form where that has one meaning: answers that repeat the prompt
// say it by themselves (has is false then); a text before messages is the user's, and a text behind
// them the assistant's.
func (p *Pair) join(prompt Text) (Text, bool) {
	a, b := p.Chosen, p.Rejected
	switch {
	case a.IsChat() != b.IsChat(), !prompt.IsChat() && !a.IsChat():
	case !a.IsChat():
		p.Chosen.Messages = []chat.Message{chat.NewMessage("assistant", a.Plain)}
		p.Rejected.Messages = []chat.Message{chat.NewMessage("assistant", b.Plain)}
		p.Chosen.Plain, p.Rejected.Plain = "", ""
	case prompt.IsChat():
		if len(prompt.Messages) > 0 && startsWith(a.Messages, prompt.Messages) &&
			startsWith(b.Messages, prompt.Messages) {
			return Text{}, false
		}
	case asks(a.Messages, prompt.Plain) && asks(b.Messages, prompt.Plain):
		return Text{}, false
	case answers(a.Messages) && answers(b.Messages):
		return Text{Messages: []chat.Message{chat.NewMessage("user", prompt.Plain)}}, true
	case prompt.Plain == "": // nothing stands before the messages
		return Text{}, false
	}
	return prompt, true
}

// Behind makes a prompt and one answer to it of one form, as those of a pair: what the model reads is
// the one before the other.
func Behind(prompt, answer Text) (Text, Text, error) {
	p := Pair{Chosen: answer, Rejected: answer}
	prompt, has := p.join(prompt)
	return prompt, p.Chosen, fit(prompt, has, "", p.Chosen, p.Rejected)
}

// asks says whether messages begin with a text of the user's, behind a system prompt or not.
func asks(m []chat.Message, text string) bool {
	if len(m) > 0 && m[0].Role() == "system" {
		m = m[1:]
	}
	if len(m) == 0 || m[0].Role() != "user" {
		return false
	}
	s, _ := m[0].Content()
	return strings.TrimSpace(s) == strings.TrimSpace(text)
}

// answers says whether messages begin with the assistant's.
func answers(m []chat.Message) bool { return len(m) > 0 && m[0].Role() == "assistant" }

func startsWith(ms, prefix []chat.Message) bool {
	return len(ms) >= len(prefix) && Text{Messages: ms[:len(prefix)]}.equal(Text{Messages: prefix})
}

// implicit finds the prompt that both answers begin with, and takes it off them: messages that they
// share, or an HH-RLHF dialogue up to the answer. Other plain texts stand alone.
func (p *Pair) implicit() Text {
	if !p.Chosen.IsChat() {
		prompt, a, b, ok := splitHH(p.Chosen.Plain, p.Rejected.Plain)
		if ok {
			p.Chosen.Plain, p.Rejected.Plain = a, b
		}
		return Text{Plain: prompt}
	}
	a, b := p.Chosen.Messages, p.Rejected.Messages
	n := 0
	for n < len(a)-1 && n < len(b)-1 && a[n].Equal(b[n]) {
		n++
	}
	p.Chosen.Messages, p.Rejected.Messages = a[n:], b[n:]
	return Text{Messages: a[:n:n]}
}

// check refuses answers that say nothing and pairs that prefer nothing.
func (p *Pair) check() error {
	if err := checkAnswer("chosen", p.Chosen); err != nil {
		return err
	}
	if err := checkAnswer("rejected", p.Rejected); err != nil {
		return err
	}
	if p.Chosen.equal(p.Rejected) {
		return fault("rejected", ErrSame, "")
	}
	return nil
}

// checkAnswer demands text, or messages of which the last is the assistant's and has text or calls tools.
func checkAnswer(name string, t Text) error {
	if !t.IsChat() {
		if strings.TrimSpace(t.Plain) == "" {
			return fault(name, ErrEmpty, "")
		}
		return nil
	}
	if len(t.Messages) == 0 {
		return fault(name, ErrEmpty, "")
	}
	i := len(t.Messages) - 1
	last := t.Messages[i]
	if last.Role() != "assistant" {
		return fault(fmt.Sprintf("%s[%d].role", name, i), ErrForm,
			"the last message is of %q, want assistant", last.Role())
	}
	if s, _ := last.Content(); strings.TrimSpace(s) == "" && !last.Has("tool_calls") {
		return fault(fmt.Sprintf("%s[%d].content", name, i), ErrEmpty, "")
	}
	return nil
}
