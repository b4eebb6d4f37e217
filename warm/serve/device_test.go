package serve

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/cuda/cudatest"
	"github.com/warmserve/warmserve/model/modeltest"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/warm/reward"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

var question = &api.RewardRequest{Inputs: []api.Input{api.Answers("Q", "A")}}

// onCard starts a server of models on a card and returns its client, once it is ready.
func onCard(t *testing.T, card *modeltest.Card, models map[string]*api.ModelSpec) (*api.Client, string) {
	const key = "administrator"
	client, ln, _ := running(t, Config{Models: models, Engine: card, Server: server.Config{AdminKeys: []string{key}, ModelRoot: "/"}})
	require.Eventually(t, func() bool { return client.Ready(t.Context()) == nil }, 20*time.Second, 5*time.Millisecond)
	url := "http://" + ln.Addr().String()
	admin, err := api.NewClient(url, api.WithKey(key))
	require.NoError(t, err)
	return admin, url
}

func TestServerComputesOnTheDeviceThatItIsGiven(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "tiny", nil)
	admin, _ := onCard(t, modeltest.NewCard(), map[string]*api.ModelSpec{
		"m": {Members: []api.MemberSpec{{Path: dir}}}, "f32": {Members: []api.MemberSpec{{Path: dir}}, DType: "float32"}})
	models, err := admin.Models(t.Context())
	require.NoError(t, err)
	var got []string
	for _, m := range models.Data {
		got = append(got, m.ID+" "+m.DType+" "+m.Device)
	}
	assert.ElementsMatch(t, []string{"m bfloat16 cuda:0 Test Card", "f32 float32 cuda:0 Test Card"}, got)
	r, err := admin.Reward(t.Context(), &api.RewardRequest{Model: "f32", Inputs: question.Inputs})
	require.NoError(t, err)

	cpu, _, _ := running(t, Config{Models: oneOf(dir)})
	require.Eventually(t, func() bool { return cpu.Ready(t.Context()) == nil }, 20*time.Second, 5*time.Millisecond)
	want, err := cpu.Reward(t.Context(), question)
	require.NoError(t, err)
	assert.Equal(t, want.Data[0].Reward, r.Data[0].Reward)
	assert.Equal(t, want.Revision, r.Revision, "a revision is what is computed, not where")
}

func TestNumberFormatThatACardDoesNotHaveIsRefused(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "tiny", nil)
	const words = "dtype int8 is not computed on cuda:0 Test Card: want bfloat16 or float32"
	spec := &api.ModelSpec{Members: []api.MemberSpec{{Path: dir}}, DType: "int8"}
	_, err := New(Config{Models: map[string]*api.ModelSpec{"m": spec}, Engine: modeltest.NewCard()})
	assert.EqualError(t, err, "models.m: "+words)

	admin, _ := onCard(t, modeltest.NewCard(), oneOf(dir))
	_, err = admin.PutModel(t.Context(), "m", spec, true)
	assert.ErrorContains(t, err, words)
	_, err = admin.Reward(t.Context(), question)
	assert.NoError(t, err)
}

func TestDeviceThatIsAwayAnswers503(t *testing.T) {
	card := modeltest.NewCard()
	_, url := onCard(t, card, oneOf(rewardtest.Checkpoint(t, "tiny", nil)))
	post := func(path, body string) (*http.Response, error) {
		return http.Post(url+path, "application/json", strings.NewReader(body))
	}
	const body = `{"inputs":[{"prompt":"Q","response":"A"}]}`
	card.Away(&model.UnavailableError{Device: card.Device(), After: 7 * time.Second, Err: errors.New("Xid 31")})
	r, err := post("/v1/reward", body)
	require.NoError(t, err)
	defer r.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	after, err := strconv.Atoi(r.Header.Get("Retry-After"))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, after, 8)
	assert.LessOrEqual(t, after, 10)

	// Other stacks' routes wait.
	time.AfterFunc(300*time.Millisecond, func() { card.Away(nil) })
	r, err = post("/get_reward", `{"query":["Q A"],"prompts":["Q"]}`)
	require.NoError(t, err)
	defer r.Body.Close()
	assert.Equal(t, http.StatusOK, r.StatusCode)
	r, err = post("/v1/reward", body)
	require.NoError(t, err)
	defer r.Body.Close()
	assert.Equal(t, http.StatusOK, r.StatusCode)
}

