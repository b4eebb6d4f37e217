package data

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/model/chat"
)

// Question is a prompt of an evaluation set with answers, of which the first ones are right.
type Question struct {
	// At is where it was read.
	At Place
	// ID names the question within its subset; its number in the file when the data has none.
	ID string
	// Subset says where its board counts it, as the board spells that, and Tags where it does besides.
	Subset string
	Tags   []string
	// Prompt is text of a user's, or a conversation that ends with the user's turn.
	Prompt Text
	// Answers are plain where Prompt is; a text of no characters is an answer too, because boards count
	// such questions. The first Correct of them are right.
	Answers []string
	Correct int
	// Pairs are a right and a wrong answer each, by their places in Answers, where the board compares
	// some of them only; all answers may then be right, or none.
	Pairs [][2]int
	// Unique is what no two questions of a board share, files taken together; "" where some may.
	Unique string
	// Swapped tells that the right answer stood second where the data has a first and a second one.
	Swapped bool
	// Undecided tells that the data prefers no answer; such a question counts nowhere.
	Undecided bool
}

// Format is the form of an evaluation set, by the name of its board.
type Format string

const (
	FormatRewardBench  Format = "rewardbench"
	FormatRewardBench2 Format = "rewardbench2"
	FormatRMBench      Format = "rm-bench"
	FormatRMB          Format = "rmb"
	FormatJudgeBench   Format = "judgebench"
	FormatPPE          Format = "ppe"
)

// formats are the parsers of a record.
var formats = map[Format]func(f fields, o lineInfo) Question{
	FormatRewardBench:  rewardBench,
	FormatRewardBench2: rewardBench2,
	FormatRMBench:      rmBench,
	FormatRMB:          rmb,
	FormatJudgeBench:   judgeBench,
	FormatPPE:          ppe,
}

// Questions yields the questions of the remaining records, as Pairs does pairs. The format must be one
// of those above.
func (r *Reader) Questions(format Format) iter.Seq2[Question, error] {
	return objects(r, formats[format])
}

// question begins a question with its place, and the id that a field holds.
func (f fields) question(o lineInfo, id string) Question {
	return Question{At: o.at, ID: cmp.Or(f.str(id), fmt.Sprint(o.number()))}
}

// need takes a field that must be there and be a string; it may be empty.
func (f fields) need(name string) string {
	raw := f.required(name)
	return f.string(name, raw)
}

// texts takes a field that must be a list of strings, of one at least.
func (f fields) texts(name string) []string {
	items := f.list(name)
	if len(items) == 0 {
		f.fault(name, ErrEmpty, "")
	}
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = f.string(fmt.Sprintf("%s[%d]", name, i), item)
	}
	return out
}

// list takes a field that must be a list.
func (f fields) list(name string) []json.RawMessage { return f.elements(name, f.required(name)) }

// elements are those of a JSON array.
func (f fields) elements(name string, raw json.RawMessage) (items []json.RawMessage) {
	f.decode(name, raw, &items, "a list")
	return items
}

// object is the members of a JSON object in the line's, whose own faults bear its name.
func (f fields) object(name string, raw json.RawMessage) fields {
	inner := fields{in: f.in + name + ".", wanted: f.wanted, err: f.err}
	f.decode(name, raw, &inner.members, "an object")
	return inner
}

const wantedRewardBench = "want prompt, chosen, rejected and subset, as allenai/reward-bench has them"

func rewardBench(f fields, o lineInfo) Question {
	f.wanted = wantedRewardBench
	q := f.question(o, "id")
	q.Prompt.Plain = f.need("prompt")
	q.Answers, q.Correct = []string{f.need("chosen"), f.need("rejected")}, 1
	q.Subset = f.need("subset")
	return q
}

const wantedRewardBench2 = "want prompt, subset, and lists chosen and rejected, as allenai/reward-bench-2 has them"

func rewardBench2(f fields, o lineInfo) Question {
	f.wanted = wantedRewardBench2
	q := f.question(o, "id")
	n := f.number("num_correct")
	q.Prompt.Plain, q.Subset = f.need("prompt"), f.need("subset")
	q.lists(f)
	if n != nil && *n != float64(q.Correct) {
		f.fault("num_correct", ErrForm, "%v, and chosen has %d answers", *n, q.Correct)
	}
	return q
}

// lists takes the right and wrong answers of a question.
func (q *Question) lists(f fields) {
	chosen, rejected := f.texts("chosen"), f.texts("rejected")
	q.Answers, q.Correct = slices.Concat(chosen, rejected), len(chosen)
}

const wantedRMBench = "want prompt, lists chosen and rejected, as THU-KEG/RM-Bench has them"

// rmBench: the files of single domains name them in their own names, such as chat_filtered.json.
func rmBench(f fields, o lineInfo) Question {
	f.wanted = wantedRMBench
	q := f.question(o, "id")
	q.Subset = cmp.Or(f.str("domain"), strings.TrimSuffix(o.set, "_filtered"))
	q.Unique = q.Subset + " " + q.ID
	q.Prompt.Plain = f.need("prompt")
	q.lists(f)
	return q
}

const (
	wantedRMB  = "want conversation_input, category_path, and chosen and reject or bon_best and loser_list, as RMB has them"
	wantedTurn = "want role and content"
)

func rmb(f fields, o lineInfo) Question {
	f.wanted = wantedRMB
	id, right, wrong := "pair_uid", "chosen", "reject"
	if f.has("bon_best") {
		id, right, wrong = "bon_uid", "bon_best", "loser_list"
	}
	has := f.names()
	q := f.question(o, id)
	q.Subset = f.need("category_path")
	q.Unique = q.Subset + " " + q.ID
	q.turns(f)
	for _, name := range []string{right, wrong} {
		raw, ok := f.take(name)
		if !ok {
			f.missing(name, raw != nil, has)
			return q
		}
		all, names := []json.RawMessage{raw}, []string{name}
		if name == "loser_list" {
			all, names = f.elements(name, raw), nil
			for i := range all {
				names = append(names, fmt.Sprintf("%s[%d]", name, i))
			}
		}
		for i, raw := range all {
			answer := f.object(names[i], raw)
			answer.wanted = "want answer"
			q.Answers = append(q.Answers, answer.need("answer"))
		}
	}
	if q.Correct = 1; len(q.Answers) < 2 {
		f.fault(wrong, ErrEmpty, "")
	}
	return q
}

// turns takes the conversation that the answers continue.
func (q *Question) turns(f fields) {
	const name = "conversation_input"
	turns := f.list(name)
	for i, raw := range turns {
		turn := f.object(fmt.Sprintf("%s[%d]", name, i), raw)
		turn.wanted = wantedTurn
		role, content := turn.need("role"), turn.need("content")
		if want := []string{"user", "assistant"}[i%2]; role != want {
			turn.fault("role", ErrForm, "%q, want %s", role, want)
		}
		q.Prompt.Messages = append(q.Prompt.Messages, chat.NewMessage(role, content))
	}
	switch n := len(turns); {
	case n == 0:
		f.fault(name, ErrEmpty, "")
	case n%2 == 0:
		f.fault(name, ErrForm, "the last turn is the assistant's, want the user's")
	case n == 1: // a prompt, which models without a chat template read too
		q.Prompt.Plain, _ = q.Prompt.Messages[0].Content()
		q.Prompt.Messages = nil
	}
}
