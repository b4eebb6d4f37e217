package server_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
)

func TestADryRunJudgesAndChangesNothing(t *testing.T) {
	f := judges(func(_ *api.ModelSpec, lane string) int {
		return map[string]int{"wa": 177, "member:a": 170}[lane] + map[string]int{"member:b": 190}[lane]
	})
	f.pairs = pairsOf(200)
	l := startLive(t, server.Config{}, f)
	require.NoError(t, os.WriteFile(filepath.Join(l.root, "pairs.jsonl"), nil, 0o600))
	require.Equal(t, http.StatusOK, l.put("c").status)

	r := l.admin("PUT", "/v1/models/m?wait=true&dry_run=true", `{"members":["a","b"],"weights":[1,3],"guard":{"pairs":"pairs.jsonl","max_loss":10}}`)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	d := l.detail("m")
	assert.Equal(t, rev("c"), d.Revision)
	last := d.History[len(d.History)-1]
	assert.Equal(t, api.OutcomeTried, last.Outcome)
	assert.True(t, last.DryRun)
	assert.Equal(t, rev("a", "b"), last.Revision)
	require.NotNil(t, last.Guard)
	assert.InDelta(t, 4, last.Guard.Loss, 1e-9)
	assert.InDelta(t, .925, last.Guard.Interpolated, 1e-9)
	assert.Equal(t, &api.Verdict{Pairs: 200, Average: .885, Interpolated: last.Guard.Interpolated, Loss: last.Guard.Loss, MaxLoss: 10,
		Members: []api.MemberWins{{Name: "a", Wins: .85}, {Name: "b", Wins: .95}}}, last.Guard)
	assert.Equal(t, 1, len(d.Weights), "of the live model")

	// A change after it is a change of what is live, not of what was tried.
	require.Equal(t, http.StatusOK, l.admin("PUT", "/v1/models/m?wait=true", `{"max_tokens":100}`).status)
	assert.Equal(t, []string{"c"}, l.detail("m").Members)

	refused := l.admin("PUT", "/v1/models/m?wait=true&dry_run=true", `{"members":["a","b"],"guard":{"pairs":"pairs.jsonl","max_loss":1}}`)
	assert.Equal(t, http.StatusUnprocessableEntity, refused.status)
	history := l.detail("m").History
	last = history[len(history)-1]
	assert.Equal(t, api.OutcomeRefused, last.Outcome)
	assert.InDelta(t, 1.5, last.Guard.Loss, 1e-9)

	metrics := string(l.get("/metrics", "Accept-Encoding", "identity").body)
	assert.NotContains(t, metrics, `outcome="tried"`)
	assert.NotContains(t, metrics, `outcome="refused"`, "nothing to be alarmed about")
	assert.Equal(t, http.StatusBadRequest, l.admin("PUT", "/v1/models/m?dry_run=perhaps", `{"members":["a"]}`).status)
}

func TestADryRunOfANewModelLeavesNoModel(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	r := l.admin("PUT", "/v1/models/m?wait=true&dry_run=true", `{"members":["a","b"]}`)
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	assert.Equal(t, api.StateTried, l.detail("m").State)
	assert.Equal(t, http.StatusServiceUnavailable, l.post(`{"model":"m","inputs":[{"text":"x"}]}`).status)
	assert.Equal(t, http.StatusNotFound, l.admin("POST", "/v1/models/m/rollback?wait=true", "").status, "there is nothing to go back to")
}

func TestADryRunTakesNoLoadsPlaceAndALoadTakesIts(t *testing.T) {
	hold := make(chan struct{})
	f := &factory{before: func(ctx context.Context, _ string, _ *api.ModelSpec, _ func(string, float64)) error {
		select {
		case <-hold:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}
	l := startLive(t, server.Config{}, f)
	require.Equal(t, http.StatusAccepted, l.admin("PUT", "/v1/models/m", `{"members":["a"]}`).status)
	require.Equal(t, http.StatusAccepted, l.admin("PUT", "/v1/models/m?dry_run=true", `{"members":["b"]}`).status)
	require.Equal(t, http.StatusAccepted, l.admin("PUT", "/v1/models/m?dry_run=true", `{"members":["c"]}`).status)
	loads := l.detail("m").Loads
	require.Len(t, loads, 2, "the load, and the later dry run in the place of the earlier one")
	assert.False(t, loads[0].DryRun)
	assert.True(t, loads[1].DryRun)
	close(hold)
	require.Eventually(t, func() bool { return len(l.detail("m").Loads) == 0 }, 5*time.Second, 2*time.Millisecond)
	assert.Equal(t, rev("a"), l.detail("m").Revision)
	outcomes := []string{}
	for _, e := range l.detail("m").History {
		outcomes = append(outcomes, e.Outcome)
	}
	assert.Equal(t, []string{api.OutcomeSuperseded, api.OutcomeLive, api.OutcomeTried}, outcomes)
}

func TestAModelSaysItsWeightsAlphaAndMemory(t *testing.T) {
	l := startLive(t, server.Config{}, &factory{memory: 1 << 20})
	require.Equal(t, http.StatusOK, l.admin("PUT", "/v1/models/m?wait=true", `{"members":[{"path":"a","weight":3},{"path":"b","weight":1}],"base":"c","alpha":0.8}`).status)
	d := l.detail("m")
	assert.Equal(t, []float64{.75, .25}, d.Weights)
	require.NotNil(t, d.Alpha)
	assert.Equal(t, .8, *d.Alpha)
	assert.EqualValues(t, 1<<20, d.MemoryBytes)
}
