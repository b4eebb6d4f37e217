package lab

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestConnectivityAndItsControls trains real members of a small base that was
// really pre-trained: those that share its pre-training must come out connected,
// and the controls broken.
func TestConnectivityAndItsControls(t *testing.T) {
	l := &Lab{Dir: t.TempDir(), Base: testBase(t), Data: filepath.Join(sharedData(t), "data"), Size: Tiny}
	require.NoError(t, l.Open())
	defer l.Close()
	f := runTiny(t, l, Connectivity())
	assert.Equal(t, Seen, outcome(t, f, "Members that share their pre-training are linearly connected"))
	for _, k := range []string{kindTwin, kindPermuted, kindUnshared} {
		assert.Equal(t, Seen, outcome(t, f, controlClaim(k)), "the control breaks")
	}
}

// TestExperimentsOnAverages runs the others on a base that has read a few lines:
// what they find there means nothing.
func TestExperimentsOnAverages(t *testing.T) {
	l := arguingLab(t)
	for _, e := range []*Experiment{Corruption(), Shift(), Soups(), Pareto()} {
		runTiny(t, l, e)
	}
	e := Pareto()
	was, err := ReadResult(l.Dir, e.Name)
	require.NoError(t, err)
	again, err := l.Run(stopped(t), e)
	require.NoError(t, err, "everything that took time is kept")
	assert.JSONEq(t, string(was.Measured), string(again.Measured))
}

// runTiny runs an experiment and checks what every result has to be.
func runTiny(t *testing.T, l *Lab, e *Experiment) *Findings {
	r, err := l.Run(t.Context(), e)
	require.NoError(t, err, e.Name)
	again, err := e.Analyse(r.Measured)
	require.NoError(t, err)
	assert.Equal(t, r.Findings, again, "%s: findings are those of the measurements", e.Name)
	assert.NotEmpty(t, r.Findings.Verdicts)
	for _, f := range r.Findings.Figures {
		assert.FileExists(t, filepath.Join(l.Dir, e.Name+"-"+f.Name+".png"))
	}
	for _, v := range r.Findings.Verdicts {
		t.Logf("%s: %s: %s: %s", e.Name, v.Seen, v.Claim, v.Figures)
	}
	return r.Findings
}

// controlClaim is the claim of a control.
func controlClaim(kind string) string {
	for _, k := range kindNames {
		if k.kind == kind {
			return kindVerdict(k.kind, k.name, Seen, "").Claim
		}
	}
	return ""
}
