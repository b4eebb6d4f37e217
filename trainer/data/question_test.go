package data_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/trainer/data"
)

// questions reads a file of a format; errors are those of its records.
func questions(t testing.TB, format data.Format, name, text string) (out []data.Question, faults []string) {
	set, _, _ := strings.Cut(name[strings.LastIndex(name, "/")+1:], ".")
	r, err := data.NewReader(strings.NewReader(text), data.Options{Name: name, Set: set})
	require.NoError(t, err)
	defer func() { assert.NoError(t, r.Close()) }()
	for q, err := range r.Questions(format) {
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		q.At = data.Place{}
		out = append(out, q)
	}
	return out, faults
}

const (
	ofRewardBench  = `{"id": 7, "prompt": "Why?", "chosen": "Because.", "chosen_model": "m", "rejected": "", "rejected_model": "n", "subset": "hep-go"}`
	ofRewardBench2 = `{"id": "tied:3", "prompt": "Name a colour.", "chosen": ["Red", "Blue"], "rejected": ["Dog", "Cat"], "num_correct": 2, "num_incorrect": 2, "total_completions": 4, "models": ["m"], "subset": "Ties"}`
	ofRMBench      = `{"id": 8, "prompt": "Why?", "chosen": ["a", "b", "c"], "rejected": ["d", "e", "f"]}`
	ofRMB          = `{"pair_uid": "15", "conversation_input": [{"content": "Hi", "language": "English", "role": "user"}], "chosen": {"llm_name": "m", "answer": "Hello"}, "reject": {"llm_name": "n", "answer": "Go"}, "category_path": "Pairwise_set/Helpfulness/Chat/Discussion"}`
	ofRMBList      = `{"conversation_input": [{"content": "Hi", "role": "user"}, {"content": "Ho", "role": "assistant"}, {"content": "Ha", "role": "user"}], "bon_best": {"llm_name": "m", "answer": "x"}, "loser_list": [{"answer": "y"}, {"answer": "z"}], "bon_uid": "3", "category_path": "BoN_set/Harmlessness/S1"}`
	ofJudgeBench   = `{"pair_id": "e3", "original_id": null, "source": "mmlu-pro-law", "question": "Why?", "response_model": "m", "response_A": "a", "response_B": "b", "label": "B>A"}`
	ofPPE          = `{"question_id": "q", "model_a": "m", "model_b": "n", "winner": "model_b", "prompt": "Why?", "response_1": "a", "response_2": "b", "language": "Russian", "is_code": false, "hard_prompt": true, "math_prompt": true}`
	ofPPECorrect   = `{"question_id": "q", "model_name": "m", "scores": [true, false, 1.0, 0], "prompt": "Why?", "response_1": "a", "response_2": "b", "response_3": "c", "response_4": "d", "conflict_pairs": [], "sampled_conflict_pairs": [[0, 1], [3, 2]]}`
)

