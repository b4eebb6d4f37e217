package dialect

import (
	"net/http"
	"strings"

	"github.com/warmserve/warmserve/api"
)

// Shape is how a dialect says that something is wrong.
type Shape struct {
	Name string
	// Error returns the status and the body of a reply. The body is encoded by
	// api.Encode; nil is an empty one.
	Error func(e *api.Error) (status int, body any)
}

// ShapeOf returns the shape of a path's errors before its body is read: the
// routes' own, and for whatever else stands under a dialect's prefix that
// dialect's. Nil is the native one.
func ShapeOf(path string) *Shape {
	switch path {
	case "/classify", "/v1/classify", "/pooling", "/score", "/v1/score", "/rerank", "/v1/rerank",
		"/v2/rerank", "/v1/embeddings":
		return vllmShape
	case "/", "/predict", "/info", "/tokenize", "/decode", "/health", "/ping":
		return teiShape
	case "/get_model_info", "/update_weights_from_disk":
		return sglangShape
	}
	if path == "/v2" || strings.HasPrefix(path, "/v2/") {
		return oipShape
	}
	return nil
}

// whole is an error's message with its place, for bodies without a field for that.
func whole(e *api.Error) string {
	if e.Param == "" {
		return e.Message
	}
	return e.Param + ": " + e.Message
}

// invalid reports whether the request itself is at fault.
func invalid(e *api.Error) bool {
	status := e.Code.Status()
	return status == http.StatusBadRequest || status == http.StatusUnprocessableEntity
}

// vllmShape: verl gives up for good on any 4xx, so that load is always 503; a
// request that cannot be scored is 400, as vLLM's validation answers.
var vllmShape = &Shape{"vllm", func(e *api.Error) (int, any) {
	if e.Code.Status() == http.StatusUnauthorized {
		return http.StatusUnauthorized, map[string]string{"error": "Unauthorized"}
	}
	status, fields := vllmError(e)
	return status, map[string]vllmFields{"error": fields}
}}

type vllmFields struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    int     `json:"code"`
}

func vllmError(e *api.Error) (int, vllmFields) {
	status, kind := e.Code.Status(), ""
	switch {
	case invalid(e):
		status, kind = http.StatusBadRequest, "BadRequestError"
	case status == http.StatusNotFound:
		kind = "NotFoundError"
	case status == http.StatusServiceUnavailable:
		kind = "ServiceUnavailable"
	case status >= 500:
		kind = "InternalServerError"
	default:
		kind = strings.ReplaceAll(http.StatusText(status), " ", "") + "Error"
	}
	f := vllmFields{Message: whole(e), Type: kind, Code: status}
	if e.Param != "" {
		f.Param = &e.Param
	}
	return status, f
}

var sglangShape = &Shape{"sglang", func(e *api.Error) (int, any) {
	status := e.Code.Status()
	if invalid(e) {
		status = http.StatusBadRequest
	}
	return status, map[string]map[string]string{"error": {"message": whole(e)}}
}}

// teiShape follows TEI's router: overload is 429, which its clients expect.
var teiShape = &Shape{"tei", func(e *api.Error) (int, any) {
	status, kind, message := e.Code.Status(), "Validation", whole(e)
	switch {
	case status == http.StatusUnauthorized:
		return status, nil
	case e.Code == api.CodeOverloaded || e.Code == api.CodeDeadlineExceeded:
		status, kind, message = http.StatusTooManyRequests, "Overloaded", "Model is overloaded"
	case e.Code == api.CodeRateLimited:
		kind = "Overloaded"
	case status == http.StatusServiceUnavailable:
		kind = "Unhealthy"
	case e.Code == api.CodeEmptyInput:
		status, kind = http.StatusBadRequest, "Empty"
	case e.Code == api.CodeUnsupportedInput:
		status, kind = http.StatusUnprocessableEntity, "Tokenizer"
	case invalid(e), e.Code == api.CodeTooManySequences, e.Code == api.CodeTooManyTokens:
		status = http.StatusUnprocessableEntity
	case status >= 500:
		status, kind = http.StatusFailedDependency, "Backend"
	}
	return status, teiError{message, kind}
}}

type teiError struct {
	Error string `json:"error"`
	Type  string `json:"error_type"`
}

var oipShape = &Shape{"oip", func(e *api.Error) (int, any) {
	status := e.Code.Status()
	if invalid(e) {
		status = http.StatusBadRequest
	}
	return status, map[string]string{"error": whole(e)}
}}
