package loader

import (
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ofExperts opens an adapter of the experts of a mixture that PEFT wrote, with its configuration edited.
func ofExperts(t *testing.T, edit func(config map[string]any)) (*Checkpoint, error) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("..", "deploy", "goldens", "peft", "mixtral-experts"))))
	raw, err := fs.ReadFile(os.DirFS(dir), adapterConfigFile)
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.Unmarshal(raw, &config))
	edit(config)
	raw, err = json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfigFile), raw, 0o600))
	return Open(dir)
}

// TestChangesOfExpertsAreRefusedWithTheReason: what the adapter's code would compute is tested by scores elsewhere.
func TestChangesOfExpertsAreRefusedWithTheReason(t *testing.T) {
	for want, edit := range map[string]func(c map[string]any){
		"gate_up_proj is not among the target_parameters": func(c map[string]any) { c["target_parameters"] = []string{"down_proj", "gate.weight"} },
		"gate_up_proj has rank 2":                         func(c map[string]any) { c["rank_pattern"] = nil },
		`"model.layers.0.block_sparse_moe.gate" is not among the target_modules`: func(c map[string]any) {
			c["target_parameters"] = []string{"down_proj", "gate_up_proj"}
		},
	} {
		_, err := ofExperts(t, edit)
		require.ErrorIs(t, err, ErrAdapter, want)
		assert.ErrorContains(t, err, want)
	}
	c, err := ofExperts(t, func(map[string]any) {})
	require.NoError(t, err)
	defer c.Close()
	assert.Contains(t, string(c.Config), "MixtralForSequenceClassification")
	other, err := ofExperts(t, func(c map[string]any) { c["lora_alpha"] = 6 })
	require.NoError(t, err)
	defer other.Close()
	assert.NotEqual(t, c.Hash(), other.Hash())
	sums := map[[sha256.Size]byte]bool{}
	for _, name := range c.Names() {
		if strings.Contains(name, ".experts.") {
			sums[c.tensors[name].sum()] = true
		}
	}
	assert.Equal(t, 2*3*3, len(sums), "matrices of experts, each of which is another")
}

// TestAClassifierOverALanguageModelOfAnOldClassIsOne: its padding rule is that of a classifier.
func TestAClassifierOverALanguageModelOfAnOldClassIsOne(t *testing.T) {
	c := mustOpen(t, filepath.Join("..", "deploy", "goldens", "peft", "gpt2"))
	assert.Contains(t, string(c.Config), "GPT2ForSequenceClassification")
}
