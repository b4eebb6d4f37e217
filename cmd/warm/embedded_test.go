package main

import (
	"encoding/json"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/warm/reward"
)

func TestServeWithoutArgumentsServesTheEmbeddedModel(t *testing.T) {
	begin := time.Now()
	s := startServe(t)
	status, r := s.post(t, `{"inputs":[{"prompt":"Should physical education be mandatory?","responses":["Yes: it keeps children healthy.","no"]}]}`)
	elapsed := time.Since(begin)
	require.Equal(t, http.StatusOK, status)
	require.Len(t, r.Data, 2)
	t.Logf("first reward after %v", elapsed)
	// 0.3 to 0.7 s on two busy cores; the bound is for machines that are busier.
	assert.Less(t, elapsed, 20*time.Second)
	assert.Contains(t, s.stderr.String(), "embedded demonstration model")

	models, err := http.Get(s.url + "/v1/models")
	require.NoError(t, err)
	defer models.Body.Close()
	var list struct {
		Data []struct {
			ID, Revision string
			Members      []string
		}
	}
	require.NoError(t, json.NewDecoder(models.Body).Decode(&list))
	require.Len(t, list.Data, 1)
	assert.Equal(t, embeddedName, list.Data[0].ID)
	assert.Equal(t, embeddedNames(t), list.Data[0].Members)
	assert.Equal(t, r.Revision, list.Data[0].Revision)

	assert.Equal(t, r.Revision, revisionOf(t, extract(t)), "the served average is that of the extracted directories")
}

// embeddedNames returns the names of the embedded members.
func embeddedNames(t testing.TB) []string {
	names, err := embedded.New().Members()
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names
}

// extract writes the embedded model and returns the members' directories.
func extract(t testing.TB) []string {
	dir := filepath.Join(t.TempDir(), "demo")
	code, _, log := command(t, "", "embedded", dir)
	require.Equal(t, exitOK, code, log)
	var out []string
	for _, name := range embeddedNames(t) {
		out = append(out, filepath.Join(dir, name))
	}
	return out
}

// revisionOf is the digest of all that the average of directories answers with.
func revisionOf(t testing.TB, dirs []string) string {
	var c reward.Config
	for _, d := range dirs {
		c.Members = append(c.Members, reward.Member{Dir: d})
	}
	d, err := reward.Open(t.Context(), c, 1)
	require.NoError(t, err)
	return d.Revision
}

func TestTheEmbeddedModelIsItsExtractedDirectories(t *testing.T) {
	dirs := extract(t)
	code, printed, log := command(t, "", append([]string{"check"}, dirs...)...)
	require.Equal(t, exitOK, code, printed+log)
	assert.NotContains(t, strings.ToLower(printed), "warning", "the members are one family")
	base, err := loader.Open(filepath.Join(filepath.Dir(dirs[0]), "base"))
	require.NoError(t, err)
	defer base.Close()
	assert.Contains(t, string(base.Config), "ForCausalLM", "the base is a language model")

	card, err := os.ReadFile(filepath.Join(filepath.Dir(dirs[0]), "README.md"))
	require.NoError(t, err)
	code, printed, log = command(t, "", "embedded", "--card")
	require.Equal(t, exitOK, code, log)
	assert.Equal(t, string(card), printed)

	code, _, log = command(t, "", "embedded", filepath.Dir(dirs[0]))
	assert.Equal(t, exitOK, code, "it is there already")
	assert.Contains(t, log, "nothing to do")
	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.CopyFS(other, os.DirFS(filepath.Dir(dirs[0]))))
	require.NoError(t, os.WriteFile(filepath.Join(other, "member-2", "chat_template.jinja"), []byte("another"), 0o600))
	code, _, log = command(t, "", "embedded", other)
	assert.Equal(t, exitFailure, code, "what is there is not overwritten")
	assert.Contains(t, log, "not empty")
}

