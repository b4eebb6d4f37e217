package tokenizer

import (
	"encoding/json"
	"fmt"
)

// A vocabulary is the model's own tokens, without added ones.
type vocabulary struct {
	ids    map[string]int32
	tokens []string // by id; "" where no token has the id
	size   int      // number of tokens; less than len(tokens) where ids have holes
}

// idSlack is how far ids may run ahead of the number of tokens. Real
// vocabularies have few holes; a hostile one must not make a few bytes of JSON
// allocate a table of 2^31 entries.
const idSlack = 1 << 16

// parseVocab reads {"token": id}.
func parseVocab(data json.RawMessage) (vocabulary, error) {
	var v vocabulary
	if err := json.Unmarshal(data, &v.ids); err != nil {
		return v, fmt.Errorf("vocab: %w", err)
	}
	if len(v.ids) == 0 {
		return v, fmt.Errorf("vocab: no tokens")
	}
	top := int32(-1)
	for token, id := range v.ids {
		if id < 0 || int(id) >= 2*len(v.ids)+idSlack {
			return v, fmt.Errorf("vocab: token %q: id %d is out of range for %d tokens", token, id,
				len(v.ids))
		}
		top = max(top, id)
	}
	v.size = len(v.ids)
	v.tokens = make([]string, top+1)
	taken := make([]bool, top+1)
	for token, id := range v.ids {
		if taken[id] {
			return v, fmt.Errorf("vocab: id %d is given to both %q and %q", id, v.tokens[id], token)
		}
		taken[id] = true
		v.tokens[id] = token
	}
	return v, nil
}

// token returns the token with the given id.
func (v *vocabulary) token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(v.tokens) {
		return "", false
	}
	token := v.tokens[id]
	if token == "" {
		got, ok := v.ids[""] // an empty token may be real
		return "", ok && got == id
	}
	return token, true
}

// byteTokens returns the ids of "<0x00>" to "<0xFF>", -1 where there is none.
func (v *vocabulary) byteTokens() (ids [256]int32) {
	for b := range ids {
		ids[b] = -1
		if id, ok := v.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
			ids[b] = id
		}
	}
	return ids
}
