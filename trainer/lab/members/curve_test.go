package members

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/lab/debates"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
)

func TestTheCurveIsHeldAgainstAllPairs(t *testing.T) {
	const n = 240
	c := curve{}
	for k := range 2 {
		f := curveFold{}
		for i := range n {
			f.Near.Clusters = append(f.Near.Clusters, fmt.Sprint(2*(i%6)+k))
			f.Valid.Clusters = append(f.Valid.Clusters, fmt.Sprint(2*(i%6)+1-k))
		}
		c.Folds = append(c.Folds, f)
	}
	for i, wrong := range []int{4, 10, 0} { // of so many pairs one
		name := []string{"half of the pairs", all.name, "all pairs, twice as many passes"}[i]
		p := point{Name: name}
		for range c.Folds {
			p.Runs = append(p.Runs, pointRun{Pairs: []int{50, 100, 100}[i], Debates: 6, Passes: []float64{1, 1, 2}[i],
				Valid: labtest.JudgedPairs(n, wrong, 1), Near: labtest.JudgedPairs(n, wrong, 1)})
		}
		c.Points = append(c.Points, p)
	}
	f := labtest.FindingsOf(t, analyseCurve, c)
	assert.Empty(t, f.Verdicts)
	require.Len(t, f.Tables[0].Rows, 3)
	for i, want := range []string{"-15.00 [", "+0.00 [+0.00, +0.00]", "+10.00 ["} {
		assert.Contains(t, f.Tables[0].Rows[i][6], want)
	}
	assert.Equal(t, []string{"half of the pairs", "50", "6.0", "1"}, f.Tables[0].Rows[0][:4])
	require.Len(t, f.Figures[0].Series, 2, "a line of pairs, and the passes by themselves")
	assert.Equal(t, []float64{50, 100}, f.Figures[0].Series[0].X)

	c.Points[0].Runs[1].Near = c.Points[0].Runs[1].Near[1:]
	text, err := json.Marshal(c)
	require.NoError(t, err)
	_, err = analyseCurve(text)
	assert.ErrorContains(t, err, "half of the pairs, fold 2: 240 and 239 margins, want 240 and 240")
}

func TestVariantsDrawPairsAndDebates(t *testing.T) {
	p := &planned{}
	var f debates.Fold
	for d := range 5 {
		p.debates = append(p.debates, fmt.Sprint("debate ", d))
		for i := range 40 {
			if d != 2 { // which is unseen
				f.Train = append(f.Train, data.Pair{ID: fmt.Sprint(d, i), Meta: map[string]json.RawMessage{"debate": json.RawMessage(strconv.Quote(p.debates[d]))}})
			}
		}
	}
	p.folds = []debates.Fold{f}
	for _, v := range variants {
		pairs, of, err := v.draw(p, 0)
		require.NoError(t, err)
		want := map[string][2]int{"eighth": {20, 4}, "quarter": {40, 4}, "half": {80, 4}, "debates": {80, 2}, "": {160, 4}, "twice": {160, 4}}[v.file]
		assert.Equal(t, want, [2]int{len(pairs), of}, v.name)
		for _, pair := range pairs {
			assert.True(t, v.every == 1 || pair.ID[0] == '0' || pair.ID[0] == '3', "of 0, 1, 3 and 4: %s", pair.ID)
		}
	}
}
