package dialect

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/warmserve/warmserve/api"
)

// shaped returns c or, where decoding it failed, a Call that says the shape of
// that error.
func shaped(c *Call, shape *Shape) *Call {
	if c == nil {
		return &Call{Shape: shape}
	}
	return c
}

// rerankOrOthers tells three protocols on one path apart: TEI's has texts,
// infinity's documents with raw_scores.
func (v vllm) rerankOrOthers(body []byte, at Target) (*Call, error) {
	var keys struct {
		Texts     jsontext.Value `json:"texts"`
		Documents jsontext.Value `json:"documents"`
		Raw       jsontext.Value `json:"raw_scores"`
	}
	if err := api.DecodeLenient(body, &keys); err != nil {
		return nil, err
	}
	switch {
	case given(keys.Texts) && given(keys.Documents):
		return nil, api.Errorf(api.CodeConflictingFields, "documents",
			"texts (of text-embeddings-inference) and documents (of vLLM) together")
	case given(keys.Texts):
		c, err := decoded(teiRerank)(body, at)
		return shaped(c, teiShape), err
	case given(keys.Raw):
		return decoded(infinityRerank)(body, at)
	}
	return decoded(v.rerank)(body, at)
}

// classifyOrOthers tells four protocols on one path apart: SGLang's has text or
// input_ids, vLLM's input or messages, infinity's input with raw_scores, and
// inputs is what text classification of TEI's kind has.
func (v vllm) classifyOrOthers(body []byte, at Target) (*Call, error) {
	var keys struct {
		Inputs   jsontext.Value `json:"inputs"`
		Raw      jsontext.Value `json:"raw_scores"`
		Text     jsontext.Value `json:"text"`
		InputIDs jsontext.Value `json:"input_ids"`
		Input    jsontext.Value `json:"input"`
		Messages jsontext.Value `json:"messages"`
	}
	if err := api.DecodeLenient(body, &keys); err != nil {
		return nil, err
	}
	theirs, ours := "", ""
	for _, k := range []named{{"text", keys.Text}, {"input_ids", keys.InputIDs}, {"inputs", keys.Inputs}} {
		if given(k.value) {
			theirs = k.name
		}
	}
	for _, k := range []named{{"input", keys.Input}, {"messages", keys.Messages}} {
		if given(k.value) {
			ours = k.name
		}
	}
	switch {
	case theirs != "" && ours != "":
		return nil, api.Errorf(api.CodeConflictingFields, theirs,
			"%s and %s are fields of different protocols", ours, theirs)
	case theirs == "inputs":
		c, err := decoded(teiPredict)(body, at)
		if c != nil {
			c.Shape = vllmShape // that of the path
		}
		return c, err
	case theirs != "":
		c, err := decoded(sglangClassify)(body, at)
		return shaped(c, sglangShape), err
	case ours == "input" && given(keys.Raw):
		return decoded(infinityClassify)(body, at)
	}
	return v.classify(body, at)
}
