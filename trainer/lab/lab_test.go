package lab

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/loader/disk"
)

func TestRewardsKeepTheirBitsInJSON(t *testing.T) {
	want := Rewards{0, float32(math.Copysign(0, -1)), 1.0 / 3, -math.MaxFloat32, math.SmallestNonzeroFloat32}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	var got Rewards
	require.NoError(t, json.Unmarshal(text, &got))
	require.Len(t, got, len(want))
	for i := range want {
		assert.Equal(t, math.Float32bits(want[i]), math.Float32bits(got[i]))
	}
	assert.Error(t, json.Unmarshal([]byte(`"AAA"`), &got))
}

func TestDifferenceIsPaired(t *testing.T) {
	// a wins wherever b does, and on every tenth pair besides: on each sample the
	// difference is above 0, however uncertain either accuracy is.
	var a, b []float64
	for i := range 200 {
		b = append(b, float64(i%2)-0.5)
		a = append(a, b[i])
		if i%10 == 0 {
			a[i] = 1
		}
	}
	d, err := Difference(a, b, nil)
	require.NoError(t, err)
	assert.InDelta(t, 0.1, d.Value, 1e-12)
	assert.Equal(t, Seen, Judge(d))
	back, err := Difference(b, a, nil)
	require.NoError(t, err)
	assert.Equal(t, Contradicted, Judge(back))
	same, err := Difference(a, a, nil)
	require.NoError(t, err)
	assert.Equal(t, Unclear, Judge(same))
}

func TestClustersAreCountedOnce(t *testing.T) {
	assert.Equal(t, "4 pairs in 2 clusters", Clustered([]string{"a", "b", "a", "a"}))
}

// TestWhatWouldDecide holds the number to n · (half of the width / distance)².
func TestWhatWouldDecide(t *testing.T) {
	for name, c := range map[string]struct {
		judge func(eval.Estimate) Outcome
		e     eval.Estimate
		want  string
	}{
		"a sign":                          {Judge, eval.Estimate{Value: 1, Low: -1, High: 3}, "; about 40 seeds would decide it"},
		"an interval that leans":          {Judge, eval.Estimate{Value: 1, Low: -0.5, High: 2.5}, "; about 23 seeds would decide it"},
		"decided":                         {Judge, eval.Estimate{Value: 1, Low: 0.5, High: 1.5}, ""},
		"an equality, nearer to the edge": {About, eval.Estimate{Value: 0.01, Low: -0.03, High: 0.05}, "; about 160 seeds would decide it"},
		"an inequality":                   {About, eval.Estimate{Value: 0.03, Low: 0.01, High: 0.05}, "; about 40 seeds would decide it"},
		"no worse":                        {NoWorse, eval.Estimate{Value: 0, Low: -0.04, High: 0.04}, "; about 40 seeds would decide it"},
		"nothing at all":                  {Judge, eval.Estimate{Value: 0, Low: -1, High: 1}, "; ten thousand times as many seeds would not decide it"},
	} {
		assert.Equal(t, c.want, Deciding(c.judge, c.e, 10, "seeds"), name)
	}
}

func TestWhatIsStoredAndDoesNotFitIsMadeAnew(t *testing.T) {
	l := &Lab{Dir: t.TempDir()}
	path := filepath.Join(l.Dir, "scores", "x.json")
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o755))
	require.NoError(t, disk.Write(path, []byte(`{"chosen":"AACAPw==","rejected":""}`)))
	made := 0
	for range 2 {
		s, err := Stored(l, "x", func(s Scored) bool { return len(s.Chosen) == 2 && len(s.Rejected) == 2 },
			func() (Scored, error) { made++; return Scored{Rewards{1, 2}, Rewards{3, 4}}, nil })
		require.NoError(t, err)
		assert.Equal(t, Scored{Rewards{1, 2}, Rewards{3, 4}}, s)
	}
	assert.Equal(t, 1, made)
}
