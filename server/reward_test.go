package server_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// sequence is what the fake model makes of a prompt and a response.
func sequence(prompt, response string) batch.Sequence {
	ids := []int32{servertest.Open}
	ids = append(ids, servertest.Encode("user", false)...)
	ids = append(ids, servertest.Close)
	ids = append(ids, servertest.Encode(prompt, false)...)
	ids = append(ids, servertest.Open)
	ids = append(ids, servertest.Encode("assistant", false)...)
	ids = append(ids, servertest.Close)
	ids = append(ids, servertest.Encode(response, false)...)
	return batch.Sequence{IDs: ids, Read: []int32{int32(len(ids) - 1)}}
}

func (r *reply) rewards(t *testing.T) (out api.RewardResponse) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	r.json(t, &out)
	return out
}

func TestRewardAnswersEveryFormInOrder(t *testing.T) {
	m := servertest.New("m")
	wa := m.Fakes[api.ModeWA]
	h := start(t, server.Config{}, m)
	got := h.post(`{"inputs":[
		{"prompt":"q","responses":["a","bb",""]},
		{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]},
		{"prompt":[{"role":"user","content":[{"type":"text","text":"q"}]}],"response":"bb"},
		{"text":"plain"},
		{"text":"plain","add_special_tokens":true},
		{"input_ids":[7,8]}]}`).rewards(t)
	plain := servertest.Encode("plain", true)
	want := []batch.Sequence{
		sequence("q", "a"), sequence("q", "bb"), sequence("q", ""),
		sequence("q", "a"),
		sequence("q", "bb"),
		{IDs: plain, Read: []int32{4}},
		{IDs: append([]int32{servertest.BOS}, plain...), Read: []int32{5}},
		{IDs: []int32{7, 8}, Read: []int32{1}},
	}
	require.Len(t, got.Data, len(want))
	places := [][2]int{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}}
	tokens := 0
	for i, d := range got.Data {
		assert.Equal(t, api.Reward{
			Index: i, Input: places[i][0], Answer: places[i][1], Reward: wa.Want(want[i]), Tokens: len(want[i].IDs),
		}, d)
		tokens += len(want[i].IDs)
	}
	assert.Equal(t, api.Usage{PromptTokens: tokens, TotalTokens: tokens}, got.Usage)
	assert.Equal(t, "reward.list m sha256:m wa false", fmt.Sprint(got.Object, " ", got.Model, " ", got.Revision, " ", got.Mode, " ", got.Normalized))
	assert.True(t, strings.HasPrefix(got.ID, "rwd-"))
}

func TestRewardModes(t *testing.T) {
	m := servertest.New("m")
	s := batch.Sequence{IDs: []int32{1, 2, 3}, Read: []int32{2}}
	wa, one, two := m.Fakes["wa"].Want(s), m.Fakes["member:one"].Want(s), m.Fakes["member:two"].Want(s)
	require.NotEqual(t, one, two)
	a, b := float64(one), float64(two)
	mean, std := (a+b)/2, math.Abs(a-b)/2
	members := []api.MemberReward{{Name: "one", Reward: one}, {Name: "two", Reward: two}}
	ptr := func(v float64) *float32 { f := float32(v); return &f }
	h := start(t, server.Config{}, m)
	for name, test := range map[string]struct {
		fields string
		want   api.Reward
	}{
		"the default is the model's":      {``, api.Reward{Reward: wa}},
		"wa":                              {`"mode":"wa",`, api.Reward{Reward: wa}},
		"a member":                        {`"mode":"member:two",`, api.Reward{Reward: two}},
		"tokens":                          {`"return":["tokens"],`, api.Reward{Reward: wa, TokenIDs: s.IDs, AnswerTokens: []int{0, 3}}},
		"ens, mean":                       {`"mode":"ens",`, api.Reward{Reward: float32(mean), Std: ptr(std)}},
		"ens, min":                        {`"mode":"ens","aggregate":"min",`, api.Reward{Reward: min(one, two), Std: ptr(std)}},
		"ens, median":                     {`"mode":"ens","aggregate":"median",`, api.Reward{Reward: float32(mean), Std: ptr(std)}},
		"ens, std at the default lambda":  {`"mode":"ens","aggregate":"mean_minus_std",`, api.Reward{Reward: float32(mean - 0.1*std), Std: ptr(std)}},
		"ens, var at a lambda of its own": {`"mode":"ens","aggregate":"mean_minus_var","lambda":0.5,`, api.Reward{Reward: float32(mean - 0.5*std*std), Std: ptr(std)}},
		"ens with members":                {`"mode":"ens","return":["members"],`, api.Reward{Reward: float32(mean), Std: ptr(std), Members: members}},
		"both":                            {`"mode":"both","aggregate":"min",`, api.Reward{Reward: wa, Ensemble: ptr(float64(min(one, two))), Std: ptr(std), Members: members}},
	} {
		t.Run(name, func(t *testing.T) {
			got := h.post(`{` + test.fields + `"inputs":[{"input_ids":[1,2,3]}]}`).rewards(t)
			test.want.Tokens = 3
			require.Len(t, got.Data, 1)
			assert.InDelta(t, test.want.Reward, got.Data[0].Reward, 1e-6) // the fake's mean rounds in another order
			got.Data[0].Reward = test.want.Reward
			if test.want.Std != nil {
				require.NotNil(t, got.Data[0].Std)
				assert.InDelta(t, *test.want.Std, *got.Data[0].Std, 1e-6) // likewise
				got.Data[0].Std = test.want.Std
			}
			assert.Equal(t, test.want, got.Data[0])
		})
	}
}

