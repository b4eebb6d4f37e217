package reward

import (
	"fmt"
	"time"

	"github.com/warmserve/warmserve/model/chat"
)

// templateDate is the day that templates are told. It is fixed, so that a reward
// does not change at midnight, and is the one that Llama's templates fall back on.
var templateDate = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// conversation renders messages, the last of which is the answer.
func (e *Encoder) conversation(messages []chat.Message, o EncodeOptions) (passage, error) {
	last := len(messages) - 1
	if last < 0 || messages[last].Role() != "assistant" {
		return passage{}, fmt.Errorf("%w: the last message must be the assistant's, whose answer is scored", ErrInput)
	}
	flat := make([]chat.Message, len(messages))
	for i, m := range messages {
		if !m.Says() {
			return passage{}, fmt.Errorf("%w: messages[%d], of the %s, has no content, nor tool_calls or reasoning in its place", ErrInput, i, m.Role())
		}
		flat[i] = m.Flattened() // templates of text models expect a string
	}
	text, err := e.Template.Render(flat,
		chat.Options{AddGenerationPrompt: o.Chat.AddGenerationPrompt, Extra: o.Chat.Variables,
			Now: templateDate})
	if err != nil {
		return passage{}, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	if o.Chat.ContinueFinal {
		if err := endBehind(&text, chat.Source{Message: last, Field: "content"}); err != nil {
			return passage{}, err
		}
	}
	p := passage{text: text.Text, addSpecial: o.Chat.AddSpecial || e.DoubleBOS}
	for i, r := range regionsOf(text.Pieces, messages) {
		p.mark(text.Pieces[i].End, r, o.PlainText && text.Pieces[i].Source.Message != chat.Own)
	}
	return p, nil
}

// endBehind cuts a text behind the last character of a source.
func endBehind(text *chat.Rendered, s chat.Source) error {
	for i := len(text.Pieces) - 1; i >= 0; i-- {
		if text.Pieces[i].Source == s {
			text.Pieces = text.Pieces[:i+1]
			text.Text = text.Text[:text.Pieces[i].End]
			return nil
		}
	}
	return fmt.Errorf("%w: continue_final_message: the chat template prints nothing of the last message's %s", ErrInput, s.Field)
}

// regionsOf says which region each piece of a rendered conversation belongs to.
//
// What messages say is told from the frame around it: the template's own text,
// and the roles. The answer reaches from the first to the last thing that the last
// message says behind all others. System messages, tools and the template's
// variables are the head, and so is the frame that touches them, and all that
// stands before the first message. The rest before the answer is the prompt,
// but for the frame that opens the answer.
func regionsOf(pieces []chat.Piece, messages []chat.Message) []region {
	out := make([]region, len(pieces))
	last := len(messages) - 1
	said := func(i int) bool { // by a message before the answer, or a tool
		s := pieces[i].Source
		return s.Message != chat.Own && s.Message != last && s.Field != "role"
	}
	head := func(i int) bool {
		m := pieces[i].Source.Message
		return m == chat.Request || messages[m].Role() == "system" || messages[m].Role() == "developer"
	}

	opening := 0 // first piece behind what others say
	for i := range pieces {
		if said(i) {
			opening = i + 1
		}
	}
	answer, closing := opening, opening // both here when the template prints nothing of the answer
	for i := opening; i < len(pieces); i++ {
		if s := pieces[i].Source; s.Message == last && s.Field != "role" {
			if closing == opening {
				answer = i
			}
			closing = i + 1
		}
	}

	before := regionHead // of what was said last
	for i := range opening {
		if !said(i) {
			out[i] = before
			continue
		}
		if out[i] = regionPrompt; head(i) {
			out[i] = regionHead
			for j := i - 1; j >= 0 && !said(j); j-- {
				out[j] = regionHead
			}
		}
		before = out[i]
	}
	for i := opening; i < len(pieces); i++ {
		switch {
		case i < answer:
			out[i] = regionOpening
		case i < closing:
			out[i] = regionAnswer
		default:
			out[i] = regionClosing
		}
	}
	return out
}
