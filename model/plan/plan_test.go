package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/nn"
)

// Devices that read keys in blocks share prefixes of whole blocks.
func TestSharedPrefixesAreOfWholeBlocks(t *testing.T) {
	var seqs []Sequence
	for i := range 8 {
		ids := make([]int32, 450)
		ids[400] = int32(i + 1)
		seqs = append(seqs, Sequence{IDs: ids, Read: []int32{449}})
	}
	p := Plan{Multiple: 128}
	p.Make(seqs, &nn.Network{Causal: true}, 1)
	require.Len(t, p.Units, 1)
	assert.EqualValues(t, 384, p.Units[0].Prefix)
	assert.EqualValues(t, 384+8*66, p.Units[0].Tokens)

	p = Plan{Multiple: 512}
	p.Make(seqs, &nn.Network{Causal: true}, 1)
	assert.Len(t, p.Units, 8, "less than a block")
}
