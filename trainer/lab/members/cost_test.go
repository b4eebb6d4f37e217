package members

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
)

func TestWhatServingCostsIsHeldAgainstTheAverage(t *testing.T) {
	c := cost{M: 6, Served: []served{
		{average, 90e6, 1000, []float64{2, 1, 4}},
		{ensemble, 540e6, 1000, []float64{10, 6, 26}},
		{alone, 90e6, 1000, []float64{2, 1.1, 3.8}},
	}}
	f := labtest.FindingsOf(t, analyseCost, c)
	assert.Empty(t, f.Verdicts, "nothing is claimed")
	assert.Equal(t, [][]string{
		{"WA", "500", "90", "1.00 [1.00, 1.00] times as long, 1.00 times the memory; 500 tokens/s for 500"},
		{"ENS", "100", "540", "6.00 [5.00, 6.50] times as long, 6.00 times the memory; 100 tokens/s for 500"},
		{"a member alone", "500", "90", "1.00 [0.95, 1.10] times as long, 1.00 times the memory; 500 tokens/s for 500"},
	}, f.Tables[0].Rows)

	for _, broken := range []func(*served){
		func(s *served) { s.Seconds = s.Seconds[1:] }, func(s *served) { s.Seconds = []float64{1, 0, 1} },
		func(s *served) { s.Tokens++ }, func(s *served) { s.Memory = 0 },
	} {
		one := c
		one.Served = append([]served(nil), c.Served...)
		broken(&one.Served[1])
		text, err := json.Marshal(one)
		require.NoError(t, err)
		_, err = analyseCost(text)
		assert.ErrorContains(t, err, "measurements: ENS: ")
	}
	_, err := analyseCost([]byte(`{"m": 2}`))
	assert.ErrorContains(t, err, "the average was not measured")
}

func TestWhatServingCostsIsAskedOfDistinctAnswers(t *testing.T) {
	pair := func(prompt, chosen, rejected string) data.Pair {
		return data.Pair{Prompt: data.Text{Plain: prompt}, Chosen: data.Text{Plain: chosen}, Rejected: data.Text{Plain: rejected}}
	}
	pairs := []data.Pair{pair("p", "a", "b"), pair("p", "b", "c"), pair("q", "a", "c"), pair("p", "d", "a")}
	assert.Equal(t, []api.Input{api.Answers("p", "a", "b", "c", "d"), api.Answers("q", "a", "c")}, (&costing{Answers: 9}).inputs(pairs))
	assert.Equal(t, []api.Input{api.Answers("p", "a", "b", "c"), api.Answers("q", "a")}, (&costing{Answers: 4}).inputs(pairs))
}

func TestWhatServingCostsWantsAServer(t *testing.T) {
	_, err := Cost().Measure(t.Context(), &lab.Lab{})
	assert.ErrorContains(t, err, "this lab has none")
}
