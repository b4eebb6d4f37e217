package dialect

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warmserve/warmserve/api"
)

// Call is a decoded request of a dialect.
type Call struct {
	// Request is what it asks for in native terms, not validated yet; nil when
	// there is nothing to score. Then Reply is given a Result without data.
	Request *api.RewardRequest
	Reading Reading
	Wait    Wait
	Shape   *Shape // of errors from here on; nil is the native one

	// Param turns the place of a native error ("inputs[3].text") into the
	// dialect's own ("query[3]"); nil leaves it.
	Param func(param string) string
	// Reply makes the body of the answer.
	Reply func(*Result) (any, error)
	// Warn returns what an operator should know of the answer, in words that
	// hold nothing of the request, or ""; nil is never.
	Warn func(*Result) string

	onError string // what a bad answer costs where the query does not say; "" is the request

	// Timed asks for TEI's x-*-time headers; Characters is how long its texts are.
	Timed      bool
	Characters int
}

// Reading says how inputs are read, beyond what the native request does. The
// zero value is the native way.
type Reading struct {
	Pooling             string // which token is scored; "" is the model's rule
	MaxTokens           int    // the length from which is truncated; 0 is the context
	AddSpecial          bool   // with messages: the tokeniser adds its special tokens
	AddGenerationPrompt bool
	ContinueFinal       bool
}

// Wait says how long a request is worth waiting for.
type Wait struct {
	// Total bounds a request's time; 0 is the server's default.
	Total time.Duration
	// Room bounds how much of it may pass before a full queue has room, or
	// before a first model is live; 0 refuses at once.
	Room time.Duration
}

// hold is a Wait of d for clients that take a refusal worse than a delay.
func hold(d time.Duration) Wait { return Wait{Total: d, Room: d} }

// Result is a native answer with what the dialects say of a model beside it.
type Result struct {
	*api.RewardResponse
	Label string // id2label["0"] of the model's configuration
}

// rewards returns the rewards in order, of a request that a bad answer fails;
// never nil.
func (r *Result) rewards() []float32 {
	out := make([]float32, len(r.Data))
	for i := range r.Data {
		out[i] = r.Data[i].Reward
	}
	return out
}

// ranked returns the places of the answers that have a reward, the best first and at
// most so many, 0 for all: by the rewards themselves, as the sigmoids of large ones are
// one number.
func (r *Result) ranked(most int) []int {
	var places []int
	for i := range r.Data {
		if r.Data[i].Error == nil {
			places = append(places, i)
		}
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(r.Data[b].Reward, r.Data[a].Reward) })
	return places[:min(cmp.Or(most, len(places)), len(places))]
}

// Target is where a request is sent: what of its URL a dialect reads.
type Target struct {
	Query          url.Values
	Model, Version string // of the path, where that has them
	// Head is how much of the body is JSON where binary data follows it, as the
	// Open Inference Protocol's binary extension has it; 0 is all.
	Head int
}

// Encoded is a reply that is not JSON, or not only.
type Encoded struct {
	Body  []byte
	Media string // its content type
	Head  int    // as in Target
}

// maxRows bounds the rows of a body in a binary form, whose smallest take a byte
// or four: more than a server takes in a request.
const maxRows = 1 << 16

func tooManyRows(param string) *api.Error {
	return api.Errorf(api.CodeTooManySequences, param, "more than %d rows in one request", maxRows)
}

// Config sets what a server may choose. A zero field takes the default.
type Config struct {
	// Scores is what OpenRLHF's "scores" are, which it filters on as numbers in
	// [0, 1]: sigmoid (default) or raw.
	Scores string
	// Activation answers vLLM's routes with its own default, a sigmoid, where a
	// request does not say use_activation. Default false: raw logits.
	Activation bool
}

// Validate reports a field that is out of its set.
func (c Config) Validate() error {
	if c.Scores != "" && c.Scores != scoresSigmoid && c.Scores != scoresRaw {
		return fmt.Errorf("dialect: Scores is %q, want sigmoid or raw", c.Scores)
	}
	return nil
}

// Choices are the query parameters that Choose reads. A path whose protocol has
// no room for the error of one answer among others does not take on_error.
var Choices = []string{"model", "mode", "aggregate", "lambda", "on_error"}

// Flags are the query parameters that are set by their name alone.
var Flags = []string{"bare"}

// Route is a path that scores.
type Route struct {
	Path  string   // for POST; chi's pattern
	Query []string // the query parameters that it takes
	Shape *Shape   // of errors until Decode has told more; nil is the native one
	Media []string // the content types that a body may have besides JSON's
	// Decode reads a request. Its error is an *api.Error; a Call that comes with
	// it has nothing but the Shape to answer that in.
	Decode func(body []byte, at Target) (*Call, error)
}

// decoded is the Decode of a body that is JSON of a type.
func decoded[R any](read func(r *R, at Target) (*Call, error)) func([]byte, Target) (*Call, error) {
	return func(body []byte, at Target) (*Call, error) {
		r := new(R)
		if err := api.DecodeLenient(body, r); err != nil {
			return nil, err
		}
		return read(r, at)
	}
}

