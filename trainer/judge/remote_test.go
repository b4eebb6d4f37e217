package judge

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// rewardServer answers as a server with the models of modes; an answer's reward
// is its number of "!", and an input with "long" does not fit.
func rewardServer(t *testing.T, models []api.Model, revision func() string) *api.Client {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			assert.NoError(t, json.NewEncoder(w).Encode(api.ModelList{Object: "list", Data: models}))
			return
		}
		var req api.RewardRequest
		sent, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		if body, err := api.DecodeRewardRequest(sent); assert.NoError(t, err) {
			req = *body
		}
		assert.Equal(t, api.TruncateError, req.Truncate)
		reply := api.RewardResponse{Model: req.Model, Mode: req.Mode, Revision: revision()}
		add := func(text string) {
			v := float32(strings.Count(text, "!"))
			one := api.Reward{Reward: v}
			if req.Mode == api.ModeBoth {
				mean := v - 0.5
				one.Ensemble, one.Members = &mean, []api.MemberReward{{Name: "a", Reward: v - 1}, {Name: "b", Reward: -v}}
			}
			reply.Data = append(reply.Data, one)
		}
		for i, in := range req.Inputs {
			for _, text := range in.Responses {
				if strings.Contains(text, "long") {
					e := api.Errorf(api.CodeTooLong, fmt.Sprintf("inputs[%d].responses[0]", i), "too long")
					w.WriteHeader(e.Code.Status())
					_, err := w.Write(api.EncodeError(e))
					assert.NoError(t, err)
					return
				}
				add(text)
			}
			if in.Messages != nil {
				add(in.Messages[len(in.Messages)-1].Content.Text)
			}
		}
		body, err := api.Encode(&reply)
		if assert.NoError(t, err) {
			_, _ = w.Write(body) // the judge hangs up when another request shows that the model changed
		}
	}))
	t.Cleanup(s.Close)
	c, err := api.NewClient(s.URL)
	require.NoError(t, err)
	return c
}

func fixed() string { return "sha256:1" }

func pairsFile(t *testing.T, lines ...string) string {
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	return path
}

