package backend

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/tokenizer"
	"github.com/warmserve/warmserve/warm/backend/backendtest"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

const bert = `{"architectures":["BertForSequenceClassification"],"model_type":"bert","hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,"num_attention_heads":2,"vocab_size":300,"max_position_embeddings":64,"type_vocab_size":2,"hidden_act":"gelu","layer_norm_eps":1e-12,"pad_token_id":299,"hidden_dropout_prob":0.1,"initializer_range":0.02}`

// encoder is a member that TEI serves, of so many labels.
func encoder(t testing.TB, name string, labels int) string {
	return member(t, name, bert, func(c map[string]any) {
		ids, of := map[string]string{}, map[string]int{}
		for i := range labels {
			name := fmt.Sprintf("label %d", i)
			ids[fmt.Sprint(i)], of[name] = name, i
		}
		c["id2label"], c["label2id"] = ids, of
	}, rewardtest.PairTokenizer(1, 1))
}

// TEI takes no weights while it runs: it must be started on the average, which the error says,
// and is believed when it was.
func TestTEIMustBeStartedOnTheAverage(t *testing.T) {
	a, b := encoder(t, "a", 1), encoder(t, "b", 1)
	s := backendtest.New(t, "tei", a)
	e, _ := engine(t, s, TEI, nil)
	c := config(e, a, b)
	d, err := reward.Open(t.Context(), c, 1)
	require.NoError(t, err)
	defer d.Close()
	m := d.Average().(*Model)
	err = e.Activate(t.Context(), m, nil)
	assert.EqualError(t, err, fmt.Sprintf("%s: it serves %s, which is not this average, and the engine takes no other weights while it runs: start it with text-embeddings-router --dtype float32 --model-id %s, and load the model again (what the configuration or a manifest names is tried again by itself)",
		e.Device(), a, m.dir))
	s.Restart(m.dir)
	require.NoError(t, e.Activate(t.Context(), m, nil))
	sameRewards(t, e, d, c, texts())
	for _, r := range s.Asked("/predict") {
		assert.Contains(t, r.Body, `"raw_scores":true,"truncate":false`)
	}
}

