package server_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// byFirst makes a fake's reward the number of the lane for the first token.
func byFirst(m *servertest.Model, lane string, rewards map[byte]float32) {
	m.Fakes[lane].Reward = func(s batch.Sequence) (float32, bool) { return rewards[byte(s.IDs[0])], true }
}

func (h *harness) compare(body string) *reply {
	h.t.Helper()
	return h.do(http.MethodPost, "/v1/compare", body)
}

func scorer(t *testing.T, r *api.CompareResponse, name string) api.Scorer {
	t.Helper()
	for _, s := range r.Scorers {
		if s.Name == name {
			return s
		}
	}
	require.Fail(t, "no scorer", name)
	return api.Scorer{}
}

func TestCompareCountsWhatEachScorerPrefers(t *testing.T) {
	m := servertest.New("m")
	byFirst(m, "wa", map[byte]float32{'a': 3, 'b': 1, 'c': 2, 'd': 2, 'e': 0, 'f': 5})
	byFirst(m, "member:one", map[byte]float32{'a': 2, 'b': 1, 'c': 2, 'd': 1, 'e': 1, 'f': 5})
	byFirst(m, "member:two", map[byte]float32{'a': 0, 'b': 1, 'c': 4, 'd': 1, 'e': 1, 'f': 5})
	h := start(t, server.Config{}, m)
	pair := func(id, chosen, rejected string) string {
		return fmt.Sprintf(`{"id":%q,"chosen":{"text":%q},"rejected":{"text":%q}}`, id, chosen, rejected)
	}
	r := h.compare(`{"return":["pairs"],"aggregates":["mean","min"],"pairs":[` + strings.Join([]string{pair("p", "a", "b"), pair("q", "c", "d"), pair("", "e", "f")}, ",") + `]}`)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	var got api.CompareResponse
	r.json(t, &got)
	var names []string
	for _, s := range got.Scorers {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"wa", "ens:mean", "ens:min", "member:one", "member:two"}, names)
	for name, want := range map[string][3]int{"wa": {1, 1, 1}, "ens:mean": {1, 1, 1}, "ens:min": {1, 0, 2}, "member:one": {2, 0, 1}, "member:two": {1, 0, 2}} {
		s := scorer(t, &got, name)
		assert.Equal(t, want, [3]int{s.Wins, s.Ties, s.Losses}, name)
		assert.InDelta(t, float64(want[0])/3, s.Accuracy.Value, 1e-15, name)
		assert.InDelta(t, (float64(want[0])+float64(want[1])/2)/3, s.TiesAsHalf, 1e-15, name)
		assert.Equal(t, name == "wa", s.AgainstWA == nil, name)
	}
	assert.Equal(t, (2+0-5.0)/3, scorer(t, &got, "wa").MeanMargin)
	one := scorer(t, &got, "member:one").AgainstWA
	assert.InDelta(t, -1.0/3, one.AccuracyDifference.Value, 1e-15)
	assert.InDelta(t, 2.0/3, one.Agreement.Value, 1e-15)
	assert.InDelta(t, 3.0/6, one.MeanAbsoluteDifference, 1e-15, "of a, d and e")
	require.NotNil(t, one.Pearson)
	assert.InDelta(t, 2.0/3, got.Members.Unanimous.Value, 1e-15, "all but the first")
	assert.InDelta(t, (1+0+1+0+0+0.0)/6, got.Members.MeanStd, 1e-15)
	require.Len(t, got.Data, 3)
	assert.Equal(t, api.PairRow{Index: 1, ID: "q", Chosen: []float32{2, 3, 2, 2, 4}, Rejected: []float32{2, 1, 1, 1, 1}}, got.Data[1])
	assert.Equal(t, api.Usage{PromptTokens: 6, TotalTokens: 6}, got.Usage)
	assert.Equal(t, 3, got.Pairs)
	assert.NotContains(t, string(h.get("/metrics").body), `warm_reward_count`, "pairs chosen by hand say nothing of the traffic")
}

