package contest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestAControlOfTheOtherHalfSharesNothingWithTheProxies reads the real debates as size standard divides them.
func TestAControlOfTheOtherHalfSharesNothingWithTheProxies(t *testing.T) {
	l := &lab.Lab{Dir: t.TempDir(), Base: rewardtest.Checkpoint(t, "base", nil), Control: rewardtest.Checkpoint(t, "control", nil), Data: labtest.SharedData(t) + "/data", Size: lab.Tiny}
	require.NoError(t, l.Open())
	defer l.Close()
	s := SettingsOf(lab.Standard)
	require.True(t, s.Halves)
	c, err := s.corpus(l)
	require.NoError(t, err)
	control, err := controlTraining(l, s, c.UKP)
	require.NoError(t, err)
	proxies, err := ProxyTraining(l, c, 0.25)
	require.NoError(t, err)
	assert.Equal(t, l.Control, control.Plan.Run.Base)
	assert.Equal(t, l.Base, proxies.Plan.Run.Base)
	prompts := func(path string) map[string]bool {
		r, err := data.Open(path, data.Options{})
		require.NoError(t, err)
		defer r.Close()
		out := map[string]bool{}
		for p, err := range r.Pairs() {
			require.NoError(t, err)
			out[p.Prompt.Plain] = true
		}
		return out
	}
	known := prompts(proxies.Plan.Run.Train[0])
	for prompt := range prompts(control.Plan.Run.Train[0]) {
		assert.False(t, known[prompt], prompt)
	}
	first, err := debates.Read(l)
	require.NoError(t, err)
	assert.NotEqual(t, first.Train.Path, c.Train.Path, "sets of two divisions have files of their own")
	assert.Greater(t, len(first.UKP.Train), len(c.UKP.Train))
}