func TestQuestionsAreReadAsTheirBoardsPublishThem(t *testing.T) {
	text := func(s string) data.Text { return data.Text{Plain: s} }
	for name, c := range map[string]struct {
		format     data.Format
		file, text string
		want       []data.Question
	}{
		"RewardBench": {data.FormatRewardBench, "filtered.json", ofRewardBench, []data.Question{
			{ID: "7", Subset: "hep-go", Prompt: text("Why?"), Answers: []string{"Because.", ""}, Correct: 1},
		}},
		"RewardBench 2": {data.FormatRewardBench2, "test.json", ofRewardBench2, []data.Question{
			{ID: "tied:3", Subset: "Ties", Prompt: text("Name a colour."), Answers: []string{"Red", "Blue", "Dog", "Cat"}, Correct: 2},
		}},
		"RM-Bench, a domain's file": {data.FormatRMBench, "data/safety-refuse_filtered.json", "[" + ofRMBench + "]", []data.Question{
			{ID: "8", Subset: "safety-refuse", Unique: "safety-refuse 8", Prompt: text("Why?"), Answers: []string{"a", "b", "c", "d", "e", "f"}, Correct: 3},
		}},
		"RM-Bench, all domains": {data.FormatRMBench, "total_dataset.json", "[" + strings.Replace(ofRMBench, "{", `{"domain": "math", `, 1) + "]", []data.Question{
			{ID: "8", Subset: "math", Unique: "math 8", Prompt: text("Why?"), Answers: []string{"a", "b", "c", "d", "e", "f"}, Correct: 3},
		}},
		"RMB, a pair": {data.FormatRMB, "Discussion.json", "[" + ofRMB + "]", []data.Question{
			{ID: "15", Subset: "Pairwise_set/Helpfulness/Chat/Discussion", Unique: "Pairwise_set/Helpfulness/Chat/Discussion 15", Prompt: text("Hi"), Answers: []string{"Hello", "Go"}, Correct: 1},
		}},
		"JudgeBench": {data.FormatJudgeBench, "gpt.jsonl", ofJudgeBench, []data.Question{
			{ID: "e3", Subset: "mmlu-pro-law", Unique: "e3", Prompt: text("Why?"), Answers: []string{"b", "a"}, Correct: 1, Swapped: true},
		}},
		"PPE, what people prefer": {data.FormatPPE, "test.jsonl", ofPPE + "\n" + strings.Replace(ofPPE, "model_b\"", "tie (bothbad)\"", 2), []data.Question{
			{ID: "q", Subset: "human preference", Tags: []string{"other languages", "hard prompts", "math"}, Prompt: text("Why?"), Answers: []string{"b", "a"}, Correct: 1, Swapped: true},
		}},
		"PPE, what is right": {data.FormatPPE, "hub/PPE-MBPP-Plus-Best-of-K/data/train-00000-of-00001.jsonl", ofPPECorrect, []data.Question{
			{ID: "q", Subset: "MBPP-Plus", Prompt: text("Why?"), Answers: []string{"a", "c", "b", "d"}, Correct: 2, Pairs: [][2]int{{0, 2}, {1, 3}}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, faults := questions(t, c.format, c.file, c.text)
			assert.Empty(t, faults)
			got = got[:min(len(got), len(c.want))]
			assert.Equal(t, c.want, got)
		})
	}
	got, faults := questions(t, data.FormatRMB, "S1.json", "["+ofRMBList+"]")
	require.Empty(t, faults)
	assert.Equal(t, []string{"x", "y", "z"}, got[0].Answers)
	require.Len(t, got[0].Prompt.Messages, 3)
	assert.Equal(t, "assistant", got[0].Prompt.Messages[1].Role())

	got, _ = questions(t, data.FormatPPE, "t.jsonl", strings.Replace(ofPPE, `"winner": "model_b"`, `"winner": "tie (bothbad)"`, 1))
	assert.True(t, got[0].Undecided)
}

func TestPPESetsAreToldByNamesAndColumns(t *testing.T) {
	for file, want := range map[string]string{
		"PPE-MATH-Best-of-K/data/train-00000-of-00001.parquet":                         "MATH",
		"/hub/datasets--lmarena-ai--PPE-MMLU-Pro-Best-of-K/snapshots/a/data/x.parquet": "MMLU-Pro",
		"/home/mathias/ppe/ifeval_best_of_k.jsonl":                                     "IFEval",
		"gpqa.jsonl": "GPQA",
	} {
		got, faults := questions(t, data.FormatPPE, file, ofPPECorrect)
		require.Empty(t, faults, file)
		assert.Equal(t, want, got[0].Subset, file)
	}
	got, faults := questions(t, data.FormatPPE, "train.jsonl", strings.Replace(ofPPECorrect, "{", `{"options": ["x"], `, 1))
	require.Empty(t, faults)
	assert.Equal(t, "MMLU-Pro", got[0].Subset)
	_, faults = questions(t, data.FormatPPE, "/home/mathias/train.jsonl", ofPPECorrect)
	require.Len(t, faults, 1)
	assert.Contains(t, faults[0], "PPE-MATH-Best-of-K")
}

func TestQuestionsThatCannotBeReadNameFileRowAndKey(t *testing.T) {
	without := func(text, key string) string { return strings.Replace(text, `"`+key+`"`, `"_`+key+`"`, 1) }
	for name, c := range map[string]struct {
		format data.Format
		text   string
		want   string
	}{
		"no prompt":            {data.FormatRewardBench, without(ofRewardBench, "prompt"), "f.json:1: prompt: missing: columns"},
		"another board's":      {data.FormatRewardBench, ofRewardBench2, "f.json:1: chosen: wrong type: want a string, got an array"},
		"null":                 {data.FormatRewardBench, strings.Replace(ofRewardBench, `"Because."`, "null", 1), "chosen: missing: it is null"},
		"a half surrogate":     {data.FormatRewardBench, strings.Replace(ofRewardBench, "Why?", `\ud800`, 1), "prompt: not valid text"},
		"a list of lists":      {data.FormatRewardBench2, strings.Replace(ofRewardBench2, `"Red"`, `["Red"]`, 1), "chosen[0]: wrong type: want a string, got an array"},
		"an empty list":        {data.FormatRewardBench2, strings.Replace(ofRewardBench2, `["Dog", "Cat"]`, `[]`, 1), "rejected: empty"},
		"a count":              {data.FormatRewardBench2, strings.Replace(ofRewardBench2, `"num_correct": 2`, `"num_correct": 3`, 1), "num_correct: wrong form: 3, and chosen has 2 answers"},
		"a single answer":      {data.FormatRMBench, strings.Replace(ofRMBench, `["a", "b", "c"]`, `"a"`, 1), "chosen: wrong type: want a list, got a string"},
		"no answer in it":      {data.FormatRMB, strings.Replace(ofRMB, `"answer": "Go"`, `"text": "Go"`, 1), "reject.answer: missing"},
		"no loser":             {data.FormatRMB, strings.Replace(ofRMBList, `[{"answer": "y"}, {"answer": "z"}]`, `[]`, 1), "loser_list: empty"},
		"a loser":              {data.FormatRMB, strings.Replace(ofRMBList, `{"answer": "z"}`, `"z"`, 1), "loser_list[1]: wrong type: want an object"},
		"no turn":              {data.FormatRMB, strings.Replace(ofRMB, `[{"content": "Hi", "language": "English", "role": "user"}]`, `[]`, 1), "conversation_input: empty"},
		"a turn":               {data.FormatRMB, strings.Replace(ofRMBList, `"content": "Ho"`, `"text": "Ho"`, 1), "conversation_input[1].content: missing"},
		"a role":               {data.FormatRMB, strings.Replace(ofRMBList, `"assistant"`, `"system"`, 1), `conversation_input[1].role: wrong form: "system", want assistant`},
		"the last turn":        {data.FormatRMB, strings.Replace(ofRMBList, `, {"content": "Ha", "role": "user"}`, ``, 1), "the last turn is the assistant's"},
		"a label":              {data.FormatJudgeBench, strings.Replace(ofJudgeBench, `B>A`, `A=B`, 1), `label: wrong type: want A>B or B>A, got "A=B"`},
		"no source":            {data.FormatJudgeBench, without(ofJudgeBench, "source"), "source: missing"},
		"no winner":            {data.FormatPPE, without(ofPPE, "winner"), "sampled_conflict_pairs: missing"},
		"a winner":             {data.FormatPPE, strings.Replace(ofPPE, `"winner": "model_b"`, `"winner": "n"`, 1), "want model_a, model_b or tie"},
		"a flag":               {data.FormatPPE, strings.Replace(ofPPE, `"hard_prompt": true`, `"hard_prompt": 1`, 1), "hard_prompt: wrong type"},
		"no list of pairs":     {data.FormatPPE, strings.Replace(ofPPECorrect, `"sampled_conflict_pairs": [[0, 1]`, `"sampled_conflict_pairs": null, "x": [[0, 1]`, 1), "sampled_conflict_pairs: missing: it is null"},
		"a pair of equals":     {data.FormatPPE, strings.Replace(ofPPECorrect, `[0, 1]`, `[0, 2]`, 1), "sampled_conflict_pairs[0]: wrong form: both answers are right"},
		"a pair out of range":  {data.FormatPPE, strings.Replace(ofPPECorrect, `[0, 1]`, `[0, 4]`, 1), "sampled_conflict_pairs[0]: wrong form: answer 4 of 4"},
		"a pair of one":        {data.FormatPPE, strings.Replace(ofPPECorrect, `[0, 1]`, `[0]`, 1), "sampled_conflict_pairs[0]: wrong type"},
		"an answer left out":   {data.FormatPPE, without(ofPPECorrect, "response_4"), "response_4: missing"},
		"a score":              {data.FormatPPE, strings.Replace(ofPPECorrect, `true`, `0.5`, 1), "scores[0]: wrong type"},
		"a single score":       {data.FormatPPE, strings.Replace(ofPPECorrect, `[true, false, 1.0, 0]`, `[1]`, 1), "scores: wrong form: 1, want two at least"},
		"an array in an array": {data.FormatRMBench, `[` + ofRMBench + `]`, "not a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			got, faults := questions(t, c.format, "math/f.json", "["+c.text+"]")
			assert.Empty(t, got)
			require.Len(t, faults, 1)
			assert.Contains(t, faults[0], "f.json:1 (item 1): ")
			assert.Contains(t, faults[0], strings.TrimPrefix(c.want, "f.json:1: "))
			assert.NotContains(t, faults[0], "Why?", "no text of a prompt")
		})
	}
}

