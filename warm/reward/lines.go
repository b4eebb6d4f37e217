package reward

import (
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/model/chat"
)

// lined appends a question and its answer as Skywork's process reward models read
// them, whatever the chat template: the BOS, the question and a newline; then each
// line of the answer as tokens of its own, and the mark behind each, empty ones and
// the last included. A text with a limit above 0 has at most so many tokens.
// Source: prepare_input of SkyworkAI/skywork-o1-prm-inference.
func (e *Encoder) lined(x *encoding, in Input, o EncodeOptions, mark int32, limit int) error {
	question, answer, err := exchangeOf(in)
	if err != nil {
		return err
	}
	if e.bos >= 0 {
		x.append([]int32{e.bos}, regionSpecial, 0)
	}
	put := func(text string, r region) error {
		var p passage
		p.add(text, r, o.PlainText)
		return x.appendPassage(e.Tokenizer, p, 0, limit)
	}
	if err := put(question+"\n", regionPrompt); err != nil {
		return err
	}
	for line := range strings.SplitSeq(answer, "\n") {
		if line != "" {
			if err := put(line, regionAnswer); err != nil {
				return err
			}
		}
		x.append([]int32{mark}, regionAnswer, 0)
	}
	return nil
}

// exchangeOf is the question and the answer of an input that has no more than these.
func exchangeOf(in Input) (question, answer string, err error) {
	if in.Messages == nil && in.Prompt != nil {
		return *in.Prompt, in.Response, nil
	}
	if len(in.Messages) != 2 || in.Messages[0].Role() != "user" || in.Messages[1].Role() != "assistant" {
		return "", "", fmt.Errorf("%w: the model reads a question and its answer, whose lines are scored: want a message of the user and one of the assistant", ErrInput)
	}
	content := func(m chat.Message) string {
		text, _ := m.Flattened().Content()
		return text
	}
	return content(in.Messages[0]), content(in.Messages[1]), nil
}