func TestCommandsTakeEmbeddedReferences(t *testing.T) {
	const row = `{"prompt":"Spare the rod?","response":"Patience teaches better."}`
	rewardOf := func(args ...string) float32 {
		code, printed, log := command(t, row+"\n", append([]string{"score"}, args...)...)
		require.Equal(t, exitOK, code, log)
		var out struct{ Answers []scoredAnswer }
		require.NoError(t, json.Unmarshal([]byte(printed), &out), printed)
		return out.Answers[0].Reward
	}
	dirs := extract(t)
	wa := filepath.Join(t.TempDir(), "wa")
	code, _, log := command(t, "", "average", "--out", wa, "embedded:")
	require.Equal(t, exitOK, code, log)
	assert.Equal(t, rewardOf(dirs...), rewardOf("embedded:"))
	assert.Equal(t, rewardOf("embedded:"), rewardOf(wa), "the written average is the served one")
	assert.Equal(t, rewardOf(dirs[1]), rewardOf("embedded:member-2"))
	assert.NotEqual(t, rewardOf("embedded:member-1"), rewardOf("embedded:member-2"))
	assert.Equal(t, rewardOf("embedded:member-2"), rewardOf("--mode", "member:member-2", "embedded:"), "members have their names")

	code, printed, log := command(t, "", "check", "embedded:")
	require.Equal(t, exitOK, code, log)
	assert.Contains(t, printed, "average: possible")
	pairs := easyPairs(t, 12)
	code, printed, log = command(t, "", "eval", "--data", pairs, "embedded:")
	require.Equal(t, exitOK, code, log)
	for _, want := range append(embeddedNames(t), "WA", "ENS") {
		assert.Contains(t, printed, want)
	}

	for name, args := range map[string][]string{
		"check": {"check", "embedded:member-0"}, "average": {"average", "--out", filepath.Join(t.TempDir(), "x"), "embedded:member-0"},
		"score": {"score", "embedded:member-0"}, "eval": {"eval", "--data", pairs, "embedded:member-0"},
		"serve": {"serve", "--addr", "127.0.0.1:0", "--model", "embedded:member-0"},
	} {
		t.Run(name+" refuses a member that is not there", func(t *testing.T) {
			code, printed, log := command(t, "", args...)
			assert.Equal(t, exitFailure, code)
			assert.Contains(t, printed+log, "want one of")
		})
	}
}

func TestConfigurationsNameEmbeddedMembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serve.yaml")
	require.NoError(t, os.WriteFile(path, []byte("models:\n  all: {members: ['embedded:']}\n  two: {members: [{path: 'embedded:member-2', name: second}, tiny]}\n"), 0o600))
	c, err := readConfig(path, sourcesOf(noEnv))
	require.NoError(t, err)
	var names []string
	for _, m := range c.Models["all"].Members {
		names = append(names, m.Name)
		assert.Equal(t, embedded.Prefix+m.Name, m.Path)
	}
	assert.Equal(t, embeddedNames(t), names)
	spec := c.Models["two"]
	assert.Equal(t, "embedded:member-2", spec.Members[0].Path)
	assert.Equal(t, "second", spec.Members[0].Name)
	assert.Equal(t, filepath.Join(filepath.Dir(path), "tiny"), spec.Members[1].Path)
}

func TestServedAdaptersAreTheTrainedModels(t *testing.T) {
	base, pairs := trainable(t), easyPairs(t, 40)
	out := filepath.Join(t.TempDir(), "rm")
	code, _, log := trainCommand(t, "train", "rm", "--base", base, "--train", pairs, "--lr", "3e-3", "--batch", "4", "--out", out,
		"--lora", "8,16,q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj")
	require.Equal(t, exitOK, code, log)
	adapter, err := loader.Open(out + "-adapter")
	require.NoError(t, err)
	defer adapter.Close()
	merged, err := loader.Open(out)
	require.NoError(t, err)
	defer merged.Close()
	assert.JSONEq(t, string(merged.Config), string(adapter.Config))
	assert.Equal(t, merged.Tokenizer, adapter.Tokenizer)
	// The trainer adds the eight terms of B·A to W one by one in float32, which rounds eight times; the loader
	// rounds once. Each rounding is half a unit in the last place of a number of at most twice W's or the sum's size.
	d := largestDifference(t, adapter, merged)
	t.Logf("largest difference: %.3g of the tensor's largest weight", d)
	assert.Less(t, d, 8*0x1p-24)
}

// largestDifference returns how far two checkpoints' weights are apart, relative
// to the largest weight of a tensor.
func largestDifference(t testing.TB, a, b *loader.Checkpoint) float64 {
	require.Equal(t, a.Names(), b.Names())
	worst := 0.0
	for _, name := range a.Names() {
		shape, _ := a.Shape(name)
		n := 1
		for _, d := range shape {
			n *= d
		}
		x, y := make([]float32, n), make([]float32, n)
		require.NoError(t, a.ReadAt(x, name, 0))
		require.NoError(t, b.ReadAt(y, name, 0))
		largest, apart := 0.0, 0.0
		for i := range x {
			largest = max(largest, math.Abs(float64(x[i])))
			apart = max(apart, math.Abs(float64(x[i])-float64(y[i])))
		}
		if apart > 0 {
			worst = max(worst, apart/largest)
		}
	}
	return worst
}
