package main

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnArrayOfTasksTrainsTheMembersOfTheSequentialRun(t *testing.T) {
	base, pairs := trainable(t), easyPairs(t, 40)
	args := func(out string, more ...string) []string {
		return append([]string{"train", "members", "--base", base, "--train", pairs, "--holdout", "id%4", "--m", "3", "--batch", "8", "--workers", "1", "--out", out}, more...)
	}
	one, array := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "array")
	code, _, log := trainCommand(t, args(one)...)
	require.Equal(t, exitOK, code, log)

	var wg sync.WaitGroup
	for task := range 3 { // at the same time: each makes the shared start, one of them first
		wg.Go(func() {
			code, _, log := trainCommand(t, args(array, "--task", strconv.Itoa(task+1))...)
			assert.Equal(t, exitOK, code, log)
		})
	}
	wg.Wait()
	for _, dir := range []string{"init", "member-1", "member-2", "member-3"} {
		want, err := os.ReadFile(filepath.Join(one, dir, "model.safetensors"))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(array, dir, "model.safetensors"))
		require.NoError(t, err)
		assert.Equal(t, want, got, dir)
	}
	// The table comes from the same command without a task: all is trained.
	code, table, log := trainCommand(t, args(array)...)
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, table, "WA")
	assert.NotContains(t, log, "step 1 of")
}