// A swap goes by a restart: what is live goes on until it, and says then what it wants.
func TestTEIIsSwappedByItsRestart(t *testing.T) {
	a, b, c := encoder(t, "a", 1), encoder(t, "b", 1), encoder(t, "c", 1)
	s := backendtest.New(t, "tei", a)
	e, log := engine(t, s, TEI, nil)
	opened := func(dirs ...string) (reward.Config, *reward.Deployment, *Model) {
		of := config(e, dirs...)
		d, err := reward.Open(t.Context(), of, 1)
		require.NoError(t, err)
		t.Cleanup(d.Close)
		return of, d, d.Average().(*Model)
	}
	of, d, m := opened(a, b)
	s.Break(func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	assert.ErrorContains(t, e.Activate(t.Context(), m, nil), "HTTP 503: start it with text-embeddings-router --dtype float32 --model-id "+m.dir+", and load")
	s.Break(nil)
	s.Restart(m.dir)
	require.NoError(t, e.Activate(t.Context(), m, nil))

	later, next, n := opened(b, c)
	assert.ErrorContains(t, e.Activate(t.Context(), n, nil), "start it with text-embeddings-router --dtype float32 --model-id "+n.dir)
	sameRewards(t, e, d, of, texts())
	s.Restart(n.dir)
	require.Eventually(t, func() bool {
		return strings.Contains(m.Trouble(), "it serves "+n.dir+", which is not this average") && strings.Contains(m.Trouble(), m.dir)
	}, 10*time.Second, time.Millisecond)
	_, err := d.Score(e, m, encoded(t, d, texts()))
	var away *model.UnavailableError
	assert.ErrorAs(t, err, &away)
	require.NoError(t, e.Activate(t.Context(), n, nil))
	sameRewards(t, e, next, later, texts())
	assert.NotContains(t, log.String(), "is given them again", "nothing is given to TEI")
	s.Restart(m.dir) // the way back
	require.Eventually(t, func() bool { return m.Trouble() == "" }, 10*time.Second, time.Millisecond)
	sameRewards(t, e, d, of, texts())
}

func TestTEIReadsSeveralLabelsPairsAndLargeBatches(t *testing.T) {
	a := encoder(t, "a", 3)
	s := backendtest.New(t, "tei", a)
	e, _ := engine(t, s, TEI, nil)
	c := config(e, a)
	c.Output = "label 1-label 2"
	d, err := reward.Open(t.Context(), c, 1)
	require.NoError(t, err)
	defer d.Close()
	s.Restart(d.Average().(*Model).dir)
	require.NoError(t, e.Activate(t.Context(), d.Average(), nil))
	in := texts()
	for i := range 80 { // more than one request takes
		in = append(in, reward.Input{Text: ptr(fmt.Sprintf("text %d", i))})
	}
	sameRewards(t, e, d, c, in)
}

func ptr[T any](v T) *T { return &v }

// The text that is sent has these very ids, special tokens written out in it included; ids that
// no text has are refused alone.
func TestTextsOfTokens(t *testing.T) {
	tok, err := tokenizer.Parse(rewardtest.PairTokenizer(1, 1))
	require.NoError(t, err)
	pair, types := encodePair(tok, "a b", "c")
	for name, tc := range map[string]struct {
		it   item
		want []string
	}{
		"a text":                 {item{ids: encodeText(tok, "some text, and ümläuts 字")}, []string{"some text, and ümläuts 字"}},
		"an empty text":          {item{ids: encodeText(tok, "")}, []string{""}},
		"special tokens written": {item{ids: encodeText(tok, "a</s>b")}, []string{"a</s>b"}},
		"a pair":                 {item{ids: pair, types: types}, []string{"a b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := textOf(tok, &tc.it)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
	for name, it := range map[string]item{
		"no special tokens":   {ids: []int32{10, 11}},
		"half a character":    {ids: []int32{0, 2 + 0xc3, 1}},
		"another type":        {ids: pair, types: make([]int32, len(pair)-1)},
		"types of no pair":    {ids: encodeText(tok, "a"), types: []int32{0, 1, 1}},
		"a token that is not": {ids: []int32{0, 280, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := textOf(tok, &it)
			assert.ErrorIs(t, err, errNoText)
		})
	}
}

func TestTokensThatAreNoTextVoidNoOthers(t *testing.T) {
	a := encoder(t, "a", 1)
	s := backendtest.New(t, "tei", a)
	e, log := engine(t, s, TEI, nil)
	d, err := reward.Open(t.Context(), config(e, a), 1)
	require.NoError(t, err)
	defer d.Close()
	s.Restart(d.Average().(*Model).dir)
	require.NoError(t, e.Activate(t.Context(), d.Average(), nil))
	ids := encodeText(d.Tokenizer, "secret words")
	seqs := []model.Sequence{{IDs: ids, Read: []int32{0}}, {IDs: []int32{0, 2 + 0xc3, 1}, Read: []int32{0}},
		{IDs: encodeText(d.Tokenizer, "more"), Read: []int32{0}}, {IDs: encodeText(d.Tokenizer, ""), Read: []int32{0}}}
	out := make([]float32, 4)
	require.NoError(t, e.Score(d.Average(), out, seqs))
	assert.False(t, math.IsNaN(float64(out[0])))
	assert.True(t, math.IsNaN(float64(out[1])))
	assert.False(t, math.IsNaN(float64(out[2])))
	assert.True(t, math.IsNaN(float64(out[3])), "TEI takes no text without a character")
	assert.Contains(t, log.String(), "no text has these tokens")
	assert.NotContains(t, log.String(), "secret")
}
