package backendtest

import (
	"slices"

	"github.com/warmserve/warmserve/model/tokenizer"
)

// encode makes the ids and the types of a text or a pair, with the special tokens around.
func (w *weights) encode(texts []string) (ids, types []int32) {
	form := w.tokenizer.Single()
	if len(texts) == 2 {
		form = w.tokenizer.Pair()
	}
	for _, s := range form {
		own := s.IDs
		if s.Text >= 0 {
			own = w.tokenizer.AppendEncode(nil, texts[s.Text], tokenizer.Options{})
		}
		ids = append(ids, own...)
		types = append(types, slices.Repeat([]int32{s.TypeID}, len(own))...)
	}
	return ids, types
}