// What is too long for the card is cut or refused before it meets other requests' texts in a batch.
func TestTextsThatTheCardHasNoRoomForVoidNoOthers(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "tiny", nil)
	card := modeltest.NewCard()
	card.Longest = 20
	d, err := reward.Open(t.Context(), reward.Config{Engine: card, Members: []reward.Member{{Dir: dir}}}, 1)
	require.NoError(t, err)
	assert.Contains(t, d.Warnings, "the device takes 20 tokens of a text, the context is 64: longer ones are cut or "+
		"refused, as with max_tokens; the CPU takes them all")
	short, err := reward.Open(t.Context(), reward.Config{Members: []reward.Member{{Dir: dir}}, MaxTokens: 20}, 1)
	require.NoError(t, err)
	assert.Equal(t, short.Revision, d.Revision, "what is cut otherwise has another revision")

	admin, _ := onCard(t, card, oneOf(dir))
	long := api.Input{InputIDs: make([]int32, 40)}
	models, err := admin.Models(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 20, models.Data[0].ContextLength)
	r, err := admin.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{long, question.Inputs[0]}})
	require.NoError(t, err)
	assert.True(t, r.Data[0].Truncated)
	_, err = admin.Reward(t.Context(), &api.RewardRequest{Truncate: "error", Inputs: []api.Input{long}})
	assert.ErrorContains(t, err, "20")
}

func TestModelsLeaveTheCard(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "tiny", nil)
	card := modeltest.NewCard()
	d, err := reward.Open(t.Context(), reward.Config{Engine: card, Mode: reward.ModeBoth, Members: []reward.Member{{Dir: dir, Name: "a"}, {Dir: dir, Name: "b"}}}, 1)
	require.NoError(t, err)
	assert.Equal(t, 3, card.Loaded())
	card.Memory = d.Bytes() * 2 / 3 // two of the three fit
	d.Close()
	d.Close()
	assert.Zero(t, card.Loaded())
	_, err = reward.Open(t.Context(), reward.Config{Engine: card, Mode: reward.ModeBoth, Members: []reward.Member{{Dir: dir, Name: "a"}, {Dir: dir, Name: "b"}}}, 1)
	var full *model.MemoryError
	require.ErrorAs(t, err, &full)
	assert.Zero(t, card.Loaded(), "those that had loaded leave it too")
}

func TestRevisionThatDoesNotFitBesideTheOther(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "tiny", nil)
	card := modeltest.NewCard()
	admin, _ := onCard(t, card, oneOf(dir))
	models, err := admin.Models(t.Context())
	require.NoError(t, err)
	first := models.Data[0].Revision
	detail, err := admin.ModelDetail(t.Context(), "m")
	require.NoError(t, err)
	card.Memory = int(detail.MemoryBytes) * 3 / 2

	spec := &api.ModelSpec{Members: []api.MemberSpec{{Path: dir}}, Pooling: "last"}
	_, err = admin.PutModel(t.Context(), "m", spec, true)
	require.ErrorContains(t, err, "beside the revision that is live: swap: drain makes its room first")
	r, err := admin.Reward(t.Context(), question)
	require.NoError(t, err)
	assert.Equal(t, first, r.Revision)

	spec.Swap = api.SwapDrain
	_, err = admin.PutModel(t.Context(), "m", spec, true)
	require.NoError(t, err)
	r, err = admin.Reward(t.Context(), question)
	require.NoError(t, err)
	assert.NotEqual(t, first, r.Revision)
	assert.Equal(t, 1, card.Loaded())
}

// TestServerComputesByKernels has the kernels of cards interpreted: what a request becomes on its way to a card and back.
func TestServerComputesByKernels(t *testing.T) {
	dir := rewardtest.Checkpoint(t, "tiny", nil)
	spec := func(dtype string) map[string]*api.ModelSpec {
		m := oneOf(dir)
		m["m"].DType, m["m"].Mode = dtype, api.ModeBoth
		m["m"].Members = append(m["m"].Members, api.MemberSpec{Path: dir, Name: "again"})
		return m
	}
	ask := &api.RewardRequest{Mode: api.ModeBoth, Inputs: []api.Input{api.Answers("How do I boil an egg?", "Seven minutes.", "No.", "In boiling water, for seven minutes.")}}
	for dtype, tolerance := range map[string]float64{"float32": 1e-5, "bfloat16": 0.05} {
		var replies []*api.RewardResponse
		for _, e := range []model.Engine{model.NewEngine(1), cudatest.NewEngine(cudatest.NewDevice(t, 90))} {
			client, _, _ := running(t, Config{Models: spec(dtype), Engine: e})
			require.Eventually(t, func() bool { return client.Ready(t.Context()) == nil }, 60*time.Second, 5*time.Millisecond)
			r, err := client.Reward(t.Context(), ask)
			require.NoError(t, err)
			replies = append(replies, r)
		}
		want, got := replies[0], replies[1]
		assert.Equal(t, want.Revision, got.Revision)
		require.Len(t, got.Data, 3)
		for i := range want.Data {
			assert.InDelta(t, want.Data[i].Reward, got.Data[i].Reward, tolerance, dtype)
			assert.Equal(t, got.Data[i].Reward, *got.Data[i].Ensemble, "its members are the average")
		}
	}
}
