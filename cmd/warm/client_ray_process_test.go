//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestAProcessOfRayComesBackAndNothingIsLost runs what of api/python/warm_ray.py needs no Ray; with a
// real cluster it is TestRayStartsWatchesAndScalesProcesses.
func TestAProcessOfRayComesBackAndNothingIsLost(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	require.NoError(t, err)
	// The program, by the binary of these tests.
	binary := filepath.Join(t.TempDir(), "warm")
	script := fmt.Sprintf("#!/bin/sh\n%s=$(printf '%%s\\n' \"$@\") exec %q\n", childCommand, exe)
	require.NoError(t, os.WriteFile(binary, []byte(script), 0o755)) // #nosec: it is run
	inputs := [][]any{{"What is rain?", "Water."}, {"And snow?", []string{"Rain too.", "Nothing"}}}
	job, err := json.Marshal(map[string]any{"files": clientFiles(t), "binary": binary, "inputs": inputs,
		"first": rewardtest.Checkpoint(t, "first", nil), "second": rewardtest.Checkpoint(t, "second", nil)})
	require.NoError(t, err)
	cmd := python(t, filepath.Join("testdata", "ray_process.py"))
	cmd.Stdin = bytes.NewReader(job)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s\n%s", stdout.String(), stderr.String())
	var got struct {
		First, Second []float32
		Hole          []*float32
		Raised        []string
		Refused       string
		Start         string
	}
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &got), "%s", stdout.String())
	require.Len(t, got.First, 3)
	assert.NotEqual(t, got.First, got.Second)
	assert.Nil(t, got.Hole[1])
	assert.Equal(t, []string{"unknown_model", "revision_gone"}, got.Raised)
	assert.Equal(t, "path_refused", got.Refused)
	assert.Contains(t, got.Start, "/no/such/place")
	assert.Contains(t, stderr.String(), "1 of 2 answers without a reward")
}
