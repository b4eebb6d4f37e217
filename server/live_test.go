package server_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

func TestAPutModelAnswersTheNextRequest(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	assert.Equal(t, http.StatusServiceUnavailable, l.post(one).status, "nothing is live yet")
	r := l.put("a", "b")
	require.Equal(t, http.StatusOK, r.status, "%s", r.body)
	var d api.ModelDetail
	r.json(t, &d)
	assert.Equal(t, api.StateLive, d.State)
	assert.Equal(t, rev("a", "b"), d.Revision)
	assert.Equal(t, []string{"a", "b"}, d.Members)
	require.Len(t, d.History, 1)
	assert.Equal(t, "put", d.History[0].Cause)
	assert.Equal(t, api.OutcomeLive, d.History[0].Outcome)
	assert.Equal(t, rev("a", "b"), d.History[0].Revision)
	assert.Equal(t, []string{"a", "b"}, d.History[0].Members)
	first := l.post(one).rewards(t)
	assert.Equal(t, rev("a", "b"), first.Revision)

	require.Equal(t, http.StatusOK, l.put("c").status)
	second := l.post(one).rewards(t)
	assert.Equal(t, rev("c"), second.Revision)
	assert.NotEqual(t, first.Data[0].Reward, second.Data[0].Reward)
	assert.Equal(t, rev("a", "b"), l.detail("m").Previous)

	require.Equal(t, http.StatusOK, l.put("c").status)
	h := l.detail("m").History
	assert.Equal(t, api.OutcomeUnchanged, h[len(h)-1].Outcome)
	metrics := string(l.get("/metrics").body)
	assert.Contains(t, metrics, `warm_swaps_total{cause="put",model="m",outcome="live"} 2`)
	assert.Contains(t, metrics, `warm_swaps_total{cause="put",model="m",outcome="unchanged"} 1`)
	assert.Contains(t, metrics, `warm_load_seconds_count{model="m"} 2`)
	assert.Contains(t, metrics, `warm_live_revisions{model="m"} 1`, "the unchanged load ended what was kept")
}

func TestWithoutWaitingALoadShowsItsProgress(t *testing.T) {
	go_ := make(chan struct{})
	f := &factory{before: func(ctx context.Context, _ string, _ *api.ModelSpec, progress func(string, float64)) error {
		progress("weight average", 0.25)
		<-go_ // in the middle of a piece of its work
		return context.Cause(ctx)
	}}
	l := startLive(t, server.Config{}, f)
	r := l.admin("PUT", "/v1/models/m", `{"members":["a"]}`)
	assert.Equal(t, http.StatusAccepted, r.status)
	eventually(t, "the builder reports", func() bool {
		d := l.detail("m")
		return d.State == api.StateLoading && d.Model == nil && len(d.Loads) == 1 && d.Loads[0].Doing == "weight average" && d.Loads[0].Progress == 0.25
	})
	r = l.do("PUT", "/v1/models/m?wait=true", `{"members":["b"]}`, "Authorization", "Bearer "+adminKey, "X-Request-Timeout", "0.05")
	assert.Equal(t, http.StatusAccepted, r.status, "the caller's time is up, the load's is not")
	var d api.ModelDetail
	r.json(t, &d)
	assert.Len(t, d.Loads, 2, "one under way, one that waits")
	superseded := make(chan *reply, 1)
	go func() { superseded <- l.admin("PUT", "/v1/models/m?wait=true", `{"members":["c"]}`) }()
	eventually(t, "the third takes the second's place", func() bool {
		d := l.detail("m")
		return len(d.History) == 1 && d.History[0].Outcome == api.OutcomeSuperseded
	})
	close(go_)
	assert.Equal(t, http.StatusOK, (<-superseded).status)
	assert.Equal(t, rev("c"), l.detail("m").Revision)
	assert.Equal(t, []string{"a", "c"}, f.built, "what was superseded is not built")
}

