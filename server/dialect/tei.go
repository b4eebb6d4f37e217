package dialect

import (
	"cmp"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// teiWait is short: TEI's clients expect 429 and come again.
var teiWait = Wait{Room: 5 * time.Second}

// teiOptions are what /predict and /rerank share.
type teiOptions struct {
	Truncate  *bool  `json:"truncate"`             // absent: true
	Direction string `json:"truncation_direction"` // absent: as the native route
	RawScores bool   `json:"raw_scores"`           // absent: a sigmoid
}

// teiSigmoid is said once when a TEI client takes sigmoids.
const teiSigmoid = "text-embeddings-inference routes answer a sigmoid of the reward unless the request says raw_scores: true, which rewards need"

// call begins a Call with the options.
func (o *teiOptions) call(inputs []api.Input) (*Call, error) {
	c := &Call{Request: &api.RewardRequest{Inputs: inputs}, Wait: teiWait, Shape: teiShape, Timed: true}
	if !o.RawScores {
		c.Warn = func(*Result) string { return teiSigmoid }
	}
	switch {
	case o.Truncate != nil && !*o.Truncate:
		c.Request.Truncate = api.TruncateError
	case o.Direction == "left" || o.Direction == "Left":
		c.Request.Truncate = api.TruncateLeft
	case o.Direction == "right" || o.Direction == "Right":
		c.Request.Truncate = api.TruncateRight
	case o.Direction != "":
		return nil, api.Errorf(api.CodeInvalidValue, "truncation_direction", "want left or right")
	}
	return c, nil
}

type teiPredictRequest struct {
	teiOptions
	Inputs     jsontext.Value `json:"inputs"`
	Parameters *teiParameters `json:"parameters"`
}

// teiParameters are huggingface_hub's, which sends them, if empty, to any server
// of text classification, and reads the answer to one text as the first of a
// batch. Its top_k is about labels, of which there is one.
type teiParameters struct {
	Function string `json:"function_to_apply"` // "" is what raw_scores says
}

// apply lets the parameters say what a score is.
func (r *teiPredictRequest) apply() error {
	if r.Parameters == nil {
		return nil
	}
	switch r.Parameters.Function {
	case "", "sigmoid":
		return nil
	case "none":
		r.RawScores = true
		return nil
	}
	return api.Errorf(api.CodeInvalidValue, "parameters.function_to_apply",
		"want none, for rewards as they are, or sigmoid")
}

type teiPrediction struct {
	Score float32 `json:"score"`
	Label string  `json:"label"`
}

// teiPredict is POST /predict.
func teiPredict(r *teiPredictRequest, at Target) (*Call, error) {
	if err := r.apply(); err != nil {
		return nil, err
	}
	inputs, single, err := teiSequences(r.Inputs)
	if err != nil {
		return nil, err
	}
	c, err := r.call(inputs)
	if err != nil {
		return nil, err
	}
	c.Param = under("inputs", single)
	for i := range inputs {
		c.Characters += characters(&inputs[i])
	}
	score := activation(!r.RawScores)
	c.Reply = func(res *Result) (any, error) {
		out := make([]any, len(res.Data)) // a list of one prediction, or an error
		for i, d := range res.Data {
			if d.Error != nil {
				_, out[i] = teiShape.Error(d.Error)
				continue
			}
			out[i] = []teiPrediction{{score(d.Reward), cmp.Or(res.Label, "LABEL_0")}}
		}
		if single && r.Parameters == nil {
			return out[0], nil
		}
		return out, nil
	}
	return c, c.choose(at.Query)
}

// characters is the length of an input's texts.
func characters(in *api.Input) int {
	if in.Text != nil {
		return utf8.RuneCountInString(*in.Text)
	}
	n := utf8.RuneCountInString(in.Prompt.Text)
	if in.Response != nil {
		n += utf8.RuneCountInString(*in.Response)
	}
	for _, r := range in.Responses {
		n += utf8.RuneCountInString(r)
	}
	return n
}

// teiForms is what TEI takes for inputs.
const teiForms = "want a string, a pair of strings [string, string] or a batch of mixed strings and pairs [[string], [string, string], ...]"

// teiSequences reads inputs. A list of two strings is one pair, not two texts.
func teiSequences(v jsontext.Value) (inputs []api.Input, single bool, err error) {
	if !given(v) {
		return nil, false, api.Errorf(api.CodeMissingField, "inputs", "inputs is missing")
	}
	if first(v) == '[' {
		var batch []api.Responses
		if err := read(v, "inputs", &batch); err != nil {
			return nil, false, err
		}
		for _, seq := range batch {
			in, err := teiSequence(seq)
			if err != nil {
				return nil, false, err
			}
			inputs = append(inputs, in)
		}
		return inputs, false, nil
	}
	texts, _, err := readStrings(v, "inputs")
	if err != nil {
		return nil, false, api.Errorf(api.CodeInvalidValue, "inputs", teiForms)
	}
	in, err := teiSequence(texts)
	return []api.Input{in}, true, err
}

func teiSequence(texts []string) (api.Input, error) {
	special := true
	switch len(texts) {
	case 1:
		return api.Input{Text: &texts[0], AddSpecialTokens: &special}, nil
	case 2:
		return api.Input{Prompt: &api.Prompt{Text: texts[0]}, Response: &texts[1]}, nil
	}
	return api.Input{}, api.Errorf(api.CodeInvalidValue, "inputs", teiForms)
}

type teiRerankRequest struct {
	teiOptions
	Query      *string       `json:"query"`
	Texts      api.Responses `json:"texts"`
	ReturnText bool          `json:"return_text"`
}

type teiRank struct {
	Index int     `json:"index"`
	Text  *string `json:"text,omitzero"`
	Score float32 `json:"score"`
}

// teiRefused stands behind the ranks, for a text that was refused alone.
type teiRefused struct {
	Index int `json:"index"`
	teiError
}

// teiRerank is TEI's POST /rerank: answers to a prompt, the best first.
func teiRerank(r *teiRerankRequest, at Target) (*Call, error) {
	switch {
	case r.Query == nil:
		return nil, api.Errorf(api.CodeMissingField, "query", "query is missing")
	case len(r.Texts) == 0:
		return nil, api.Errorf(api.CodeEmptyInput, "texts", "`texts` cannot be empty")
	}
	c, err := r.call([]api.Input{api.Answers(*r.Query, r.Texts...)})
	if err != nil {
		return nil, err
	}
	c.Param, c.Characters = answers("query", "texts"), characters(&c.Request.Inputs[0])
	score := activation(!r.RawScores)
	c.Reply = func(res *Result) (any, error) {
		out := make([]any, 0, len(res.Data))
		for _, i := range res.ranked(0) {
			e := teiRank{Index: i, Score: score(res.Data[i].Reward)}
			if r.ReturnText {
				e.Text = &r.Texts[i]
			}
			out = append(out, e)
		}
		for i := range res.Data {
			if d := &res.Data[i]; d.Error != nil {
				_, e := teiShape.Error(d.Error)
				out = append(out, teiRefused{i, e.(teiError)})
			}
		}
		return out, nil
	}
	return c, c.choose(at.Query)
}

// teiRoot is POST /: TEI's rerank for a model of one label; predict is told by
// its key.
func teiRoot(body []byte, at Target) (*Call, error) {
	has, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	if has("inputs") {
		return decoded(teiPredict)(body, at)
	}
	return decoded(teiRerank)(body, at)
}
