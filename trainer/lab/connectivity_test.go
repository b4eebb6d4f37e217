package lab

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// judgedPairs are margins of n pairs, right on all but every k-th.
func judgedPairs(n, k int, size float32) Rewards {
	out := make(Rewards, n)
	for i := range out {
		out[i] = size * (1 + float32(i%3))
		if k > 0 && i%k == 0 {
			out[i] = -out[i]
		}
	}
	return out
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i)
	}
	return out
}

// walked is a path whose ends are right on all but every fifth pair, and whose
// middle is right on all but every k-th.
func walked(kind string, n, k int, size float32) path {
	p := path{Kind: kind, A: "a", B: "b", Full: true}
	for _, at := range []float64{0, 0.5, 1} {
		m, s := 5, float32(2)
		if at == 0.5 {
			m, s = k, size
		}
		p.Visited = append(p.Visited, visited{At: at, Valid: judgedPairs(n, m, s), Near: judgedPairs(n, m, s), Fit: judgedPairs(n, m, s)})
	}
	return p
}

func findingsOf(t *testing.T, analyse func([]byte) (*Findings, error), measured any) *Findings {
	raw, err := json.Marshal(measured)
	require.NoError(t, err)
	f, err := analyse(raw)
	require.NoError(t, err)
	again, err := analyse(raw)
	require.NoError(t, err)
	assert.Equal(t, f, again, "an analysis is pure")
	for i := range f.Figures {
		_, err := f.Figures[i].Draw("svg")
		assert.NoError(t, err, f.Figures[i].Name)
		assert.NotEmpty(t, f.Figures[i].Caption)
	}
	return f
}

// outcome is the verdict whose claim begins so.
func outcome(t *testing.T, f *Findings, claim string) Outcome {
	for _, v := range f.Verdicts {
		if len(v.Claim) >= len(claim) && v.Claim[:len(claim)] == claim {
			return v.Seen
		}
	}
	t.Fatalf("no verdict %q in %v", claim, f.Verdicts)
	return ""
}

func TestConnectivityVerdicts(t *testing.T) {
	const n = 300
	measured := func(shared, twin path) connectivityMeasured {
		tested := test{Clusters: numbered(n)}
		return connectivityMeasured{Valid: tested, Near: tested, Fit: tested, M: 2, Paths: []path{shared, twin}}
	}
	const (
		claim   = "Members that share"
		control = "Control: without"
	)
	t.Run("a line that holds up is connected and one that falls to chance is broken", func(t *testing.T) {
		f := findingsOf(t, analyseConnectivity, measured(walked(kindShared, n, 5, 2), walked(kindTwin, n, 2, 0.1)))
		assert.Equal(t, Seen, outcome(t, f, claim))
		assert.Equal(t, Seen, outcome(t, f, control))
	})
	t.Run("the other way round both claims are contradicted", func(t *testing.T) {
		f := findingsOf(t, analyseConnectivity, measured(walked(kindShared, n, 2, 0.1), walked(kindTwin, n, 5, 2)))
		assert.Equal(t, Contradicted, outcome(t, f, claim))
		assert.Equal(t, Contradicted, outcome(t, f, control))
	})
	t.Run("ends that learned nothing decide nothing", func(t *testing.T) {
		p := walked(kindShared, n, 2, 2)
		for i := range p.Visited {
			p.Visited[i].Fit = judgedPairs(n, 2, 1)
		}
		assert.Equal(t, Unclear, outcome(t, findingsOf(t, analyseConnectivity, measured(p, walked(kindTwin, n, 2, 0.1))), claim))
	})
	t.Run("margins of another number of pairs are an error", func(t *testing.T) {
		m := measured(walked(kindShared, n, 5, 2), walked(kindTwin, n-1, 2, 0.1))
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = analyseConnectivity(raw)
		assert.ErrorContains(t, err, "299")
	})
	t.Run("one place is no line", func(t *testing.T) {
		m := measured(walked(kindShared, n, 5, 2), path{Kind: kindTwin, Visited: make([]visited, 1)})
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = analyseConnectivity(raw)
		assert.ErrorContains(t, err, "1 places")
	})
}

func TestTrainingPairsDecideWhereOthersCannot(t *testing.T) {
	wide, level := Estimate{-0.05, -0.15, 0.05}, Estimate{0, -0.019, 0.02}
	good, chance := Estimate{0.8, 0.75, 0.85}, Estimate{0.55, 0.49, 0.6}
	holds, falls := Estimate{-0.003, -0.012, 0}, Estimate{-0.08, -0.15, -0.04}
	assert.Equal(t, Seen, connected(wide, holds, good))
	assert.Equal(t, Contradicted, connected(wide, falls, good))
	assert.Equal(t, Unclear, connected(wide, Estimate{-0.02, -0.04, -0.01}, good), "a fall of about the tolerance")
	assert.Equal(t, Seen, connected(level, falls, good), "accuracy in distribution comes first")
	assert.Equal(t, Contradicted, connected(Estimate{-0.1, -0.15, -0.01}, holds, good))
	assert.Equal(t, Contradicted, connected(level, falls, chance), "what is at chance has no accuracy to lose")
}

func TestBarrierIsTheLargestFallBelowTheChord(t *testing.T) {
	const n = 100
	p := walked(kindShared, n, 2, 1) // 0.8 at the ends, 0.5 half-way
	j := judged{numbered(n), func(v *visited) Rewards { return v.Valid }, false}
	b, err := p.barrier(j)
	require.NoError(t, err)
	assert.InDelta(t, 0.3, b.Value, 1e-12)
	assert.Less(t, b.Low, 0.3)
	assert.Greater(t, b.Low, 0.1)
	rising := walked(kindShared, n, 0, 1)
	b, err = rising.barrier(j)
	require.NoError(t, err)
	assert.Zero(t, b.Value, "a rise is no barrier")
}

func TestLossOfATieIsLn2(t *testing.T) {
	got := nll([]float64{0, 50, -50, 1})
	assert.InDelta(t, math.Ln2, got[0], 1e-15)
	assert.InDelta(t, 0, got[1], 1e-15)
	assert.InDelta(t, 50, got[2], 1e-12)
	assert.InDelta(t, math.Log(1+math.Exp(-1)), got[3], 1e-15)
}

func TestAllPairsOfMembersAreWalkedAndSomeInFull(t *testing.T) {
	got := pairsOf("k", "member", []string{"x", "y", "z", "w"}, 2)
	require.Len(t, got, 6)
	full := 0
	for _, s := range got {
		assert.NotEqual(t, s.a, s.b)
		if s.full {
			full++
		}
	}
	assert.Equal(t, 2, full)
	assert.True(t, got[3].full && got[3].a == "x" && got[3].b == "w", "the first with the last")
	assert.Len(t, pairsOf("k", "member", []string{"x", "y"}, 3), 1)
	assert.Empty(t, pairsOf("k", "member", []string{"x"}, 3))
}
