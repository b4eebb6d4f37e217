package tokenizer

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shared returns the path of a file of the reference material, which is not
// part of the repository: $WARM_SHARED, or ../shared beside the module.
func shared(t testing.TB, path ...string) string {
	t.Helper()
	root := os.Getenv("WARM_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		require.NoError(t, err)
		for dir != filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
			dir = filepath.Dir(dir)
		}
		root = filepath.Join(dir, "..", "shared")
	}
	name := filepath.Join(append([]string{root}, path...)...)
	if _, err := os.Stat(name); err != nil {
		t.Skipf("the reference material is not here: %v", err)
	}
	return name
}

func readShared(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(shared(t, path...))
	require.NoError(t, err)
	return data
}

func load(t testing.TB, path ...string) *Tokenizer {
	t.Helper()
	tok, err := Parse(readShared(t, path...))
	require.NoError(t, err)
	return tok
}

func lines(data []byte) []string {
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func parseIDs(t *testing.T, line string) []int32 {
	t.Helper()
	ids := []int32{}
	for field := range strings.SplitSeq(line, ",") {
		if field = strings.TrimSpace(field); field != "" {
			id, err := strconv.ParseInt(field, 10, 32)
			require.NoError(t, err)
			ids = append(ids, int32(id))
		}
	}
	return ids
}

// goldenTokenizers have gold ids for mixed, utf8 and, most of them, small.
var goldenTokenizers = []string{
	"gpt2", "gpt_neox", "mistral03", "qwen3", "modernbert", "bert_base_cased", "bert_base_uncased", "xlnet_base_cased",
}

func TestEveryLineOfTheGoldensEncodesToTheGoldIDs(t *testing.T) {
	unescape := strings.NewReplacer(`\n`, "\n", `\s`, " ")
	for _, name := range goldenTokenizers {
		t.Run(name, func(t *testing.T) {
			tok := load(t, "tokenizers", name, "tokenizer.json")
			for _, set := range []string{"mixed", "utf8", "small"} {
				gold := filepath.Join("tokenizers", name, set+"_tokens.txt")
				if _, err := os.Stat(filepath.Join(filepath.Dir(shared(t, "tokenizers")), gold)); err != nil {
					continue
				}
				inputs := lines(readShared(t, "tokenizers", set+"_input.txt"))
				wants := lines(readShared(t, gold))
				require.Len(t, wants, len(inputs))
				for i, input := range inputs {
					if set == "small" {
						input = unescape.Replace(input)
					}
					got := tok.AppendEncode([]int32{}, input, Options{})
					assert.Equal(t, parseIDs(t, wants[i]), got, "%s line %d: %q", set, i+1, input)
				}
			}
		})
	}
}

func TestRewardModelTextsEncodeToTheIDsThatWereScored(t *testing.T) {
	tok := load(t, "models", "rm-paradetox-1", "tokenizer.json")
	type pair struct {
		ID, Chosen, Rejected string
		ChosenIDs            []int32 `json:"chosen_ids"`
		RejectedIDs          []int32 `json:"rejected_ids"`
	}
	each := func(r io.Reader, do func(pair)) {
		d := json.NewDecoder(r)
		for d.More() {
			// Chosen and rejected are texts in one file and scores, under other
			// names, in the other.
			var p pair
			require.NoError(t, d.Decode(&p))
			do(p)
		}
	}
	compressed := bytes.NewReader(readShared(t, "data", "paradetox", "pairs.jsonl.zst"))
	z, err := zstd.NewReader(compressed)
	require.NoError(t, err)
	defer z.Close()
	texts := map[string]pair{}
	each(z, func(p pair) { texts[p.ID] = p })
	n := 0
	each(bytes.NewReader(readShared(t, "models", "rm-paradetox-scores.jsonl")), func(p pair) {
		text, ok := texts[p.ID]
		require.True(t, ok, "pair %s", p.ID)
		assert.Equal(t, p.ChosenIDs, tok.AppendEncode(nil, text.Chosen, Options{AddSpecial: true}), text.Chosen)
		assert.Equal(t, p.RejectedIDs, tok.AppendEncode(nil, text.Rejected, Options{AddSpecial: true}), text.Rejected)
		n++
	})
	assert.Equal(t, 300, n)
}