func TestAServedModelIsJudgedInEveryWayThatItHolds(t *testing.T) {
	client := rewardServer(t, []api.Model{{ID: "m", Mode: api.ModeWA, Modes: []string{api.ModeWA, api.ModeEns, api.ModeBoth}}}, fixed)
	var lines []string
	for i := range 150 { // three batches; every fifth is lost, of every third group a tie
		chosen, rejected := "yes!!", "no!"
		if i%5 == 0 {
			chosen, rejected = rejected, chosen
		}
		if i%3 == 0 {
			rejected = chosen + " "
		}
		lines = append(lines, fmt.Sprintf(`{"id":%d,"group":"g%d","prompt":"Q","chosen":"%s","rejected":"%s"}`, i, i%3, chosen, rejected))
	}
	lines = append(lines, `{"id":150,"group":"g1","prompt":[{"role":"user","content":"Q"}],"chosen":[{"role":"assistant","content":"!"}],"rejected":[{"role":"assistant","content":"?"}]}`)
	r, err := Server(t.Context(), Remote{Client: client}, Test{Files: []string{pairsFile(t, lines...)}, Baseline: []string{pairsFile(t, lines...)}})
	require.NoError(t, err)
	assert.Equal(t, &Served{Model: "m", Revision: "sha256:1", Mode: api.ModeBoth}, r.Served)
	assert.Equal(t, 151, r.Pairs)
	require.Len(t, r.Members, 2)
	assert.Equal(t, []string{"a", "b"}, []string{r.Members[0].Name, r.Members[1].Name})
	assert.Equal(t, 81, r.WA.Wins, "80 of the 100 without ties, and the conversation")
	assert.Equal(t, 50, r.WA.Ties)
	assert.Equal(t, r.WA.Wins, r.Ens.Wins)
	assert.InDelta(t, r.WA.Mean-0.5, r.Ens.Mean, 1e-12)
	assert.Equal(t, 20, r.Members[1].Wins, "it prefers the other")
	assert.InDelta(t, r.WA.Std, r.Members[0].Std, 1e-12)
	assert.Equal(t, map[string]int{"g0": 50, "g1": 51, "g2": 50}, r.GroupPairs)
	assert.Equal(t, 0.0, r.WA.Groups["g0"])
	assert.Equal(t, "bootstrap over 3 groups", r.Interval)
	assert.LessOrEqual(t, r.WA.Low, r.WA.Accuracy)
	assert.Equal(t, 0.0, r.WA.Low, "a sample may be of g0 alone")
	require.NotNil(t, r.WA.Reliability)
	require.NotNil(t, r.WA.Reliability.Temperature)
	assert.Nil(t, r.Members[1].Reliability.Temperature, "a coin is better")
	assert.NotNil(t, r.Words.Reliability)
	assert.Nil(t, r.Longer.Reliability, "lengths are no rewards")
	text, err := json.Marshal(r)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"temperature":null`)
	assert.Len(t, r.All(), 6)
}

func TestPairsOverAServersContextAreLeftOutWhenAskedTo(t *testing.T) {
	client := rewardServer(t, []api.Model{{ID: "m", Mode: api.ModeWA, Modes: []string{api.ModeWA}}}, fixed)
	files := []string{pairsFile(t, `{"id":"x","prompt":"","chosen":"a!","rejected":"b"}`, `{"id":"y","prompt":"","chosen":"long!","rejected":"b"}`, `{"id":"z","prompt":"","chosen":"c","rejected":"long"}`)}
	_, err := Server(t.Context(), Remote{Client: client}, Test{Files: files})
	require.ErrorContains(t, err, ":2: ")
	assert.True(t, api.IsCode(err, api.CodeTooLong))
	r, err := Server(t.Context(), Remote{Client: client}, Test{Files: files, DropLong: true})
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2, 1}, []int{r.Pairs, r.Dropped, r.WA.Wins})
	assert.Equal(t, "Wilson", r.Interval)
	_, err = Server(t.Context(), Remote{Client: client}, Test{Files: []string{pairsFile(t, `{"chosen":"long!","rejected":"b","prompt":""}`)}, DropLong: true})
	assert.ErrorContains(t, err, "every pair")
}

func TestAModelThatChangesWhileItIsJudgedIsAnError(t *testing.T) {
	var n atomic.Int64
	client := rewardServer(t, []api.Model{{ID: "m", Mode: api.ModeWA, Modes: []string{api.ModeWA}}}, func() string { return fmt.Sprint("sha256:", n.Add(1)) })
	var lines []string
	for i := range 2 * remoteBatch {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"prompt":"","chosen":"a!","rejected":"b"}`, i))
	}
	_, err := Server(t.Context(), Remote{Client: client}, Test{Files: []string{pairsFile(t, lines...)}})
	assert.ErrorIs(t, err, ErrChanged)
}

func TestTheServedModelIsChosen(t *testing.T) {
	one := api.Model{ID: "one", Mode: "member:x", Modes: []string{"member:x"}}
	two := api.Model{ID: "two", Mode: api.ModeWA, Modes: []string{api.ModeWA}}
	files := []string{pairsFile(t, `{"prompt":"","chosen":"a!","rejected":"b"}`)}
	client := rewardServer(t, []api.Model{one, two}, fixed)
	_, err := Server(t.Context(), Remote{Client: client}, Test{Files: files})
	assert.ErrorContains(t, err, "one, two")
	_, err = Server(t.Context(), Remote{Client: client, Model: "three"}, Test{Files: files})
	assert.ErrorContains(t, err, `"three"`)
	r, err := Server(t.Context(), Remote{Client: client, Model: "one"}, Test{Files: files})
	require.NoError(t, err)
	require.Len(t, r.Members, 1)
	assert.Equal(t, "x", r.Members[0].Name)
	assert.Nil(t, r.WA)
}
