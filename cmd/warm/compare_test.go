package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// heldOut are the rows whose number before the dash is divisible by 10: the
// members were trained on the others.
func heldOut(t testing.TB) []pair {
	var out []pair
	for id, p := range paradetoxPairs(t) {
		n, err := strconv.Atoi(id[:strings.IndexByte(id, '-')])
		require.NoError(t, err)
		if n%10 == 0 {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b pair) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// TestComparingReproducesTheMembersPublishedAccuracies compares with what
// PyTorch measured on the same rows. A row flips where a margin is under the
// difference of two float32 implementations; none does.
func TestComparingReproducesTheMembersPublishedAccuracies(t *testing.T) {
	s := startServe(t, "--model", "detox="+strings.Join(paradetox(t), ","), "--mode", "both")
	rows := heldOut(t)
	require.Len(t, rows, 1960)
	body, err := json.Marshal(map[string]any{"pairs": wirePairs(rows)})
	require.NoError(t, err)
	resp, err := http.Post(s.url+"/v1/compare", "application/json", strings.NewReader(string(body)))
	require.NoError(t, err)
	defer resp.Body.Close()
	var got api.CompareResponse
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&got))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	wins := map[string]int{}
	for _, s := range got.Scorers {
		wins[s.Name] = s.Wins
		t.Logf("%-26s accuracy %.4f [%.4f, %.4f], ties %d, margin %6.2f, %.3f s", s.Name, s.Accuracy.Value, s.Accuracy.Low, s.Accuracy.High, s.Ties, s.MeanMargin, s.ComputeSeconds)
		if a := s.AgainstWA; a != nil {
			t.Logf("%-26s wa is better by %.4f [%.4f, %.4f], p %.3f; agreement %.4f, pearson %.4f, spearman %.4f, kendall %.4f, cost %.2f", "",
				a.AccuracyDifference.Value, a.AccuracyDifference.Low, a.AccuracyDifference.High, a.McNemarP, a.Agreement.Value, a.Pearson.Value, a.Spearman.Value, a.Kendall.Value, a.Cost)
			assert.Greater(t, a.Spearman.Value, 0.9, s.Name)
		}
	}
	// 0.9939, 0.9964, 0.9964, 0.9964; 0.9980; 0.9974 of 1,960.
	want := map[string]int{"member:rm-paradetox-1": 1948, "member:rm-paradetox-2": 1953, "member:rm-paradetox-3": 1953, "member:rm-paradetox-4": 1953, "wa": 1956, "ens:mean": 1955}
	for name, n := range want {
		assert.Equal(t, n, wins[name], name)
	}
	assert.Len(t, got.Scorers, 10)
	assert.Equal(t, len(rows), got.Pairs)
}

func wirePairs(rows []pair) []map[string]any {
	var out []map[string]any
	for _, r := range rows {
		out = append(out, map[string]any{"id": r.ID, "prompt": "", "chosen": r.Chosen, "rejected": r.Rejected})
	}
	return out
}
