package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// TestTheGuardJudgesRealMembers puts the average of the four small reward
// models under a guard on their test pairs. Its figures are those that PyTorch
// measured: shared/models/rm-paradetox.json.
func TestTheGuardJudgesRealMembers(t *testing.T) {
	t.Parallel()
	members := paradetox(t)
	root, err := filepath.Abs(filepath.Dir(members[0]))
	require.NoError(t, err)
	var pairs strings.Builder
	for id, p := range paradetoxPairs(t) {
		number, _, _ := strings.Cut(id, "-")
		n, err := strconv.Atoi(number)
		require.NoError(t, err)
		if n%10 != 0 {
			continue
		}
		line, err := json.Marshal(map[string]string{"prompt": "", "chosen": p.Chosen, "rejected": p.Rejected})
		require.NoError(t, err)
		pairs.Write(append(line, '\n'))
	}
	file := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(pairs.String()), 0o600))

	config := filepath.Join(t.TempDir(), "serve.yaml")
	write := func(loss string) {
		require.NoError(t, os.WriteFile(config, []byte("models:\n  detox:\n    members: ["+strings.Join(absolute(t, members), ", ")+"]\n    guard: {pairs: "+file+", max_loss: "+loss+"}\n"), 0o600))
	}
	write("0")
	s := startServe(t, "--config", config, "--admin-key-file", adminKeyFile(t), "--model-root", root)
	const figures = "the average wins 99.80 % of 1960 pairs and its members 99.58 % on average (rm-paradetox-1 99.39 %, rm-paradetox-2 99.64 %, rm-paradetox-3 99.64 %, rm-paradetox-4 99.64 %)"
	assert.Contains(t, s.stderr.String(), figures)

	few := pairs.String()[:10000]
	require.NoError(t, os.WriteFile(file, []byte(few[:strings.LastIndex(few, "\n")+1]), 0o600))
	write("-5") // a gain of five points is more than there is to gain
	code, _, stderr := command(t, "", "serve", "--addr", "127.0.0.1:0", "--config", config)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "points, at most -5.00 is allowed")

	c, err := api.NewClient(s.url, api.WithKey(testAdminKey))
	require.NoError(t, err)
	_, err = c.PutModel(t.Context(), "detox", &api.ModelSpec{Members: []api.MemberSpec{{Path: "rm-paradetox-1"}}, Guard: &api.GuardSpec{Pairs: file + ".other"}}, true)
	assert.True(t, api.IsCode(err, api.CodePathRefused), "%v", err)
	r, err := http.Get(s.url + "/v1/models/detox")
	require.NoError(t, err)
	r.Body.Close()
	assert.Equal(t, http.StatusOK, r.StatusCode)
}

func absolute(t testing.TB, paths []string) []string {
	var out []string
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		require.NoError(t, err)
		out = append(out, abs)
	}
	return out
}
