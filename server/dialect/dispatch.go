package dialect

import "github.com/warmserve/warmserve/api"

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
	has, err := fieldsOf(body)
	switch {
	case err != nil:
		return nil, err
	case has("texts") && has("documents"):
		return nil, api.Errorf(api.CodeConflictingFields, "documents",
			"texts (of text-embeddings-inference) and documents (of vLLM) together")
	case has("texts"):
		c, err := decoded(teiRerank)(body, at)
		return shaped(c, teiShape), err
	case has("raw_scores"):
		return decoded(infinityRerank)(body, at)
	}
	return decoded(v.rerank)(body, at)
}

// classifyOrOthers tells four protocols on one path apart: SGLang's has text or
// input_ids, vLLM's input or messages, infinity's input with raw_scores, and
// inputs is what text classification of TEI's kind has.
func (v vllm) classifyOrOthers(body []byte, at Target) (*Call, error) {
	has, err := fieldsOf(body)
	last := func(names ...string) (out string) {
		for _, name := range names {
			if has(name) {
				out = name
			}
		}
		return out
	}
	theirs, ours := last("text", "input_ids", "inputs"), last("input", "messages")
	switch {
	case err != nil:
		return nil, err
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
	case ours == "input" && has("raw_scores"):
		return decoded(infinityClassify)(body, at)
	}
	return v.classify(body, at)
}
