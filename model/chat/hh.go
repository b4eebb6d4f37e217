package chat

import (
	"errors"
	"fmt"
	"strings"
)

const (
	hhHuman     = "\n\nHuman:"
	hhAssistant = "\n\nAssistant:"
)

// ErrNotHH is returned when text or messages have no form in the dialogues of HH-RLHF.
var ErrNotHH = errors.New("not a Human/Assistant dialogue")

// ParseHH reads a dialogue in the form of HH-RLHF, turns that begin with "\n\nHuman:" and
// "\n\nAssistant:", as messages of user and assistant. The first turn may lack its leading newlines.
// One space after the colon is dropped, the rest of a turn is kept as it is; text before the first
// turn is an error. FormatHH gives the same text back for a dialogue that has that one space.
func ParseHH(s string) ([]Message, error) {
	if strings.HasPrefix(s, hhHuman[2:]) || strings.HasPrefix(s, hhAssistant[2:]) {
		s = "\n\n" + s
	}
	var out []Message
	for s != "" {
		role, rest, ok := hhTurn(s)
		if !ok {
			return nil, fmt.Errorf("%w: want a turn at %.40q", ErrNotHH, s)
		}
		end := len(rest)
		for _, mark := range []string{hhHuman, hhAssistant} {
			if i := strings.Index(rest, mark); i >= 0 {
				end = min(end, i)
			}
		}
		out = append(out, NewMessage(role, strings.TrimPrefix(rest[:end], " ")))
		s = rest[end:]
	}
	if out == nil {
		return nil, fmt.Errorf("%w: the text is empty", ErrNotHH)
	}
	return out, nil
}

func hhTurn(s string) (role, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, hhHuman); ok {
		return "user", rest, true
	}
	rest, ok = strings.CutPrefix(s, hhAssistant)
	return "assistant", rest, ok
}

// FormatHH writes messages as a dialogue in the form of HH-RLHF. Only the roles user and assistant
// have a form there, and only text; a text that itself holds a turn mark would read back as
// another dialogue and is refused.
func FormatHH(messages []Message) (string, error) {
	var b strings.Builder
	for i, m := range messages {
		content, ok := m.Content()
		if !ok {
			return "", fmt.Errorf("messages[%d]: %w: content is no text", i, ErrNotHH)
		}
		if strings.Contains(content, hhHuman) || strings.Contains(content, hhAssistant) {
			return "", fmt.Errorf("messages[%d]: %w: content holds a turn mark", i, ErrNotHH)
		}
		switch m.Role() {
		case "user":
			b.WriteString(hhHuman)
		case "assistant":
			b.WriteString(hhAssistant)
		default:
			return "", fmt.Errorf("messages[%d]: %w: role %q", i, ErrNotHH, m.Role())
		}
		b.WriteString(" " + content)
	}
	return b.String(), nil
}
