package reward

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model/tokenizer"
)

// textDigests are of what decides how text becomes tokens, for the revision.
type textDigests struct {
	tokenizer []byte            // of the tokenizer.json that is in force; nil for none
	special   map[string]string // the tokens by their roles, which templates see
}

// tokenizerFiles are what a checkpoint says about its tokenizer.
func tokenizerFiles(c *loader.Checkpoint) tokenizer.Files {
	return tokenizer.Files{Tokenizer: c.Tokenizer, TokenizerConfig: c.TokenizerConfig,
		SpecialTokensMap: c.SpecialTokensMap, ModelConfig: c.Config}
}

// configure returns the tokenizer.json that is in force, and keeps its digest and
// the notes about fields that are not followed.
func (e *Encoder) configure(c *loader.Checkpoint) (data []byte, err error) {
	data, e.notes, err = tokenizerFiles(c).Configured()
	e.digests.tokenizer = sum(data)
	return data, err
}

// someOf names the first of the tokens.
func someOf(tokens []string) string {
	const most = 3
	var out []string
	for i, t := range tokens {
		if i == most {
			return fmt.Sprintf("%s and %d more", strings.Join(out, ", "), len(tokens)-most)
		}
		out = append(out, fmt.Sprintf("%q", t))
	}
	return strings.Join(out, ", ")
}

// checkConfigured refuses members whose tokenizer.json is the same and whose
// tokenizer_config.json makes another tokenizer of it.
func checkConfigured(members []*loader.Checkpoint) error {
	var first []byte
	changed := false
	for i, c := range members {
		if c.Tokenizer == nil {
			continue
		}
		data, _, err := tokenizerFiles(c).Configured()
		if err != nil {
			return fmt.Errorf("%s: %w", c.Dir, err)
		}
		changed = changed || !bytes.Equal(data, c.Tokenizer)
		if i == 0 {
			first = data
		} else if changed && !sameTokenizer(first, data) {
			return fmt.Errorf("%s and %s: tokenizer_config.json makes other tokens of the same text (do_lower_case, added_tokens_decoder, add_prefix_space, …)", members[0].Dir, c.Dir)
		}
	}
	return nil
}

// sameTokenizer compares two files without what trainers set and servers
// override.
func sameTokenizer(a, b []byte) bool {
	var docs [2]map[string]any
	for i, data := range [][]byte{a, b} {
		if json.Unmarshal(data, &docs[i]) != nil {
			return false
		}
		delete(docs[i], "truncation")
		delete(docs[i], "padding")
	}
	return reflect.DeepEqual(docs[0], docs[1])
}
