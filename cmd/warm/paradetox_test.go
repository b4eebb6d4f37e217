package main

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pair is a row of the paradetox data.
type pair struct{ ID, Chosen, Rejected string }

func paradetoxPairs(t testing.TB) map[string]pair {
	f, err := os.Open(filepath.Join(shared(t, "data", "paradetox"), "pairs.jsonl.zst"))
	require.NoError(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	require.NoError(t, err)
	defer z.Close()
	out := map[string]pair{}
	for s := bufio.NewScanner(z); s.Scan(); {
		var p pair
		require.NoError(t, json.Unmarshal(s.Bytes(), &p))
		out[p.ID] = p
	}
	return out
}

// scoredPair is a row of rm-paradetox-scores.jsonl, computed by PyTorch.
type scoredPair struct {
	ID      string `json:"id"`
	Members []struct{ Chosen, Rejected float64 }
	WA      struct{ Chosen, Rejected float64 } `json:"wa"`
	Chosen  []int32                            `json:"chosen_ids"`
	Reject  []int32                            `json:"rejected_ids"`
}

func scoredPairs(t testing.TB) []scoredPair {
	data, err := os.ReadFile(filepath.Join(shared(t, "models"), "rm-paradetox-scores.jsonl"))
	require.NoError(t, err)
	var out []scoredPair
	for line := range strings.Lines(string(data)) {
		var s scoredPair
		require.NoError(t, json.Unmarshal([]byte(line), &s))
		out = append(out, s)
	}
	return out
}

// torchTolerance allows for the other order of summation: rewards are up to 40,
// where float32 steps are 4e-6, and pass through five layers.
const torchTolerance = 2e-4

func TestServedScoresEqualPyTorchFromTextAndFromIDs(t *testing.T) {
	s := startServe(t, "--model", "detox="+strings.Join(paradetox(t), ","), "--mode", "both")
	rows, texts := scoredPairs(t), paradetoxPairs(t)
	var ids, text []any
	for _, r := range rows {
		p := texts[r.ID]
		ids = append(ids, map[string]any{"input_ids": r.Chosen}, map[string]any{"input_ids": r.Reject})
		text = append(text, map[string]any{"prompt": "", "responses": []string{p.Chosen, p.Rejected}})
	}
	for name, inputs := range map[string][]any{"from ids": ids, "from text": text} {
		t.Run(name, func(t *testing.T) {
			code, got := s.post(t, map[string]any{"mode": "both", "return": []string{"members", "tokens"}, "inputs": inputs})
			require.Equal(t, 200, code, "%+v", got.Error)
			require.Len(t, got.Data, 2*len(rows))
			for i, r := range rows {
				chosen, rejected := got.Data[2*i], got.Data[2*i+1]
				require.Equal(t, r.Chosen, chosen.TokenIDs, r.ID)
				require.Equal(t, r.Reject, rejected.TokenIDs, r.ID)
				assert.InDelta(t, r.WA.Chosen, chosen.Reward, torchTolerance, r.ID)
				assert.InDelta(t, r.WA.Rejected, rejected.Reward, torchTolerance, r.ID)
				mean := 0.0
				for m, want := range r.Members {
					assert.InDelta(t, want.Chosen, chosen.Members[m].Reward, torchTolerance, r.ID)
					assert.InDelta(t, want.Rejected, rejected.Members[m].Reward, torchTolerance, r.ID)
					mean += want.Chosen / float64(len(r.Members))
				}
				assert.InDelta(t, mean, *chosen.Ensemble, torchTolerance, r.ID)
			}
		})
	}
}

func TestRewardsAreTheSameToTheBitHoweverTheyAreAskedFor(t *testing.T) {
	rows := scoredPairs(t)[:40]
	texts := paradetoxPairs(t)
	prompt := texts[rows[0].ID].Chosen + " "
	var want []uint32
	for _, procs := range []int{1, 2} {
		old := runtime.GOMAXPROCS(procs)
		defer runtime.GOMAXPROCS(old)
		s := startServe(t, "--model", strings.Join(paradetox(t), ","))
		var answers []string
		var separate []any
		for _, r := range rows {
			a := texts[r.ID].Rejected
			answers = append(answers, a)
			separate = append(separate, map[string]any{"prompt": prompt, "response": a})
		}
		bits := func(inputs ...any) []uint32 {
			code, got := s.post(t, map[string]any{"inputs": inputs})
			require.Equal(t, 200, code, "%+v", got.Error)
			var out []uint32
			for _, d := range got.Data {
				out = append(out, math.Float32bits(d.Reward))
			}
			return out
		}
		if want == nil {
			for _, row := range separate { // each alone
				want = append(want, bits(row)...)
			}
		}
		assert.Equal(t, want, bits(separate...), "as separate rows, GOMAXPROCS %d", procs)
		assert.Equal(t, want, bits(map[string]any{"prompt": prompt, "responses": answers}), "as responses, GOMAXPROCS %d", procs)
		for i := range separate { // in reverse, among strangers
			separate[i] = map[string]any{"prompt": prompt, "response": answers[len(answers)-1-i]}
		}
		got := bits(append(separate, map[string]any{"text": "a stranger"})...)
		for i := range want {
			assert.Equal(t, want[i], got[len(want)-1-i], "in reverse, GOMAXPROCS %d", procs)
		}
		require.Equal(t, exitOK, s.stop())
	}
}
