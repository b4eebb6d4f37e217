package dialect

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// sglangRequest is SGLang's native body of /classify. Its model is left out, as
// SGLang does; where several are served, ?model names one.
type sglangRequest struct {
	Text     jsontext.Value `json:"text"`
	InputIDs jsontext.Value `json:"input_ids"`
}

type sglangScored struct {
	Embedding []float32  `json:"embedding"`
	Meta      sglangMeta `json:"meta_info"`
}

type sglangMeta struct {
	ID           string `json:"id"`
	PromptTokens int    `json:"prompt_tokens"`
	Truncated    bool   `json:"truncated,omitzero"`
}

// sglangClassify answers a list for a list, and one object for one text.
func sglangClassify(body []byte, at Target) (*Call, error) {
	var r sglangRequest
	if err := api.DecodeLenient(body, &r); err != nil {
		return nil, err
	}
	one, err := oneOf(named{"text", r.Text}, named{"input_ids", r.InputIDs})
	if err != nil {
		return nil, err
	}
	inputs, single, err := readTexts(one.value, one.name, true)
	if err != nil {
		return nil, err
	}
	if len(inputs) == 0 {
		return nil, api.Errorf(api.CodeEmptyInput, one.name, "%s is empty", one.name)
	}
	if ids := inputs[0].InputIDs != nil; ids != (one.name == "input_ids") {
		return nil, api.Errorf(api.CodeInvalidValue, one.name, "want text for text, and token ids for input_ids")
	}
	c := &Call{
		Request: &api.RewardRequest{Inputs: inputs}, Wait: vllmWait, Shape: sglangShape,
		Param: under(one.name, single),
		Reply: func(res *Result) (any, error) {
			out := make([]any, len(res.Data))
			for i, d := range res.Data {
				if d.Error != nil {
					_, out[i] = sglangShape.Error(d.Error)
					continue
				}
				out[i] = sglangScored{[]float32{d.Reward}, sglangMeta{strings.TrimPrefix(res.ID, "rwd-"), d.Tokens, d.Truncated}}
			}
			if single {
				return out[0], nil
			}
			return out, nil
		},
	}
	return c, c.choose(at.Query)
}
