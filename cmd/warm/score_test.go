package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// accuracies reads the table that warm score prints.
func accuracies(t testing.TB, stderr string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(stderr) {
		f := strings.Fields(line)
		for i, w := range f {
			if n, err := strconv.Atoi(w); err == nil && n > 100 && i+1 < len(f) {
				out[strings.Join(f[:i], " ")] = f[i+1]
				break
			}
		}
	}
	return out
}

func TestScoreGivesTheAccuraciesOfTheReference(t *testing.T) {
	var in strings.Builder
	rows := 0
	for id, p := range paradetoxPairs(t) {
		n, _, _ := strings.Cut(id, "-")
		if i, err := strconv.Atoi(n); err != nil || i%10 != 0 {
			continue
		}
		data, err := json.Marshal(map[string]string{"id": id, "prompt": "", "chosen": p.Chosen, "rejected": p.Rejected})
		require.NoError(t, err)
		in.Write(append(data, '\n'))
		rows++
	}
	require.Equal(t, 1960, rows)
	out := filepath.Join(t.TempDir(), "scores.jsonl")
	code, _, stderr := command(t, in.String(), append([]string{"score", "--mode", "both", "--out", out, "--summary", out + ".json"}, paradetox(t)...)...)
	require.Equal(t, exitOK, code, stderr)
	got := accuracies(t, stderr)
	var summary []judgedPairs
	told, err := os.ReadFile(out + ".json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(told, &summary))
	require.Len(t, summary, 10)
	assert.Equal(t, "WA", summary[0].Judge)
	assert.Equal(t, rows, summary[0].Pairs)
	assert.InDelta(t, 0.9980, summary[0].Accuracy, 5e-5)
	for judge, want := range map[string]string{
		"WA": "0.9980", "ENS mean": "0.9974",
		"rm-paradetox-1": "0.9939", "rm-paradetox-2": "0.9964", "rm-paradetox-3": "0.9964", "rm-paradetox-4": "0.9964",
	} {
		assert.Equal(t, want, got[judge], judge)
	}
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, rows, strings.Count(string(data), "\n"))
}

func TestScoreReadsEveryFormOfInput(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	in := `{"id":7,"prompt":"Q","response":"A"}
{"prompt":"Q","responses":["A","B"]}

{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}
{"input_ids":[0,5,6]}
{"prompt":[{"role":"user","content":"Q"}],"chosen":[{"role":"assistant","content":"A"}],"rejected":"B"}
`
	code, stdout, stderr := command(t, in, "score", dir)
	require.Equal(t, exitOK, code, stderr)
	var rows []scoredRow
	for line := range strings.Lines(stdout) {
		var r scoredRow
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		rows = append(rows, r)
	}
	require.Len(t, rows, 5)
	assert.EqualValues(t, 7, rows[0].ID)
	assert.Len(t, rows[1].Answers, 2)
	want := rows[0].Answers[0].Reward
	assert.Equal(t, want, rows[1].Answers[0].Reward)
	assert.Equal(t, want, rows[2].Answers[0].Reward)
	assert.Equal(t, 4, rows[2].Line, "an empty line counts")
	assert.Equal(t, want, rows[4].Chosen.Reward)
	assert.Equal(t, rows[1].Answers[1].Reward, rows[4].Rejected.Reward)
}

func TestScoreReadsThePromptOfAPairOnce(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	const user, answers = `{"role":"user","content":"Q"}`, `"chosen":[%[1]s{"role":"assistant","content":"A"}],"rejected":[%[1]s{"role":"assistant","content":"B"}]}`
	whole := fmt.Sprintf(answers, user+",")
	_, want, _ := command(t, "{"+whole, "score", dir)
	for name, line := range map[string]string{
		"a text before messages":           `{"prompt":"Q",` + fmt.Sprintf(answers, ""),
		"messages before messages":         `{"prompt":[` + user + `],` + fmt.Sprintf(answers, ""),
		"a text that messages repeat":      `{"prompt":"Q",` + whole,
		"messages that messages repeat":    `{"prompt":[` + user + `],` + whole,
		"a text of nothing before a whole": `{"prompt":"",` + whole,
	} {
		code, got, stderr := command(t, line, "score", dir)
		assert.Equal(t, exitOK, code, stderr)
		assert.Equal(t, want, got, name)
	}
	code, _, stderr := command(t, `{"prompt":"P",`+whole, "score", dir)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "standard input:1: chosen: prompt: wrong form: the prompt is text, the answers are messages that do not begin with it")
}

