package tokenizer_test

import (
	"fmt"

	"github.com/warmserve/warmserve/model/tokenizer"
)

// A user who writes the mark that ends a turn ends none, where special tokens are not parsed.
func ExampleTokenizer_AppendEncode() {
	t, err := tokenizer.Parse([]byte(`{
	  "added_tokens": [{"id": 4, "content": "<end>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
	  "normalizer": null, "post_processor": null, "decoder": null,
	  "pre_tokenizer": null,
	  "model": {"type": "BPE", "unk_token": "?", "vocab": {"?": 0, "h": 1, "i": 2, "hi": 3}, "merges": ["h i"]}
	}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(t.AppendEncode(nil, "hi<end>", tokenizer.Options{}))
	fmt.Println(t.AppendEncode(nil, "hi<end>", tokenizer.Options{NoParseSpecial: true}))
	// Output:
	// [3 4]
	// [3 0 0 0 0 0]
}
