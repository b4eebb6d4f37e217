package api

import (
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MessagesOf returns the messages that v is in JSON, as those of a file are.
func MessagesOf(v any) ([]Message, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out []Message
	err = json.Unmarshal(data, &out)
	return out, err
}

// UnmarshalJSONFrom reads a list of strings.
func (r *Responses) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readList(dec, func(dec *jsontext.Decoder) error {
		text, err := readString(dec)
		*r = append(*r, text)
		return err
	}, func() { *r = Responses{} })
}

// UnmarshalJSONFrom reads a list of ids. Whether an id is in a model's
// vocabulary is for the model to say.
func (t *TokenIDs) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readList(dec, func(dec *jsontext.Decoder) error {
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if v.Kind() != '0' {
			return refuse(dec, CodeInvalidValue, "", "%s, want a token id", kindName(v.Kind()))
		}
		id, err := strconv.ParseInt(string(v), 10, 32)
		if err != nil {
			return refuse(dec, CodeInvalidValue, "", "the number %s is not a 32-bit integer", Clip(string(v)))
		}
		*t = append(*t, int32(id))
		return nil
	}, func() { *t = TokenIDs{} })
}

// UnmarshalJSONFrom reads a string or a list of messages.
func (p *Prompt) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*p = Prompt{}
	switch k := dec.PeekKind(); k {
	case '"':
		text, err := readString(dec)
		p.Text = text
		return err
	case '[':
		p.Messages = []Message{}
		return json.UnmarshalDecode(dec, &p.Messages)
	default:
		return skip(dec, k, "a string or a list of messages")
	}
}

// MarshalJSONTo writes the form that p has.
func (p *Prompt) MarshalJSONTo(enc *jsontext.Encoder) error {
	if p.Messages != nil {
		return json.MarshalEncode(enc, p.Messages)
	}
	return enc.WriteToken(jsontext.String(p.Text))
}

// UnmarshalJSONFrom reads a string, a list of parts, or null.
func (c *Content) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*c = Content{}
	switch k := dec.PeekKind(); k {
	case 'n':
		c.Null = true
		_, err := dec.ReadToken()
		return err
	case '"':
		text, err := readString(dec)
		c.Text = text
		return err
	case '[':
		return readList(dec, func(dec *jsontext.Decoder) error {
			part, err := readPart(dec)
			c.Parts = append(c.Parts, part)
			return err
		}, func() { c.Parts = []Part{} })
	default:
		return skip(dec, k, "a string or a list of parts")
	}
}

// MarshalJSONTo writes the form that c has.
func (c *Content) MarshalJSONTo(enc *jsontext.Encoder) error {
	switch {
	case c.Null:
		return enc.WriteToken(jsontext.Null)
	case c.Parts != nil:
		return json.MarshalEncode(enc, c.Parts)
	}
	return enc.WriteToken(jsontext.String(c.Text))
}

// UnmarshalJSONFrom reads a message and keeps the order of its other fields.
func (m *Message) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*m = Message{Content: Content{Null: true}}
	if k := dec.PeekKind(); k != '{' {
		return skip(dec, k, "a message")
	}
	return readObject(dec, func(name string) (err error) {
		switch name {
		case "role":
			m.Role, err = readString(dec)
		case "content":
			err = json.UnmarshalDecode(dec, &m.Content)
		default:
			var v jsontext.Value
			v, err = readFinite(dec)
			m.Extra = append(m.Extra, Field{Name: name, Value: v.Clone()})
		}
		return err
	})
}

// MarshalJSONTo writes the role, the content and then the other fields.
func (m *Message) MarshalJSONTo(enc *jsontext.Encoder) error {
	extra, err := json.Marshal(Fields(m.Extra), enc.Options())
	if err != nil {
		return err
	}
	return json.MarshalEncode(enc, struct {
		Role    string         `json:"role"`
		Content *Content       `json:"content"`
		Extra   jsontext.Value `json:",embed"`
	}{m.Role, &m.Content, extra})
}

// Fields are the fields of a JSON object, in their order. The decoder refuses
// repeated ones.
type Fields []Field

// UnmarshalJSONFrom reads an object.
func (o *Fields) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*o = nil
	switch k := dec.PeekKind(); k {
	case 'n': // absent
		_, err := dec.ReadToken()
		return err
	case '{':
	default:
		return skip(dec, k, "an object")
	}
	return readObject(dec, func(name string) error {
		v, err := readFinite(dec)
		*o = append(*o, Field{Name: name, Value: v.Clone()})
		return err
	})
}

// MarshalJSONTo writes the object.
func (o Fields) MarshalJSONTo(enc *jsontext.Encoder) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, f := range o {
		if err := enc.WriteToken(jsontext.String(f.Name)); err != nil {
			return err
		}
		if err := enc.WriteValue(f.Value); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}

// Get returns a field's value, nil when there is none.
func (o Fields) Get(name string) jsontext.Value {
	for _, f := range o {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// readPart reads one part. It is read here, and not by the json package, so
// that a kind of part that we cannot score is named before its other fields
// are called unknown.
func readPart(dec *jsontext.Decoder) (part Part, err error) {
	if k := dec.PeekKind(); k != '{' {
		return part, skip(dec, k, "a part")
	}
	var unknown string
	var typed, texted bool
	err = readObject(dec, func(name string) (err error) {
		switch name {
		case "type":
			typed = true
			part.Type, err = readString(dec)
		case "text":
			texted = true
			part.Text, err = readString(dec)
		default:
			unknown = name
			err = dec.SkipValue()
		}
		return err
	})
	switch {
	case err != nil:
		return part, err
	case !typed:
		return part, refuse(dec, CodeMissingField, "type", "a part needs a type")
	case part.Type != "text":
		return part, refuse(dec, CodeUnsupportedInput, "type", "parts of type %s are not read, only text",
			quote(part.Type))
	case unknown != "":
		return part, refuse(dec, CodeUnknownField, Clip(unknown), "unknown field %s", quote(unknown))
	case !texted:
		return part, refuse(dec, CodeMissingField, "text", "a part of type text needs a text")
	}
	return part, nil
}

// readObject calls field with each name; field reads the value.
func readObject(dec *jsontext.Decoder, field func(name string) error) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		key := name.String()
		if err := field(key); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// readFinite reads a value that is kept as it is.
func readFinite(dec *jsontext.Decoder) (jsontext.Value, error) {
	v, err := dec.ReadValue()
	if err == nil && holdsNonFinite(v) {
		err = refuse(dec, CodeInvalidJSON, "", "NaN and Infinity are not JSON")
	}
	return v, err
}

// readList calls begin and then element until the list ends. A null is a list
// that is absent: begin is not called.
func readList(dec *jsontext.Decoder, element func(*jsontext.Decoder) error, begin func()) error {
	switch k := dec.PeekKind(); k {
	case 'n':
		_, err := dec.ReadToken()
		return err
	case '[':
	default:
		return skip(dec, k, "a list")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	begin()
	for dec.PeekKind() != ']' {
		if err := element(dec); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func readString(dec *jsontext.Decoder) (string, error) {
	if k := dec.PeekKind(); k != '"' {
		return "", skip(dec, k, "a string")
	}
	token, err := dec.ReadToken()
	if err != nil {
		return "", err
	}
	return token.String(), nil
}

// skip reads past a value of a wrong kind, so that a syntax error in it is
// reported first, and refuses it.
func skip(dec *jsontext.Decoder, got jsontext.Kind, want string) error {
	if err := dec.SkipValue(); err != nil {
		return err
	}
	return refuse(dec, CodeInvalidValue, "", "%s, want %s", kindName(got), want)
}
