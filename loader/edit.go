package loader

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// EditObject returns a JSON object in which the values of existing keys are replaced and other keys
// are dropped. Keys that the object does not have are not added. All other bytes stay as they are:
// order, spaces, spelling of numbers. Only the top level is looked at. A nil result never comes
// without an error.
func EditObject(object []byte, replace map[string]json.RawMessage, drop ...string) ([]byte, error) {
	members, err := objectMembers(object)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return bytes.Clone(object), nil
	}
	out := bytes.Clone(object[:members[0].begin])
	first := true
	for i, m := range members {
		if slices.Contains(drop, m.key) {
			continue
		}
		if !first {
			out = append(out, object[members[i-1].end:m.begin]...) // the comma and the spaces around it
		}
		first = false
		if v, ok := replace[m.key]; ok {
			out = append(append(out, object[m.begin:m.value]...), v...)
		} else {
			out = append(out, object[m.begin:m.end]...)
		}
	}
	return append(out, object[members[len(members)-1].end:]...), nil
}

// member is one key and its value, as byte offsets in the object.
type member struct {
	key               string
	begin, value, end int // of the key's quote, of the value, behind the value
}

func objectMembers(object []byte) ([]member, error) {
	if !isObject(object) {
		return nil, ErrJSON
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	var out []member
	for dec.More() {
		begin := int(dec.InputOffset())
		begin += bytes.IndexByte(object[begin:], '"') // Only a comma and spaces lie in front of a key.
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrJSON, err)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrJSON, err)
		}
		end := int(dec.InputOffset())
		out = append(out, member{key: key.(string), begin: begin, value: end - len(raw), end: end})
	}
	return out, nil
}
