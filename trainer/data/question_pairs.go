package data

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const wantedJudgeBench = "want question, response_A, response_B, label and source, as JudgeBench has them"

func judgeBench(f fields, o lineInfo) Question {
	f.wanted = wantedJudgeBench
	q := f.question(o, "pair_id")
	q.Unique = q.ID
	q.Prompt.Plain = f.need("question")
	q.Answers, q.Correct = []string{f.need("response_A"), f.need("response_B")}, 1
	label := f.need("label")
	q.Subset = f.need("source")
	switch label {
	case "A>B":
	case "B>A":
		q.Swapped = true
		slices.Reverse(q.Answers)
	default:
		f.fault("label", ErrType, "want A>B or B>A, got %q", label)
	}
	return q
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
func ppe(f fields, o lineInfo) Question {
	f.wanted = wantedPPE
	q, has := f.question(o, "question_id"), f.names()
	q.Prompt.Plain = f.need("prompt")
	switch {
	case f.has("winner"):
		q.ppePreference(f)
	case f.has("sampled_conflict_pairs"):
		q.ppeCorrectness(f, o)
	default:
		f.missing("sampled_conflict_pairs", false, has)
	}
	return q
}

func (q *Question) ppePreference(f fields) {
	winner := f.need("winner")
	q.Subset, q.Answers, q.Correct = ppeHuman, []string{f.need("response_1"), f.need("response_2")}, 1
	switch {
	case winner == "model_a":
	case winner == "model_b":
		q.Swapped = true
		slices.Reverse(q.Answers)
	case strings.HasPrefix(winner, "tie"): // (bothbad), too
		q.Undecided = true
	default:
		f.fault("winner", ErrType, "want model_a, model_b or tie, got %q", winner)
	}
	switch language := f.str("language"); language {
	case "":
	case "English":
		q.Tags = append(q.Tags, "English")
	default:
		q.Tags = append(q.Tags, "other languages")
	}
	for _, flag := range ppeFlags {
		var set bool
		if raw, ok := f.take(flag.field); ok && f.decode(flag.field, raw, &set, "true or false") && set {
			q.Tags = append(q.Tags, flag.tag)
		}
	}
}

func (q *Question) ppeCorrectness(f fields, o lineInfo) {
	q.Subset = ppeSet(f, o)
	right := f.truths("scores")
	place := make([]int, len(right)) // of an answer of the data in Answers, the right ones first
	for _, want := range []bool{true, false} {
		for n, is := range right {
			if is == want {
				place[n] = len(q.Answers)
				q.Answers = append(q.Answers, f.need("response_"+strconv.Itoa(n+1)))
			}
		}
		if want {
			q.Correct = len(q.Answers)
		}
	}
	pairs := f.list("sampled_conflict_pairs")
	q.Pairs = make([][2]int, len(pairs))
	for i, raw := range pairs {
		name := fmt.Sprintf("sampled_conflict_pairs[%d]", i)
		var pair []int
		if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
			f.fault(name, ErrType, "want two numbers")
			return
		}
		for k, n := range pair {
			if n < 0 || n >= len(right) {
				f.fault(name, ErrForm, "answer %d of %d", n, len(right))
				return
			}
			q.Pairs[i][k] = place[n]
		}
		switch a, b := right[pair[0]], right[pair[1]]; {
		case a == b:
			f.fault(name, ErrForm, "both answers are right, or both wrong")
		case b:
			slices.Reverse(q.Pairs[i][:])
		}
	}
}

// ppeSet tells the set by the file's name, or by that of a directory it lies in, because the files of
// all sets are called alike; or else by a column that only it has.
func ppeSet(f fields, o lineInfo) string {
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
				return s.set
			}
		}
	}
	switch {
	case f.has("options"):
		return "MMLU-Pro"
	case f.has("Subdomain"):
		return "GPQA"
	}
	f.fault("", ErrForm,
		"which of PPE's sets is it? Name it in the path, as PPE-MATH-Best-of-K/train.parquet does")
	return ""
}

// truths takes a list of truths, which may be spelled as numbers: 1 is right.
func (f fields) truths(name string) []bool {
	items := f.list(name)
	if len(items) < 2 {
		f.fault(name, ErrForm, "%d, want two at least", len(items))
	}
	out := make([]bool, len(items))
	for i, item := range items {
		switch strings.TrimSuffix(string(item), ".0") {
		case "true", "1":
			out[i] = true
		case "false", "0":
		default:
			f.fault(fmt.Sprintf("%s[%d]", name, i), ErrType, "want true or false")
		}
	}
	return out
}