func TestALoadThatFailsLeavesTheOldServing(t *testing.T) {
	lane := func(change func(*servertest.Model)) func(*factory) {
		return func(f *factory) { f.change = func(_ *api.ModelSpec, m *servertest.Model) { change(m) } }
	}
	for _, c := range []struct {
		name   string
		break_ func(*factory)
		want   string
	}{
		{"the builder fails", func(f *factory) {
			f.before = func(context.Context, string, *api.ModelSpec, func(string, float64)) error {
				return errors.New("b/model.safetensors: ends in the middle")
			}
		}, "b/model.safetensors: ends in the middle"},
		{"the builder panics", func(f *factory) {
			f.before = func(context.Context, string, *api.ModelSpec, func(string, float64)) error { panic("text") }
		}, "panic: a value of type string"},
		{"a reward is not a number", lane(func(m *servertest.Model) {
			m.Fakes["wa"].Reward = func(batch.Sequence) (float32, bool) { return float32(math.NaN()), true }
		}), "probe of wa: the reward is NaN"},
		{"a scorer fails", lane(func(m *servertest.Model) {
			m.Fakes["wa"].Before = func([]batch.Sequence) error { return errors.New("no such kernel") }
		}), "no such kernel"},
		{"a scorer panics", lane(func(m *servertest.Model) {
			m.Fakes["wa"].Before = func([]batch.Sequence) error { panic("text") }
		}), "the scorer panicked"},
		{"preparing fails", lane(func(m *servertest.Model) {
			m.BeforePrepare = func(*api.Input) error { return errors.New("no tokens here") }
		}), "no tokens here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := startLive(t, server.Config{}, nil)
			require.Equal(t, http.StatusOK, l.put("a").status)
			before := l.post(one).rewards(t).Data
			c.break_(l.factory)
			r := l.put("b")
			assert.Equal(t, http.StatusUnprocessableEntity, r.status)
			e := r.error(t).Error
			assert.Equal(t, "load_failed", e.Code)
			assert.Contains(t, e.Message, c.want)
			d := l.detail("m")
			assert.Equal(t, rev("a"), d.Revision)
			last := d.History[len(d.History)-1]
			assert.Equal(t, api.OutcomeFailed, last.Outcome)
			assert.Contains(t, last.Error, c.want)
			got := l.post(one).rewards(t)
			assert.Equal(t, before, got.Data)
			assert.Equal(t, rev("a"), got.Revision)
			l.factory.before, l.factory.change = nil, nil
			assert.Equal(t, http.StatusOK, l.put("b").status, "and the next load works")
		})
	}
}

func TestALoadThatNeverWorkedIsVisible(t *testing.T) {
	l := startLive(t, server.Config{}, &factory{before: func(context.Context, string, *api.ModelSpec, func(string, float64)) error { return errors.New("why") }})
	assert.Equal(t, http.StatusUnprocessableEntity, l.put("a").status)
	d := l.detail("m")
	assert.Equal(t, api.StateFailed, d.State)
	assert.Nil(t, d.Model)
	assert.Equal(t, "why", d.History[0].Error)
	assert.Equal(t, http.StatusServiceUnavailable, l.get("/readyz").status)
}

func TestRollbackGoesBackRevisionByRevision(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	back := func() *reply { return l.admin("POST", "/v1/models/m/rollback?wait=true", "") }
	assert.Equal(t, http.StatusNotFound, back().status)
	require.Equal(t, http.StatusOK, l.put("a").status)
	r := back()
	assert.Equal(t, http.StatusConflict, r.status)
	assert.Equal(t, "no_previous", r.error(t).Error.Code)
	require.Equal(t, http.StatusOK, l.put("b").status)
	require.Equal(t, http.StatusOK, l.put("c").status)

	require.Equal(t, http.StatusOK, back().status)
	assert.Equal(t, rev("b"), l.post(one).rewards(t).Revision)
	assert.Equal(t, 3, l.factory.builds(), "the revision was still in memory")
	assert.Equal(t, rev("c"), l.detail("m").Previous)
	require.Equal(t, http.StatusOK, back().status)
	assert.Equal(t, rev("a"), l.post(one).rewards(t).Revision)
	assert.Equal(t, 4, l.factory.builds(), "this one was built again")
	assert.Equal(t, http.StatusConflict, back().status)
	h := l.detail("m").History
	assert.Equal(t, "rollback", h[len(h)-1].Cause)

	require.Equal(t, http.StatusOK, l.put("d").status)
	require.Equal(t, http.StatusOK, l.put("e").status)
	require.Equal(t, http.StatusOK, back().status)
	l.factory.change = func(_ *api.ModelSpec, m *servertest.Model) {
		*m = *servertest.New("m", func(i *live.Info) { i.Revision = "sha256:" + strings.Repeat("0", 64) })
	}
	r = back()
	assert.Equal(t, http.StatusUnprocessableEntity, r.status, "checkpoints that changed do not make the revision")
	assert.Contains(t, r.error(t).Error.Message, "want "+rev("a"))
	assert.Equal(t, rev("d"), l.post(one).rewards(t).Revision)
}

func TestDeleteTakesAModelOutOfService(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	assert.Equal(t, http.StatusNotFound, l.admin("DELETE", "/v1/models/m", "").status)
	require.Equal(t, http.StatusOK, l.put("a").status)
	var d api.Deleted
	l.admin("DELETE", "/v1/models/m", "").json(t, &d)
	assert.True(t, d.Deleted)
	assert.Equal(t, http.StatusServiceUnavailable, l.post(one).status)
	assert.Equal(t, http.StatusNotFound, l.get("/v1/models/m").status)
	assert.Equal(t, http.StatusNotFound, l.admin("DELETE", "/v1/models/m", "").status)

	entered := make(chan struct{})
	l.factory.before = func(ctx context.Context, _ string, _ *api.ModelSpec, _ func(string, float64)) error {
		close(entered)
		<-ctx.Done()
		return nil // a builder that does not look
	}
	loading := make(chan *reply, 1)
	go func() { loading <- l.put("b") }()
	<-entered
	assert.Equal(t, http.StatusOK, l.admin("DELETE", "/v1/models/m", "").status)
	r := <-loading
	assert.Equal(t, "superseded", r.error(t).Error.Code)
	assert.Equal(t, http.StatusServiceUnavailable, l.post(one).status, "the load was called off")
	assert.Equal(t, http.StatusNotFound, l.get("/v1/models/m").status)
}

