package live_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// small is a device that holds so many models at once. "broken" does not load, and
// after a load of "wait" it waits for go.
type small struct {
	room int
	on   chan struct{} // closed to let loads of "wait" end

	mu     sync.Mutex
	held   int
	builds int
	live   int // those that went live
	broken []string
}

type held struct {
	*servertest.Model
	on   *small
	once sync.Once
}

func (h *held) Close() {
	h.once.Do(func() {
		h.on.mu.Lock()
		defer h.on.mu.Unlock()
		h.on.held--
	})
}

// Settle implements live.Settler.
func (h *held) Settle() { h.on.mu.Lock(); defer h.on.mu.Unlock(); h.on.live++ }

func (*small) Check(*api.ModelSpec) error { return nil }
func (*small) Pairs(string) ([]api.Pair, error) {
	tokens := func(ids ...int32) *api.Candidate { in := api.Tokens(ids...); return &api.Candidate{Input: &in} }
	return []api.Pair{{Chosen: tokens(1, 2), Rejected: tokens(3)}}, nil
}
func (s *small) models() int            { s.mu.Lock(); defer s.mu.Unlock(); return s.held }
func (s *small) breaks(paths ...string) { s.mu.Lock(); defer s.mu.Unlock(); s.broken = paths }
func (s *small) waits(ctx context.Context) (err error) {
	select {
	case <-s.on:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return err
}

func (s *small) Build(ctx context.Context, name string, spec *api.ModelSpec, _ func(string, float64)) (live.Model, error) {
	path := spec.Members[0].Path
	if path == "wait" {
		if err := s.waits(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.builds++
	switch {
	case slices.Contains(s.broken, path):
		return nil, fmt.Errorf("%s: no such shard", path)
	case s.held == s.room:
		return nil, errors.New("out of memory")
	}
	s.held++
	return &held{Model: servertest.New(name, func(i *live.Info) {
		i.Revision, i.Members, i.Modes = path, []string{path}, []string{api.ModeWA}
		if spec.Mode != "" { // of a member alone
			i.Mode, i.Modes = spec.Mode, []string{spec.Mode}
		}
	}), on: s}, nil
}

// changingOn is changing with a builder.
func changingOn(t *testing.T, b live.Builder) (*live.Changes, *live.Models) {
	queue := batch.New(batch.Config{})
	models := live.NewModels()
	cs, err := live.NewChanges(live.Config{Builder: b, Logger: slog.New(slog.DiscardHandler), KeepPrevious: time.Minute,
		Reference: func(string) bool { return true }}, models, queue)
	require.NoError(t, err)
	t.Cleanup(func() { queue.Close(); cs.Close() })
	return cs, models
}

// put carries out a change to the end.
func put(t *testing.T, cs *live.Changes, path, swap string) error {
	s := spec(path)
	s.Swap = swap
	c, err := cs.Put("m", s, "test")
	require.NoError(t, err)
	return c.Wait(t.Context())
}

// answers holds the model that answers now, and releases it.
func answers(t *testing.T, models *live.Models) string {
	i, _, err := models.Acquire(t.Context(), "m", "")
	require.NoError(t, err)
	defer i.Release()
	return i.Info().Revision
}

func TestModelsAreClosedOnceNobodyHoldsThem(t *testing.T) {
	s := &small{room: 3}
	cs, models := changingOn(t, s)
	require.NoError(t, put(t, cs, "a", ""))
	i, _, err := models.Acquire(t.Context(), "m", "")
	require.NoError(t, err)
	require.NoError(t, put(t, cs, "b", ""))
	assert.Equal(t, 2, s.models(), "a is kept")
	i.Release()
	require.NoError(t, put(t, cs, "b", ""), "the same again: what was built is not needed")
	assert.Equal(t, 1, s.models())
	assert.Equal(t, 2, s.live, "a, and b once")
	require.NoError(t, cs.Remove("m", "test"))
	assert.Zero(t, s.models())

	s.breaks("c")
	require.Error(t, put(t, cs, "c", ""))

	guarded := spec("d")
	guarded.Members = append(guarded.Members, api.MemberSpec{Path: "e"})
	guarded.Guard = &api.GuardSpec{Pairs: "pairs", MaxLoss: 100}
	s.room = 1 // the members of a guard are judged one by one, and then the average
	c, err := cs.Put("m", guarded, "test")
	require.NoError(t, err)
	require.NoError(t, c.Wait(t.Context()))
	assert.Equal(t, 1, s.models())
	require.NoError(t, cs.Remove("m", "test"))
	dry, err := cs.Patch(t.Context(), "m", &api.ModelPatch{Spec: spec("d")}, "test", true)
	require.NoError(t, err)
	require.NoError(t, dry.Wait(t.Context()))
	assert.Zero(t, s.models(), "a dry run keeps nothing")
}

func TestDrainingSwapHoldsRequestsWhileTheOldMakesRoom(t *testing.T) {
	s := &small{room: 1, on: make(chan struct{})}
	cs, models := changingOn(t, s)
	require.NoError(t, put(t, cs, "a", ""))
	require.ErrorContains(t, put(t, cs, "b", ""), "out of memory", "two do not fit")
	assert.Equal(t, "a", answers(t, models))

	under, _, err := models.Acquire(t.Context(), "m", "") // a request that is being scored
	require.NoError(t, err)
	wait := spec("wait")
	wait.Swap = api.SwapDrain
	c, err := cs.Put("m", wait, "test")
	require.NoError(t, err)
	<-under.Retired()
	assert.Equal(t, 1, s.models(), "it is not closed under a request")
	_, _, ok := models.Describe("m")
	assert.True(t, ok, "the name is served all the while")

	impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _, err = models.Acquire(impatient, "m", "")
	assert.ErrorIs(t, err, context.DeadlineExceeded)

	got := make(chan string, 1)
	go func() { got <- answers(t, models) }()
	under.Release()
	select {
	case r := <-got:
		t.Fatalf("answered by %s before the new one is live", r)
	case <-time.After(20 * time.Millisecond):
	}
	assert.Zero(t, s.models())
	close(s.on)
	require.NoError(t, c.Wait(t.Context()))
	assert.Equal(t, "wait", <-got)
	assert.Equal(t, map[string]int{"m": 1}, models.Revisions())
}

func TestFailedDrainingSwapBringsTheOldBack(t *testing.T) {
	s := &small{room: 1}
	cs, models := changingOn(t, s)
	require.NoError(t, put(t, cs, "a", api.SwapDrain))
	s.breaks("b")
	require.ErrorContains(t, put(t, cs, "b", api.SwapDrain), "b: no such shard")
	assert.Equal(t, "a", answers(t, models))
	assert.Equal(t, 1, s.models())
	require.NoError(t, put(t, cs, "c", ""), "the live one wants it")
	assert.Equal(t, "c", answers(t, models))
	before := s.builds
	require.NoError(t, put(t, cs, "c", api.SwapDrain), "the same revision")
	assert.Equal(t, before+1, s.builds)
	assert.Equal(t, "c", answers(t, models))

	s.breaks("b", "c")
	err := put(t, cs, "b", api.SwapDrain)
	require.ErrorContains(t, err, "b: no such shard; revision c, which was live, cannot be loaded again: c: no such shard")
	_, _, err = models.Acquire(t.Context(), "m", "")
	assert.True(t, api.IsCode(err, api.CodeNotReady), "%v", err)
	assert.Contains(t, cs.Missing(true), "made room")
	assert.Zero(t, s.models())
	s.breaks()
	require.NoError(t, put(t, cs, "a", ""))
	assert.Equal(t, "a", answers(t, models))
	assert.Empty(t, cs.Missing(true))
}

func TestModelThatIsAwayIsReplacedRemovedOrStopped(t *testing.T) {
	begin := func(t *testing.T) (*small, *live.Changes, *live.Models, *live.Change, chan error) {
		s := &small{room: 1, on: make(chan struct{})}
		cs, models := changingOn(t, s)
		require.NoError(t, put(t, cs, "a", api.SwapDrain))
		c, err := cs.Put("m", spec("wait"), "test")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return s.models() == 0 }, time.Second, time.Millisecond)
		held := make(chan error, 1)
		go func() {
			i, _, err := models.Acquire(t.Context(), "m", "")
			if err == nil {
				i.Release()
			}
			held <- err
		}()
		return s, cs, models, c, held
	}
	t.Run("a later change takes the place", func(t *testing.T) {
		_, cs, models, c, held := begin(t)
		require.NoError(t, put(t, cs, "b", ""))
		assert.True(t, api.IsCode(c.Wait(t.Context()), api.CodeSuperseded))
		assert.NoError(t, <-held)
		assert.Equal(t, "b", answers(t, models))
	})
	t.Run("removed", func(t *testing.T) {
		s, cs, _, c, held := begin(t)
		require.NoError(t, cs.Remove("m", "test"))
		assert.Error(t, c.Wait(t.Context()))
		assert.True(t, api.IsCode(<-held, api.CodeNotReady))
		assert.Zero(t, s.models())
	})
	t.Run("the server stops", func(t *testing.T) {
		_, cs, _, c, held := begin(t)
		cs.Stop()
		assert.Error(t, c.Wait(t.Context()))
		assert.Error(t, <-held)
	})
}
