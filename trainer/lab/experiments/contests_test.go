package experiments

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/bestofn"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/lab/rl"
)

func TestContestsOnRealData(t *testing.T) {
	labtest.Whole(t)
	l := labtest.ArguingLab(t)
	s := &served{l: l}
	l.Serve = s.start
	run := func(t *testing.T, ctx context.Context, e *lab.Experiment) (measured string) {
		m, err := e.Measure(ctx, l)
		require.NoError(t, err)
		text, err := json.Marshal(m)
		require.NoError(t, err)
		f, err := e.Analyse(text)
		require.NoError(t, err)
		assert.Len(t, f.Verdicts, 4)
		return string(text)
	}
	t.Run("best of N", func(t *testing.T) {
		first := run(t, t.Context(), bestofn.Experiment())
		assert.Equal(t, first, run(t, labtest.Stopped(t), bestofn.Experiment()), "everything was kept")
	})
	t.Run("reinforcement learning", func(t *testing.T) {
		first := run(t, t.Context(), rl.Experiment())
		assert.Equal(t, []string{"rl-member-1 member:member-1", "control wa", "rl-member-2 member:member-2", "control wa", "rl-wa wa", "control wa", "rl-ens ens", "control wa"},
			s.starts, "the runs of one proxy share its server")
		assert.Equal(t, first, run(t, labtest.Stopped(t), rl.Experiment()), "everything was kept")
		assert.Len(t, s.starts, 8, "nothing is left to serve")
	})
	t.Run("members are trained beforehand as they are within", func(t *testing.T) {
		for _, e := range []*lab.Experiment{bestofn.Experiment(), rl.Experiment()} {
			trainings, err := e.Trainings(l)
			require.NoError(t, err)
			for _, training := range trainings {
				_, err := l.Members(labtest.Stopped(t), training.Name, training.Plan)
				assert.NoError(t, err, "%s: %s was trained already", e.Name, training.Name)
			}
		}
	})
}
