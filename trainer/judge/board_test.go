package judge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/eval/boards"
	"github.com/warmserve/warmserve/trainer/data"
)

// judgeBench begins to judge on questions of JudgeBench.
func judgeBench(t testing.TB, t2 Test, published string) (*boardRun, error) {
	b, err := boards.Named("judgebench")
	require.NoError(t, err)
	return newBoardRun(BoardTest{Test: t2, Board: b, Published: published})
}

const question = `{"pair_id":"%s","source":"livecodebench","question":"Q","response_A":"a","response_B":"b","label":"%s"}`

func outputs(t testing.TB, scores map[string][2]float64) string {
	var lines []string
	for id, s := range scores {
		lines = append(lines, fmt.Sprintf(`{"pair_id":"%s","judgments":[{"judgment":{"judge_model":"org/theirs","scores":[%g,%g]},"decision":"A>B"},{"judgment":{"judge_model":"org/theirs","scores":[%g,%g]}}]}`, id, s[0], s[1], s[1], s[0]))
	}
	path := filepath.Join(t.TempDir(), "outputs.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
	return path
}

func TestRewardsAreSetAgainstPublishedOnesAnswerByAnswer(t *testing.T) {
	file := pairsFile(t, fmt.Sprintf(question, "x", "A>B"), fmt.Sprintf(question, "y", "B>A"), fmt.Sprintf(question, "z", "B>A"), fmt.Sprintf(question, "new", "A>B"))
	r, err := judgeBench(t, Test{Files: []string{file}}, outputs(t, map[string][2]float64{"x": {1, 2}, "y": {3, 5}, "z": {4, 4}, "gone": {0, 1}}))
	require.NoError(t, err)
	// Ours are theirs and one more, but for z, which is no tie; the right answer comes first.
	require.NoError(t, r.judge("ours", [][]float64{{2, 3}, {6, 4}, {7, 5}, {0, 0}}))
	d := r.report.Models[0].Published
	require.NotNil(t, d)
	assert.Equal(t, "org/theirs", d.Model)
	assert.Equal(t, []string{"z"}, d.Differ)
	assert.Equal(t, 3, d.Pairs)
	assert.Equal(t, 2, d.Alone)
	assert.InDelta(t, (4*1+3+1)/6., d.Mean, 1e-12)
	assert.InDelta(t, d.Mean, d.Absolute, 1e-12)
	assert.Equal(t, 3., d.Most)
	assert.Greater(t, d.Pearson.Value, 0.8)

	_, err = judgeBench(t, Test{Files: []string{file}}, pairsFile(t, `{"pair_id":"x","judgments":[null]}`))
	assert.ErrorContains(t, err, "judgments[0]: wrong type: want an object, got null")
	r, err = judgeBench(t, Test{Files: []string{file}}, outputs(t, map[string][2]float64{"gone": {0, 1}}))
	require.NoError(t, err)
	assert.ErrorContains(t, r.judge("ours", [][]float64{{2, 3}, {6, 4}, {7, 5}, {0, 0}}), "of the same data?")
}

func TestAQuestionMayCountOnce(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.jsonl", "b.jsonl"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(fmt.Sprintf(question, "x", "A>B")), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("not read"), 0o600))
	_, err := judgeBench(t, Test{Files: []string{dir}}, "")
	assert.ErrorContains(t, err, "b.jsonl:1: question x stands at "+filepath.Join(dir, "a.jsonl")+":1 too")
	_, err = judgeBench(t, Test{Files: []string{t.TempDir()}}, "")
	assert.ErrorContains(t, err, ".parquet")
}

func TestBadQuestionsAreLeftOutWhereThatIsAskedFor(t *testing.T) {
	file := pairsFile(t, fmt.Sprintf(question, "x", "A>B"), fmt.Sprintf(question, "y", "A"))
	_, err := judgeBench(t, Test{Files: []string{file}}, "")
	assert.ErrorContains(t, err, ":2: label: wrong type")
	var said []string
	r, err := judgeBench(t, Test{Files: []string{file}, SkipBad: true, Say: func(m string) { said = append(said, m) }}, "")
	require.NoError(t, err)
	assert.Equal(t, 1, r.report.Questions)
	require.Len(t, said, 1)
	assert.Contains(t, said[0], "left out 1 of 2")
}

// publishedFile is a file of a board's own repository, under WARM_BOARDS or ../shared/boards.
func publishedFile(t testing.TB, path string) string {
	root := os.Getenv("WARM_BOARDS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "boards")
	}
	path = filepath.Join(root, path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("opt-in: clone JudgeBench and RMB-Reward-Model-Benchmark into a directory and name it in WARM_BOARDS: %v", err)
	}
	return path
}

// TestJudgeBenchSaysOfItsOwnScoresWhatItPublishes: the figures are what run_judge.py prints of the
// outputs that lie beside it, and those of its leaderboard.
func TestJudgeBenchSaysOfItsOwnScoresWhatItPublishes(t *testing.T) {
	const of = "dataset=judgebench,response_model=gpt-4o-2024-05-13"
	for name, want := range map[string][5]float64{ // knowledge, reasoning, math, coding, overall
		"Ray2333_GRM-Gemma-2B-rewardmodel-ft": {62.99, 53.06, 64.29, 54.76, 59.43},
		"Skywork_Skywork-Reward-Gemma-2-27B":  {59.74, 66.33, 83.93, 50.00, 64.29},
		"Skywork_Skywork-Reward-Llama-3.1-8B": {59.09, 64.29, 76.79, 50.00, 62.29},
		"internlm_internlm2-20b-reward":       {62.34, 69.39, 66.07, 50.00, 63.43},
		"internlm_internlm2-7b-reward":        {56.49, 61.22, 71.43, 50.00, 59.43},
	} {
		t.Run(name, func(t *testing.T) {
			outputs := publishedFile(t, "JudgeBench/outputs/"+of+",judge_name=reward_model,judge_model="+name+".jsonl")
			r, err := judgeBench(t, Test{Files: []string{publishedFile(t, "JudgeBench/data/"+of+".jsonl")}}, outputs)
			require.NoError(t, err)
			rewards := make([][]float64, len(r.questions))
			for i, q := range r.questions {
				s := r.published.scores[q.ID]
				if rewards[i] = s[:]; q.Swapped {
					rewards[i] = []float64{s[1], s[0]}
				}
			}
			require.NoError(t, r.judge("theirs", rewards))
			m := r.report.Models[0]
			var got [5]float64
			for k, f := range append(m.Figures[0].Parts, m.Figures[0]) {
				got[k] = 100 * *f.Value
				assert.InDelta(t, want[k], got[k], 0.005, f.Name)
			}
			assert.Empty(t, m.Published.Differ)
			assert.Zero(t, m.Published.Most)
			assert.Zero(t, m.Published.Alone)
			assert.InDelta(t, 1, m.Published.Pearson.Value, 1e-12)
		})
	}
}

// TestRMBSaysOfItsOwnScoresWhatItPublishes: the one result that lies in RMB's repository.
func TestRMBSaysOfItsOwnScoresWhatItPublishes(t *testing.T) {
	text, err := os.ReadFile(publishedFile(t, "RMB-Reward-Model-Benchmark/eval/result/ArmoRM-Llama3-8B-v0.1_result.json"))
	require.NoError(t, err)
	var rows []struct {
		ID       string  `json:"pair_uid"`
		Path     string  `json:"category_path"`
		Chosen   float64 `json:"chosen_reward"`
		Rejected float64 `json:"reject_reward"`
		Right    float64 `json:"is_correct"`
	}
	require.NoError(t, json.Unmarshal(text, &rows))
	require.Len(t, rows, 849)
	var items []boards.Item
	sum := 0.0
	for _, row := range rows {
		items = append(items, boards.Item{ID: row.ID, Subset: row.Path, Correct: 1, Scores: []float64{row.Chosen, row.Rejected}})
		sum += row.Right
	}
	b, err := boards.Named(string(data.FormatRMB))
	require.NoError(t, err)
	figures, err := b.Score(items)
	require.NoError(t, err)
	require.Len(t, figures[0].Parts, 1)
	assert.Equal(t, "helpfulness, pairs", figures[0].Parts[0].Name)
	assert.InDelta(t, sum/849, *figures[0].Parts[0].Value, 1e-12)
	t.Logf("ACC: %.4f", sum/849)
}
