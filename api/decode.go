package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth bounds how deep a request nests: what is deeper than any message
// of a real conversation, and shallow enough for the code that walks it.
const MaxDepth = 64

// DecodeRewardRequest reads the body of POST /v1/reward. It checks the form
// and not the meaning, which [RewardRequest.Validate] does. Its errors are
// *[Error] with a code of status 400. With on_error: item an input of a wrong
// form is no error but has a Fault.
func DecodeRewardRequest(body []byte) (*RewardRequest, error) {
	req := new(RewardRequest)
	err := decode(body, req)
	if err == nil {
		return req, nil
	}
	if itemized := decodeItems(body); itemized != nil {
		return itemized, nil
	}
	return nil, err
}

// decodeItems reads a request one of whose inputs may have a wrong form, input
// by input; nil when the fault is another's, or is the request's.
func decodeItems(body []byte) *RewardRequest {
	var r struct {
		RewardRequest
		Inputs []jsontext.Value `json:"inputs"`
	}
	if decode(body, &r) != nil || r.OnError != OnErrorItem {
		return nil
	}
	req := &r.RewardRequest
	req.Inputs = make([]Input, len(r.Inputs))
	for i, v := range r.Inputs {
		if err := decode(v, &req.Inputs[i]); err != nil {
			fault, _ := errors.AsType[*Error](err)
			req.Inputs[i] = Input{Fault: fault}
		}
	}
	return req
}

// DecodeLenient reads one JSON value, which a client of another protocol sent,
// into v. It is as strict as DecodeRewardRequest but for fields that v does not
// have, which are left out. Its errors are *[Error] of status 400.
func DecodeLenient(body []byte, v any) error {
	return decode(body, v, json.RejectUnknownMembers(false))
}

// DecodeStrict reads one JSON value into v, which has all its fields. The error
// is nil or an *[Error] of status 400.
func DecodeStrict(body []byte, v any) *Error {
	e, _ := errors.AsType[*Error](decode(body, v))
	return e
}

// decode reads one JSON value strictly into v.
func decode(body []byte, v any, o ...json.Options) error {
	if at := invalidUTF8(body); at >= 0 {
		return Errorf(CodeInvalidUTF8, "", "the body is not UTF-8 at byte %d", at)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return Errorf(CodeInvalidJSON, "", "the body is empty")
	}
	if depth(body) > MaxDepth {
		return Errorf(CodeInvalidJSON, "", "the body nests deeper than %d", MaxDepth)
	}
	body = withStandIns(body)
	err := json.Unmarshal(body, v, append([]json.Options{json.RejectUnknownMembers(true)}, o...)...)
	if err == nil {
		return nil
	}
	return BlameNonFinite(body, wireError(err))
}

// Encode writes a reply. It is an error when a number in v is not finite. Bytes that
// are not UTF-8 are replaced: v is the server's own, and text of a request was checked
// when it was read.
func Encode(v any) ([]byte, error) { return json.Marshal(v, jsontext.AllowInvalidUTF8(true)) }

