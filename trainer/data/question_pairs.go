package data

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const wantedJudgeBench = "want question, response_A, response_B, label and source, as JudgeBench has them"

func judgeBench(f fields, o lineInfo) (q Question, err error) {
	if q, err = f.question(o, "pair_id"); err != nil {
		return q, err
	}
	q.Answers, q.Correct, q.Unique = make([]string, 2), 1, q.ID
	var label string
	if err := f.strings(wantedJudgeBench, into{"question", &q.Prompt.Plain},
		into{"response_A", &q.Answers[0]}, into{"response_B", &q.Answers[1]}, into{"label", &label},
		into{"source", &q.Subset}); err != nil {
		return q, err
	}
	switch label {
	case "A>B":
	case "B>A":
		q.Swapped = true
		slices.Reverse(q.Answers)
	default:
		return q, fault("label", ErrType, "want A>B or B>A, got %q", label)
	}
	return q, nil
}

// ppeFlags are the fields that PPE's questions of human preference are counted by, and what to call
// them; is_code stands for the programs that people ask for.
var ppeFlags = []struct{ field, tag string }{
	{"hard_prompt", "hard prompts"}, {"easy_prompt", "easy prompts"}, {"if_prompt", "instruction following"},
	{"math_prompt", "math"}, {"is_code", "code"},
}

// ppeSets are the sets of PPE's correctness, with what they are called in the names of files and
// directories once all but small letters is left out.
var ppeSets = []struct{ letters, set string }{
	{"mmlupro", "MMLU-Pro"}, {"gpqa", "GPQA"}, {"mbppplus", "MBPP-Plus"}, {"ifeval", "IFEval"},
	{"math", "MATH"},
}

const (
	wantedPPE = "want winner, or scores and sampled_conflict_pairs, with prompt, response_1 and so on, as PPE has them"
	ppeHuman  = "human preference"
)

// ppe reads a pair that people judged, or a question whose answers are right or wrong, with the pairs
// of them that its board samples.
func ppe(f fields, o lineInfo) (Question, error) {
	q, err := f.question(o, "question_id")
	if err != nil {
		return q, err
	}
	has := f.names()
	if q.Prompt.Plain, err = f.need("prompt", wantedPPE); err != nil {
		return q, err
	}
	if _, ok := f["winner"]; ok {
		return ppePreference(f, q)
	}
	if _, ok := f["sampled_conflict_pairs"]; !ok {
		return q, missing("sampled_conflict_pairs", false, has, wantedPPE)
	}
	return ppeCorrectness(f, o, q)
}

func ppePreference(f fields, q Question) (Question, error) {
	q.Subset, q.Answers, q.Correct = ppeHuman, make([]string, 2), 1
	var winner string
	err := f.strings(wantedPPE, into{"winner", &winner}, into{"response_1", &q.Answers[0]},
		into{"response_2", &q.Answers[1]})
	if err != nil {
		return q, err
	}
	switch {
	case winner == "model_a":
	case winner == "model_b":
		q.Swapped = true
		slices.Reverse(q.Answers)
	case strings.HasPrefix(winner, "tie"): // (bothbad), too
		q.Undecided = true
	default:
		return q, fault("winner", ErrType, "want model_a, model_b or tie, got %q", winner)
	}
	language, err := f.str("language")
	switch {
	case err != nil:
		return q, err
	case language == "English":
		q.Tags = append(q.Tags, "English")
	case language != "":
		q.Tags = append(q.Tags, "other languages")
	}
	for _, flag := range ppeFlags {
		raw, ok := f.take(flag.field)
		if !ok {
			continue
		}
		var set bool
		if err := json.Unmarshal(raw, &set); err != nil {
			return q, fault(flag.field, ErrType, "want true or false, got %s", kind(raw))
		}
		if set {
			q.Tags = append(q.Tags, flag.tag)
		}
	}
	return q, nil
}

func ppeCorrectness(f fields, o lineInfo, q Question) (Question, error) {
	var err error
	if q.Subset, err = ppeSet(f, o); err != nil {
		return q, err
	}
	right, err := f.truths("scores")
	if err != nil {
		return q, err
	}
	place := make([]int, len(right)) // of an answer of the data in Answers, the right ones first
	for _, want := range []bool{true, false} {
		for n, is := range right {
			if is != want {
				continue
			}
			answer, err := f.need("response_"+strconv.Itoa(n+1), wantedPPE)
			if err != nil {
				return q, err
			}
			place[n] = len(q.Answers)
			q.Answers = append(q.Answers, answer)
		}
		if want {
			q.Correct = len(q.Answers)
		}
	}
	raw, _ := f.take("sampled_conflict_pairs")
	pairs, err := list("sampled_conflict_pairs", raw)
	if err != nil {
		return q, err
	}
	q.Pairs = make([][2]int, len(pairs))
	for i, raw := range pairs {
		name := fmt.Sprintf("sampled_conflict_pairs[%d]", i)
		var pair []int
		if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
			return q, fault(name, ErrType, "want two numbers")
		}
		for k, n := range pair {
			if n < 0 || n >= len(right) {
				return q, fault(name, ErrForm, "answer %d of %d", n, len(right))
			}
			q.Pairs[i][k] = place[n]
		}
		switch a, b := right[pair[0]], right[pair[1]]; {
		case a == b:
			return q, fault(name, ErrForm, "both answers are right, or both wrong")
		case b:
			slices.Reverse(q.Pairs[i][:])
		}
	}
	return q, nil
}

// ppeSet tells the set by the file's name, or by that of a directory it lies in, because the files of
// all sets are called alike; or else by a column that only it has.
func ppeSet(f fields, o lineInfo) (string, error) {
	steps := strings.FieldsFunc(strings.ToLower(o.at.File),
		func(r rune) bool { return r == '/' || r == '\\' || r == '.' })
	for _, step := range slices.Backward(steps) {
		letters := strings.Map(func(r rune) rune {
			if r < 'a' || r > 'z' {
				return -1
			}
			return r
		}, step)
		for _, s := range ppeSets {
			if letters == s.letters || strings.Contains(letters, "ppe"+s.letters) ||
				strings.Contains(letters, s.letters+"bestofk") {
				return s.set, nil
			}
		}
	}
	if _, ok := f["options"]; ok {
		return "MMLU-Pro", nil
	}
	if _, ok := f["Subdomain"]; ok {
		return "GPQA", nil
	}
	return "", fault("", ErrForm,
		"which of PPE's sets is it? Name it in the path, as PPE-MATH-Best-of-K/train.parquet does")
}

// truths takes a list of truths, which may be spelled as numbers: 1 is right.
func (f fields) truths(name string) ([]bool, error) {
	items, err := f.list(name, wantedPPE)
	if err != nil {
		return nil, err
	}
	if len(items) < 2 {
		return nil, fault(name, ErrForm, "%d, want two at least", len(items))
	}
	out := make([]bool, len(items))
	for i, item := range items {
		switch strings.TrimSuffix(string(item), ".0") {
		case "true", "1":
			out[i] = true
		case "false", "0":
		default:
			return nil, fault(fmt.Sprintf("%s[%d]", name, i), ErrType, "want true or false")
		}
	}
	return out, nil
}
