package dialect

import (
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// gymWait: NeMo Gym's client has no timeout and raises on any status but 200.
var gymWait = hold(300 * time.Second)

// gymItem is an entry of a Responses API input or output.
type gymItem struct {
	Type      string         `json:"type,omitempty"` // absent: message
	Role      string         `json:"role"`
	Content   jsontext.Value `json:"content,omitempty"` // of a message, or the text of reasoning
	Name      string         `json:"name"`              // of a function_call, as are these
	Arguments jsontext.Value `json:"arguments,omitempty"`
	CallID    string         `json:"call_id"`
	Output    jsontext.Value `json:"output,omitempty"`  // of a function_call_output
	Summary   jsontext.Value `json:"summary,omitempty"` // of reasoning
}

type gymPart struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Refusal string `json:"refusal"`
}

// nemoGym is POST /verify: a rollout in the terms of OpenAI's Responses API,
// echoed with its reward. A rollout that cannot be scored is answered as the
// protocol says of a judge that fails, and not with a status, which would end
// the run.
func nemoGym(body []byte, at Target) (*Call, error) {
	var r struct {
		Params   jsontext.Value `json:"responses_create_params"`
		Response jsontext.Value `json:"response"`
	}
	if err := api.DecodeLenient(body, &r); err != nil {
		return nil, err
	}
	var echo api.Fields
	if err := api.DecodeLenient(api.NullNonFinite(body), &echo); err != nil {
		return nil, err
	}
	asked, tools, err := gymAsked(r.Params)
	if err != nil {
		return nil, err
	}
	output, err := gymOutput(r.Response)
	if err != nil {
		return nil, err
	}
	c := &Call{
		Request: &api.RewardRequest{}, Wait: gymWait, onError: api.OnErrorItem,
		Param: places(func(_ int, rest string) string { return rest }),
		Reply: func(res *Result) (any, error) { return gymReply(echo, res) },
	}
	in, kwargs, fault := gymConversation(asked, tools, output)
	if fault != nil {
		in = api.Input{Fault: fault}
	}
	c.Request.Inputs, c.Request.ChatTemplateKwargs = []api.Input{in}, kwargs
	return c, c.choose(at.Query)
}

// gymParams is what of responses_create_params is read.
type gymParams struct {
	Instructions *string        `json:"instructions"`
	Input        jsontext.Value `json:"input"`
	Tools        jsontext.Value `json:"tools"`
}

// Where a rollout has what the policy was asked, and what it said.
const (
	gymInput  = "responses_create_params.input"
	gymAnswer = "response.output"
)

func gymAsked(v jsontext.Value) (p gymParams, tools jsontext.Value, err error) {
	const param = "responses_create_params"
	if !given(v) {
		return p, nil, api.Errorf(api.CodeMissingField, param, "%s is missing", param)
	}
	if err := read(v, param, &p); err != nil {
		return p, nil, err
	}
	if !given(p.Input) {
		return p, nil, api.Errorf(api.CodeMissingField, gymInput, "input is missing")
	}
	if k := p.Input.Kind(); k != '"' && k != '[' {
		return p, nil, api.Errorf(api.CodeInvalidValue, gymInput, "want a string or a list of items")
	}
	return p, p.Tools, nil
}

func gymOutput(v jsontext.Value) (jsontext.Value, error) {
	var r struct {
		Output jsontext.Value `json:"output"`
	}
	if !given(v) {
		return nil, api.Errorf(api.CodeMissingField, "response", "response is missing")
	}
	if err := read(v, "response", &r); err != nil {
		return nil, err
	}
	if !given(r.Output) {
		return nil, api.Errorf(api.CodeMissingField, gymAnswer, "output is missing")
	}
	if r.Output.Kind() != '[' {
		return nil, api.Errorf(api.CodeInvalidValue, gymAnswer, "want a list of items")
	}
	return r.Output, nil
}