func TestRewardsAreTheShortestDecimalOfTheirFloat32(t *testing.T) {
	for want, value := range map[string]float32{
		"0.1": 0.1, "-3.4375": -3.4375, "16777216": 1 << 24, "3.4028235e+38": math.MaxFloat32, "1e-45": math.SmallestNonzeroFloat32, "0.33333334": 1.0 / 3, "-0": float32(math.Copysign(0, -1)),
	} {
		t.Run(want, func(t *testing.T) {
			m := servertest.New("m")
			m.Fakes["wa"].Reward = func(batch.Sequence) (float32, bool) { return value, true }
			r := start(t, server.Config{}, m).post(`{"inputs":[{"input_ids":[1]}]}`)
			var body struct {
				Data []struct{ Reward json.RawMessage }
			}
			require.NoError(t, json.Unmarshal(r.body, &body))
			assert.Equal(t, want, string(body.Data[0].Reward))
		})
	}
}

func TestAnAnswerThatIsNoNumberIsAnErrorThatNamesTheItem(t *testing.T) {
	nan := float32(math.NaN())
	bad := func(s batch.Sequence) (float32, bool) { return nan, s.IDs[len(s.IDs)-1] == 'b' }
	m := servertest.New("m")
	m.Fakes["wa"].Reward, m.Fakes["member:two"].Reward = bad, bad
	h := start(t, server.Config{}, m)
	for body, param := range map[string]string{
		`{"inputs":[{"text":"a"},{"prompt":"q","responses":["a","b"]}]}`:                "inputs[1].responses[1]",
		`{"inputs":[{"text":"a"},{"text":"b"}],"mode":"ens"}`:                           "inputs[1]",
		`{"inputs":[{"text":"a"},{"text":"a"},{"text":"b"}],"mode":"member:two"}`:       "inputs[2]",
		`{"inputs":[{"text":"b"}],"mode":"both","aggregate":"min","return":["tokens"]}`: "inputs[0]",
	} {
		t.Run(body, func(t *testing.T) {
			r := h.post(body)
			assert.Equal(t, http.StatusInternalServerError, r.status)
			e := r.error(t)
			assert.Equal(t, "non_finite", e.Error.Code)
			require.NotNil(t, e.Error.Param)
			assert.Equal(t, param, *e.Error.Param)
			assert.Contains(t, e.Error.Message, "NaN")
		})
	}
	t.Run("what is finite beside it is still answered", func(t *testing.T) {
		h.post(`{"inputs":[{"text":"a"}]}`).rewards(t)
	})
}

func TestAnAggregateThatOverflowsIsAnError(t *testing.T) {
	m := servertest.New("m")
	m.Fakes["member:one"].Reward = func(batch.Sequence) (float32, bool) { return math.MaxFloat32, true }
	m.Fakes["member:two"].Reward = func(batch.Sequence) (float32, bool) { return -math.MaxFloat32, true }
	r := start(t, server.Config{}, m).post(`{"mode":"ens","aggregate":"mean_minus_var","inputs":[{"text":"b"}]}`)
	assert.Equal(t, "non_finite", r.error(t).Error.Code)
}

func TestTruncationIsReported(t *testing.T) {
	m := servertest.New("m")
	h := start(t, server.Config{}, m)
	long := strings.Repeat("p", 100)
	got := h.post(`{"inputs":[{"prompt":"` + long + `","response":"the answer"},{"text":"short"}],"return":["tokens"]}`).rewards(t)
	assert.True(t, got.Data[0].Truncated)
	assert.Equal(t, 64, got.Data[0].Tokens)
	ids := got.Data[0].TokenIDs
	assert.Equal(t, servertest.Encode("the answer", true), []int32(ids[len(ids)-len("the answer"):]), "the answer is whole")
	assert.False(t, got.Data[1].Truncated)
}