func TestAServerThatStopsCallsItsLoadsOff(t *testing.T) {
	entered := make(chan struct{})
	f := &factory{before: func(ctx context.Context, _ string, _ *api.ModelSpec, _ func(string, float64)) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}}
	s, err := server.New(server.Config{Builder: f}, live.NewModels())
	require.NoError(t, err)
	first, err := s.Changes().Put("m", of("/", "a"), "test")
	require.NoError(t, err)
	<-entered
	second, err := s.Changes().Put("n", of("/", "b"), "test")
	require.NoError(t, err)
	s.Close()
	assert.True(t, api.IsCode(first.Wait(t.Context()), api.CodeDraining))
	assert.True(t, api.IsCode(second.Wait(t.Context()), api.CodeDraining))
	_, err = s.Changes().Put("m", of("/", "a"), "test")
	assert.True(t, api.IsCode(err, api.CodeDraining))
}

// TestOneModelDoesNotStarveAnother floods one model and asks another.
func TestOneModelDoesNotStarveAnother(t *testing.T) {
	busy, quiet := servertest.New("busy"), servertest.New("quiet")
	gate := make(chan struct{})
	busy.Fakes["wa"].Before = func([]batch.Sequence) error { <-gate; return nil }
	h := start(t, server.Config{Queue: batch.Config{MaxBatchSequences: 1}}, busy, quiet)
	var flood []<-chan *reply
	for range 50 {
		flood = append(flood, h.async(`{"model":"busy","inputs":[{"text":"x"}]}`))
	}
	queued := func(n int) func() bool {
		return func() bool {
			return strings.Contains(string(h.get("/metrics").body), fmt.Sprintf("warm_queue_sequences %d\n", n))
		}
	}
	eventually(t, "one is being computed and the others wait", queued(49))
	asked := h.async(`{"model":"quiet","inputs":[{"text":"x"}]}`)
	eventually(t, "one more waits", queued(50))
	for range 2 {
		gate <- struct{}{}
	}
	select {
	case r := <-asked:
		assert.Equal(t, http.StatusOK, r.status)
	case <-time.After(5 * time.Second):
		t.Error("the quiet model waits behind the busy one's 49")
	}
	close(gate)
	for _, f := range flood {
		assert.Equal(t, http.StatusOK, (<-f).status)
	}
}

// TestALoadWaitsForAFullQueue fills the queue, so that the probe of a new model
// finds no room: the load waits for it, and does not fail.
func TestALoadWaitsForAFullQueue(t *testing.T) {
	m, entered, open := blocked(t, "m")
	l := startLive(t, server.Config{Queue: batch.Config{MaxQueuedTokens: 1}}, nil)
	_, err := l.models.Swap(m)
	require.NoError(t, err)
	first := l.async(one)
	<-entered
	second := l.async(one)
	eventually(t, "the queue is full", func() bool {
		return strings.Contains(string(l.get("/metrics").body), "warm_queue_sequences 1\n")
	})
	put := make(chan *reply, 1)
	go func() { put <- l.put("a") }()
	eventually(t, "the load is at its probe", func() bool {
		d := l.detail("m")
		return len(d.Loads) == 1 && d.Loads[0].Doing == "checking"
	})
	select {
	case r := <-put:
		t.Errorf("the load did not wait: %s", r.body)
	case <-time.After(100 * time.Millisecond):
	}
	close(open)
	assert.Equal(t, http.StatusOK, (<-put).status)
	for _, r := range []<-chan *reply{first, second} {
		assert.Equal(t, http.StatusOK, (<-r).status)
	}
	assert.Equal(t, rev("a"), l.detail("m").Revision)
}

func TestALaterChangeCallsOffTheLoadUnderWay(t *testing.T) {
	entered := make(chan struct{})
	f := &factory{before: func(ctx context.Context, _ string, spec *api.ModelSpec, _ func(string, float64)) error {
		if filepath.Base(spec.Members[0].Path) != "a" {
			return nil
		}
		close(entered)
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	l := startLive(t, server.Config{}, f)
	require.Equal(t, http.StatusAccepted, l.admin("PUT", "/v1/models/m", `{"members":["a"]}`).status)
	<-entered
	begin := time.Now()
	require.Equal(t, http.StatusOK, l.put("b").status)
	assert.Less(t, time.Since(begin), time.Second)
	d := l.detail("m")
	assert.Equal(t, rev("b"), d.Revision)
	require.Len(t, d.History, 2)
	assert.Equal(t, "superseded", d.History[0].Outcome)
}
