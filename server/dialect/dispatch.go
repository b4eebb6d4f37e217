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

// rerankOrTEI tells two protocols on one path apart: TEI's has texts.
func (v vllm) rerankOrTEI(body []byte, at Target) (*Call, error) {
	var keys struct {
		Texts     jsontext.Value `json:"texts"`
		Documents jsontext.Value `json:"documents"`
	}
	if err := api.DecodeLenient(body, &keys); err != nil {
		return nil, err
	}
	switch {
	case given(keys.Texts) && given(keys.Documents):
		return nil, api.Errorf(api.CodeConflictingFields, "documents", "texts (of text-embeddings-inference) and documents (of vLLM) together")
	case given(keys.Texts):
		c, err := teiRerank(body, at)
		return shaped(c, teiShape), err
	}
	return v.rerank(body, at)
}

// classifyOrSGLang tells two protocols on one path apart: SGLang's has text or
// input_ids, vLLM's input or messages.
func (v vllm) classifyOrSGLang(body []byte, at Target) (*Call, error) {
	var keys struct {
		Text     jsontext.Value `json:"text"`
		InputIDs jsontext.Value `json:"input_ids"`
		Input    jsontext.Value `json:"input"`
		Messages jsontext.Value `json:"messages"`
	}
	if err := api.DecodeLenient(body, &keys); err != nil {
		return nil, err
	}
	theirs, ours := "", ""
	for _, k := range []named{{"text", keys.Text}, {"input_ids", keys.InputIDs}} {
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
		return nil, api.Errorf(api.CodeConflictingFields, theirs, "%s (of vLLM) and %s (of SGLang) together", ours, theirs)
	case theirs != "":
		c, err := sglangClassify(body, at)
		return shaped(c, sglangShape), err
	}
	return v.classify(body, at)
}
