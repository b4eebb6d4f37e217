package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/judge"
	"github.com/warmserve/warmserve/trainer/rm"
)

// evaluate runs warm eval --json.
func evaluate(t testing.TB, args ...string) *judge.Report {
	code, stdout, stderr := command(t, "", append([]string{"eval", "--json"}, args...)...)
	require.Equal(t, exitOK, code, stderr)
	r := new(judge.Report)
	require.NoError(t, json.Unmarshal([]byte(stdout), r))
	return r
}

func TestEvalOverHTTPSaysWhatEvalOfDirectoriesSays(t *testing.T) {
	pairs := easyPairs(t, 60)
	dirs := []string{tinyModel(t, "one", nil), tinyModel(t, "two", nil)}
	config := filepath.Join(t.TempDir(), "serve.yaml")
	local := evaluate(t, append([]string{"--data", pairs, "--baseline-train", pairs, "--calibration", config, "--name", "m"}, dirs...)...)
	require.Len(t, local.Members, 2)
	assert.Len(t, local.GroupPairs, 26)
	assert.Equal(t, 1.0, local.Words.Accuracy)

	// The file is a configuration, and calibrates the ensemble: members' rewards
	// then have mean 0 and standard deviation 1.
	s := startServe(t, "--config", config)
	served := evaluate(t, "--data", pairs, "--url", s.url, "--name", "m")
	assert.True(t, served.Served.Normalized)
	assert.Equal(t, "both", served.Served.Mode)
	assert.Equal(t, local.WA, served.WA)
	require.Len(t, served.Members, 2)
	for i := range served.Members {
		assert.Equal(t, local.Members[i].Score, served.Members[i].Score)
		assert.Equal(t, local.Members[i].Reliability, served.Members[i].Reliability)
	}
	assert.Equal(t, local.Longer, served.Longer)
	assert.InDelta(t, 0, served.Ens.Mean, 1e-5, "rewards are float32")
	assert.LessOrEqual(t, served.Ens.Std, 1+1e-5)

	one := evaluate(t, "--data", pairs, "--url", s.url, "--mode", "member:"+local.Members[1].Name)
	assert.Equal(t, local.Members[1].Score, one.Members[0].Score)
	code, _, stderr := command(t, "", "eval", "--data", pairs, "--url", s.url, "--name", "n")
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, `"n"`)
}

func TestFoldsArePooledFromTheirReports(t *testing.T) {
	model, pairs := tinyModel(t, "one", nil), easyPairs(t, 60)
	var folds []string
	for _, rule := range []string{"id%2", "id%3"} {
		code, stdout, stderr := command(t, "", "eval", "--json", "--data", pairs, "--holdout", rule, model)
		require.Equal(t, exitOK, code, stderr)
		folds = append(folds, filepath.Join(t.TempDir(), "fold.json"))
		require.NoError(t, os.WriteFile(folds[len(folds)-1], []byte(stdout), 0o644))
	}
	code, stdout, stderr := command(t, "", "eval", "--pool", strings.Join(folds, ","))
	require.Equal(t, exitOK, code, stderr)
	for _, want := range []string{"on 50 pairs", "groups of 2 folds", "one more often right than", "the longer answer"} {
		assert.Contains(t, stdout, want)
	}
	assert.NotContains(t, stdout, "ECE", "it is of one fold")

	require.NoError(t, os.WriteFile(folds[1], []byte("{"), 0o644))
	code, _, stderr = command(t, "", "eval", "--pool", strings.Join(folds, ","))
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, folds[1])
}

func TestEvalPrintsEveryTable(t *testing.T) {
	pairs := easyPairs(t, 60)
	code, stdout, stderr := command(t, "", "eval", "--data", pairs, "--baseline-train", pairs, tinyModel(t, "one", nil))
	require.Equal(t, exitOK, code, stderr)
	for _, want := range []string{"on 60 pairs", "the longer answer", "a bag of words", "bootstrap over 26 groups", "one more often right than", "ECE", "Brier", "best temperature", "σ(|margin|)", "observed", "group"} {
		assert.Contains(t, stdout, want)
	}
}

func TestEvalRefusesCommandLinesThatContradictThemselves(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "--data"},
		{"--data p", "--url"},
		{"--data p --url http://127.0.0.1:1 dir", "dir"},
		{"--data p --mode wa dir", "--mode"},
		{"--data p --url http://127.0.0.1:1 --calibration f", "--calibration"},
		{"--data p --url http://127.0.0.1:1 --max-tokens 5", "--max-tokens"},
		{"--data p --url ftp://x", "http"},
		{"--data p --holdout x dir", "holdout"},
		{"--pool a,b dir", "--pool"},
	} {
		code, _, stderr := command(t, "", append([]string{"eval"}, strings.Fields(c.args)...)...)
		assert.Equal(t, exitUsage, code, c.args)
		assert.Contains(t, stderr, c.want)
	}
}

func TestCalibrationRefusesAModelWithoutSpread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serve.yaml")
	r := &judge.Report{Members: []judge.Judged{{Name: "flat", Score: rm.Score{Mean: math.Pi}}}}
	assert.ErrorContains(t, writeCalibration(path, "m", r, []string{"dir"}), "flat")
	_, err := os.Stat(path)
	assert.ErrorIs(t, err, os.ErrNotExist)
}
