package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm/reward/rewardtest"
)

// TestModelsAnswerToTheNamesOfTheOperator gives them by flags and by a configuration.
func TestModelsAnswerToTheNamesOfTheOperator(t *testing.T) {
	model := rewardtest.Checkpoint(t, "m", func(*loader.Contents) {})
	config := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(config, []byte("models: {m: {members: ["+model+"], aliases: [gpt-4]}}\n"), 0o600))
	anyName := filepath.Join(t.TempDir(), "any.yaml")
	require.NoError(t, os.WriteFile(anyName, []byte("any_name: true\nmodels: {m: {members: ["+model+"]}}\n"), 0o600))
	for _, c := range []struct {
		args  []string
		other int // the status of a name that nobody gave
	}{
		{[]string{"--model", "m=" + model, "--alias", "gpt-4=m"}, http.StatusNotFound},
		{[]string{"--config", config}, http.StatusNotFound},
		{[]string{"--model", "m=" + model, "--any-model-name"}, http.StatusOK},
		{[]string{"--config", anyName}, http.StatusOK},
		{[]string{"--config", anyName, "--any-model-name=false", "--alias", "gpt-4=m"}, http.StatusNotFound},
	} {
		s := startServe(t, c.args...)
		ask := func(name string) (int, string) {
			status, r := s.post(t, map[string]any{"model": name, "inputs": []any{map[string]any{"text": "a"}}})
			return status, r.Model
		}
		status, as := ask("gpt-4")
		assert.Equal(t, http.StatusOK, status, "%q", c.args)
		assert.Equal(t, "gpt-4", as)
		status, _ = ask("/ckpt/policy")
		assert.Equal(t, c.other, status, "%q", c.args)
		s.stop()
	}
}
