package dialect

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// vllmPairs is the body of /score and of the rerank routes.
type vllmPairs struct {
	vllmOptions
	Queries   jsontext.Value `json:"queries"`
	Text1     jsontext.Value `json:"text_1"`
	Data1     jsontext.Value `json:"data_1"`
	Documents jsontext.Value `json:"documents"`
	Items     jsontext.Value `json:"items"`
	Text2     jsontext.Value `json:"text_2"`
	Data2     jsontext.Value `json:"data_2"`

	AddSpecialTokens jsontext.Value `json:"add_special_tokens"` // not carried out
	ChatTemplate     jsontext.Value `json:"chat_template"`      // likewise

	Query           *string `json:"query"` // of the rerank routes, as are these
	TopN            int     `json:"top_n"` // 0 is all
	ReturnDocuments *bool   `json:"return_documents"`
}

// named is a field under one of several names.
type named struct {
	name  string
	value jsontext.Value
}

// oneOf returns the only one that is given.
func oneOf(names ...named) (named, error) {
	var out named
	for _, n := range names {
		if !given(n.value) {
			continue
		}
		if out.name != "" {
			return out, api.Errorf(api.CodeConflictingFields, n.name, "%s and %s together", out.name, n.name)
		}
		out = n
	}
	if out.name == "" {
		return out, api.Errorf(api.CodeMissingField, names[0].name, "%s is missing", names[0].name)
	}
	return out, nil
}

// pairOptions is options for pairs, which become text by the model's template.
func (r *vllmPairs) pairOptions(c *Call, activation bool) (func(float32) float32, error) {
	err := refuseUnread(
		unread{"add_special_tokens", r.AddSpecialTokens, []string{"true"},
			"pairs have the special tokens that the model's own template puts, or its tokeniser where there is none"},
		unread{"chat_template", r.ChatTemplate, nil,
			"templates are not taken from requests: the model's own is used"},
	)
	if err != nil {
		return nil, err
	}
	return r.options(c, activation)
}

type vllmScore struct {
	Index     int     `json:"index"`
	Object    string  `json:"object"`
	Score     float32 `json:"score"`
	Truncated bool    `json:"truncated,omitzero"`
}

// score is one prompt with N responses, or N prompts with a response each.
func (v vllm) score(r *vllmPairs, at Target) (*Call, error) {
	c := &Call{Request: &api.RewardRequest{Model: r.Model}, Wait: vllmWait, Shape: vllmShape}
	score, err := r.pairOptions(c, v.activation)
	if err != nil {
		return nil, err
	}
	left, err := oneOf(named{"queries", r.Queries}, named{"text_1", r.Text1}, named{"data_1", r.Data1})
	if err != nil {
		return nil, err
	}
	right, err := oneOf(named{"documents", r.Documents}, named{"items", r.Items},
		named{"text_2", r.Text2}, named{"data_2", r.Data2})
	if err != nil {
		return nil, err
	}
	if err := pairs(c, left, right); err != nil {
		return nil, err
	}
	c.Reply = func(res *Result) (any, error) {
		return list(res, "score-",
			func(d *api.Reward) any { return vllmScore{d.Index, "score", score(d.Reward), d.Truncated} }), nil
	}
	return c, c.choose(at.Query)
}

// pairs makes inputs of prompts and responses.
func pairs(c *Call, left, right named) error {
	prompts, _, err := readSome(left.value, left.name)
	if err != nil {
		return err
	}
	responses, single, err := readSome(right.value, right.name)
	if err != nil {
		return err
	}
	switch {
	case len(prompts) == 1:
		c.Request.Inputs = []api.Input{api.Answers(prompts[0], responses...)}
		c.Param = answers(left.name, right.name)
		return nil
	case len(prompts) != len(responses):
		return api.Errorf(api.CodeInvalidValue, right.name,
			"%d %s for %d %s: want one for each, or one of %s alone", len(responses), right.name,
			len(prompts), left.name, left.name)
	}
	c.Param = under(right.name, single)
	for i := range prompts {
		c.Request.Inputs = append(c.Request.Inputs,
			api.Input{Prompt: &api.Prompt{Text: prompts[i]}, Response: &responses[i]})
	}
	return nil
}

// answers is the Param of one prompt with responses.
func answers(prompt, responses string) func(string) string {
	return places(func(_ int, rest string) string {
		if index, ok := strings.CutPrefix(rest, "responses"); ok {
			return responses + index
		}
		return prompt
	})
}

type vllmRanked struct {
	Index     int           `json:"index"`
	Document  *vllmDocument `json:"document,omitzero"`
	Score     float32       `json:"relevance_score"`
	Truncated bool          `json:"truncated,omitzero"`
}

type vllmDocument struct {
	Text string `json:"text"`
}

type vllmRanking struct {
	ID      string    `json:"id"`
	Model   string    `json:"model"`
	Usage   api.Usage `json:"usage"`
	Results []any     `json:"results"` // vllmRanked, the best first, then vllmRefused
}

// rerank ranks answers to a prompt: best of N.
func (v vllm) rerank(r *vllmPairs, at Target) (*Call, error) {
	c := &Call{Request: &api.RewardRequest{Model: r.Model}, Wait: vllmWait, Shape: vllmShape,
		Param: answers("query", "documents")}
	score, err := r.pairOptions(c, v.activation)
	if err != nil {
		return nil, err
	}
	switch {
	case r.Query == nil:
		return nil, api.Errorf(api.CodeMissingField, "query", "query is missing")
	case !given(r.Documents):
		return nil, api.Errorf(api.CodeMissingField, "documents", "documents is missing")
	case r.TopN < 0:
		return nil, api.Errorf(api.CodeInvalidValue, "top_n", "%d, want 0 for all or more", r.TopN)
	}
	documents, _, err := readSome(r.Documents, "documents")
	if err != nil {
		return nil, err
	}
	c.Request.Inputs = []api.Input{api.Answers(*r.Query, documents...)}
	text := r.ReturnDocuments == nil || *r.ReturnDocuments
	c.Reply = func(res *Result) (any, error) {
		out := vllmRanking{ID: "rerank-" + strings.TrimPrefix(res.ID, "rwd-"), Model: res.Model,
			Usage: res.Usage}
		for _, i := range res.ranked(r.TopN) {
			d := &res.Data[i]
			e := vllmRanked{Index: i, Score: score(d.Reward), Truncated: d.Truncated}
			if text {
				e.Document = &vllmDocument{documents[i]}
			}
			out.Results = append(out.Results, e)
		}
		for i := range res.Data {
			if d := &res.Data[i]; d.Error != nil {
				out.Results = append(out.Results, refusedOf(d))
			}
		}
		return out, nil
	}
	return c, c.choose(at.Query)
}