func TestCompareOfAModelThatHoldsLess(t *testing.T) {
	for name, test := range map[string]struct {
		modes, want []string
	}{
		"the average alone": {[]string{"wa"}, []string{"wa"}},
		"the ensemble":      {[]string{"ens"}, []string{"ens:mean", "ens:min", "ens:median", "ens:mean_minus_std", "ens:mean_minus_var", "member:one", "member:two"}},
		"one member":        {[]string{"member:two"}, []string{"member:two"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, server.Config{}, servertest.New("m", func(i *live.Info) { i.Modes, i.Mode = test.modes, test.modes[0] }))
			r := h.compare(`{"pairs":[{"prompt":"","chosen":"x","rejected":"y"}]}`)
			require.Equal(t, http.StatusOK, r.status, "%s", r.body)
			var got api.CompareResponse
			r.json(t, &got)
			var names []string
			for _, s := range got.Scorers {
				names = append(names, s.Name)
				assert.Nil(t, s.AgainstWA)
			}
			assert.Equal(t, test.want, names)
			assert.Equal(t, len(test.want) > 1, got.Members != nil)
		})
	}
}

func TestCompareReadsPairsInThreeForms(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	rows := func(pair string) []api.PairRow {
		r := h.compare(`{"return":["pairs"],"pairs":[` + pair + `]}`)
		require.Equal(t, http.StatusOK, r.status, "%s", r.body)
		var got api.CompareResponse
		r.json(t, &got)
		return got.Data
	}
	want := rows(`{"prompt":"q","chosen":"good","rejected":"bad"}`)
	for name, pair := range map[string]string{
		"messages after a prompt":        `{"prompt":[{"role":"user","content":"q"}],"chosen":[{"role":"assistant","content":"good"}],"rejected":[{"role":"assistant","content":"bad"}]}`,
		"messages after a prompt's text": `{"prompt":"q","chosen":[{"role":"assistant","content":"good"}],"rejected":[{"role":"assistant","content":"bad"}]}`,
		"whole conversations":            `{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"good"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"bad"}]}`,
		"inputs":                         `{"chosen":{"prompt":"q","response":"good"},"rejected":{"prompt":"q","response":"bad"}}`,
	} {
		assert.Equal(t, want, rows(pair), name)
	}
	// The scores are those of POST /v1/reward.
	single := h.post(`{"inputs":[{"prompt":"q","response":"good"}]}`).rewards(t)
	assert.Equal(t, single.Data[0].Reward, want[0].Chosen[0])
}

