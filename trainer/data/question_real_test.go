package data_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
)

// published is a file or directory of a board's own repository, under WARM_BOARDS or ../shared/boards.
func published(t testing.TB, path string) string {
	root := os.Getenv("WARM_BOARDS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "boards")
	}
	path = filepath.Join(root, path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("opt-in: clone RM-Bench, JudgeBench and RMB-Reward-Model-Benchmark into a directory and name it in WARM_BOARDS: %v", err)
	}
	return path
}

func TestPublishedFilesAreRead(t *testing.T) {
	const rmb = "RMB-Reward-Model-Benchmark/RMB_dataset"
	for path, want := range map[string]struct {
		format             data.Format
		questions, answers int
	}{
		"RM-Bench/data/chat_filtered.json":                                                   {data.FormatRMBench, 129, 774},
		"RM-Bench/data/code_filtered.json":                                                   {data.FormatRMBench, 228, 1368},
		"RM-Bench/data/safety-refuse_filtered.json":                                          {data.FormatRMBench, 284, 1704},
		"RM-Bench/data/safety-response_filtered.json":                                        {data.FormatRMBench, 157, 942},
		"JudgeBench/data/dataset=judgebench,response_model=gpt-4o-2024-05-13.jsonl":          {data.FormatJudgeBench, 350, 700},
		"JudgeBench/data/dataset=judgebench,response_model=claude-3-5-sonnet-20240620.jsonl": {data.FormatJudgeBench, 270, 540},
		rmb + "/Pairwise_set/Harmlessness/multi.json":                                        {data.FormatRMB, 502, 1004},
		rmb: {data.FormatRMB, 0, 0}, // as many as there are: some are left out of copies for their size
	} {
		t.Run(strings.ReplaceAll(path, "/", " "), func(t *testing.T) {
			n, answers := 0, 0
			err := filepath.WalkDir(published(t, path), func(file string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				r, err := data.Open(file, data.Options{})
				require.NoError(t, err)
				defer r.Close()
				for q, err := range r.Questions(want.format) {
					require.NoError(t, err)
					n++
					answers += len(q.Answers)
				}
				return nil
			})
			require.NoError(t, err)
			if want.questions > 0 {
				assert.Equal(t, [2]int{want.questions, want.answers}, [2]int{n, answers})
			}
			assert.Positive(t, n)
		})
	}
}
