package dialect

import (
	"cmp"
	"errors"
	"net/url"
	"regexp"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// What OpenRLHF's scores are.
const (
	scoresSigmoid = "sigmoid"
	scoresRaw     = "raw"
)

// openRLHFWait stays below the 180 s after which OpenRLHF's client gives up; it
// tries five times within five seconds, and then the step is lost.
var openRLHFWait = hold(150 * time.Second)

// clipRange is where --reward.clip_range of OpenRLHF cuts by default.
const clipRange = 10

// poolings are the rules that a query may name, as Info.Pooling has them.
var poolings = regexp.MustCompile(`^(hf|last|hf_legacy|first_pad_after_prompt|first|mean|(token|append|before):[0-9]{1,9}|at:-[1-9][0-9]{0,8})$`)

// openRLHF is POST /get_reward.
type openRLHF struct{ scores string }

type openRLHFRequest struct {
	Query   jsontext.Value `json:"query"`   // prompt and response as the policy saw them, special tokens written out
	Prompts jsontext.Value `json:"prompts"` // read to tell the response from the prompt, with ?retemplate alone
}

// openRLHFReply has null in the place of an answer that was refused alone, and
// why in errors. The protocol knows neither: OpenRLHF's own client sends one
// query and is told of a bad one by the status.
type openRLHFReply struct {
	Rewards   []*float32    `json:"rewards"`
	Scores    []*float32    `json:"scores"`
	ExtraLogs openRLHFExtra `json:"extra_logs"`
	Errors    []*api.Error  `json:"errors,omitempty"` // null in the place of a good answer; absent when all are
}

// openRLHFExtra are numbers under names that are the same in every reply: the
// client merges them name by name over a batch. Without an ensemble the spread
// is that of one model, 0.
type openRLHFExtra struct {
	Std       []*float32 `json:"reward_std"`
	Tokens    []*int     `json:"reward_tokens"`
	Truncated []*int     `json:"truncated"`
}

func (o openRLHF) decode(r *openRLHFRequest, at Target) (*Call, error) {
	if !given(r.Query) {
		return nil, api.Errorf(api.CodeMissingField, "query", "query is missing")
	}
	scores, err := o.scoring(at.Query)
	if err != nil {
		return nil, err
	}
	pooling, err := o.pooling(at.Query)
	if err != nil {
		return nil, err
	}
	queries, faults, single, err := readQueries(r.Query)
	if err != nil {
		return nil, err
	}
	c := &Call{
		Reading: Reading{Pooling: pooling}, Wait: openRLHFWait, Param: under("query", single), Warn: clipped,
		Reply: func(res *Result) (any, error) { return openRLHFReplyOf(res, scores), nil },
	}
	if len(queries) == 0 {
		return c, nil // a client with more servers than samples sends such to the rest
	}
	c.Request = &api.RewardRequest{}
	if len(queries) > 1 {
		c.onError = api.OnErrorItem
	}
	if c.Request.Inputs, err = o.inputs(queries, r.Prompts, at.Query.Get("retemplate")); err != nil {
		return nil, err
	}
	for i, fault := range faults {
		if fault != nil {
			c.Request.Inputs[i] = api.Input{Fault: fault}
		}
	}
	if at.Query.Get("retemplate") != "" && !at.Query.Has("pooling") {
		c.Reading.Pooling = ""
	}
	return c, c.choose(at.Query)
}

// pooling says which token is scored: the last, as OpenRLHF's own server does,
// unless the query asks for another rule (hf: that of TRL's models) or for the
// model's own. A model that is read at a token of its own is read there whatever
// the rules of padding: see reward.EncodeOptions.
func (o openRLHF) pooling(q url.Values) (string, error) {
	switch p := q.Get("pooling"); {
	case p == "":
		return "last", nil
	case p == "model":
		return "", nil
	case poolings.MatchString(p):
		return p, nil
	}
	return "", api.Errorf(api.CodeInvalidValue, "pooling",
		"want model, hf, last, hf_legacy, first_pad_after_prompt, first, mean, token:ID, append:ID, before:ID or at:-N")
}

func (o openRLHF) scoring(q url.Values) (string, error) {
	scores := o.scores
	if q.Has("scores") {
		scores = q.Get("scores")
	}
	switch scores {
	case "", scoresSigmoid:
		return scoresSigmoid, nil
	case scoresRaw:
		return scoresRaw, nil
	}
	return "", api.Errorf(api.CodeInvalidValue, "scores", "want sigmoid or raw")
}

// readQueries reads a string or a list of strings; single reports which. An item
// of a list that is no string costs itself alone: faults has the reason in its place.
func readQueries(v jsontext.Value) (list []string, faults []*api.Error, single bool, err error) {
	if v.Kind() != '[' {
		list, single, err = readStrings(v, "query")
		return list, make([]*api.Error, len(list)), single, err
	}
	var items []jsontext.Value
	if err := read(v, "query", &items); err != nil {
		return nil, nil, false, err
	}
	list, faults = make([]string, len(items)), make([]*api.Error, len(items))
	for i, item := range items {
		err := read(item, "", &list[i])
		if item.Kind() == 'n' {
			err = api.Errorf(api.CodeInvalidValue, "", "null, want a string")
		}
		if fault, ok := errors.AsType[*api.Error](err); ok {
			faults[i] = fault
		} else if err != nil {
			return nil, nil, false, err
		}
	}
	return list, faults, false, nil
}

// inputs are the queries as they stand or, where the reward model's template is
// another than the policy's, the messages that the policy's markup says.
func (o openRLHF) inputs(queries []string, prompts jsontext.Value, retemplate string) ([]api.Input, error) {
	m, err := markupOf(retemplate)
	if err != nil {
		return nil, err
	}
	var known []string
	if m != nil && given(prompts) {
		if known, _, err = readStrings(prompts, "prompts"); err != nil {
			return nil, err
		}
		if len(known) != len(queries) {
			return nil, api.Errorf(api.CodeInvalidValue, "prompts", "%d prompts for %d queries",
				len(known), len(queries))
		}
	}
	inputs := make([]api.Input, len(queries))
	for i := range queries {
		if m == nil {
			inputs[i] = api.Text(queries[i])
			continue
		}
		prompt := ""
		if known != nil {
			prompt = known[i]
		}
		inputs[i] = m.input(prompt, queries[i])
	}
	return inputs, nil
}

func openRLHFReplyOf(res *Result, scores string) *openRLHFReply {
	n := len(res.Data)
	out := &openRLHFReply{
		Rewards: make([]*float32, n), Scores: make([]*float32, n),
		ExtraLogs: openRLHFExtra{Std: make([]*float32, n), Tokens: make([]*int, n),
			Truncated: make([]*int, n)},
	}
	for i := range res.Data {
		d := &res.Data[i]
		if d.Error != nil {
			if out.Errors == nil {
				out.Errors = make([]*api.Error, n)
			}
			out.Errors[i] = d.Error
			continue
		}
		score, truncated := d.Reward, 0
		if scores == scoresSigmoid {
			score = sigmoid(d.Reward)
		}
		if d.Truncated {
			truncated = 1
		}
		out.Rewards[i], out.Scores[i] = &d.Reward, &score
		out.ExtraLogs.Std[i], out.ExtraLogs.Tokens[i], out.ExtraLogs.Truncated[i] = cmp.Or(d.Std,
			new(float32)), &d.Tokens, &truncated
	}
	return out
}

func clipped(res *Result) string {
	for _, d := range res.Data {
		if d.Error == nil && (d.Reward > clipRange || d.Reward < -clipRange) {
			return "a reward is beyond 10: OpenRLHF clips to --reward.clip_range, which is (-10, 10) unless set"
		}
	}
	return ""
}
