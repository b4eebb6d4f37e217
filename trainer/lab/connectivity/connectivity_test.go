package connectivity

import (
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/eval"
	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lab/labtest"
)

// TestConnectivityAndItsControls trains real members of a small base that was
// really pre-trained: those that share its pre-training must come out connected,
// and the controls broken.
func TestConnectivityAndItsControls(t *testing.T) {
	labtest.Whole(t)
	shared := labtest.SharedData(t)
	l := &lab.Lab{Dir: t.TempDir(), Base: filepath.Join(shared, "models", "stories260K-hf"), Data: filepath.Join(shared, "data"), Size: lab.Tiny}
	require.NoError(t, l.Open())
	defer l.Close()
	f := labtest.RunTiny(t, l, Experiment())
	assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, "Members that share their pre-training are linearly connected"))
	for _, k := range []string{kindTwin, kindPermuted, kindUnshared} {
		assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, controlClaim(k)), "the control breaks")
	}
}

// controlClaim is the claim of a control.
func controlClaim(kind string) string {
	for _, k := range kindNames {
		if k.kind == kind {
			return kindVerdict(k.kind, k.name, lab.Seen, "").Claim
		}
	}
	return ""
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
		p.Visited = append(p.Visited, visited{At: at, Valid: labtest.JudgedPairs(n, m, s), Near: labtest.JudgedPairs(n, m, s), Fit: labtest.JudgedPairs(n, m, s)})
	}
	return p
}

func TestConnectivityVerdicts(t *testing.T) {
	const n = 300
	measured := func(shared, twin path) measurements {
		tested := lab.Test{Clusters: labtest.Numbered(n)}
		return measurements{Valid: tested, Near: tested, Fit: tested, M: 2, Paths: []path{shared, twin}}
	}
	const (
		claim   = "Members that share"
		control = "Control: without"
	)
	t.Run("a line that holds up is connected and one that falls to chance is broken", func(t *testing.T) {
		f := labtest.FindingsOf(t, analyse, measured(walked(kindShared, n, 5, 2), walked(kindTwin, n, 2, 0.1)))
		assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, claim))
		assert.Equal(t, lab.Seen, labtest.OutcomeOf(t, f, control))
	})
	t.Run("the other way round both claims are contradicted", func(t *testing.T) {
		f := labtest.FindingsOf(t, analyse, measured(walked(kindShared, n, 2, 0.1), walked(kindTwin, n, 5, 2)))
		assert.Equal(t, lab.Contradicted, labtest.OutcomeOf(t, f, claim))
		assert.Equal(t, lab.Contradicted, labtest.OutcomeOf(t, f, control))
	})
	t.Run("ends that learned nothing decide nothing", func(t *testing.T) {
		p := walked(kindShared, n, 2, 2)
		for i := range p.Visited {
			p.Visited[i].Fit = labtest.JudgedPairs(n, 2, 1)
		}
		assert.Equal(t, lab.Unclear, labtest.OutcomeOf(t, labtest.FindingsOf(t, analyse, measured(p, walked(kindTwin, n, 2, 0.1))), claim))
	})
	t.Run("margins of another number of pairs are an error", func(t *testing.T) {
		m := measured(walked(kindShared, n, 5, 2), walked(kindTwin, n-1, 2, 0.1))
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = analyse(raw)
		assert.ErrorContains(t, err, "299")
	})
	t.Run("one place is no line", func(t *testing.T) {
		m := measured(walked(kindShared, n, 5, 2), path{Kind: kindTwin, Visited: make([]visited, 1)})
		raw, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = analyse(raw)
		assert.ErrorContains(t, err, "1 places")
	})
}

func TestTrainingPairsDecideWhereOthersCannot(t *testing.T) {
	wide, level := eval.Estimate{Value: -0.05, Low: -0.15, High: 0.05}, eval.Estimate{Value: 0, Low: -0.019, High: 0.02}
	good, chance := eval.Estimate{Value: 0.8, Low: 0.75, High: 0.85}, eval.Estimate{Value: 0.55, Low: 0.49, High: 0.6}
	holds, falls := eval.Estimate{Value: -0.003, Low: -0.012, High: 0}, eval.Estimate{Value: -0.08, Low: -0.15, High: -0.04}
	assert.Equal(t, lab.Seen, connected(wide, holds, good))
	assert.Equal(t, lab.Contradicted, connected(wide, falls, good))
	assert.Equal(t, lab.Unclear, connected(wide, eval.Estimate{Value: -0.02, Low: -0.04, High: -0.01}, good), "a fall of about the tolerance")
	assert.Equal(t, lab.Seen, connected(level, falls, good), "accuracy in distribution comes first")
	assert.Equal(t, lab.Contradicted, connected(eval.Estimate{Value: -0.1, Low: -0.15, High: -0.01}, holds, good))
	assert.Equal(t, lab.Contradicted, connected(level, falls, chance), "what is at chance has no accuracy to lose")
}

func TestBarrierIsTheLargestFallBelowTheChord(t *testing.T) {
	const n = 100
	p := walked(kindShared, n, 2, 1) // 0.8 at the ends, 0.5 half-way
	j := judged{labtest.Numbered(n), func(v *visited) lab.Rewards { return v.Valid }, false}
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
