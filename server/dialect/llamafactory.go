package dialect

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// llamaFactoryRequest is what LLaMA-Factory's PPO sends to a reward_model of the
// type api: conversations as text, in the policy's template.
type llamaFactoryRequest struct {
	Model    string         `json:"model"`
	Messages jsontext.Value `json:"messages"` // strings
}

// llamaFactoryReply is that of LLaMA-Factory's own reward server.
type llamaFactoryReply struct {
	ID     string    `json:"id"`
	Object string    `json:"object"` // "score.evaluation"
	Model  string    `json:"model"`
	Scores []float32 `json:"scores"`
}

// llamaFactoryModel is what the client calls every model.
const llamaFactoryModel = "model"

// llamaFactory is POST /v1/score/evaluation. As LLaMA-Factory's own server does,
// it takes the text as it stands and scores its last token; ?retemplate reads
// the messages back from the policy's markup. The client reads the scores of any
// status, and so fails by a missing key on what is refused.
func llamaFactory(r *llamaFactoryRequest, at Target) (*Call, error) {
	if !given(r.Messages) {
		return nil, api.Errorf(api.CodeMissingField, "messages", "messages is missing")
	}
	var texts api.Responses // which reads no null
	if err := read(r.Messages, "messages", &texts); err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, api.Errorf(api.CodeEmptyInput, "messages", "messages is empty")
	}
	retemplate := at.Query.Get("retemplate")
	inputs, err := openRLHF{}.inputs(texts, nil, retemplate)
	if err != nil {
		return nil, err
	}
	c := &Call{Request: &api.RewardRequest{Inputs: inputs}, Wait: vllmWait, Param: under("messages", false)}
	if retemplate == "" {
		c.Reading.Pooling = "last"
	}
	if r.Model != llamaFactoryModel {
		c.Request.Model = r.Model
	}
	c.Reply = func(res *Result) (any, error) {
		return llamaFactoryReply{"scoreeval-" + strings.TrimPrefix(res.ID, "rwd-"),
			"score.evaluation", res.Model, res.rewards()}, nil
	}
	return c, c.choose(at.Query)
}