// Routes returns every path of the dialects that scores.
func Routes(c Config) []Route {
	v := vllm{activation: c.Activation}
	with := func(more ...string) []string { return append(more, Choices...) }
	whole := Choices[:4]   // there is no room for the error of one answer among others
	inPath := Choices[1:4] // the model is in the path
	routes := []Route{
		{"/get_reward", with("pooling", "retemplate", "scores"), nil, nil,
			decoded(openRLHF{scores: c.Scores}.decode)},
		{"/classify", with(), vllmShape, nil, v.classifyOrOthers},
		{"/v1/classify", with(), vllmShape, nil, v.classify},
		{"/pooling", with(), vllmShape, nil, v.pooling},
		{"/score", with(), vllmShape, nil, decoded(v.score)},
		{"/v1/score", with(), vllmShape, nil, decoded(v.score)},
		{"/rerank", with(), vllmShape, nil, v.rerankOrOthers},
		{"/v1/rerank", with(), vllmShape, nil, decoded(v.rerank)},
		{"/v2/rerank", with(), vllmShape, nil, decoded(v.rerank)},
		{"/v1/embeddings", with(), vllmShape, nil, v.embeddings},
		{"/predict", with(), teiShape, nil, decoded(teiPredict)},
		{"/", with(), teiShape, nil, teiRoot},
		{"/v1/score-one", append([]string{"bare", "retemplate"}, whole...), nil, nil, decoded(slime)},
		{"/v1/score/evaluation", append([]string{"retemplate"}, whole...), nil, nil,
			decoded(llamaFactory)},
		{"/get_feedback", whole, nil, []string{MsgPack, "application/x-msgpack", octets}, oat},
		{nemoGymPath, with(), nil, nil, nemoGym},
		{"/v2/models/{name}/infer", inPath, oipShape, []string{octets}, infer},
		{"/v2/models/{name}/versions/{version}/infer", inPath, oipShape, []string{octets}, infer},
	}
	for i, r := range routes {
		routes[i].Decode = func(body []byte, at Target) (*Call, error) {
			c, err := r.Decode(body, at)
			if at.Head > 0 && at.Head <= len(body) {
				body = body[:at.Head]
			}
			if err == nil && r.Path != nemoGymPath { // whose rows have fields of their own
				err = misplaced(body, r.Query)
			}
			return c, api.BlameNonFinite(body, err)
		}
	}
	return routes
}

const nemoGymPath = "/verify"

// octets is the content type of what has none of its own.
const octets = "application/octet-stream"

// misplaced refuses a field that is no field of the protocol but a parameter of the path:
// passed over, as unknown fields are, it would leave a reward that is another than the one
// asked for. A model's name is a field of most protocols, and sent to the others out of habit.
func misplaced(body []byte, query []string) error {
	if !slices.ContainsFunc(query,
		func(name string) bool { return bytes.Contains(body, []byte(`"`+name+`"`)) }) {
		return nil
	}
	has, err := fieldsOf(body)
	if err != nil {
		return nil //nolint:nilerr // not an object: it has no fields
	}
	for _, name := range query {
		if name != "model" && has(name) {
			return api.Errorf(api.CodeUnknownField, name, "this path reads %s in the URL: ?%s=…", name, name)
		}
	}
	return nil
}

// choose is Choose of a call that may have nothing to score.
func (c *Call) choose(q url.Values) error {
	if c.Request == nil {
		return nil
	}
	err := Choose(c.Request, q)
	c.Request.OnError = cmp.Or(c.Request.OnError, c.onError)
	return err
}

// Choose fills in what the query says of the model and the ensemble. What the
// body says otherwise is refused: either could be the one that was meant. The
// error is nil or an *api.Error.
func Choose(r *api.RewardRequest, q url.Values) error {
	for _, f := range []struct {
		name string
		to   *string
	}{{"model", &r.Model}, {"mode", &r.Mode}, {"aggregate", &r.Aggregate}, {"on_error", &r.OnError}} {
		asked := q.Get(f.name)
		if *f.to != "" && asked != "" && *f.to != asked {
			return api.Errorf(api.CodeConflictingFields, f.name,
				"%q in the body and %q in the URL: say it in one place", api.Clip(*f.to), api.Clip(asked))
		}
		*f.to = cmp.Or(*f.to, asked)
	}
	text := q.Get("lambda")
	if text == "" {
		return nil
	}
	lambda, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return api.Errorf(api.CodeInvalidValue, "lambda", "want a number")
	}
	if r.Lambda != nil && *r.Lambda != lambda {
		return api.Errorf(api.CodeConflictingFields, "lambda",
			"%v in the body and %v in the URL: say it in one place", *r.Lambda, lambda)
	}
	r.Lambda = &lambda
	return nil
}

// flag reads a query parameter that is set by its name alone or by 1 or true.
func flag(q url.Values, name string) (bool, error) {
	switch v := q.Get(name); v {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	case "":
		return q.Has(name), nil
	}
	return false, api.Errorf(api.CodeInvalidValue, name, "want 0 or 1")
}

// places returns a Param: a place under inputs[i] becomes name(i, rest), where
// rest is what followed, as in "text" or "responses[2]".
func places(name func(i int, rest string) string) func(string) string {
	return func(param string) string {
		inside, ok := strings.CutPrefix(param, "inputs")
		if !ok {
			return param
		}
		number, rest, _ := strings.Cut(strings.TrimPrefix(inside, "["), "]")
		i, err := strconv.Atoi(number)
		if err != nil {
			i = 0 // of the inputs as a whole
		}
		return name(i, strings.TrimPrefix(rest, "."))
	}
}

// under returns a Param for inputs that are the elements of one list, or its
// one value when single.
func under(name string, single bool) func(string) string {
	return places(func(i int, _ string) string {
		if single {
			return name
		}
		return fmt.Sprintf("%s[%d]", name, i)
	})
}
