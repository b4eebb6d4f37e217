package experiments

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/bestofn"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/lab/rl"
	"github.com/warmserve/warmserve/trainer/state"
)

func TestContestsOnRealData(t *testing.T) {
	labtest.Whole(t)
	l := labtest.ArguingLab(t)
	s := &served{l: l}
	l.Serve = s.start
	run := func(t *testing.T, ctx context.Context, e *lab.Experiment, verdicts int) (measured string) {
		m, err := e.Measure(ctx, l)
		require.NoError(t, err)
		text, err := json.Marshal(m)
		require.NoError(t, err)
		f, err := e.Analyse(text)
		require.NoError(t, err)
		assert.Len(t, f.Verdicts, verdicts)
		for _, o := range Observations() {
			if o.Experiment == e.Name {
				assert.True(t, slices.ContainsFunc(f.Verdicts, func(v lab.Verdict) bool { return o.Claim.MatchString(v.Claim) }), o.Says)
			}
		}
		return string(text)
	}
	t.Run("best of N", func(t *testing.T) {
		first := run(t, t.Context(), bestofn.Experiment(), 8)
		assert.Equal(t, first, run(t, labtest.Stopped(t), bestofn.Experiment(), 8), "everything was kept")
	})
	t.Run("reinforcement learning", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l.Progress = func(p lab.Progress) {
			if strings.HasPrefix(p.What, "rl reinforce by member") && p.Done == 1 {
				cancel()
			}
		}
		_, err := rl.Experiment().Measure(ctx, l)
		require.ErrorIs(t, err, state.ErrInterrupted)
		l.Progress, s.starts = nil, nil

		first := run(t, t.Context(), rl.Experiment(), 2*7)
		var m struct {
			Best  string
			Start struct{ Tokens []int }
			Runs  []struct {
				Judged []struct{ Tokens []int }
				Steps  []json.RawMessage
			}
		}
		require.NoError(t, json.Unmarshal([]byte(first), &m))
		answers, steps := len(m.Start.Tokens), 0 // that judge, and those that are learned from
		for _, r := range m.Runs {
			steps += len(r.Steps)
			for _, j := range r.Judged {
				answers += len(j.Tokens)
			}
		}
		written, learned := rl.Experiment().Contest(lab.Tiny)
		assert.EqualValues(t, steps*4*2*8, learned, "steps of four prompts, two answers each, of eight tokens at most")
		assert.EqualValues(t, int(learned)+answers*8, written)
		assert.Equal(t, []string{"rl-" + m.Best + " member:" + m.Best, "rl-wa wa", "rl-ens ens"},
			s.starts, "the runs of one proxy share its server")
		assert.Equal(t, first, run(t, labtest.Stopped(t), rl.Experiment(), 2*7), "everything was kept")
		assert.Len(t, s.starts, 3, "nothing is left to serve")
		policies, err := filepath.Glob(filepath.Join(l.Dir, "runs", "rl-*"))
		require.NoError(t, err)
		assert.Empty(t, policies, "what is measured is kept, not the policies")
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
