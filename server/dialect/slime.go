package dialect

import (
	"time"

	"github.com/warmserve/warmserve/api"
)

// slimeWait stays below the 120 s of slime's client.
var slimeWait = hold(100 * time.Second)

// slimeRequest is what slime and miles send to --rm-url: one sample.
type slimeRequest struct {
	Prompt   *api.Prompt `json:"prompt"` // a user's text, messages, or text with the policy's template
	Response *string     `json:"response"`
}

// slimeReply is the reward under either of the names that --reward-key may say.
type slimeReply struct {
	Score  float32 `json:"score"`
	Reward float32 `json:"reward"`
}

// slime is POST /v1/score-one. Without --reward-key slime takes the whole body
// for the reward: ?bare=1 answers the number alone. ?retemplate says that the
// prompt carries the policy's template, as it does with --apply-chat-template:
// chatml or llama3 reads the messages back, none scores prompt and response as
// the text that they are.
func slime(r *slimeRequest, at Target) (*Call, error) {
	switch {
	case r.Prompt == nil:
		return nil, api.Errorf(api.CodeMissingField, "prompt", "prompt is missing")
	case r.Response == nil:
		return nil, api.Errorf(api.CodeMissingField, "response", "response is missing")
	}
	bare, err := flag(at.Query, "bare")
	if err != nil {
		return nil, err
	}
	input, err := r.input(at.Query.Get("retemplate"))
	if err != nil {
		return nil, err
	}
	c := &Call{
		Request: &api.RewardRequest{Inputs: []api.Input{input}}, Wait: slimeWait,
		Param: places(func(_ int, rest string) string { return rest }),
		Reply: func(res *Result) (any, error) {
			s := res.Data[0].Reward
			if bare {
				return s, nil
			}
			return slimeReply{s, s}, nil
		},
	}
	return c, c.choose(at.Query)
}

func (r *slimeRequest) input(retemplate string) (api.Input, error) {
	m, err := markupOf(retemplate)
	switch {
	case err != nil:
		return api.Input{}, err
	case r.Prompt.Messages != nil || retemplate == "":
		return api.Input{Prompt: r.Prompt, Response: r.Response}, nil
	case m == nil:
		return api.Text(r.Prompt.Text + *r.Response), nil
	}
	in := m.input(r.Prompt.Text, r.Prompt.Text+*r.Response)
	if in.Fault != nil {
		in.Fault = in.Fault.Under("prompt")
	}
	return in, nil
}
