package dialect

import (
	"fmt"
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
	Type      string         `json:"type"` // absent: message
	Role      string         `json:"role"`
	Content   jsontext.Value `json:"content"` // of a message, or the text of reasoning
	Name      string         `json:"name"`    // of a function_call, as are these
	Arguments jsontext.Value `json:"arguments"`
	CallID    string         `json:"call_id"`
	Output    jsontext.Value `json:"output"`  // of a function_call_output
	Summary   jsontext.Value `json:"summary"` // of reasoning
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
	said, err := gymSaid(r.Response)
	if err != nil {
		return nil, err
	}
	c := &Call{
		Request: &api.RewardRequest{}, Wait: gymWait, onError: api.OnErrorItem,
		Param: places(func(_ int, rest string) string { return rest }),
		Reply: func(res *Result) (any, error) { return gymReply(echo, res) },
	}
	in, kwargs, fault := gymConversation(asked, tools, said)
	if fault != nil {
		in = api.Input{Fault: fault}
	}
	c.Request.Inputs, c.Request.ChatTemplateKwargs = []api.Input{in}, kwargs
	return c, c.choose(at.Query)
}

// gymAsked reads what the policy was asked: instructions and input, and the
// tools that it could call.
func gymAsked(v jsontext.Value) (items []gymItem, tools jsontext.Value, err error) {
	const param = "responses_create_params"
	var p struct {
		Instructions *string        `json:"instructions"`
		Input        jsontext.Value `json:"input"`
		Tools        jsontext.Value `json:"tools"`
	}
	if !given(v) {
		return nil, nil, api.Errorf(api.CodeMissingField, param, "%s is missing", param)
	}
	if err := read(v, param, &p); err != nil {
		return nil, nil, err
	}
	if !given(p.Input) {
		return nil, nil, api.Errorf(api.CodeMissingField, param+".input", "input is missing")
	}
	if p.Input.Kind() == '"' {
		items = []gymItem{{Role: "user", Content: p.Input}}
	} else if err := read(p.Input, param+".input", &items); err != nil {
		return nil, nil, err
	}
	if p.Instructions != nil && *p.Instructions != "" {
		text, err := json.Marshal(*p.Instructions)
		if err != nil {
			panic("dialect: a string that was decoded does not encode: " + err.Error())
		}
		items = append([]gymItem{{Type: gymInstructions, Content: text}}, items...)
	}
	return items, p.Tools, nil
}

// gymInstructions is a type of item of our own, for the instructions that stand
// before all others.
const gymInstructions = "\x00instructions"

// gymSaid reads what the policy said.
func gymSaid(v jsontext.Value) (items []gymItem, err error) {
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
		return nil, api.Errorf(api.CodeMissingField, "response.output", "output is missing")
	}
	err = read(r.Output, "response.output", &items)
	return items, err
}

// gymConversation is the rollout as a chat template reads it. What the policy
// said last is scored, and is empty when a tool had the last word.
func gymConversation(asked []gymItem, tools jsontext.Value, said []gymItem) (api.Input, api.Fields, *api.Error) {
	t := &gymTurns{}
	for _, part := range []struct {
		items []gymItem
		param string
	}{{asked, "responses_create_params.input"}, {said, "response.output"}} {
		place := 0
		for i := range part.items {
			if err := t.add(&part.items[i]); err != nil {
				return api.Input{}, nil, err.Under(fmt.Sprintf("%s[%d]", part.param, place))
			}
			if part.items[i].Type != gymInstructions { // which is no item of the list
				place++
			}
		}
		t.flush() // what was asked and what was said are never one message
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
		if !slices.ContainsFunc(marks, func(m gymMark) bool { return m.name == f.Name }) && f.Name != "reward_components" {
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
	return []gymMark{{"reward", d.Reward}, {"reward_components", components}}
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
		{"reward", 0}, {"mask_sample", true}, {"instance_config", config}, {"failure_kind", "judge_failed"}, {"failure_reason", reason},
		{"_ng_failure_class", "judge_failed"}, {"_ng_failure_judge_error", reason}, {"_ng_failure_terminal", true},
	}
}

// Seeded is the reply of NeMo Gym's /seed_session: scoring keeps no state.
type Seeded struct {
	Session string `json:"resources_session_id,omitzero"` // echoed to an environment server, which sends one
}

// DecodeSeed reads the body of /seed_session.
func DecodeSeed(body []byte) (Seeded, error) {
	var s Seeded
	err := api.DecodeLenient(body, &s)
	return s, err
}

// ReverifyMode is the reply of NeMo Gym's /reverify_mode: what was verified may
// be verified again.
const ReverifyMode = "stateless"
