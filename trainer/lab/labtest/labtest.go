package labtest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/lab"
	"github.com/warmserve/warmserve/trainer/lm"
)

// RunTiny runs an experiment and checks what every result has to be.
func RunTiny(t *testing.T, l *lab.Lab, e *lab.Experiment) *lab.Findings {
	r, err := l.Run(t.Context(), e)
	require.NoError(t, err, e.Name)
	again, err := e.Analyse(r.Measured)
	require.NoError(t, err)
	assert.Equal(t, r.Findings, again, "%s: findings are those of the measurements", e.Name)
	assert.NotZero(t, len(r.Findings.Verdicts)+len(r.Findings.Tables), "%s says something", e.Name)
	for _, f := range r.Findings.Figures {
		assert.FileExists(t, filepath.Join(l.Dir, e.Name+"-"+f.Name+".png"))
	}
	for _, v := range r.Findings.Verdicts {
		t.Logf("%s: %s: %s: %s", e.Name, v.Seen, v.Claim, v.Figures)
	}
	return r.Findings
}

// SharedData is the directory of data and models beside the repository, or
// $WARM_SHARED.
func SharedData(t testing.TB) string {
	dir := os.Getenv("WARM_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared")
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "ukp", "strict.jsonl.zst")); err != nil {
		t.Skip("no data/ukp in ../shared or $WARM_SHARED: the laboratory is not run on real data")
	}
	return dir
}

// ArguingLab is a lab of size tiny whose base has read a few lines.
func ArguingLab(t testing.TB) *lab.Lab {
	shared := SharedData(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	require.NoError(t, os.WriteFile(text,
		[]byte(strings.Repeat("the one side says that it is wrong and the other that it is right\n",
			50)), 0o644))
	base := filepath.Join(dir, "base")
	_, err := lm.Train(t.Context(), lm.Config{Shape: &lm.Shape{Layers: 2, Hidden: 32, Heads: 2,
		Context: 512}, Context: 64,
		Tokenizer: filepath.Join(shared, "models", "stories260K-hf"), Text: []string{text}, Out: base,
		LR: 3e-3, Steps: 10, Batch: 8})
	require.NoError(t, err)
	l := &lab.Lab{Dir: filepath.Join(dir, "lab"), Base: base, Data: filepath.Join(shared, "data"),
		Size: lab.Tiny}
	require.NoError(t, l.Open())
	t.Cleanup(l.Close)
	return l
}

// Whole skips a test of whole experiments, which train members and take many seconds, unless
// they are asked for.
func Whole(t testing.TB) {
	t.Helper()
	if os.Getenv("WARM_EXPERIMENTS") == "" {
		t.Skip("runs whole experiments, tiny ones: set WARM_EXPERIMENTS=1")
	}
}

// Stopped is a context that has ended.
func Stopped(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
