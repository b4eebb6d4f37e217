package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/kernel"
)

// TestTheEnvironmentNamesTheCPULevel: for every command, and no longer than it runs.
func TestTheEnvironmentNamesTheCPULevel(t *testing.T) {
	before := kernel.Active()
	level := func(name string) *program {
		return &program{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: func(v string) string {
			if v == levelVariable {
				return name
			}
			return ""
		}}
	}
	p := level("generic")
	restore, err := p.useLevel()
	require.NoError(t, err)
	assert.Equal(t, kernel.Generic, kernel.Active())
	restore()
	assert.Equal(t, exitOK, p.run(context.Background(), []string{"version"}))
	assert.Equal(t, before, kernel.Active())

	p = level("sse")
	assert.Equal(t, exitUsage, p.run(context.Background(), []string{"version"}))
	assert.Contains(t, p.stderr.(*bytes.Buffer).String(), `WARM_CPU_LEVEL: "sse" is not one of this machine's levels [generic`)
	assert.Empty(t, p.stdout.(*bytes.Buffer).String())
}
