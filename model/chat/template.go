package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/warmserve/warmserve/model/chat/jinja"
	"github.com/warmserve/warmserve/model/chat/origin"
)

// TemplateError is what a template fails with, at [Parse] or [Template.Render]: its Kind, Line and
// Message. When the template called raise_exception, Kind is [Raised] and Message is its own text,
// meant for whoever sent the messages.
type TemplateError = jinja.Error

// Raised is the Kind of a TemplateError that the template raised itself.
const Raised = jinja.RaisedError

// Template is a compiled chat template. It is immutable and safe for concurrent use.
type Template struct {
	t      *jinja.Template
	tokens []token
}

type token struct{ name, text string }

// Parse compiles a template. tokens maps bos_token, eos_token and the like to their text, as
// [SpecialTokens] returns them; one that is missing is undefined in the template.
func Parse(template string, tokens map[string]string) (*Template, error) {
	t, err := jinja.Parse(template, jinja.Limits{})
	if err != nil {
		return nil, err
	}
	out := &Template{t: t}
	for _, name := range sortedKeys(tokens) {
		out.tokens = append(out.tokens, token{name, tokens[name]})
	}
	return out, nil
}

// unset is the type of Unset.
type unset struct{}

// Unset as a value of [Options] leaves the variable undefined.
var Unset = unset{}

// Options are the arguments of one render.
type Options struct {
	// AddGenerationPrompt asks for the text that opens an answer of the assistant.
	AddGenerationPrompt bool
	// Tools and Documents are what the model may call and cite: a slice, or json.RawMessage to keep
	// the order of keys. Nil is None, as in transformers; Unset leaves the variable undefined.
	Tools, Documents any
	// Extra are further variables, such as enable_thinking. They win over special tokens.
	Extra map[string]any
	// Now is the time that strftime_now tells; zero is the time of the call. A template that prints
	// the date scores differently each day unless it is fixed here.
	Now time.Time
}

// Render returns the text of a conversation and where it came from. The error is a *TemplateError,
// or says which option cannot be a template value.
func (t *Template) Render(messages []Message, o Options) (Rendered, error) {
	f := form{nullContent: t.t.TestsNone("content")}
	r, err := t.render(messages, o, f)
	var te *TemplateError
	if !errors.As(err, &te) || te.Kind != jinja.TypeError ||
		!slices.ContainsFunc(messages, func(m Message) bool { return m.Has("tool_calls") }) {
		return r, err
	}
	// Some templates put the arguments of a tool call into text, which an object cannot be.
	f.argumentsText = true
	if again, err := t.render(messages, o, f); err == nil {
		return again, nil
	}
	return r, err
}

func (t *Template) render(messages []Message, o Options, f form) (Rendered, error) {
	vars := jinja.NewDict(8 + len(t.tokens))
	var s sources
	list := &jinja.List{Items: make([]jinja.Value, len(messages))}
	for i, m := range messages {
		list.Items[i] = s.message(i, m, f)
	}
	for _, tok := range t.tokens {
		vars.Set(tok.name, origin.Literal(tok.text))
	}
	for _, name := range sortedKeys(o.Extra) {
		if err := setVar(vars, name, o.Extra[name]); err != nil {
			return Rendered{}, err
		}
	}
	vars.Set("messages", list)
	vars.Set("add_generation_prompt", o.AddGenerationPrompt)
	if err := errors.Join(setVar(vars, "tools", o.Tools),
		setVar(vars, "documents", o.Documents)); err != nil {
		return Rendered{}, err
	}
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	text, err := t.t.Render(vars, now)
	if err != nil {
		return Rendered{}, err
	}
	return s.rendered(text), nil
}

func setVar(vars *jinja.Dict, name string, v any) error {
	if v == Unset {
		return nil
	}
	if _, ok := vars.Get(name); ok && v == nil {
		return nil // given in Extra
	}
	val, err := value(v)
	if err != nil {
		return fmt.Errorf("chat: %s: %w", name, err)
	}
	vars.Set(name, val)
	return nil
}

// value converts what JSON decoding makes. The keys of a map come out sorted; json.RawMessage keeps
// their order.
func value(v any) (jinja.Value, error) {
	switch v := v.(type) {
	case json.RawMessage:
		return jinja.DecodeJSON(v)
	case Message:
		return v.dict(), nil
	case []Message:
		l := &jinja.List{}
		for _, m := range v {
			l.Items = append(l.Items, m.dict())
		}
		return l, nil
	case string:
		return origin.Given(v, origin.Request), nil
	case nil, bool, float64, int64:
		return v, nil
	case int:
		return int64(v), nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jinja.DecodeJSON(data)
}
