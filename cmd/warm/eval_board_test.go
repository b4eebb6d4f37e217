package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/eval/boards"
	"github.com/warmserve/warmserve/trainer/judge"
)

// evaluateBoard runs warm eval --json --format.
func evaluateBoard(t testing.TB, format string, args ...string) *judge.BoardReport {
	code, stdout, stderr := command(t, "", append([]string{"eval", "--json", "--format", format}, args...)...)
	require.Equal(t, exitOK, code, stderr)
	r := new(judge.BoardReport)
	require.NoError(t, json.Unmarshal([]byte(stdout), r))
	return r
}

// file writes a file of a test's own directory.
func file(t testing.TB, name, text string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// rewardBench2 is a Parquet file as RewardBench 2 has it, of every subset.
func rewardBench2(t testing.TB) string {
	type row struct {
		ID       string   `parquet:"id"`
		Prompt   string   `parquet:"prompt"`
		Chosen   []string `parquet:"chosen,list"`
		Rejected []string `parquet:"rejected,list"`
		Correct  int64    `parquet:"num_correct"`
		Subset   string   `parquet:"subset"`
	}
	var rows []row
	for i, subset := range []string{"Factuality", "Precise IF", "Math", "Safety", "Focus"} {
		for k := range 4 {
			rows = append(rows, row{fmt.Sprint(10*i + k), "name a colour", []string{"blue " + fmt.Sprint(k)}, []string{"dog", "cat " + fmt.Sprint(i), "no"}, 1, subset})
		}
	}
	for k := range 4 {
		rows = append(rows,
			row{fmt.Sprintf("ref:%d", k), "name a colour", []string{"blue " + fmt.Sprint(k)}, []string{"dog", "cat"}, 1, "Ties"},
			row{fmt.Sprintf("tied:%d", k), "name a colour", []string{"blue " + fmt.Sprint(k), "red", "green"}, []string{"dog", "cat"}, 3, "Ties"})
	}
	path := filepath.Join(t.TempDir(), "test-00000-of-00001.parquet")
	require.NoError(t, pq.WriteFile(path, rows))
	return path
}

func TestABoardSaysTheSameOfDirectoriesAndOfTheirServer(t *testing.T) {
	dirs := []string{tinyModel(t, "one", nil), tinyModel(t, "two", nil)}
	s := startServe(t, "--model", "m="+strings.Join(dirs, ","), "--mode", "both")
	rmb := file(t, "S1.json", `[{"pair_uid":"1","conversation_input":[{"role":"user","content":"hi"}],"chosen":{"answer":"hello"},"reject":{"answer":""},"category_path":"Pairwise_set/Harmlessness/S1"},
		{"bon_uid":"2","conversation_input":[{"role":"user","content":"hi"},{"role":"assistant","content":"ho"},{"role":"user","content":"ha"}],"bon_best":{"answer":"a"},"loser_list":[{"answer":"b"},{"answer":"c"},{"answer":"d"}],"category_path":"BoN_set/Harmlessness/S1"}]`)
	ppe := file(t, "ifeval_best_of_k.jsonl", `{"question_id":"1","prompt":"hi","scores":[0,1,1,0],"response_1":"hello","response_2":"","response_3":"a b","response_4":"c","sampled_conflict_pairs":[[0,1],[2,3]]}`)
	for format, path := range map[string]string{"rewardbench2": rewardBench2(t), "rmb": rmb, "ppe": ppe} {
		t.Run(format, func(t *testing.T) {
			local := evaluateBoard(t, format, append([]string{"--data", path}, dirs...)...)
			served := evaluateBoard(t, format, "--data", path, "--url", s.url)
			assert.Equal(t, format, served.Board)
			assert.Equal(t, "both", served.Served.Mode)
			assert.Equal(t, local.Questions, served.Questions)
			of := func(r *judge.BoardReport, name string) []boards.Figure {
				for _, m := range r.Models {
					if m.Name == name {
						return m.Figures
					}
				}
				t.Fatalf("no figures of %s", name)
				return nil
			}
			assert.Len(t, local.Models, 5)
			for _, m := range local.Models {
				assert.Equal(t, m.Figures, of(served, m.Name), m.Name)
			}
		})
	}
}

func TestABoardIsPrintedInPercent(t *testing.T) {
	code, stdout, stderr := command(t, "", "eval", "--format", "rewardbench2", "--data", rewardBench2(t), tinyModel(t, "one", nil))
	require.Equal(t, exitOK, code, stderr)
	for _, want := range []string{"RewardBench 2, 28 questions", "  Precise IF", "accuracy on references", "one", "the longer answer", "overall", "0.3"} {
		assert.Contains(t, stdout, want)
	}
	assert.NotContains(t, stdout, "no questions of")

	part := file(t, "chat_filtered.json", `[{"id":1,"prompt":"p","chosen":["a","b","c"],"rejected":["d","e","f"]}]`)
	code, stdout, stderr = command(t, "", "eval", "--format", "rm-bench", "--data", part, tinyModel(t, "one", nil))
	require.Equal(t, exitOK, code, stderr)
	assert.Equal(t, 1, strings.Count(stdout, "no questions of math, code, safety"), stdout)
	assert.Contains(t, stdout, "–")
}

func TestPublishedRewardsAreCompared(t *testing.T) {
	pairs := file(t, "dataset=judgebench,response_model=m.jsonl", `{"pair_id":"x","source":"livecodebench","question":"Q","response_A":"a","response_B":"b","label":"B>A"}`)
	outputs := file(t, "outputs.jsonl", `{"pair_id":"x","judgments":[{"judgment":{"judge_model":"org/theirs","scores":[5.625,14.625]}}]}`)
	args := []string{"--data", pairs, "--compare", outputs, tinyModel(t, "one", nil)}
	r := evaluateBoard(t, "judgebench", args...)
	require.NotNil(t, r.Models[0].Published)
	assert.Equal(t, "org/theirs", r.Models[0].Published.Model)
	assert.Nil(t, r.Models[1].Published, "lengths are no rewards")
	code, stdout, stderr := command(t, "", append([]string{"eval", "--format", "judgebench"}, args...)...)
	require.Equal(t, exitOK, code, stderr)
	assert.Contains(t, stdout, "against org/theirs")
}

func TestBoardsRefuseWhatTheyDoNotCount(t *testing.T) {
	path := rewardBench2(t)
	for _, c := range []struct{ args, want string }{
		{"--format x --data " + path + " dir", "rm-bench"},
		{"--format rewardbench2 --data " + path + " --holdout id%2 dir", "--holdout has no effect with --format"},
		{"--format rewardbench2 --data " + path + " --drop-long --tolerance 0.2 dir", "--drop-long, --tolerance have no effect"},
		{"--format rewardbench2 --data " + path + " --compare x dir", "--format judgebench"},
		{"--data p --compare x dir", "--format judgebench"},
		{"--format rewardbench2 dir", "--data"},
		{"--format rewardbench2 --data " + path, "--url"},
		{"--pool a,b --format rmb", "--pool"},
	} {
		code, _, stderr := command(t, "", append([]string{"eval"}, strings.Fields(c.args)...)...)
		assert.Equal(t, exitUsage, code, c.args)
		assert.Contains(t, stderr, c.want)
	}
	code, _, stderr := command(t, "", "eval", "--format", "rewardbench", "--data", path, tinyModel(t, "one", nil))
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, path+" (row 1): chosen: wrong type: want a string, got an array")
}
