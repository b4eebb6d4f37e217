package dialect

import (
	"cmp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// infinityUnnamed is the model of a client of infinity that names none.
const infinityUnnamed = "default/not-specified"

// infinityRequest is the body of infinity's /classify and /rerank, which share
// their paths with vLLM: raw_scores, which infinity's clients always send, tells
// them apart.
type infinityRequest struct {
	Model           string         `json:"model"`
	Input           jsontext.Value `json:"input"` // of /classify; the rest is of /rerank
	Query           *string        `json:"query"`
	Documents       api.Responses  `json:"documents"`
	ReturnDocuments bool           `json:"return_documents"`
	TopN            int            `json:"top_n"`      // 0 is all
	RawScores       bool           `json:"raw_scores"` // false: a sigmoid
}

type infinityReply struct {
	Object  string            `json:"object"`
	Data    [][]teiPrediction `json:"data,omitzero"`    // of /classify
	Results []infinityRank    `json:"results,omitzero"` // of /rerank, the best first
	Model   string            `json:"model"`
	Usage   api.Usage         `json:"usage"`
	ID      string            `json:"id"`
	Created int64             `json:"created"`
}

type infinityRank struct {
	Score    float32 `json:"relevance_score"`
	Index    int     `json:"index"`
	Document *string `json:"document"`
}

// infinitySigmoid is said once when a client of infinity takes sigmoids.
const infinitySigmoid = "infinity's clients are answered a sigmoid of the reward unless the request says raw_scores: true, which rewards need"

func (r *infinityRequest) call(inputs []api.Input) *Call {
	c := &Call{Request: &api.RewardRequest{Inputs: inputs}, Wait: vllmWait, Shape: vllmShape}
	if r.Model != infinityUnnamed {
		c.Request.Model = r.Model
	}
	if !r.RawScores {
		c.Warn = func(*Result) string { return infinitySigmoid }
	}
	return c
}

func (r *infinityRequest) reply(object string, res *Result) infinityReply {
	return infinityReply{
		Object: object, Model: res.Model, Usage: res.Usage, Created: res.Created, ID: "infinity-" +
			strings.TrimPrefix(res.ID, "rwd-"),
	}
}

// infinityClassify has a list of one label for each text. Its shape has no room
// for the error of one text among others.
func infinityClassify(r *infinityRequest, at Target) (*Call, error) {
	inputs, single, err := readTexts(r.Input, "input", true)
	if err != nil {
		return nil, err
	}
	c, score := r.call(inputs), activation(!r.RawScores)
	c.Param = under("input", single)
	c.Reply = func(res *Result) (any, error) {
		out := r.reply("classify", res)
		for _, reward := range res.rewards() {
			out.Data = append(out.Data, []teiPrediction{{score(reward), cmp.Or(res.Label, "LABEL_0")}})
		}
		return out, nil
	}
	return c, c.chooseWhole(at.Query)
}

// infinityRerank ranks documents, which it answers as strings where vLLM has objects.
func infinityRerank(r *infinityRequest, at Target) (*Call, error) {
	switch {
	case r.Query == nil:
		return nil, api.Errorf(api.CodeMissingField, "query", "query is missing")
	case len(r.Documents) == 0:
		return nil, api.Errorf(api.CodeEmptyInput, "documents", "documents is empty")
	case r.TopN < 0:
		return nil, api.Errorf(api.CodeInvalidValue, "top_n", "%d, want 0 for all or more", r.TopN)
	}
	c, score := r.call([]api.Input{api.Answers(*r.Query, r.Documents...)}), activation(!r.RawScores)
	c.Param = answers("query", "documents")
	c.Reply = func(res *Result) (any, error) {
		out := r.reply("rerank", res)
		for _, i := range res.ranked(r.TopN) {
			e := infinityRank{Score: score(res.Data[i].Reward), Index: i}
			if r.ReturnDocuments {
				e.Document = &r.Documents[i]
			}
			out.Results = append(out.Results, e)
		}
		return out, nil
	}
	return c, c.chooseWhole(at.Query)
}

// chooseWhole is choose for a reply in which every answer has a score.
func (c *Call) chooseWhole(q map[string][]string) error {
	if err := c.choose(q); err != nil {
		return err
	}
	if c.Request.OnError == api.OnErrorItem {
		return api.Errorf(api.CodeInvalidValue, "on_error",
			"infinity's replies have no room for the error of one text among others")
	}
	return nil
}

// InfinityModels is the reply of infinity's GET /models.
type InfinityModels struct {
	Object string          `json:"object"` // "list"
	Data   []InfinityModel `json:"data"`
}

// InfinityModel is one of them. Clients know no owner but infinity.
type InfinityModel struct {
	ID           string        `json:"id"`
	Object       string        `json:"object"` // "model"
	OwnedBy      string        `json:"owned_by"`
	Created      int64         `json:"created"`
	Backend      string        `json:"backend"`
	Capabilities []string      `json:"capabilities"`
	Stats        InfinityStats `json:"stats"`
}

// InfinityStats says how full the queue is.
type InfinityStats struct {
	Fraction  float64 `json:"queue_fraction"`
	Absolute  int     `json:"queue_absolute"`
	Pending   int     `json:"results_pending"`
	BatchSize int     `json:"batch_size"`
}

// NewInfinityModel describes a model.
func NewInfinityModel(name string, created int64, stats InfinityStats) InfinityModel {
	return InfinityModel{
		ID: name, Object: "model", OwnedBy: "infinity", Created: created, Backend: "warmserve",
		Capabilities: []string{"classify", "rerank"}, Stats: stats,
	}
}
