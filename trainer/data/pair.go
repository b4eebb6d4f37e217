package data

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/model/chat"
)

// Text is what a model reads: plain text, or messages for a chat template.
type Text struct {
	// Plain is the text when Messages is nil.
	Plain string
	// Messages are the turns of a conversation; nil for plain text.
	Messages []chat.Message
}

// IsChat tells whether the text is made of messages.
func (t Text) IsChat() bool { return t.Messages != nil }

// Len is the length in bytes of the plain text, or of the text of all messages together.
func (t Text) Len() int {
	n := len(t.Plain)
	for _, m := range t.Messages {
		s, _ := m.Content()
		n += len(s)
	}
	return n
}

func (t Text) equal(o Text) bool {
	return t.Plain == o.Plain && t.IsChat() == o.IsChat() &&
		slices.EqualFunc(t.Messages, o.Messages, chat.Message.Equal)
}

// Pair is one preference: of two answers to a prompt, which one is better.
type Pair struct {
	// At is where it was read.
	At Place `json:"-"`
	// ID names the pair within its set; the line number when the data has none.
	ID string
	// Set and Group say where the pair comes from and what it is counted with; "" when not given.
	Set, Group string
	// Prompt is what both answers answer. It is empty when the answers stand alone. The three texts
	// of a pair are all plain or all chat; an empty prompt may be either.
	Prompt, Chosen, Rejected Text
	// Margin says by how much the chosen answer is better, in the data's own unit; nil when not given.
	Margin *float64
	// Meta are the other fields of the line, as they stand there.
	Meta map[string]json.RawMessage
}

// Vote is one judge's opinion of two answers.
type Vote uint8

const (
	// Equal: neither answer is better.
	Equal Vote = iota
	// First: answer A1 is better.
	First
	// Second: answer A2 is better.
	Second
)

// String returns the vote as the data spells it.
func (v Vote) String() string { return [...]string{"equal", "a1", "a2"}[v] }

// Votes are two answers to a prompt with every judge's vote, which may contradict each other. The
// answers may be the same: judges were shown such pairs too, and their votes tell of noise alone.
type Votes struct {
	// At is where they were read.
	At Place `json:"-"`
	// ID, Set and Group are as in Pair.
	ID, Set, Group string
	Prompt, A1, A2 Text
	// Votes has one entry for each judge, in the order of the data; never empty.
	Votes []Vote
	// Meta are the other fields of the line.
	Meta map[string]json.RawMessage
}

// Count is the number of votes for each opinion.
func (v Votes) Count() (first, second, equal int) {
	for _, x := range v.Votes {
		switch x {
		case First:
			first++
		case Second:
			second++
		default:
			equal++
		}
	}
	return first, second, equal
}

// hhAnswer is what the last turn of an HH-RLHF dialogue begins with.
const hhAnswer = "\n\nAssistant:"

// splitHH divides two dialogues of HH-RLHF in their shared prompt, which ends with the mark of the
// assistant's turn, and the answers. ok is false when they share no such prompt.
func splitHH(chosen, rejected string) (prompt, a, b string, ok bool) {
	n := 0
	for n < len(chosen) && n < len(rejected) && chosen[n] == rejected[n] {
		n++
	}
	i := strings.LastIndex(chosen[:n], hhAnswer)
	if i < 0 {
		return "", "", "", false
	}
	i += len(hhAnswer)
	return chosen[:i], chosen[i:], rejected[i:], true
}