func TestScoreNamesTheLineThatIsWrong(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	for _, c := range []struct{ name, line, want string }{
		{"not JSON", `{"prompt":`, "line 2"},
		{"half a pair", `{"prompt":"Q","chosen":"A"}`, "line 2: a preference pair has chosen and rejected"},
		{"nothing to score", `{"id":1}`, "line 2"},
		{"a token that is not there", `{"input_ids":[301]}`, "line 2: token id out of range: 301 at position 0"},
		{"an answer over the context", `{"prompt":"Q","response":"` + strings.Repeat("a", 99) + `"}`, "line 2: longer than the context"}, // with --truncate error: by default it is cut, as on every route
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, stderr := command(t, `{"prompt":"Q","response":"A"}`+"\n"+c.line+"\n", "score", "--truncate", "error", dir)
			assert.Equal(t, exitFailure, code)
			assert.Contains(t, stderr, strings.Replace(c.want, "line 2", "standard input:2", 1))
		})
	}
}

func TestScoreSaysHowManyAnswersWereCut(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	in := `{"prompt":"Q","response":"` + strings.Repeat("a", 99) + `"}` + "\n" + `{"prompt":"Q","response":"A"}`
	code, stdout, stderr := command(t, in, "score", dir)
	require.Equal(t, exitOK, code, stderr)
	assert.Contains(t, stderr, "1 answer does not fit the context and is cut: its row says truncated")
	assert.Equal(t, 1, strings.Count(stdout, `"truncated":true`))
	code, _, stderr = command(t, in, "score", "--truncate", "error", dir)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stderr, "standard input:1: longer than the context")
}

func TestANullAnswerIsNoEmptyOne(t *testing.T) {
	dir := tinyModel(t, "one", nil)
	for record, want := range map[string]string{
		`{"prompt":"a","chosen":null,"rejected":"x"}`: "standard input:1: chosen: missing: it is null",
		`{"chosen":"x","rejected": null }`:            "standard input:1: rejected: missing: it is null",
		`{"prompt":"a","chosen":"x","rejected":null}`: "standard input:1: rejected: missing: it is null",
		`{"prompt":"a","response":null}`:              "a prompt needs a response",
		`{"text":null}`:                               "nothing to score",
	} {
		code, stdout, stderr := command(t, record+"\n", "score", dir)
		assert.Equal(t, exitFailure, code, record)
		assert.Empty(t, stdout, record)
		assert.Contains(t, stderr, want, record)
	}
	code, stdout, stderr := command(t, `{"prompt":"a","chosen":"","rejected":"x"}`+"\n", "score", dir)
	assert.Equal(t, exitOK, code, stderr)
	assert.Contains(t, stdout, `"chosen":{"reward":`, "an empty answer is one")
}

func TestAParquetFileIsScoredAsTheSameLinesAre(t *testing.T) {
	type row struct {
		Prompt   string `parquet:"prompt" json:"prompt"`
		Chosen   string `parquet:"chosen" json:"chosen"`
		Rejected string `parquet:"rejected" json:"rejected"`
	}
	dir, rows, lines := t.TempDir(), []row{}, ""
	for i := range 5 {
		r := row{"name a colour", fmt.Sprint("blue ", i), fmt.Sprint("dog ", i)}
		text, err := json.Marshal(r)
		require.NoError(t, err)
		rows, lines = append(rows, r), lines+string(text)+"\n"
	}
	table, text := filepath.Join(dir, "pairs.parquet"), filepath.Join(dir, "pairs.jsonl")
	require.NoError(t, pq.WriteFile(table, rows))
	require.NoError(t, os.WriteFile(text, []byte(lines), 0o600))
	model := tinyModel(t, "one", nil)
	var rewards [2][]string
	for i, in := range []string{table, text} {
		code, stdout, stderr := command(t, "", "score", "--in", in, model)
		require.Equal(t, exitOK, code, stderr)
		for line := range strings.Lines(stdout) {
			var out map[string]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(line), &out))
			delete(out, "line")
			delete(out, "item")
			delete(out, "id")
			kept, err := json.Marshal(out)
			require.NoError(t, err)
			rewards[i] = append(rewards[i], string(kept))
		}
	}
	require.Len(t, rewards[0], 5)
	assert.Equal(t, rewards[1], rewards[0])
}
