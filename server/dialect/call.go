package dialect

import (
	"fmt"
	"net/url"
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
	Variables           []api.Field // of the chat template
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

// rewards returns the rewards in order; never nil.
func (r *Result) rewards() []float32 {
	out := make([]float32, len(r.Data))
	for i := range r.Data {
		out[i] = r.Data[i].Reward
	}
	return out
}

// Target is where a request is sent: what of its URL a dialect reads.
type Target struct {
	Query          url.Values
	Model, Version string // of the path, where that has them
}

// Config sets what a deployment may choose. A zero field takes the default.
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

// Route is a path that scores.
type Route struct {
	Path  string // for POST; chi's pattern
	Shape *Shape // of errors until Decode has told more; nil is the native one
	// Decode reads a request. Its error is an *api.Error; a Call that comes with
	// it has nothing but the Shape to answer that in.
	Decode func(body []byte, at Target) (*Call, error)
}

// Routes returns every path of the dialects that scores.
func Routes(c Config) []Route {
	v := vllm{activation: c.Activation}
	return []Route{
		{"/get_reward", nil, openRLHF{scores: c.Scores}.decode},
		{"/classify", vllmShape, v.classifyOrSGLang},
		{"/v1/classify", vllmShape, v.classify},
		{"/pooling", vllmShape, v.pooling},
		{"/score", vllmShape, v.score},
		{"/v1/score", vllmShape, v.score},
		{"/rerank", vllmShape, v.rerankOrTEI},
		{"/v1/rerank", vllmShape, v.rerank},
		{"/v2/rerank", vllmShape, v.rerank},
		{"/v1/embeddings", vllmShape, v.embeddings},
		{"/predict", teiShape, teiPredict},
		{"/", teiShape, teiRoot},
		{"/v1/score-one", nil, slime},
		{"/verify", nil, nemoGym},
		{"/v2/models/{name}/infer", oipShape, infer},
		{"/v2/models/{name}/versions/{version}/infer", oipShape, infer},
	}
}

// choose fills in what the query says of the model and the ensemble where the
// body does not.
func (c *Call) choose(q url.Values) error {
	if c.Request == nil {
		return nil
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{"model", &c.Request.Model}, {"mode", &c.Request.Mode}, {"aggregate", &c.Request.Aggregate}} {
		if *f.to == "" {
			*f.to = q.Get(f.name)
		}
	}
	if text := q.Get("lambda"); text != "" {
		lambda, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return api.Errorf(api.CodeInvalidValue, "lambda", "want a number")
		}
		c.Request.Lambda = &lambda
	}
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