func TestQuestionsOfAParquetFileAreThoseOfItsRows(t *testing.T) {
	type row struct {
		ID       string   `parquet:"id"`
		Prompt   string   `parquet:"prompt"`
		Chosen   []string `parquet:"chosen,list"`
		Rejected []string `parquet:"rejected,list"`
		Correct  int32    `parquet:"num_correct"`
		Subset   string   `parquet:"subset"`
	}
	good := row{"1", "Why?", []string{"a"}, []string{"b", "c", "d"}, 1, "Math"}
	bad := good
	bad.Rejected = nil
	r, err := data.Open(parquetFile(t, []row{good, bad}), data.Options{Name: "test.parquet"})
	require.NoError(t, err)
	defer r.Close()
	var got []data.Question
	for q, err := range r.Questions(data.FormatRewardBench2) {
		if err != nil {
			assert.EqualError(t, err, "test.parquet (row 2): rejected: empty")
			continue
		}
		got = append(got, q)
	}
	require.Len(t, got, 1)
	assert.Equal(t, []string{"a", "b", "c", "d"}, got[0].Answers)
}

func FuzzQuestions(f *testing.F) {
	formats := []data.Format{data.FormatRewardBench, data.FormatRewardBench2, data.FormatRMBench, data.FormatRMB, data.FormatJudgeBench, data.FormatPPE}
	for i, text := range []string{ofRewardBench, ofRewardBench2, ofRMBench, ofRMB, ofJudgeBench, ofPPE} {
		f.Add(i, text)
	}
	f.Add(3, ofRMBList)
	f.Add(5, ofPPECorrect)
	f.Add(2, strings.Repeat("[", 20000))
	f.Fuzz(func(t *testing.T, format int, text string) {
		r, err := data.NewReader(strings.NewReader(text), data.Options{Name: "math.json"})
		if err != nil {
			return
		}
		for q, err := range r.Questions(formats[uint(format)%uint(len(formats))]) {
			some := q.Correct > 0 && q.Correct < len(q.Answers)
			if err == nil && !some && (q.Pairs == nil || q.Correct < 0 || q.Correct > len(q.Answers)) {
				t.Fatalf("%d of %d answers are right", q.Correct, len(q.Answers))
			}
		}
	})
}