func TestParseSpecialReachesTheModel(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	for fields, want := range map[string]int{``: 3, `"parse_special":true,`: 3, `"parse_special":false,`: 5} {
		got := h.post(`{` + fields + `"inputs":[{"text":"<|a|>"}]}`).rewards(t)
		assert.Equal(t, want, got.Data[0].Tokens, "tokens with %q", fields)
	}
}

func TestTheModelMayBeLeftOutWhenItIsTheOnlyOne(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("a/b"))
	assert.Equal(t, "a/b", h.post(`{"inputs":[{"text":"x"}]}`).rewards(t).Model)
	assert.Equal(t, "a/b", h.post(`{"model":"a/b","inputs":[{"text":"x"}]}`).rewards(t).Model)
	_, err := h.models.Swap(servertest.New("c"))
	require.NoError(t, err)
	e := h.post(`{"inputs":[{"text":"x"}]}`).error(t)
	assert.Equal(t, "missing_field", e.Error.Code)
	assert.Equal(t, "model", *e.Error.Param)
	assert.Equal(t, "c", h.post(`{"model":"c","inputs":[{"text":"x"}]}`).rewards(t).Model)
}

func TestModelsAreListedAndFound(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("z"), servertest.New("a/b"))
	var list api.ModelList
	h.get("/v1/models").json(t, &list)
	require.Len(t, list.Data, 2)
	assert.Equal(t, []string{"a/b", "z"}, []string{list.Data[0].ID, list.Data[1].ID})
	assert.Equal(t, []string{"wa", "ens", "both", "member:one", "member:two"}, list.Data[1].Modes)
	var one api.ModelDetail
	h.get("/v1/models/a%2Fb").json(t, &one)
	one.Model.ID, one.Model.Object = one.ID, one.Object // written once
	assert.Equal(t, &list.Data[0], one.Model)
	assert.Equal(t, api.StateLive, one.State)
	r := h.get("/v1/models/nobody")
	assert.Equal(t, http.StatusNotFound, r.status)
	assert.Equal(t, "name", *r.error(t).Error.Param)
}

// TestASwapUnderLoadLosesNothing swaps revisions while clients ask: every
// answer is whole, is one revision's, and is that revision's own number; and
// each old revision is drained.
func TestASwapUnderLoadLosesNothing(t *testing.T) {
	revision := func(n int) *servertest.Model {
		m := servertest.New("m", func(i *live.Info) { i.Revision = fmt.Sprint(n) })
		m.Fakes["wa"].Seed = uint64(n)
		return m
	}
	const revisions = 20
	all := make([]*servertest.Model, revisions)
	for n := range all {
		all[n] = revision(n)
	}
	h := start(t, server.Config{}, all[0])
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				got := h.post(fmt.Sprintf(`{"inputs":[{"input_ids":[%d]},{"input_ids":[%d,1]}]}`, c, i%200)).rewards(t)
				var n int
				_, err := fmt.Sscan(got.Revision, &n)
				require.NoError(t, err)
				wa := all[n].Fakes["wa"]
				assert.Equal(t, wa.Want(batch.Sequence{IDs: []int32{int32(c)}, Read: []int32{0}}), got.Data[0].Reward)
				assert.Equal(t, wa.Want(batch.Sequence{IDs: []int32{int32(i % 200), 1}, Read: []int32{1}}), got.Data[1].Reward)
			}
		})
	}
	for n := 1; n < revisions; n++ {
		drained, err := h.models.Swap(all[n])
		require.NoError(t, err)
		<-drained
		calls := len(all[n-1].Fakes["wa"].Calls())
		h.post(`{"inputs":[{"text":"x"}]}`).rewards(t)
		assert.Len(t, all[n-1].Fakes["wa"].Calls(), calls, "a drained revision computes no more")
	}
	close(stop)
	clients.Wait()
}

func TestAModelThatDescribesItselfBadlyDoesNotGoLive(t *testing.T) {
	h := start(t, server.Config{}, servertest.New("m"))
	_, err := h.models.Swap(servertest.New("m", func(i *live.Info) {
		i.Revision, i.ContextLength, i.Mode, i.Modes = "new", 0, "wa", []string{"ens", "member:three", "soup"}
	}))
	for _, part := range []string{"context length 0", `default mode "wa"`, `"member:three"`, `"soup"`} {
		assert.ErrorContains(t, err, part)
	}
	assert.Equal(t, "sha256:m", h.post(`{"inputs":[{"text":"x"}]}`).rewards(t).Revision, "the old one serves on")
	drained, ok := h.models.Remove("m")
	require.True(t, ok)
	<-drained
	assert.Equal(t, "not_ready", h.post(`{"inputs":[{"text":"x"}]}`).error(t).Error.Code)
}