// gymConversation is the rollout as a chat template reads it. What the policy
// said last is scored, and is empty when a tool had the last word.
func gymConversation(p gymParams, tools, output jsontext.Value) (api.Input, api.Fields, *api.Error) {
	t := &gymTurns{}
	if p.Instructions != nil && *p.Instructions != "" {
		t.instruct(*p.Instructions)
	}
	if p.Input.Kind() == '"' {
		p.Input = encoded([]gymItem{{Role: "user", Content: p.Input}})
	}
	for _, part := range []named{{gymInput, p.Input}, {gymAnswer, output}} {
		if err := t.addAll(part.value); err != nil {
			return api.Input{}, nil, err.Under(part.name)
		}
	}
	if n := len(t.messages); n == 0 || t.messages[n-1].Role != "assistant" {
		t.messages = append(t.messages, api.Says("assistant", ""))
	}
	kwargs, err := gymTools(tools)
	return api.Conversation(t.messages...), kwargs, err
}

// gymReply echoes the request with the reward and its components in it, or with
// what marks a rollout that has none.
func gymReply(echo api.Fields, res *Result) (any, error) {
	d := &res.Data[0]
	marks := gymMarks(d, res.Mode)
	if d.Error != nil {
		marks = gymFailure(whole(d.Error), echo)
	}
	out := make(api.Fields, 0, len(echo)+len(marks))
	for _, f := range echo {
		if !slices.ContainsFunc(marks, func(m gymMark) bool { return m.name == f.Name }) &&
			f.Name != "reward_components" {
			out = append(out, f)
		}
	}
	for _, m := range marks {
		v, err := json.Marshal(m.value, json.Deterministic(true))
		if err != nil {
			return nil, err
		}
		out = append(out, api.Field{Name: m.name, Value: v})
	}
	return out, nil
}

// gymMark is a field that is added to a rollout.
type gymMark struct {
	name  string
	value any
}

func gymMarks(d *api.Reward, mode string) []gymMark {
	components := map[string]float32{}
	if d.Ensemble != nil {
		components["wa"], components["ens"] = d.Reward, *d.Ensemble
	} else {
		components[mode] = d.Reward
	}
	if d.Std != nil {
		components["std"] = *d.Std
	}
	marks := []gymMark{{"reward", d.Reward}, {"reward_components", components}}
	if len(components) > 1 {
		// Metrics are made of the numbers of the rollout itself, see aggregateMetrics.
		for _, name := range slices.Sorted(maps.Keys(components)) {
			marks = append(marks, gymMark{"reward_" + name, components[name]})
		}
	}
	return marks
}

// gymFailure is what nemo_gym/judge.py adds to a rollout whose judge failed: it
// goes to the file of failures, out of every average, and its sample is masked.
// It is terminal, as the same rollout would fail again. Older trainers read the
// mask in instance_config.
func gymFailure(reason string, echo api.Fields) []gymMark {
	var config api.Fields
	if read(echo.Get("instance_config"), "", &config) != nil {
		config = nil
	}
	config = slices.DeleteFunc(config, func(f api.Field) bool { return f.Name == "mask_sample" })
	config = append(config, api.Field{Name: "mask_sample", Value: jsontext.Value("true")})
	return []gymMark{
		{"reward", 0}, {"mask_sample", true}, {"instance_config", config},
		{"failure_kind", "judge_failed"}, {"failure_reason", reason},
		{"_ng_failure_class", "judge_failed"}, {"_ng_failure_judge_error", reason},
		{"_ng_failure_terminal", true},
	}
}

// Session is the reply of NeMo Gym's /seed_session and /close_session: scoring
// keeps no state.
type Session struct {
	ID string `json:"resources_session_id,omitzero"` // echoed to an environment server, which sends one
}

// DecodeSession reads the body of /seed_session or /close_session.
func DecodeSession(body []byte) (Session, error) {
	var s Session
	err := api.DecodeLenient(body, &s)
	return s, err
}

// ReverifyMode is the reply of NeMo Gym's /reverify_mode: what was verified may
// be verified again.
const ReverifyMode = "stateless"
