package serve

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/warm/reward"
)

// Answer returns the i-th answer of a wire input, which has one form, as what is encoded.
func Answer(in *api.Input, i int) (reward.Input, error) {
	switch {
	case in.InputIDs != nil:
		return reward.Input{IDs: in.InputIDs}, nil
	case in.Text != nil:
		return reward.Input{Text: in.Text, AddSpecial: in.AddSpecialTokens}, nil
	case in.Messages != nil:
		m, err := Conversation(in.Messages)
		return reward.Input{Messages: m}, err
	}
	var response string
	if in.Responses != nil {
		response = in.Responses[i]
	} else {
		response = *in.Response
	}
	if in.Prompt.Messages == nil {
		return reward.Input{Prompt: &in.Prompt.Text, Response: response}, nil
	}
	m, err := Conversation(in.Prompt.Messages)
	return reward.Input{Messages: append(m, chat.NewMessage("assistant", response))}, err
}

// inputError says in the wire's terms what is wrong with an input's answer.
func inputError(in *api.Input, i int, err error) error {
	param := ""
	switch {
	case in.InputIDs != nil:
		param = "input_ids"
	case in.Text != nil:
		param = "text"
	case in.Messages != nil:
		param = "messages"
	case in.Responses != nil:
		param = fmt.Sprintf("responses[%d]", i)
	case in.Response != nil:
		param = "response"
	}
	var refused *chat.TemplateError
	switch {
	case errors.Is(err, reward.ErrTooLong):
		return api.Errorf(api.CodeTooLong, param, "%v", err)
	case errors.As(err, &refused):
		return api.Errorf(api.CodeTemplateError, param, "the chat template refuses the messages: %s",
			refused.Reason())
	case errors.Is(err, reward.ErrNoTemplate), errors.Is(err, reward.ErrNoTokenizer):
		return api.Errorf(api.CodeUnsupportedInput, param, "%v", err)
	case errors.Is(err, reward.ErrTokenRange):
		return api.Errorf(api.CodeTokenOutOfRange, param, "%v", err)
	case errors.Is(err, reward.ErrEmpty):
		return api.Errorf(api.CodeEmptyInput, param, "%v", err)
	case errors.Is(err, reward.ErrInput):
		return api.Errorf(api.CodeInvalidValue, param, "%v", err)
	}
	return err
}

// Conversation turns the wire's messages into a template's, which share their
// text. Only the fields beside role and content are still to be parsed: the wire
// carries them as they came.
func Conversation(messages []api.Message) ([]chat.Message, error) {
	out := make([]chat.Message, len(messages))
	for i := range messages {
		m := &messages[i]
		content := chat.Content{Text: m.Content.Text, Null: m.Content.Null}
		if m.Content.Parts != nil {
			content.Parts = make([]string, len(m.Content.Parts))
			for k, p := range m.Content.Parts {
				content.Parts[k] = p.Text
			}
		}
		var fields []chat.Field
		for _, f := range m.Extra {
			fields = append(fields, chat.Field{Name: f.Name, JSON: f.Value})
		}
		var err error
		if out[i], err = chat.ComposeMessage(m.Role, content, fields...); err != nil {
			return nil, fmt.Errorf("%w: message %d: %w", reward.ErrInput, i, err)
		}
	}
	return out, nil
}

func chatOptions(o live.ChatOptions) reward.ChatOptions {
	out := reward.ChatOptions{AddSpecial: o.AddSpecial, AddGenerationPrompt: o.AddGenerationPrompt,
		ContinueFinal: o.ContinueFinal}
	if len(o.Variables) > 0 {
		out.Variables = make(map[string]any, len(o.Variables))
		for _, v := range o.Variables {
			out.Variables[v.Name] = json.RawMessage(v.Value)
		}
	}
	return out
}
