package api

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Code says what is wrong, in one word of a closed set. Callers decide by it,
// never by a message.
type Code string

// The codes. openapi.yaml says when each is sent.
const (
	CodeInvalidJSON             Code = "invalid_json"
	CodeInvalidUTF8             Code = "invalid_utf8"
	CodeInvalidEncoding         Code = "invalid_encoding"
	CodeUnknownField            Code = "unknown_field"
	CodeMissingField            Code = "missing_field"
	CodeConflictingFields       Code = "conflicting_fields"
	CodeInvalidValue            Code = "invalid_value"
	CodeEmptyInput              Code = "empty_input"
	CodeLastMessageNotAssistant Code = "last_message_not_assistant"
	CodeUnsupportedMode         Code = "unsupported_mode"
	CodeUnsupportedInput        Code = "unsupported_input"
	CodeTemplateError           Code = "template_error"
	CodeTokenOutOfRange         Code = "token_out_of_range"
	CodeUnauthorized            Code = "unauthorized"
	CodeUnknownModel            Code = "unknown_model"
	CodeUnknownRoute            Code = "unknown_route"
	CodeMethodNotAllowed        Code = "method_not_allowed"
	CodeForbidden               Code = "forbidden"
	CodeAdminDisabled           Code = "admin_disabled"
	CodePathRefused             Code = "path_refused"
	CodeRequestTimeout          Code = "request_timeout"
	CodeRevisionGone            Code = "revision_gone"
	CodeNoPrevious              Code = "no_previous"
	CodeSuperseded              Code = "superseded"
	CodeBodyTooLarge            Code = "body_too_large"
	CodeTooManySequences        Code = "too_many_sequences"
	CodeTooManyTokens           Code = "too_many_tokens"
	CodeRateLimited             Code = "rate_limited"
	CodeUnsupportedMediaType    Code = "unsupported_media_type"
	CodeUnsupportedEncoding     Code = "unsupported_encoding"
	CodeTooLong                 Code = "too_long"
	CodeLoadFailed              Code = "load_failed"
	CodeGuardRefused            Code = "guard_refused"
	CodeInternal                Code = "internal"
	CodeNonFinite               Code = "non_finite"
	CodeDeadlineExceeded        Code = "deadline_exceeded"
	CodeOverloaded              Code = "overloaded"
	CodeDraining                Code = "draining"
	CodeNotReady                Code = "not_ready"
)

// meaning is what follows from a code.
type meaning struct {
	class  string // the wire's "type"
	status int
}

// meanings is the one table from code to class and HTTP status. Load never
// answers 4xx, only a quota that an operator has set does: some reward clients give up for good on
// any 4xx, and all of them try again after a 503.
var meanings = map[Code]meaning{
	CodeInvalidJSON:             {"invalid_request", http.StatusBadRequest},
	CodeInvalidUTF8:             {"invalid_request", http.StatusBadRequest},
	CodeInvalidEncoding:         {"invalid_request", http.StatusBadRequest},
	CodeUnknownField:            {"invalid_request", http.StatusBadRequest},
	CodeMissingField:            {"invalid_request", http.StatusBadRequest},
	CodeConflictingFields:       {"invalid_request", http.StatusBadRequest},
	CodeInvalidValue:            {"invalid_request", http.StatusBadRequest},
	CodeEmptyInput:              {"invalid_request", http.StatusBadRequest},
	CodeLastMessageNotAssistant: {"invalid_request", http.StatusBadRequest},
	CodeUnsupportedMode:         {"invalid_request", http.StatusBadRequest},
	CodeUnsupportedInput:        {"invalid_request", http.StatusBadRequest},
	CodeTemplateError:           {"invalid_request", http.StatusBadRequest},
	CodeTokenOutOfRange:         {"invalid_request", http.StatusBadRequest},
	CodeUnauthorized:            {"unauthorized", http.StatusUnauthorized},
	CodeUnknownModel:            {"unknown_model", http.StatusNotFound},
	CodeUnknownRoute:            {"not_found", http.StatusNotFound},
	CodeMethodNotAllowed:        {"method_not_allowed", http.StatusMethodNotAllowed},
	CodeForbidden:               {"forbidden", http.StatusForbidden},
	CodeAdminDisabled:           {"forbidden", http.StatusForbidden},
	CodePathRefused:             {"forbidden", http.StatusForbidden},
	CodeRequestTimeout:          {"request_timeout", http.StatusRequestTimeout},
	CodeRevisionGone:            {"conflict", http.StatusConflict},
	CodeNoPrevious:              {"conflict", http.StatusConflict},
	CodeSuperseded:              {"conflict", http.StatusConflict},
	CodeBodyTooLarge:            {"too_large", http.StatusRequestEntityTooLarge},
	CodeTooManySequences:        {"too_large", http.StatusRequestEntityTooLarge},
	CodeTooManyTokens:           {"too_large", http.StatusRequestEntityTooLarge},
	CodeRateLimited:             {"rate_limited", http.StatusTooManyRequests},
	CodeUnsupportedMediaType:    {"unsupported_media_type", http.StatusUnsupportedMediaType},
	CodeUnsupportedEncoding:     {"unsupported_media_type", http.StatusUnsupportedMediaType},
	CodeTooLong:                 {"too_long", http.StatusUnprocessableEntity},
	CodeLoadFailed:              {"load_failed", http.StatusUnprocessableEntity},
	CodeGuardRefused:            {"load_failed", http.StatusUnprocessableEntity},
	CodeInternal:                {"internal", http.StatusInternalServerError},
	CodeNonFinite:               {"internal", http.StatusInternalServerError},
	CodeDeadlineExceeded:        {"overloaded", http.StatusServiceUnavailable},
	CodeOverloaded:              {"overloaded", http.StatusServiceUnavailable},
	CodeDraining:                {"not_ready", http.StatusServiceUnavailable},
	CodeNotReady:                {"not_ready", http.StatusServiceUnavailable},
}

