package data

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func bytesReader(s string) io.Reader { return strings.NewReader(s) }

// shared returns a path below the reference material, which lies beside the repository, or skips.
func shared(tb testing.TB, parts ...string) string {
	tb.Helper()
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		require.NoError(tb, err)
		for {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
			parent := filepath.Dir(dir)
			require.NotEqual(tb, parent, dir, "no go.mod above the test")
			dir = parent
		}
		root = filepath.Join(dir, "..", "shared")
	}
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("reference material is absent (set WARM_SHARED): %v", err)
	}
	return path
}

// The counts are those of the files' lines; four answers of hh are empty in the data itself.
func TestRealPairsAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		path  []string
		pairs int
		empty int
		set   string
	}{
		"ethics train": {[]string{"ethics", "train.jsonl.zst"}, 13738, 0, "ethics_util_train"},
		"ethics test":  {[]string{"ethics", "test.jsonl.zst"}, 4808, 0, "ethics_util_test"},
		"hh":           {[]string{"hh", "harmless.jsonl.zst"}, 2308, 4, "hh_harmless"},
		"paradetox":    {[]string{"paradetox", "pairs.jsonl.zst"}, 19617, 0, "paradetox"},
		"ukp strict":   {[]string{"ukp", "strict.jsonl.zst"}, 10025, 0, "strict"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Open(shared(t, append([]string{"data"}, c.path...)...), Options{})
			require.NoError(t, err)
			defer func() { assert.NoError(t, r.Close()) }()
			pairs, empty := 0, 0
			for p, err := range r.Pairs() {
				if errors.Is(err, ErrEmpty) {
					empty++
					continue
				}
				require.NoError(t, err)
				require.Equal(t, c.set, p.Set)
				require.NotEmpty(t, p.Group)
				pairs++
			}
			assert.Equal(t, c.pairs, pairs)
			assert.Equal(t, c.empty, empty)
		})
	}
}

func TestRealVotesAreRead(t *testing.T) {
	r, err := Open(shared(t, "data", "ukp", "votes.jsonl.zst"), Options{})
	require.NoError(t, err)
	defer func() { assert.NoError(t, r.Close()) }()
	lines, same := 0, 0
	var votes [3]int
	for v, err := range r.Votes() {
		require.NoError(t, err)
		lines++
		for _, x := range v.Votes {
			votes[x]++
		}
		require.Contains(t, v.Meta, "debate")
		if v.A1.equal(v.A2) {
			same++
		}
	}
	assert.Equal(t, 14791, lines)
	assert.Equal(t, [3]int{17133, 28493, 28162}, votes, "equal, a1, a2")
	assert.Equal(t, 14, same, "pairs of equal answers")
}

func BenchmarkPairs(b *testing.B) {
	path := shared(b, "data", "ukp", "strict.jsonl.zst")
	n := 0
	for b.Loop() {
		r, err := Open(path, Options{})
		require.NoError(b, err)
		for _, err := range r.Pairs() {
			require.NoError(b, err)
			n++
		}
		require.NoError(b, r.Close())
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pairs/s")
}

func FuzzPairs(f *testing.F) {
	f.Add([]byte(twoPairs))
	f.Add(gzipped(f, twoPairs))
	f.Add(zstded(f, twoPairs))
	f.Add([]byte(`{"chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant"}], "a1": "x", "a2": "y", "votes": ["a1"]}`))
	f.Add([]byte("\ufeff{\"chosen\": \"\\ud800\"}\n[]\nnull\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pairs, errs := readPairs(t, data, Options{MaxLine: 1 << 12})
		for _, p := range pairs {
			if p.Chosen.equal(p.Rejected) || p.Chosen.IsChat() != p.Rejected.IsChat() {
				t.Fatalf("read %+v", p)
			}
		}
		for _, err := range errs {
			if err.Error() == "" {
				t.Fatal("an error without text")
			}
		}
		r, err := NewReader(strings.NewReader(string(data)), Options{MaxLine: 1 << 12})
		if err != nil {
			return
		}
		for v, err := range r.Votes() {
			if err == nil && len(v.Votes) == 0 {
				t.Fatalf("read %+v", v)
			}
		}
	})
}