func TestCompareNamesWhatIsWrong(t *testing.T) {
	m := servertest.New("m")
	m.Fakes["member:two"].Reward = func(s batch.Sequence) (float32, bool) {
		return float32(math.NaN()), s.IDs[0] == 'N'
	}
	h := start(t, server.Config{MaxSequences: 4, MaxRequestTokens: 200}, m)
	long := strings.Repeat("x", 70)
	const fine = `{"prompt":"","chosen":"a","rejected":"b"}`
	for name, test := range map[string]struct {
		body, code, param string
	}{
		"no pairs":                 {`{}`, "missing_field", "pairs"},
		"empty pairs":              {`{"pairs":[]}`, "empty_input", "pairs"},
		"too many":                 {`{"pairs":[` + fine + `,` + fine + `,` + fine + `]}`, "too_many_sequences", "pairs"},
		"unknown field":            {`{"pairs":[` + fine + `],"mode":"wa"}`, "unknown_field", "mode"},
		"unknown field of a pair":  {`{"pairs":[{"prompt":"","chosen":"a","rejected":"b","group":"g"}]}`, "unknown_field", "pairs[0].group"},
		"unknown aggregate":        {`{"aggregates":["max"],"pairs":[` + fine + `]}`, "invalid_value", "aggregates[0]"},
		"aggregate twice":          {`{"aggregates":["min","min"],"pairs":[` + fine + `]}`, "invalid_value", "aggregates[1]"},
		"lambda":                   {`{"lambda":-1,"pairs":[` + fine + `]}`, "invalid_value", "lambda"},
		"truncate":                 {`{"truncate":"middle","pairs":[` + fine + `]}`, "invalid_value", "truncate"},
		"no chosen":                {`{"pairs":[` + fine + `,{"prompt":"","rejected":"b"}]}`, "missing_field", "pairs[1].chosen"},
		"rejected is null":         {`{"pairs":[{"prompt":"","chosen":"a","rejected":null}]}`, "missing_field", "pairs[0].rejected"},
		"a number":                 {`{"pairs":[{"prompt":"","chosen":"a","rejected":3}]}`, "invalid_value", "pairs[0].rejected"},
		"a null pair":              {`{"pairs":[null]}`, "missing_field", "pairs[0].chosen"},
		"strings without a prompt": {`{"pairs":[{"chosen":"a","rejected":"b"}]}`, "missing_field", "pairs[0].prompt"},
		"two forms":                {`{"pairs":[{"prompt":"","chosen":"a","rejected":{"text":"b"}}]}`, "conflicting_fields", "pairs[0].rejected"},
		"a prompt beside inputs":   {`{"pairs":[{"prompt":"","chosen":{"text":"a"},"rejected":{"text":"b"}}]}`, "conflicting_fields", "pairs[0].prompt"},
		"two answers on a side":    {`{"pairs":[{"chosen":{"text":"a"},"rejected":{"prompt":"","responses":["a","b"]}}]}`, "conflicting_fields", "pairs[0].rejected.responses"},
		"the user speaks last":     {`{"pairs":[{"chosen":[{"role":"user","content":"a"}],"rejected":[{"role":"assistant","content":"b"}]}]}`, "last_message_not_assistant", "pairs[0].chosen[0].role"},
		"an id out of range":       {`{"pairs":[{"chosen":{"text":"a"},"rejected":{"input_ids":[1,999]}}]}`, "token_out_of_range", "pairs[0].rejected.input_ids[1]"},
		"an answer too long":       {`{"truncate":"error","pairs":[` + fine + `,{"prompt":"","chosen":"a","rejected":"` + long + `"}]}`, "too_long", "pairs[1].rejected"},
		"a conversation too long":  {`{"truncate":"error","pairs":[{"chosen":[{"role":"assistant","content":"` + long + `"}],"rejected":[{"role":"assistant","content":"b"}]}]}`, "too_long", "pairs[0].chosen"},
		"too many tokens":          {`{"pairs":[{"chosen":{"text":"` + long[:60] + `"},"rejected":{"text":"` + long[:60] + `"}},{"chosen":{"text":"` + long[:60] + `"},"rejected":{"text":"` + long[:60] + `"}}]}`, "too_many_tokens", "pairs[1].rejected"},
		"an unknown model":         {`{"model":"x","pairs":[` + fine + `]}`, "unknown_model", "model"},
		"not a number":             {`{"pairs":[{"chosen":{"text":"a"},"rejected":{"text":"N"}}]}`, "non_finite", "pairs[0].rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			r := h.compare(test.body)
			e := r.error(t).Error
			assert.Equal(t, test.code, e.Code, "%s", r.body)
			if assert.NotNil(t, e.Param, "%s", r.body) {
				assert.Equal(t, test.param, *e.Param)
			}
		})
	}
	assert.Equal(t, http.StatusOK, h.compare(`{"pairs":[`+fine+`]}`).status, "and it still serves")
}

func TestEveryDocumentedComparisonIsAnswered(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("helpful", func(i *live.Info) { i.ContextLength = 4096 }))
	examples := document().Paths.Find("/v1/compare").Post.RequestBody.Value.Content.Get("application/json").Examples
	require.NotEmpty(t, examples)
	for name, example := range examples {
		body, err := api.Encode(example.Value.Value)
		require.NoError(t, err)
		r := h.compare(string(body))
		assert.Equal(t, http.StatusOK, r.status, "%s: %s", name, r.body)
	}
}

func FuzzCompareRequest(f *testing.F) {
	f.Add([]byte(`{"pairs":[{"prompt":"q","chosen":"a","rejected":"b"}]}`))
	f.Add([]byte(`{"aggregates":["min"],"lambda":1,"return":["pairs"],"pairs":[{"chosen":[{"role":"assistant","content":"x"}],"rejected":[{"role":"assistant","content":[{"type":"text","text":"y"}]}]}]}`))
	f.Add([]byte(`{"pairs":[{"id":null,"chosen":{"input_ids":[1]},"rejected":{"text":"a","add_special_tokens":true}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := api.DecodeCompareRequest(body)
		if err != nil {
			return
		}
		if req.Validate(64) != nil {
			return
		}
		for i := range req.Pairs {
			n := 0
			for _, in := range req.Pairs[i].Inputs() {
				n += in.Count()
			}
			require.Equal(t, 2, n)
		}
		again, err := api.Encode(req)
		require.NoError(t, err)
		back, err := api.DecodeCompareRequest(again)
		require.NoError(t, err, "%s", again)
		require.NoError(t, back.Validate(64))
	})
}
