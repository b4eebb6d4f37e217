package dialect

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// given reports whether a field was sent and is not null.
func given(v jsontext.Value) bool { return len(v) > 0 && v.Kind() != 'n' }

// present is whether a field was sent and is not null. Its value is passed over.
type present bool

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (p *present) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*p = dec.PeekKind() != 'n'
	return dec.SkipValue()
}

// fieldsOf says which fields an object has that are not null.
func fieldsOf(body []byte) (has func(name string) bool, err error) {
	var fields map[string]present
	err = api.DecodeLenient(body, &fields)
	return func(name string) bool { return bool(fields[name]) }, err
}

// unread is a field of a protocol that is not carried out here. What asks for no
// more than is done anyway passes; all else is refused, as a reward that is
// another than the one asked for looks like any.
type unread struct {
	name  string
	value jsontext.Value
	fine  []string // JSON of the values that change nothing; null is always
	why   string
}

// refuseUnread refuses the first of fields that asks for something.
func refuseUnread(fields ...unread) error {
	for _, f := range fields {
		if given(f.value) && !slices.Contains(f.fine, string(f.value)) {
			return api.Errorf(api.CodeInvalidValue, f.name, "%s", f.why)
		}
	}
	return nil
}

// first returns the kind of a list's first element, or 0 where there is none or it is no list.
func first(list jsontext.Value) jsontext.Kind {
	dec := jsontext.NewDecoder(bytes.NewBuffer(list))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '[' || dec.PeekKind() == ']' {
		return 0
	}
	return dec.PeekKind()
}

// read decodes the value of a field.
func read(v jsontext.Value, param string, into any) error {
	err := api.DecodeLenient(v, into)
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e.Under(param)
	}
	return err
}

// readSome is readStrings, and refuses a list without any.
func readSome(v jsontext.Value, param string) (list []string, single bool, err error) {
	list, single, err = readStrings(v, param)
	if err == nil && len(list) == 0 {
		err = api.Errorf(api.CodeEmptyInput, param, "%s is empty", param)
	}
	return list, single, err
}

// readStrings reads a string or a list of strings; single reports which.
func readStrings(v jsontext.Value, param string) (list []string, single bool, err error) {
	switch v.Kind() {
	case '"':
		list = make([]string, 1)
		return list, true, read(v, param, &list[0])
	case '[':
		var l api.Responses // which reads no null
		err := read(v, param, &l)
		return l, false, err
	}
	return nil, false, api.Errorf(api.CodeInvalidValue, param, "want a string or a list of strings")
}

// readIDs reads the token ids of a text, or a list of those; single reports which.
func readIDs(v jsontext.Value, param string) (lists []api.TokenIDs, single bool, err error) {
	if first(v) == '[' {
		return lists, false, read(v, param, &lists)
	}
	lists = make([]api.TokenIDs, 1)
	return lists, true, read(v, param, &lists[0])
}

// readTexts reads vLLM's four forms of a text: a string, a list of strings, the
// token ids of one text, or a list of those. There is one text at least.
func readTexts(v jsontext.Value, param string, addSpecial bool) (inputs []api.Input, single bool, err error) {
	if k := first(v); k == '0' || k == '[' {
		lists, single, err := readIDs(v, param)
		for _, ids := range lists {
			inputs = append(inputs, api.Input{InputIDs: append(api.TokenIDs{}, ids...)})
		}
		return inputs, single, err
	}
	list, single, err := readSome(v, param)
	if err != nil {
		return nil, false, err
	}
	for i := range list {
		inputs = append(inputs, api.Input{Text: &list[i], AddSpecialTokens: &addSpecial})
	}
	return inputs, single, nil
}

// sigmoid returns 1/(1+e^-x), which is what other servers' activation is of a
// single label.
func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// activation is what scores are made of rewards: with sigmoids, or by themselves.
func activation(sigmoids bool) func(float32) float32 {
	if sigmoids {
		return sigmoid
	}
	return func(x float32) float32 { return x }
}

// encode64 returns floats as base64 of their little-endian bytes, as OpenAI's
// clients ask for by default.
func encode64(floats []float32) string {
	b := make([]byte, 0, 4*len(floats))
	for _, f := range floats {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(b)
}
