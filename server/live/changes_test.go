package live_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/servertest"
)

// fakes builds a model of whatever a spec's first path says: its revision is the
// path, and "broken" does not load.
type fakes struct{}

func (fakes) Check(*api.ModelSpec) error { return nil }

func (fakes) Build(_ context.Context, name string, spec *api.ModelSpec, _ func(string, float64)) (live.Model, error) {
	if spec.Members[0].Path == "broken" {
		return nil, errors.New("no such shard")
	}
	return servertest.New(name, func(i *live.Info) { i.Revision = spec.Members[0].Path }), nil
}

func (fakes) Pairs(string) ([]api.Pair, error) { return nil, nil }

// counts is an observer that keeps what it is told.
type counts struct{ changed, failed []string }

func (c *counts) Changed(model string, e api.ModelEvent) {
	c.changed = append(c.changed, model+" "+e.Outcome)
}
func (c *counts) Failed(reason string) { c.failed = append(c.failed, reason) }
func (c *counts) StateFailed()         {}

func spec(path string) *api.ModelSpec { return &api.ModelSpec{Members: []api.MemberSpec{{Path: path}}} }

// changing returns what changes models, without a server.
func changing(t *testing.T, o live.Observer) (*live.Changes, *live.Models) {
	queue := batch.New(batch.Config{})
	models := live.NewModels()
	cs, err := live.NewChanges(live.Config{Builder: fakes{}, Logger: slog.New(slog.DiscardHandler), Observer: o}, models, queue)
	require.NoError(t, err)
	t.Cleanup(func() {
		queue.Close()
		cs.Close()
		cs.Close()
	})
	return cs, models
}

func TestModelsChangeWithoutAServer(t *testing.T) {
	told := &counts{}
	cs, models := changing(t, told)
	for _, path := range []string{"a", "broken", "b"} {
		c, err := cs.Put("m", spec(path), "test")
		require.NoError(t, err)
		if path == "broken" {
			assert.ErrorContains(t, c.Wait(t.Context()), "no such shard")
			assert.Empty(t, c.Revision())
			continue
		}
		require.NoError(t, c.Wait(t.Context()))
		held, _, err := models.Acquire(t.Context(), "m", "")
		require.NoError(t, err)
		assert.Equal(t, path, held.Info().Revision)
		assert.Equal(t, path, c.Revision())
		held.Release()
	}
	require.NoError(t, cs.Remove("m", "test"))
	_, _, err := models.Acquire(t.Context(), "m", "")
	assert.True(t, api.IsCode(err, api.CodeNotReady), "%v", err)
	assert.Equal(t, []string{"m live", "m failed", "m live", "m removed"}, told.changed)
	assert.Equal(t, []string{"build"}, told.failed)
	assert.Subset(t, live.Reasons(), told.failed)
}

func TestWhatIsConfiguredNoLongerIsNotTriedAgain(t *testing.T) {
	cs, _ := changing(t, nil)
	require.Error(t, cs.Start(t.Context(), map[string]*api.ModelSpec{"bad": spec("broken"), "good": spec("a")}))
	assert.Equal(t, []string{"bad"}, live.Failing(cs))
	require.NoError(t, cs.Reconfigure(t.Context(), map[string]*api.ModelSpec{"good": spec("a")}))
	assert.Empty(t, live.Failing(cs))
}

// For the race detector: a patch looks at the change that is being taken up.
func TestPatchesMayComeWhileChangesBegin(t *testing.T) {
	cs, _ := changing(t, nil)
	first, err := cs.Put("m", spec("a"), "test")
	require.NoError(t, err)
	require.NoError(t, first.Wait(t.Context()))
	var last *live.Change
	for range 1000 {
		last, err = cs.Patch(t.Context(), "m", api.NewModelPatch(&api.ModelSpec{}), "test", false)
		require.NoError(t, err)
	}
	require.NoError(t, last.Wait(t.Context()))
}
