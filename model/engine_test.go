package model_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/modeltest"
)

// loadedOn loads a tiny model onto an engine's device.
func loadedOn(t *testing.T, e model.Engine, d kernel.DType) model.Model {
	c, err := model.ParseConfig([]byte(`{"architectures":["LlamaForSequenceClassification"],"hidden_size":32,"intermediate_size":48,"num_hidden_layers":1,"num_attention_heads":4,"vocab_size":40,"max_position_embeddings":64,"id2label":{"0":"LABEL_0"}}`))
	require.NoError(t, err)
	m, err := e.Load(c, model.NewRandom(c, 1), model.LoadOptions{DType: d, Workers: 1})
	require.NoError(t, err)
	return m
}

func TestModelIsScoredOnItsOwnDeviceAlone(t *testing.T) {
	cpu, card, other := model.NewEngine(1), modeltest.NewCard(), modeltest.NewCard()
	defer cpu.Close()
	defer card.Close()
	defer other.Close()
	onCPU, onCard := loadedOn(t, cpu, kernel.Float32), loadedOn(t, card, kernel.Float32)
	seqs := []model.Sequence{{IDs: []int32{3, 1, 4}, Read: []int32{2}}, {IDs: []int32{1, 5}, Read: []int32{1}}}
	want, got := make([]float32, 2), make([]float32, 2)
	require.NoError(t, cpu.Score(onCPU, want, seqs))
	require.NoError(t, card.Score(onCard, got, seqs))
	assert.Equal(t, want, got)
	assert.Equal(t, onCPU.Digest(), onCard.Digest())

	assert.EqualError(t, cpu.Score(onCard, got, seqs),
		"model: a LlamaForSequenceClassification of another device cannot be scored on cpu: load it there")
	assert.ErrorContains(t, card.Score(onCPU, got, seqs), "another device cannot be scored on cuda:0 Test Card")
	assert.ErrorContains(t, other.Score(onCard, got, seqs), "another device")
}

func TestNoModelComesOfAFailedLoad(t *testing.T) {
	e := model.NewEngine(1)
	defer e.Close()
	c, err := model.ParseConfig([]byte(`{"architectures":["LlamaForSequenceClassification"],"hidden_size":32,"intermediate_size":48,"num_hidden_layers":1,"num_attention_heads":4,"vocab_size":40,"max_position_embeddings":64,"id2label":{"0":"LABEL_0"}}`))
	require.NoError(t, err)
	wider := *c
	wider.Intermediate = 64
	m, err := e.Load(&wider, model.NewRandom(c, 1), model.LoadOptions{})
	require.ErrorContains(t, err, "mis-shaped")
	assert.True(t, m == nil, "an interface that holds a nil model is not nil")
}

func TestNumberFormatIsOneOfTheDevice(t *testing.T) {
	cpu, card := model.NewEngine(1), modeltest.NewCard()
	defer cpu.Close()
	defer card.Close()
	for _, c := range []struct {
		engine    model.Engine
		name      string
		want, err string
	}{
		{cpu, "", "float32", ""},
		{cpu, "int8", "int8", ""},
		{card, "", "bfloat16", ""},
		{card, "float32", "float32", ""},
		{card, "int8", "", "dtype int8 is not computed on cuda:0 Test Card: want bfloat16 or float32"},
		{cpu, "fp8", "", "dtype fp8 is for cards; int8 is the CPU's"},
		{card, "fp8", "", "dtype fp8 needs a card of generation 8.9 or later, which cuda:0 Test Card is not"},
		{card, "half", "", `unknown dtype "half"`},
	} {
		d, err := model.ChooseDType(c.engine, c.name)
		if c.err != "" {
			assert.ErrorContains(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, c.want, d.String())
	}
}

func TestNumberFormatOfCardsIsNotLoadedOnTheCPU(t *testing.T) {
	cpu := model.NewEngine(1)
	defer cpu.Close()
	_, err := cpu.Load(nil, nil, model.LoadOptions{DType: kernel.FP8})
	assert.EqualError(t, err, "dtype fp8 is for cards; int8 is the CPU's")
}

func TestErrorsOfDevicesSayWhatToDo(t *testing.T) {
	assert.EqualError(t, &model.MemoryError{Device: "cuda:0 Test Card", Need: 16_060_000_000, Free: 3_210_000_000},
		"cuda:0 Test Card: 16.06 GB are needed, 3.21 GB are free")
	assert.EqualError(t, &model.UnavailableError{Device: "cuda:0 Test Card", After: 2 * time.Second, Err: assert.AnError},
		"cuda:0 Test Card computes again in about 2s: "+assert.AnError.Error())
}
