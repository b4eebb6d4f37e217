package tokenizer

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPostProcessorsPutSpecialTokensAround(t *testing.T) {
	piece := func(kind, id string, typ int) any { return member{kind: member{"id": id, "type_id": typ}} }
	special := member{"X": member{"id": "X", "ids": []int{1, 2}, "tokens": []string{"", ""}}, "Y": member{"ids": []int{3}}}
	clsSep := func(typ string) member {
		return member{"type": typ, "cls": []any{"c", 1}, "sep": []any{"s", 2}, "trim_offsets": true, "add_prefix_space": false}
	}
	for _, c := range []struct {
		name           string
		post           any
		prefix, suffix []int32
		pair, types    []int32
		bare, bareType []int32 // the pair without special tokens
	}{
		{
			name: "none", pair: []int32{'a', 'b'}, types: []int32{0, 1}, bare: []int32{'a', 'b'}, bareType: []int32{0, 1},
		},
		{
			name: "ByteLevel adds none", post: member{"type": "ByteLevel", "trim_offsets": true},
			pair: []int32{'a', 'b'}, types: []int32{0, 1}, bare: []int32{'a', 'b'}, bareType: []int32{0, 1},
		},
		{
			name: "BERT", post: clsSep("BertProcessing"), prefix: []int32{1}, suffix: []int32{2},
			pair: []int32{1, 'a', 2, 'b', 2}, types: []int32{0, 0, 0, 1, 1}, bare: []int32{'a', 'b'}, bareType: []int32{0, 1},
		},
		{
			name: "RoBERTa", post: clsSep("RobertaProcessing"), prefix: []int32{1}, suffix: []int32{2},
			pair: []int32{1, 'a', 2, 2, 'b', 2}, types: []int32{0, 0, 0, 0, 0, 0}, bare: []int32{'a', 'b'}, bareType: []int32{0, 0},
		},
		{
			name: "a template in a sequence", post: member{"type": "Sequence", "processors": []any{
				member{"type": "ByteLevel"},
				member{
					"type":           "TemplateProcessing",
					"single":         []any{piece("SpecialToken", "X", 0), piece("Sequence", "A", 0), piece("SpecialToken", "Y", 0)},
					"pair":           []any{piece("Sequence", "B", 4), piece("SpecialToken", "X", 5), piece("Sequence", "A", 6)},
					"special_tokens": special,
				}}},
			prefix: []int32{1, 2}, suffix: []int32{3},
			pair: []int32{'b', 1, 2, 'a'}, types: []int32{4, 5, 5, 6}, bare: []int32{'b', 'a'}, bareType: []int32{4, 6},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok := parseDocument(t, member{"model": bytesBPE(), "pre_tokenizer": byteLevel, "post_processor": c.post})
			want := append(append(append([]int32{}, c.prefix...), 'a'), c.suffix...)
			assert.Equal(t, want, tok.AppendEncode([]int32{}, "a", Options{AddSpecial: true}))
			single, _ := sequence(tok, tok.Single(), "a")
			assert.Equal(t, want, single)
			ids, types := sequence(tok, tok.Pair(), "a", "b")
			assert.Equal(t, c.pair, ids)
			assert.Equal(t, c.types, types)
			texts := slices.DeleteFunc(tok.Pair(), func(s Segment) bool { return s.Text < 0 })
			ids, types = sequence(tok, texts, "a", "b")
			assert.Equal(t, c.bare, ids)
			assert.Equal(t, c.bareType, types)
		})
	}
}
