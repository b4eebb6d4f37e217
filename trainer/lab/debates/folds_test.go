package debates

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
)

// TestFoldsKeepDebatesAndArgumentsApart reads the real debates: nothing that is judged on was
// learned from, and every debate is unseen once.
func TestFoldsKeepDebatesAndArgumentsApart(t *testing.T) {
	l := &lab.Lab{Dir: t.TempDir(), Base: t.TempDir(), Data: labtest.SharedData(t) + "/data", Size: lab.Tiny}
	require.NoError(t, l.Open())
	defer l.Close()
	all, folds, err := Folds(l, 4)
	require.NoError(t, err)
	assert.Len(t, all, 14)
	unseen := map[int]int{}
	for _, f := range folds {
		place := map[int]bool{}
		for _, d := range f.Unseen {
			unseen[d]++
			place[d] = true
		}
		learned := map[string]bool{}
		for _, p := range f.Train {
			learned[p.Chosen.Plain], learned[p.Rejected.Plain] = true, true
			at, err := Place(all, p)
			require.NoError(t, err)
			require.False(t, place[at])
			require.True(t, strings.HasSuffix(p.Prompt.Plain, "\n"))
		}
		for _, v := range f.Votes {
			require.False(t, late(v.A1.Plain) || late(v.A2.Plain))
		}
		for _, p := range f.Near {
			at, err := Place(all, p)
			require.NoError(t, err)
			require.True(t, place[at])
		}
		for _, p := range f.Valid {
			require.False(t, learned[p.Chosen.Plain] && learned[p.Rejected.Plain])
		}
		// The two files break lines differently: what votes have of a pair of valid, by its id, is
		// what ReadOf finds by words.
		voted := map[string]bool{}
		for _, v := range f.Votes {
			voted[v.ID] = true
		}
		read := ReadOf(f.Valid, f.Votes)
		for _, i := range read {
			require.True(t, voted[f.Valid[i].ID])
			delete(voted, f.Valid[i].ID)
		}
		assert.NotEmpty(t, read)
		for _, p := range f.Valid {
			require.False(t, voted[p.ID])
		}
		assert.Equal(t, 10025, len(f.Train)+len(f.Valid)+len(f.Near))
		assert.Greater(t, len(f.Train), 5*len(f.Valid))
		assert.Greater(t, len(f.Votes), len(f.Train), "pairs without a gold preference, too")
	}
	for d := range all {
		assert.Equal(t, 1, unseen[d])
	}
	path, err := WriteVotes(l, "votes", folds[0].Votes[:2])
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, 2, strings.Count(string(text), `"votes":["`))
	_, _, err = Folds(l, 15)
	assert.ErrorContains(t, err, "15 folds of 14 debates")
}
