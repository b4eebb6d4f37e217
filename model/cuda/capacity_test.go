package cuda_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/kernel"
)

// little is a device on which batches have few rows.
type little struct {
	cuda.Device
	rows int
}

func (l little) Limits() cuda.Limits {
	limits := l.Device.Limits()
	limits.Rows = l.rows
	return limits
}

// capacity is the rows of batches of littleModel.
const capacity = 192

// littleModel is a golden model on the CPU and on a device of few rows.
func littleModel(t *testing.T, name string) (host, card model.Engine, on, m model.Model) {
	t.Helper()
	dir := other(t, name, map[string]any{"max_position_embeddings": 256, "hidden_size": 16, "intermediate_size": 16,
		"num_attention_heads": 2, "num_key_value_heads": 1})
	host = model.NewEngine(1)
	t.Cleanup(host.Close)
	card = cudatest.NewEngine(little{cudatest.NewDevice(t, 80), capacity})
	return host, card, open(t, dir, host, kernel.Float32), open(t, dir, card, kernel.Float32)
}

// agree scores a batch on both, outputs too, and wants equal results but for the order of sums.
func agree(t *testing.T, host, card model.Engine, on, m model.Model, seqs []model.Sequence) {
	t.Helper()
	room := func() []model.Sequence {
		out := slices.Clone(seqs)
		for i := range out {
			out[i].Outputs = make([]float32, out[i].Rows()*on.Network().Head.Outputs())
		}
		return out
	}
	a, b := room(), room()
	assert.InDeltaSlice(t, score(t, host, on, a...), score(t, card, m, b...), 1e-4)
	for i := range a {
		assert.InDeltaSlice(t, a[i].Outputs, b[i].Outputs, 1e-4, "outputs of sequence %d", i)
	}
}

// Batches that fill what a card has room for, and those that do not fit at once.
func TestBatchesAtTheEdgesOfCapacity(t *testing.T) {
	host, card, on, m := littleModel(t, "llama")
	r := rand.New(rand.NewPCG(3, 3))
	of := func(n ...int) (out []model.Sequence) {
		for _, n := range n {
			out = append(out, last(on, ids(r, on, n)))
		}
		return out
	}
	ones := make([]int, capacity+1)
	for i := range ones {
		ones[i] = 1
	}
	distinct := of(ones...)
	for i := range distinct { // tokens of its own each, or as good as
		distinct[i].IDs[0] = int32(i % on.Network().Vocab)
	}
	prompt := ids(r, on, 128)
	var shared, every, same []model.Sequence
	for range 6 {
		s := append(slices.Clone(prompt), ids(r, on, 4)...)
		shared = append(shared, last(on, s))
		every = append(every, model.Sequence{IDs: s, Read: []int32{131}, Every: true})
	}
	every = append(every, shared[0])
	for _, read := range []int32{127, 5, 100, 127} {
		same = append(same, model.Sequence{IDs: prompt, Read: []int32{read}})
	}
	same = append(same, model.Sequence{IDs: prompt, Read: []int32{127}, Every: true},
		last(on, append(slices.Clone(prompt), 7)))
	for _, c := range []struct {
		name string
		seqs []model.Sequence
	}{
		{"none", nil},
		{"one of the longest", of(capacity)},
		{"just full", of(capacity/2, capacity/4, capacity/4)},
		{"one too many", of(capacity/2, capacity/2, 1)},
		{"full, and a rest that is full", of(capacity, capacity, 1)},
		{"as many sequences as rows, and one", distinct},
		{"answers to a prompt", shared},
		{"all tokens of answers to a prompt are read, more than there are rows", every},
		{"a prompt that is a sequence, read here and there", same},
	} {
		t.Run(c.name, func(t *testing.T) { agree(t, host, card, on, m, c.seqs) })
	}
	err := card.Score(m, make([]float32, 2), of(3, capacity+1))
	assert.EqualError(t, err, fmt.Sprintf("sequence 1: cuda: %d tokens, LlamaForSequenceClassification takes %d on a card: cut it, or compute it on the CPU", capacity+1, capacity))
}

// Sequences of equal tokens are told apart by their types, and by what is read.
func TestSequencesThatDifferInTypesAlone(t *testing.T) {
	host, card, on, m := littleModel(t, "bert")
	require.Positive(t, on.Network().Types)
	r := rand.New(rand.NewPCG(4, 4))
	text := ids(r, on, 70)
	var seqs []model.Sequence
	for _, from := range []int{0, 1, 40, 69, 70, 40} {
		types := make([]int32, len(text))
		for i := from; i < len(types); i++ {
			types[i] = 1
		}
		seqs = append(seqs, model.Sequence{IDs: text, Types: types, Read: []int32{0}})
	}
	seqs = append(seqs, last(on, text), model.Sequence{IDs: text, Read: []int32{3}})
	agree(t, host, card, on, m, seqs)
}
