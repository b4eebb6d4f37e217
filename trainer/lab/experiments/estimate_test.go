package experiments

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
	"github.com/warmserve/warmserve/trainer/rm"
)

// TestWhatMembersTakeIsSaidBefore estimates a grid that is ten times as large at the paper's size, before and
// after a member is trained.
func TestWhatMembersTakeIsSaidBefore(t *testing.T) {
	l := labtest.ArguingLab(t)
	pairs := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(pairs, []byte(strings.Repeat(`{"chosen":"a good one","rejected":"a bad one"}`+"\n", 8)), 0o644))
	all := []*lab.Experiment{{Name: "any", Trainings: func(l *lab.Lab) ([]lab.Training, error) {
		m := map[lab.Size]int{lab.Tiny: 2, lab.Paper: 20}[l.Size]
		return []lab.Training{{Name: "any", Plan: rm.Plan{M: m, Run: rm.Config{Base: l.Base, Train: []string{pairs}, LR: 1e-3}}}}, nil
	}, Contest: func(s lab.Size) (written, learned int64) {
		n := map[lab.Size]int64{lab.Tiny: 1e6, lab.Paper: 4e6}[s]
		return n, n / 2
	}}}
	here, paper, err := l.Estimate(all)
	require.NoError(t, err)
	assert.Equal(t, [2]int{2, 2}, [2]int{here.Members, here.Left})
	assert.Equal(t, [2]int{20, 20}, [2]int{paper.Members, paper.Left})
	assert.Positive(t, here.Tokens)
	assert.Positive(t, here.Time)
	assert.Equal(t, 10*here.Tokens, paper.Tokens)
	assert.InEpsilon(t, 10, float64(paper.Time)/float64(here.Time), 0.01, "one speed of both")
	assert.Equal(t, [2]int64{1e6, 4e6}, [2]int64{here.PolicyTokens, paper.PolicyTokens})
	assert.Positive(t, here.PolicyTime)
	assert.InEpsilon(t, 4, float64(paper.PolicyTime)/float64(here.PolicyTime), 0.01)
	entries, err := os.ReadDir(l.Dir)
	require.NoError(t, err)
	assert.Len(t, entries, 3, "nothing of the paper's size is left")

	tasks, err := l.Tasks(all)
	require.NoError(t, err)
	_, err = l.RunTask(t.Context(), &tasks[0])
	require.NoError(t, err)
	again, _, err := l.Estimate(all)
	require.NoError(t, err)
	assert.Equal(t, [2]int{2, 1}, [2]int{again.Members, again.Left})
	assert.Equal(t, here.Tokens/2, again.Tokens)
}