// Codes returns every code, in no order.
func Codes() []Code { return slices.Collect(maps.Keys(meanings)) }

// Status returns the HTTP status of c: 500 when c is none of the codes.
func (c Code) Status() int { return cmp.Or(meanings[c], meanings[CodeInternal]).status }

// Type returns the class of c, the wire's "type": "internal" when c is none of
// the codes.
func (c Code) Type() string { return cmp.Or(meanings[c], meanings[CodeInternal]).class }

// Error is a refusal, as the server answers it and as [Client] returns it.
type Error struct {
	Type    string // the class of Code
	Message string // for people
	Param   string // the place in the request, such as "inputs[3].prompt"; "" when it is no place
	Code    Code

	// Status and RetryAfter are set by Client, from the status line and the
	// Retry-After header; RetryAfter is 0 when there was none. A reply that is
	// not of this shape, as a proxy may answer, has a Status and no Code.
	Status     int
	RetryAfter time.Duration
}

// Errorf returns the error of code at param; param is "" where there is no place.
func Errorf(code Code, param, format string, args ...any) *Error {
	return &Error{Type: code.Type(), Code: code, Param: param, Message: fmt.Sprintf(format, args...)}
}

// Error returns the message with its place and code.
func (e *Error) Error() string {
	code := cmp.Or(string(e.Code), fmt.Sprintf("http %d", e.Status))
	if e.Param == "" {
		return fmt.Sprintf("%s: %s", code, e.Message)
	}
	return fmt.Sprintf("%s: %s: %s", code, e.Param, e.Message)
}

// Under returns a copy of e whose Param lies under prefix: "messages[1]" under
// "inputs[0]" is "inputs[0].messages[1]".
func (e *Error) Under(prefix string) *Error {
	out := *e
	switch {
	case prefix == "":
	case e.Param == "":
		out.Param = prefix
	case e.Param[0] == '[':
		out.Param = prefix + e.Param
	default:
		out.Param = prefix + "." + e.Param
	}
	return &out
}

// errorBody is the body of a reply that is an error.
type errorBody struct {
	Error *Error `json:"error"`
}

// errorFields is the wire's shape of an Error.
type errorFields struct {
	Type    string  `json:"type"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Code    Code    `json:"code"`
}

// EncodeError returns the body of the reply that says e.
func EncodeError(e *Error) []byte {
	// The names in Message and Param may come from outside a JSON body (a
	// path, a header), where bytes need not be UTF-8.
	body, err := Encode(errorBody{e})
	if err != nil {
		panic(fmt.Sprintf("api: error %q does not encode: %v", e.Code, err))
	}
	return body
}

// MarshalJSONTo writes the four fields that are the wire's.
func (e *Error) MarshalJSONTo(enc *jsontext.Encoder) error {
	f := errorFields{Type: e.Type, Message: e.Message, Code: e.Code}
	if e.Param != "" {
		f.Param = &e.Param
	}
	return json.MarshalEncode(enc, f)
}

// UnmarshalJSONFrom reads them, and leaves the others as they are.
func (e *Error) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var f errorFields
	if err := json.UnmarshalDecode(dec, &f); err != nil {
		return err
	}
	e.Type, e.Message, e.Code, e.Param = f.Type, f.Message, f.Code, ""
	if f.Param != nil {
		e.Param = *f.Param
	}
	return nil
}
