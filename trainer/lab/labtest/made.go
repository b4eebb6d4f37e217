package labtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model/nn"
	"github.com/warmserve/warmserve/trainer/lab"
)

// Noise is a number about 0 with deviation 1, of a seed and a place.
func Noise(seed, i int) float64 {
	sum := 0.0
	for k := range 12 {
		sum += nn.Uniform(nn.Mix(nn.Mix(uint64(seed), uint64(k)), uint64(i)))
	}
	return sum - 6
}

// JudgedPairs are margins of n pairs, right on all but every k-th.
func JudgedPairs(n, k int, size float32) lab.Rewards {
	out := make(lab.Rewards, n)
	for i := range out {
		out[i] = size * (1 + float32(i%3))
		if k > 0 && i%k == 0 {
			out[i] = -out[i]
		}
	}
	return out
}

// Numbered are the numbers from 0 to n−1 as names.
func Numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i)
	}
	return out
}

// FindingsOf analyses what was measured, and checks that this is pure and can be drawn.
func FindingsOf(t *testing.T, analyse func([]byte) (*lab.Findings, error), measured any) *lab.Findings {
	raw, err := json.Marshal(measured)
	require.NoError(t, err)
	f, err := analyse(raw)
	require.NoError(t, err)
	again, err := analyse(raw)
	require.NoError(t, err)
	assert.Equal(t, f, again, "an analysis is pure")
	for i := range f.Figures {
		_, err := f.Figures[i].Draw("svg")
		assert.NoError(t, err, f.Figures[i].Name)
		assert.NotEmpty(t, f.Figures[i].Caption)
	}
	return f
}

// OutcomeOf is the verdict whose claim begins so.
func OutcomeOf(t *testing.T, f *lab.Findings, claim string) lab.Outcome {
	for _, v := range f.Verdicts {
		if len(v.Claim) >= len(claim) && v.Claim[:len(claim)] == claim {
			return v.Seen
		}
	}
	t.Fatalf("no verdict %q in %v", claim, f.Verdicts)
	return ""
}

// ScoredAs are rewards with given margins.
func ScoredAs(margins lab.Rewards) lab.Scored {
	s := lab.Scored{Chosen: slices.Clone(margins), Rejected: make(lab.Rewards, len(margins))}
	for i := range s.Chosen {
		s.Chosen[i] /= 2
		s.Rejected[i] = -s.Chosen[i]
	}
	return s
}
