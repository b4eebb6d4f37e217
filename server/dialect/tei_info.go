package dialect

import (
	"cmp"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// TEIServer is what /info tells of.
type TEIServer struct {
	Model, Revision, DType, Label string
	MaxRequests                   int // at once
	MaxInput                      int // tokens
	MaxBatchTokens                int
	MaxClientBatch                int // sequences in a request
	Version                       string
}

// teiInfo is the body of TEI's GET /info.
type teiInfo struct {
	ModelID            string       `json:"model_id"`
	ModelSHA           string       `json:"model_sha"`
	ModelDType         string       `json:"model_dtype"`
	ServedModelName    string       `json:"served_model_name"`
	ModelType          teiModelType `json:"model_type"`
	MaxConcurrent      int          `json:"max_concurrent_requests"`
	MaxInputLength     int          `json:"max_input_length"`
	MaxBatchTokens     int          `json:"max_batch_tokens"`
	MaxBatchRequests   *int         `json:"max_batch_requests"`
	MaxClientBatchSize int          `json:"max_client_batch_size"`
	AutoTruncate       bool         `json:"auto_truncate"`
	Workers            int          `json:"tokenization_workers"`
	Version            string       `json:"version"`
	SHA                *string      `json:"sha"`
	DockerLabel        *string      `json:"docker_label"`
}

// teiModelType is TEI's for a classifier of one label.
type teiModelType struct {
	Reranker struct {
		ID2Label map[string]string `json:"id2label"`
		Label2ID map[string]int    `json:"label2id"`
	} `json:"reranker"`
}

// NewTEIInfo returns the body of /info: a reranker, as TEI calls a classifier of
// one label.
func NewTEIInfo(s TEIServer) any {
	i := teiInfo{
		ModelID: s.Model, ModelSHA: s.Revision, ModelDType: s.DType, ServedModelName: s.Model,
		MaxConcurrent: s.MaxRequests, MaxInputLength: s.MaxInput, MaxBatchTokens: s.MaxBatchTokens,
		MaxClientBatchSize: s.MaxClientBatch, AutoTruncate: true, Workers: 1, Version: s.Version,
	}
	label := cmp.Or(s.Label, "LABEL_0")
	i.ModelType.Reranker.ID2Label = map[string]string{"0": label}
	i.ModelType.Reranker.Label2ID = map[string]int{label: 0}
	return i
}

// TEITokenize is the body of TEI's POST /tokenize.
type TEITokenize struct {
	Texts      []string
	AddSpecial bool
}

// DecodeTEITokenize reads it.
func DecodeTEITokenize(body []byte) (TEITokenize, error) {
	var r struct {
		Inputs     jsontext.Value `json:"inputs"`
		AddSpecial *bool          `json:"add_special_tokens"`
		PromptName jsontext.Value `json:"prompt_name"`
	}
	err := api.DecodeLenient(body, &r)
	if err == nil {
		err = refuseUnread(unread{"prompt_name", r.PromptName, nil,
			"there are no named prompts: write the text out"})
	}
	if err != nil {
		return TEITokenize{}, err
	}
	if !given(r.Inputs) {
		return TEITokenize{}, api.Errorf(api.CodeMissingField, "inputs", "inputs is missing")
	}
	texts, _, err := readStrings(r.Inputs, "inputs")
	if err == nil && len(texts) == 0 {
		err = api.Errorf(api.CodeEmptyInput, "inputs", "`inputs` cannot be empty")
	}
	return TEITokenize{texts, r.AddSpecial == nil || *r.AddSpecial}, err
}

// TEIToken is one token of TEI's reply. Start and Stop are null: our tokenisers
// do not keep where in the text a token stands.
type TEIToken struct {
	ID      int32  `json:"id"`
	Text    string `json:"text"`
	Special bool   `json:"special"`
	Start   *int   `json:"start"`
	Stop    *int   `json:"stop"`
}

// TEIDecode is the body of TEI's POST /decode.
type TEIDecode struct {
	IDs         [][]int32
	SkipSpecial bool
}

// DecodeTEIDecode reads it.
func DecodeTEIDecode(body []byte) (TEIDecode, error) {
	var r struct {
		IDs  jsontext.Value `json:"ids"`
		Skip *bool          `json:"skip_special_tokens"`
	}
	if err := api.DecodeLenient(body, &r); err != nil {
		return TEIDecode{}, err
	}
	out := TEIDecode{SkipSpecial: r.Skip == nil || *r.Skip}
	if !given(r.IDs) {
		return out, api.Errorf(api.CodeMissingField, "ids", "ids is missing")
	}
	lists, single, err := readIDs(r.IDs, "ids")
	if err == nil && single && len(lists[0]) == 0 {
		err = api.Errorf(api.CodeEmptyInput, "ids", "`input_ids` cannot be empty")
	}
	for _, l := range lists {
		out.IDs = append(out.IDs, l)
	}
	return out, err
}
