package data

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/warmserve/warmserve/model/chat"
)

// lineInfo is what a line's parser knows besides the line.
type lineInfo struct {
	at  Place
	set string
}

// number stands in for an id.
func (o lineInfo) number() int { return cmp.Or(o.at.Item, o.at.Line) }

// fields are the members of a line's object. What a parser takes is removed; the rest is Meta.
type fields map[string]json.RawMessage

func parseFields(line []byte, o lineInfo) (fields, error) {
	if i := invalidAt(line); i >= 0 {
		return nil, &fieldError{column: i + 1, err: fmt.Errorf("%w: invalid UTF-8", ErrText)}
	}
	var f fields
	err := json.Unmarshal(line, &f)
	if err == nil && f != nil {
		return f, nil
	}
	fe := &fieldError{column: 1, err: fmt.Errorf("%w: %w", ErrSyntax, err)}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		fe.column = int(syntax.Offset)
		if begin := bytes.TrimSpace(line); o.at.Line == 1 && begin[0] == '{' && fe.column >= len(begin) {
			fe.err = fmt.Errorf("%w: %w: an object over several lines; %s", ErrSyntax, err, wantedFormat)
		}
	case errors.As(err, &typ):
		fe.err = fmt.Errorf("%w: it is a JSON %s", ErrSyntax, typ.Value)
	case err == nil:
		fe.err = fmt.Errorf("%w: it is null", ErrSyntax)
	}
	return nil, fe
}

// invalidAt is the offset of the first byte that is no UTF-8, or -1.
func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// take removes a field; null counts as absent.
func (f fields) take(name string) (json.RawMessage, bool) {
	raw, ok := f[name]
	delete(f, name)
	return raw, ok && !isNull(raw)
}

// required takes a field that must be there; wanted says what a record of its form holds.
func (f fields) required(name, wanted string) (json.RawMessage, error) {
	raw, ok := f.take(name)
	if !ok {
		return nil, missing(name, raw != nil, f.names(), wanted)
	}
	return raw, nil
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

// str takes a field that is a string or a number, "" when it is absent.
func (f fields) str(name string) (string, error) {
	raw, ok := f.take(name)
	if !ok {
		return "", nil
	}
	if _, err := strconv.ParseFloat(string(raw), 64); err == nil {
		return string(raw), nil // ids are often numbers
	}
	return decodeString(name, raw)
}

func decodeString(name string, raw json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fault(name, ErrType, "want a string, got %s", kind(raw))
	}
	// The decoder replaces half surrogates in silence; a replacement that the line does not spell
	// out is one.
	if strings.Contains(*s, "\ufffd") && !bytes.Contains(raw, []byte("\ufffd")) &&
		!bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
		return "", fault(name, ErrText, "half of a surrogate pair")
	}
	return *s, nil
}

// kind names the type of a JSON value.
func kind(raw json.RawMessage) string {
	switch raw = bytes.TrimSpace(raw); raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// text takes a field that is a string or a list of messages. ok is false when it is absent.
func (f fields) text(name string) (t Text, ok bool, err error) {
	raw, ok := f.take(name)
	if !ok {
		return Text{}, false, nil
	}
	switch raw := bytes.TrimSpace(raw); raw[0] {
	case '"':
		t.Plain, err = decodeString(name, raw)
	case '[':
		t.Messages, err = chat.ParseMessages(raw)
		if err != nil {
			err = fault(name, ErrType, "%v", err)
		}
	default:
		err = fault(name, ErrType, "want a string or a list of messages, got %s", kind(raw))
	}
	return t, true, err
}

// answer takes a field that must be there; wanted says what a record of its form holds.
func (f fields) answer(name, wanted string, names []string) (Text, error) {
	_, there := f[name]
	t, ok, err := f.text(name)
	if err == nil && !ok {
		err = missing(name, there, names, wanted)
	}
	return t, err
}

// names are the fields' names, in the order of the alphabet.
func (f fields) names() []string { return slices.Sorted(maps.Keys(f)) }

// missing says that a field is absent or null, what there is and what is wanted.
func missing(name string, null bool, has []string, wanted string) error {
	if null {
		return &fieldError{field: name, has: has, err: fmt.Errorf("%w: it is null", ErrMissing)}
	}
	columns := "no columns"
	if len(has) > 0 {
		columns = "columns " + strings.Join(has, ", ")
	}
	return &fieldError{field: name, has: has, err: fmt.Errorf("%w: %s: %s", ErrMissing, columns, wanted)}
}

// head takes the fields that pairs and votes share.
func (f fields) head(o lineInfo) (id, set, group string, err error) {
	for _, p := range []struct {
		name string
		dst  *string
	}{{"id", &id}, {"set", &set}, {"group", &group}} {
		if *p.dst, err = f.str(p.name); err != nil {
			return "", "", "", err
		}
	}
	if id == "" {
		id = strconv.Itoa(o.number())
	}
	if set == "" {
		set = o.set
	}
	return id, set, group, nil
}

// meta is what remains, or nil.
func (f fields) meta() map[string]json.RawMessage {
	if len(f) == 0 {
		return nil
	}
	return f
}

// number takes a field that is a finite number, nil when it is absent.
func (f fields) number(name string) (*float64, error) {
	raw, ok := f.take(name)
	if !ok {
		return nil, nil
	}
	var v float64
	if err := json.Unmarshal(raw, &v); err != nil || math.IsInf(v, 0) {
		return nil, fault(name, ErrType, "want a finite number, got %s", kind(raw))
	}
	return &v, nil
}
