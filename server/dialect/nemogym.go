package dialect

import (
	"fmt"
	"strings"
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
	Content   jsontext.Value `json:"content"`
	Name      string         `json:"name"` // of a function_call, as are these
	Arguments string         `json:"arguments"`
	CallID    string         `json:"call_id"`
	Output    jsontext.Value `json:"output"` // of a function_call_output
}

type gymPart struct {
	Type    string `json:"type"`
	Text    string `json:"text"`
	Refusal string `json:"refusal"`
}

// nemoGym is POST /verify: a rollout in the terms of OpenAI's Responses API,
// echoed with its reward.
func nemoGym(body []byte, at Target) (*Call, error) {
	var echo api.Fields
	if err := api.DecodeLenient(body, &echo); err != nil {
		return nil, err
	}
	messages, err := gymPrompt(echo.Get("responses_create_params"))
	if err != nil {
		return nil, err
	}
	answer, err := gymAnswer(echo.Get("response"))
	if err != nil {
		return nil, err
	}
	c := &Call{
		Request: &api.RewardRequest{Inputs: []api.Input{api.Conversation(append(messages, answer...)...)}}, Wait: gymWait,
		Param: places(func(_ int, rest string) string { return rest }),
		Reply: func(res *Result) (any, error) { return gymReply(echo, res) },
	}
	return c, c.choose(at.Query)
}

// gymPrompt reads instructions and input: what the policy was asked.
func gymPrompt(v jsontext.Value) ([]api.Message, error) {
	const param = "responses_create_params"
	var p struct {
		Instructions *string        `json:"instructions"`
		Input        jsontext.Value `json:"input"`
	}
	if !given(v) {
		return nil, api.Errorf(api.CodeMissingField, param, "%s is missing", param)
	}
	if err := read(v, param, &p); err != nil {
		return nil, err
	}
	if !given(p.Input) {
		return nil, api.Errorf(api.CodeMissingField, param+".input", "input is missing")
	}
	var out []api.Message
	if p.Instructions != nil && *p.Instructions != "" {
		out = append(out, api.Says("system", *p.Instructions))
	}
	if p.Input.Kind() == '"' {
		var text string
		err := read(p.Input, param+".input", &text)
		return append(out, api.Says("user", text)), err
	}
	items, err := gymItems(p.Input, param+".input")
	return append(out, items...), err
}

// gymAnswer reads what the policy said. What it said last is scored, and is
// empty when it only called tools or thought.
func gymAnswer(v jsontext.Value) ([]api.Message, error) {
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
	out, err := gymItems(r.Output, "response.output")
	if n := len(out); n == 0 || out[n-1].Role != "assistant" {
		out = append(out, api.Says("assistant", ""))
	}
	return out, err
}

// gymItems turns items into messages; reasoning is left out, as chat templates
// leave it out of earlier turns.
func gymItems(v jsontext.Value, param string) ([]api.Message, error) {
	var items []gymItem
	if err := read(v, param, &items); err != nil {
		return nil, err
	}
	var out []api.Message
	for i := range items {
		m, err := items[i].message()
		if err != nil {
			return nil, err.Under(fmt.Sprintf("%s[%d]", param, i))
		}
		if m != nil {
			out = append(out, *m)
		}
	}
	return out, nil
}

// message returns nil for an item that is not part of the conversation's text.
func (g *gymItem) message() (*api.Message, *api.Error) {
	switch g.Type {
	case "", "message":
		if g.Role == "" {
			return nil, api.Errorf(api.CodeMissingField, "role", "a message needs a role")
		}
		text, err := gymText(g.Content)
		if err != nil {
			return nil, err.Under("content")
		}
		role := g.Role
		if role == "developer" {
			role = "system" // the later name of the same; chat templates know the earlier
		}
		m := api.Says(role, text)
		return &m, nil
	case "reasoning":
		return nil, nil
	case "function_call":
		return g.call(), nil
	case "function_call_output":
		text, err := gymText(g.Output)
		if err != nil {
			return nil, err.Under("output")
		}
		m := api.Says("tool", text)
		return &m, nil
	}
	return nil, api.Errorf(api.CodeUnsupportedInput, "type", "items of this type are not read: want message, function_call, function_call_output or reasoning")
}

// call is a function call in the terms of chat templates.
func (g *gymItem) call() *api.Message {
	type function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
	type toolCall struct {
		ID       string   `json:"id"`
		Type     string   `json:"type"`
		Function function `json:"function"`
	}
	calls, err := json.Marshal([]toolCall{{g.CallID, "function", function{g.Name, g.Arguments}}})
	if err != nil {
		panic("dialect: strings that were decoded do not encode: " + err.Error())
	}
	return &api.Message{Role: "assistant", Content: api.Content{Null: true}, Extra: []api.Field{{Name: "tool_calls", Value: calls}}}
}

// gymText reads a content: a string or parts of text.
func gymText(v jsontext.Value) (string, *api.Error) {
	if !given(v) {
		return "", nil
	}
	var text string
	var parts []gymPart
	var err error
	if v.Kind() == '"' {
		err = read(v, "", &text)
	} else {
		err = read(v, "", &parts)
	}
	if err != nil {
		return "", err.(*api.Error)
	}
	var b strings.Builder
	b.WriteString(text)
	for i, p := range parts {
		switch p.Type {
		case "input_text", "output_text", "text":
			b.WriteString(p.Text)
		case "refusal":
			b.WriteString(p.Refusal)
		default:
			return "", api.Errorf(api.CodeUnsupportedInput, fmt.Sprintf("[%d].type", i), "parts of this type are not read, only text")
		}
	}
	return b.String(), nil
}

// gymReply echoes the request with the reward and its components in it.
func gymReply(echo api.Fields, res *Result) (any, error) {
	d := res.Data[0]
	components := map[string]float32{}
	switch {
	case d.Ensemble != nil:
		components["wa"], components["ens"] = d.Reward, *d.Ensemble
	default:
		components[res.Mode] = d.Reward
	}
	if d.Std != nil {
		components["std"] = *d.Std
	}
	out := make(api.Fields, 0, len(echo)+2)
	for _, f := range echo {
		if f.Name != "reward" && f.Name != "reward_components" {
			out = append(out, f)
		}
	}
	for _, f := range []struct {
		name  string
		value any
	}{{"reward", d.Reward}, {"reward_components", components}} {
		v, err := json.Marshal(f.value, json.Deterministic(true))
		if err != nil {
			return nil, err
		}
		out = append(out, api.Field{Name: f.name, Value: v})
	}
	return out, nil
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
