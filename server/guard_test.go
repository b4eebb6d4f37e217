package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
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

// pairsOf writes n pairs, in the forms that a file may hold.
func pairsOf(t *testing.T, path string, n int) {
	var b strings.Builder
	for k := range n {
		switch k % 4 {
		case 0:
			fmt.Fprintf(&b, `{"id":"x","prompt":"p","chosen":"good %d","rejected":"bad %d"}`, k, k)
		case 1:
			fmt.Fprintf(&b, `{"chosen":"good %d","rejected":"bad %d"}`, k, k)
		case 2:
			fmt.Fprintf(&b, `{"prompt":[{"role":"user","content":"p"}],"chosen":[{"role":"assistant","content":"good %d"}],"rejected":[{"role":"assistant","content":"bad %d"}]}`, k, k)
		case 3:
			fmt.Fprintf(&b, `{"chosen":[{"role":"user","content":"p"},{"role":"assistant","content":"good %d"}],"rejected":[{"role":"user","content":"p"},{"role":"assistant","content":"bad %d"}]}`, k, k)
		}
		b.WriteString("\n")
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
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
			pairsOf(t, filepath.Join(l.root, "pairs.jsonl"), n)
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

func TestFilesOfPairsThatCannotBeRead(t *testing.T) {
	l := startLive(t, server.Config{}, nil)
	good := `{"chosen":"SECRET","rejected":"b"}` + "\n"
	for _, c := range []struct{ name, content, want string }{
		{"nothing", "", "no pair"},
		{"blank lines", "\n\n", "no pair"},
		{"not JSON", good + "SECRET", "line 2: not a pair"},
		{"a list", good + good + "[]", "line 3: not a pair"},
		{"no rejected", `{"chosen":"SECRET"}`, "line 1: rejected is missing"},
		{"no chosen", `{"rejected":"SECRET"}`, "line 1: chosen is missing"},
		{"a conversation that the user ends", `{"chosen":[{"role":"user","content":"SECRET"}],"rejected":"b"}`, "line 1: chosen: last_message_not_assistant"},
		{"half a line", good + good[:20], "line 2: not a pair"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(filepath.Join(l.root, "pairs.jsonl"), []byte(c.content), 0o600))
			r := l.admin("PUT", "/v1/models/m?wait=true", `{"members":["a"],"guard":{"pairs":"pairs.jsonl"}}`)
			assert.Equal(t, http.StatusUnprocessableEntity, r.status)
			assert.Contains(t, r.error(t).Error.Message, c.want)
			assert.NotContains(t, r.error(t).Error.Message, "SECRET")
		})
	}
	assert.NotContains(t, l.log.String(), "SECRET")
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(l.root, "pairs.jsonl.zst"), z.EncodeAll([]byte(good), nil), 0o600))
	r := l.admin("PUT", "/v1/models/m?wait=true", `{"members":["a"],"guard":{"pairs":"pairs.jsonl.zst","max_loss":100}}`)
	assert.Equal(t, http.StatusOK, r.status, "%s", r.body)
}
