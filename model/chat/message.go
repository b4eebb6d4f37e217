package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/warmserve/warmserve/model/chat/jinja"
	"github.com/warmserve/warmserve/model/chat/origin"
)

// Message is one turn of a conversation: a JSON object with role, content and whatever else arrived
// (name, tool_calls, reasoning_content, …), keys in their order. It is immutable; the zero Message
// is an object without keys.
type Message struct{ d *jinja.Dict }

// NewMessage returns the turn of a role with plain text as its content.
func NewMessage(role, content string) Message {
	d := jinja.NewDict(2)
	d.Set("role", role)
	d.Set("content", content)
	return Message{d}
}

// Content is what a turn says: Text; or Parts, where they are not nil, each a text; or nothing.
type Content struct {
	Text  string
	Parts []string
	Null  bool
}

// Field is a key of a message beside role and content, and its value in JSON.
type Field struct {
	Name string
	JSON []byte
}

// ComposeMessage returns the turn of a role with what else it has. It is what [ParseMessages] reads
// of the object with these keys in this order; the values alone are parsed. The fields' names are
// other ones than role and content.
func ComposeMessage(role string, content Content, fields ...Field) (Message, error) {
	d := jinja.NewDict(2 + len(fields))
	d.Set("role", role)
	switch {
	case content.Null:
		d.Set("content", nil)
	case content.Parts != nil:
		list := &jinja.List{Items: make([]jinja.Value, len(content.Parts))}
		for i, text := range content.Parts {
			part := jinja.NewDict(2)
			part.Set("type", "text")
			part.Set("text", text)
			list.Items[i] = part
		}
		d.Set("content", list)
	default:
		d.Set("content", content.Text)
	}
	for _, f := range fields {
		v, err := jinja.DecodeJSON(f.JSON)
		if err != nil {
			return Message{}, fmt.Errorf("%.64q: %w", f.Name, err)
		}
		d.Set(f.Name, v)
	}
	return Message{d}, nil
}

// ParseMessages reads a JSON array of message objects. Each must have a role that is a string;
// content may be absent, as it is beside tool calls.
func ParseMessages(data []byte) ([]Message, error) {
	v, err := jinja.DecodeJSON(data)
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	list, ok := v.(*jinja.List)
	if !ok {
		return nil, errors.New("messages: want an array of objects")
	}
	out := make([]Message, len(list.Items))
	for i, item := range list.Items {
		if out[i], err = newMessage(item); err != nil {
			return nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
	}
	return out, nil
}

func newMessage(v jinja.Value) (Message, error) {
	d, ok := v.(*jinja.Dict)
	if !ok {
		return Message{}, errors.New("want an object")
	}
	role, ok := d.Get("role")
	if !ok {
		return Message{}, errors.New("role is missing")
	}
	if _, ok := role.(origin.Text); !ok {
		return Message{}, errors.New("role: want a string")
	}
	return Message{d}, nil
}

// UnmarshalJSON reads one message object, as [ParseMessages] does.
func (m *Message) UnmarshalJSON(data []byte) error {
	v, err := jinja.DecodeJSON(data)
	if err != nil {
		return err
	}
	got, err := newMessage(v)
	if err == nil {
		*m = got
	}
	return err
}

// MarshalJSON writes the message with its keys in order.
func (m Message) MarshalJSON() ([]byte, error) {
	s, err := jinja.EncodeJSON(m.dict())
	return []byte(s), err
}

// Role is the role, "" when there is none.
func (m Message) Role() string {
	s, _ := m.text("role")
	return s
}

// Content is the content when it is a string, or the text parts of a list of parts joined without
// separator. ok is false when there is neither, or a part is no text.
func (m Message) Content() (content string, ok bool) {
	if s, ok := m.text("content"); ok {
		return s, true
	}
	v, _ := m.dict().Get("content")
	list, ok := v.(*jinja.List)
	if !ok {
		return "", false
	}
	var b bytes.Buffer
	for _, item := range list.Items {
		part, ok := item.(*jinja.Dict)
		if !ok {
			return "", false
		}
		s, ok := Message{part}.text("text")
		if !ok {
			return "", false
		}
		b.WriteString(s)
	}
	return b.String(), true
}

// Has tells whether the message has a key whose value is not null, nor an empty list, string or object.
func (m Message) Has(key string) bool {
	v, _ := m.dict().Get(key)
	switch v := v.(type) {
	case nil:
		return false
	case origin.Text:
		return v.Len() > 0
	case *jinja.List:
		return len(v.Items) > 0
	case *jinja.Dict:
		return v.Len() > 0
	}
	return true
}

// Flattened returns the message with a list of text parts replaced by their joined text, at the
// same place among the keys. Templates of text models mostly expect a string. A content that is no
// list of text parts is left as it is.
func (m Message) Flattened() Message {
	s, ok := m.Content()
	if _, plain := m.text("content"); plain || !ok {
		return m
	}
	return m.with("content", s)
}

// with returns the message with another value under a key that it has.
func (m Message) with(key string, v any) Message {
	d := jinja.NewDict(m.dict().Len())
	for k, old := range m.dict().All() {
		d.Set(name(k), old)
	}
	d.Set(key, v)
	return Message{d}
}

// name is a key of an object: JSON has only strings as keys.
func name(key jinja.Value) string { return key.(origin.Text).Peek() }

// Equal tells whether two messages have the same keys and values; the order of keys does not count.
func (m Message) Equal(o Message) bool {
	a, err1 := canonical(m)
	b, err2 := canonical(o)
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

func canonical(m Message) ([]byte, error) {
	data, err := m.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v) // sorts the keys
}

func (m Message) text(key string) (string, bool) {
	v, _ := m.dict().Get(key)
	s, ok := v.(origin.Text)
	return s.Peek(), ok
}

func (m Message) dict() *jinja.Dict {
	if m.d == nil {
		return jinja.NewDict(0)
	}
	return m.d
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
