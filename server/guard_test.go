package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/servertest"
)

// judges makes every model right about the first n pairs of pairsOf, where n is
// what right says of its mode; the pair after is a tie.
func judges(right func(spec *api.ModelSpec, lane string) int) *factory {
	return &factory{change: func(spec *api.ModelSpec, m *servertest.Model) {
		for lane, fake := range m.Fakes {
			n := right(spec, lane)
			fake.Reward = func(s batch.Sequence) (float32, bool) {
				text := make([]byte, len(s.IDs))
				for i, id := range s.IDs {
					text[i] = byte(id)
				}
				var k int
				for _, word := range []string{"good ", "bad "} {
					if _, after, ok := strings.Cut(string(text), word); ok {
						if _, err := fmt.Sscan(after, &k); err != nil {
							return 0, false
						}
						if k == n {
							return 0, true
						}
						if (word == "good ") == (k < n) {
							return 1, true
						}
						return -1, true
					}
				}
				return 0, false
			}
		}
	}}
}

// pairsOf returns n pairs, as strings and as messages.
func pairsOf(n int) []api.Pair {
	pairs := make([]api.Pair, n)
	for k := range pairs {
		good, bad := fmt.Sprint("good ", k), fmt.Sprint("bad ", k)
		p := &pairs[k]
		if p.Prompt = (&api.Prompt{Text: "p"}); k%2 == 0 {
			p.Chosen, p.Rejected = &api.Candidate{Text: &good}, &api.Candidate{Text: &bad}
			continue
		}
		p.Chosen = &api.Candidate{Messages: []api.Message{api.Says("assistant", good)}}
		p.Rejected = &api.Candidate{Messages: []api.Message{api.Says("assistant", bad)}}
	}
	return pairs
}

func TestTheGuardRefusesAnAverageThatLostWhatItsMembersKnow(t *testing.T) {
	const n = 200
	for _, c := range []struct {
		name    string
		spec    string
		average int // of the pairs that it wins
		a, b    int // of the members
		want    string
	}{
		{"a loss within the bound", `"guard":{"pairs":"pairs.jsonl","max_loss":1}`, 178, 170, 190, ""},
		{"a loss beyond it", `"guard":{"pairs":"pairs.jsonl","max_loss":1}`, 177, 170, 190,
			"the average wins 88.50 % of 200 pairs and its members 90.00 % on average (a 85.00 %, b 95.00 %): a loss of 1.50 points, at most 1.00 is allowed"},
		{"no loss allowed, none made", `"guard":{"pairs":"pairs.jsonl"}`, 180, 170, 190, ""},
		{"a gain asked for", `"guard":{"pairs":"pairs.jsonl","max_loss":-0.5}`, 180, 170, 190, "at most -0.50 is allowed"},
		{"members by their weight", `"weights":[3,1],"guard":{"pairs":"pairs.jsonl"}`, 175, 170, 190, ""},
		{"members by their weight, and a loss", `"weights":[1,3],"guard":{"pairs":"pairs.jsonl"}`, 184, 170, 190, "92.50 % on average"},
		{"members that the deployment holds", `"mode":"both","guard":{"pairs":"pairs.jsonl","max_loss":1}`, 177, 170, 190, "a loss of 1.50 points"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := judges(func(spec *api.ModelSpec, lane string) int {
				switch {
				case lane == "wa":
					return c.average
				case lane == "member:a":
					return c.a
				}
				return c.b
			})
			l := startLive(t, server.Config{}, f)
			require.NoError(t, os.WriteFile(filepath.Join(l.root, "pairs.jsonl"), nil, 0o600))
			f.pairs = pairsOf(n)
			require.Equal(t, http.StatusOK, l.put("c").status)
			r := l.admin("PUT", "/v1/models/m?wait=true", `{"members":["a","b"],`+c.spec+`}`)
			if c.want == "" {
				assert.Equal(t, http.StatusOK, r.status, "%s", r.body)
				return
			}
			assert.Equal(t, http.StatusUnprocessableEntity, r.status)
			e := r.error(t).Error
			assert.Equal(t, "guard_refused", e.Code)
			assert.Contains(t, e.Message, c.want)
			d := l.detail("m")
			assert.Equal(t, rev("c"), d.Revision)
			assert.Equal(t, api.OutcomeRefused, d.History[len(d.History)-1].Outcome)
			assert.NotContains(t, l.log.String(), "good ", "no text of a pair in the log")
		})
	}
}

func TestPairsThatCannotBeReadRefuseTheModel(t *testing.T) {
	f := &factory{}
	l := startLive(t, server.Config{}, f)
	require.NoError(t, os.WriteFile(filepath.Join(l.root, "pairs.jsonl"), nil, 0o600))
	for err, want := range map[error]string{errors.New("line 7: no chosen"): "guard: line 7: no chosen", nil: "pairs.jsonl: no pair"} {
		f.pairsError = err
		r := l.admin("PUT", "/v1/models/m?wait=true", `{"members":["a"],"guard":{"pairs":"pairs.jsonl"}}`)
		assert.Equal(t, http.StatusUnprocessableEntity, r.status)
		assert.Contains(t, r.error(t).Error.Message, want)
	}
	f.pairs, f.pairsError = pairsOf(1), nil
	r := l.admin("PUT", "/v1/models/m?wait=true", `{"members":["a"],"guard":{"pairs":"pairs.jsonl","max_loss":100}}`)
	assert.Equal(t, http.StatusOK, r.status, "%s", r.body)
}
