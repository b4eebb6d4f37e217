package data

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// fields are the members of a line's object, or of one in it. What a parser takes is removed; the rest is
// Meta. The first thing that is wrong stays in err; what is taken after that is empty.
type fields struct {
	members map[string]json.RawMessage
	in      string // stands before their names in errors
	wanted  string // says what an object of this form holds
	err     *error // of the line, shared with the objects in it
}

// fail notes what is wrong, if anything is.
func (f fields) fail(err error) {
	if *f.err == nil {
		*f.err = err
	}
}

// fault notes that a field is wrong.
func (f fields) fault(name string, sentinel error, format string, args ...any) {
	f.fail(fault(f.in+name, sentinel, format, args...))
}

func parseFields(line []byte, o lineInfo) (fields, error) {
	if i := invalidAt(line); i >= 0 {
		return fields{}, &fieldError{column: i + 1, err: fmt.Errorf("%w: invalid UTF-8", ErrText)}
	}
	f := fields{err: new(error)}
	err := json.Unmarshal(line, &f.members)
	if err == nil && f.members != nil {
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
	return fields{}, fe
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
	raw, ok := f.members[name]
	delete(f.members, name)
	return raw, ok && !isNull(raw)
}

// has tells whether there is a field, null too.
func (f fields) has(name string) bool { return f.members[name] != nil }

// required takes a field that must be there.
func (f fields) required(name string) json.RawMessage {
	raw, ok := f.take(name)
	if !ok {
		f.missing(name, raw != nil, f.names())
	}
	return raw
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

// str takes a field that is a string or a number, "" when it is absent.
func (f fields) str(name string) string {
	raw, ok := f.take(name)
	if !ok {
		return ""
	}
	if _, err := strconv.ParseFloat(string(raw), 64); err == nil {
		return string(raw) // ids are often numbers
	}
	return f.string(name, raw)
}

// decode reads the value of a field, which has to be what want says. It is false when something is wrong.
func (f fields) decode(name string, raw json.RawMessage, to any, want string) bool {
	if *f.err == nil && (json.Unmarshal(raw, to) != nil || isNull(raw)) {
		f.fault(name, ErrType, "want %s, got %s", want, kind(raw))
	}
	return *f.err == nil
}

func (f fields) string(name string, raw json.RawMessage) string {
	var s string
	if !f.decode(name, raw, &s, "a string") {
		return ""
	}
	// The decoder replaces half surrogates in silence; a replacement that the line does not spell
	// out is one.
	if strings.Contains(s, "\ufffd") && !bytes.Contains(raw, []byte("\ufffd")) &&
		!bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
		f.fault(name, ErrText, "half of a surrogate pair")
		return ""
	}
	return s
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
func (f fields) text(name string) (t Text, ok bool) {
	raw, ok := f.take(name)
	if !ok {
		return Text{}, false
	}
	switch raw := bytes.TrimSpace(raw); raw[0] {
	case '"':
		t.Plain = f.string(name, raw)
	case '[':
		var err error
		if t.Messages, err = chat.ParseMessages(raw); err != nil {
			f.fault(name, ErrType, "%v", err)
		}
	default:
		f.fault(name, ErrType, "want a string or a list of messages, got %s", kind(raw))
	}
	return t, true
}

// answer takes a text that must be there. names are those that the record has.
func (f fields) answer(name string, names []string) Text {
	null := f.has(name)
	t, ok := f.text(name)
	if !ok {
		f.missing(name, null, names)
	}
	return t
}

// names are the fields' names, in the order of the alphabet.
func (f fields) names() []string { return slices.Sorted(maps.Keys(f.members)) }

// missing notes that a field is absent or null, what there is and what is wanted.
func (f fields) missing(name string, null bool, has []string) {
	what := "it is null"
	switch {
	case null:
	case len(has) == 0:
		what = "no columns: " + f.wanted
	default:
		what = "columns " + strings.Join(has, ", ") + ": " + f.wanted
	}
	f.fail(&fieldError{field: f.in + name, has: has, err: fmt.Errorf("%w: %s", ErrMissing, what)})
}

// head takes the fields that pairs and votes share.
func (f fields) head(o lineInfo) (id, set, group string) {
	id, set, group = f.str("id"), f.str("set"), f.str("group")
	return cmp.Or(id, strconv.Itoa(o.number())), cmp.Or(set, o.set), group
}

// meta is what remains, or nil.
func (f fields) meta() map[string]json.RawMessage {
	if len(f.members) == 0 {
		return nil
	}
	return f.members
}

// number takes a field that is a finite number, nil when it is absent.
func (f fields) number(name string) *float64 {
	var v float64
	if raw, ok := f.take(name); !ok || !f.decode(name, raw, &v, "a finite number") {
		return nil
	}
	return &v
}