// invalidUTF8 returns the first offset in body that is not UTF-8, or -1.
func invalidUTF8(body []byte) int {
	if utf8.Valid(body) {
		return -1
	}
	for i := 0; i < len(body); {
		r, n := utf8.DecodeRune(body[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

// depth returns how many brackets are open at once, at most, in a body that may
// not be JSON.
func depth(body []byte) (most int) {
	open := 0
	outside(body, func(c byte) {
		switch c {
		case '{', '[':
			open++
			most = max(most, open)
		case '}', ']':
			open--
		}
	})
	return most
}

// What decoding takes beside the text of the strings, in bytes: the largest type
// of ours, twice because lists grow by doubling, and so a name or an element.
const (
	objectSize  = 224
	memberSize  = 96
	elementSize = 24
)

// DecodedSize bounds what the values of a body take once it is decoded, beside
// the bytes of their strings: a body of short values takes many times its length.
func DecodedSize(body []byte) (bytes int64) {
	outside(body, func(c byte) {
		switch c {
		case '{':
			bytes += objectSize
		case ':':
			bytes += memberSize
		case '[', ',':
			bytes += elementSize
		}
	})
	return bytes
}

// outside calls visit with every byte that is in no string, in a body that may
// not be JSON.
func outside(body []byte, visit func(byte)) {
	for i := 0; i < len(body); i++ {
		if body[i] == '"' {
			i += stringEnd(body[i+1:]) + 1
			continue
		}
		visit(body[i])
	}
}

// stringEnd returns where the string ends whose opening quote s follows.
func stringEnd(s []byte) int {
	for from := 0; ; {
		n := bytes.IndexByte(s[from:], '"')
		if n < 0 {
			return len(s)
		}
		escapes := 0
		for at := from + n - 1; at >= from && s[at] == '\\'; at-- {
			escapes++
		}
		if from += n + 1; escapes%2 == 0 {
			return from - 1
		}
	}
}

// wireError says what a decoding error means in the terms of the wire.
func wireError(err error) *Error {
	if own, ok := errors.AsType[*located](err); ok {
		return own.err
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return syntaxError(syntax)
	}
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return Errorf(CodeInvalidJSON, "", "%v", err)
	}
	param := paramOf(semantic.JSONPointer)
	if own, ok := errors.AsType[*Error](semantic.Err); ok {
		return own.Under(param)
	}
	if errors.Is(semantic, json.ErrUnknownName) {
		return Errorf(CodeUnknownField, param, "unknown field %s", quote(semantic.JSONPointer.LastToken()))
	}
	got := kindName(semantic.JSONKind)
	if semantic.JSONKind == '0' && len(semantic.JSONValue) > 0 {
		got = "the number " + Clip(string(semantic.JSONValue))
	}
	if semantic.GoType == nil {
		return Errorf(CodeInvalidValue, param, "%s is not what belongs here", got)
	}
	return Errorf(CodeInvalidValue, param, "%s, want %s", got, wantName(semantic.GoType))
}

func syntaxError(e *jsontext.SyntacticError) *Error {
	param := paramOf(e.JSONPointer)
	switch {
	case errors.Is(e, jsontext.ErrDuplicateName):
		return Errorf(CodeInvalidJSON, param, "the field %s is given twice", quote(e.JSONPointer.LastToken()))
	case errors.Is(e, io.ErrUnexpectedEOF):
		return Errorf(CodeInvalidJSON, param, "the body ends in the middle of a value, at byte %d",
			e.ByteOffset)
	}
	what := "not JSON"
	if e.Err != nil {
		what = strings.TrimPrefix(e.Err.Error(), "jsontext: ")
	}
	return Errorf(CodeInvalidJSON, param, "%s, at byte %d", what, e.ByteOffset)
}

// located marks an *Error that an unmarshal method made, its place included,
// among the errors that the json package wraps.
type located struct{ err *Error }

func (l *located) Error() string { return l.err.Error() }

// refuse is the error of the value that dec has just read, or, with a name, of
// the field of this name in it.
func refuse(dec *jsontext.Decoder, code Code, name, format string, args ...any) error {
	return &located{Errorf(code, name, format, args...).Under(paramOf(dec.StackPointer()))}
}

// paramOf turns "/inputs/3/prompt" into "inputs[3].prompt". A name that looks
// like a number is written as an index; no field of ours does.
func paramOf(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		if n, err := strconv.ParseUint(token, 10, 63); err == nil && token == strconv.FormatUint(n, 10) {
			fmt.Fprintf(&b, "[%d]", n)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(Clip(token))
	}
	return b.String()
}

// Clip bounds what of a caller's own words is sent back.
func Clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func quote(s string) string { return strconv.Quote(Clip(s)) }

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return "a value"
}

func wantName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Float32, reflect.Float64:
		return "a finite number"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a list"
}
