package data

import (
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
var formats = map[Format]func(f fields, o lineInfo) (Question, error){
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
func (f fields) question(o lineInfo, id string) (q Question, err error) {
	q.At = o.at
	if q.ID, err = f.str(id); q.ID == "" {
		q.ID = fmt.Sprint(o.number())
	}
	return q, err
}

// need takes a field that must be there and be a string; it may be empty.
func (f fields) need(name, wanted string) (string, error) {
	raw, err := f.required(name, wanted)
	if err != nil {
		return "", err
	}
	return decodeString(name, raw)
}

// texts takes a field that must be a list of strings, of one at least.
func (f fields) texts(name, wanted string) ([]string, error) {
	items, err := f.list(name, wanted)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, fault(name, ErrEmpty, "")
	}
	out := make([]string, len(items))
	for i, item := range items {
		if out[i], err = decodeString(fmt.Sprintf("%s[%d]", name, i), item); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// list takes a field that must be a list.
func (f fields) list(name, wanted string) ([]json.RawMessage, error) {
	raw, err := f.required(name, wanted)
	if err != nil {
		return nil, err
	}
	return list(name, raw)
}

// list is the elements of a JSON array.
func list(name string, raw json.RawMessage) ([]json.RawMessage, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fault(name, ErrType, "want a list, got %s", kind(raw))
	}
	return items, nil
}

// object is the members of a JSON object, whose own faults bear its name.
func object(name string, raw json.RawMessage) (fields, error) {
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil || f == nil {
		return nil, fault(name, ErrType, "want an object, got %s", kind(raw))
	}
	return f, nil
}

const wantedRewardBench = "want prompt, chosen, rejected and subset, as allenai/reward-bench has them"

func rewardBench(f fields, o lineInfo) (q Question, err error) {
	if q, err = f.question(o, "id"); err != nil {
		return q, err
	}
	q.Answers, q.Correct = make([]string, 2), 1
	return q, f.strings(wantedRewardBench, into{"prompt", &q.Prompt.Plain},
		into{"chosen", &q.Answers[0]}, into{"rejected", &q.Answers[1]}, into{"subset", &q.Subset})
}

// into is a field and where its text goes.
type into struct {
	name string
	dst  *string
}

// strings takes fields that must be there and be strings.
func (f fields) strings(wanted string, want ...into) (err error) {
	for _, w := range want {
		if *w.dst, err = f.need(w.name, wanted); err != nil {
			return err
		}
	}
	return nil
}

const wantedRewardBench2 = "want prompt, subset, and lists chosen and rejected, as allenai/reward-bench-2 has them"

func rewardBench2(f fields, o lineInfo) (q Question, err error) {
	if q, err = f.question(o, "id"); err != nil {
		return q, err
	}
	n, err := f.number("num_correct")
	if err != nil {
		return q, err
	}
	if err := q.lists(f, wantedRewardBench2, into{"prompt", &q.Prompt.Plain},
		into{"subset", &q.Subset}); err != nil {
		return q, err
	}
	if n != nil && *n != float64(q.Correct) {
		return q, fault("num_correct", ErrForm, "%v, and chosen has %d answers", *n, q.Correct)
	}
	return q, nil
}

// lists takes texts, and the right and wrong answers of a question.
func (q *Question) lists(f fields, wanted string, want ...into) error {
	if err := f.strings(wanted, want...); err != nil {
		return err
	}
	chosen, err := f.texts("chosen", wanted)
	if err != nil {
		return err
	}
	rejected, err := f.texts("rejected", wanted)
	if err != nil {
		return err
	}
	q.Answers, q.Correct = slices.Concat(chosen, rejected), len(chosen)
	return nil
}

const wantedRMBench = "want prompt, lists chosen and rejected, as THU-KEG/RM-Bench has them"

// rmBench: the files of single domains name them in their own names, such as chat_filtered.json.
func rmBench(f fields, o lineInfo) (q Question, err error) {
	if q, err = f.question(o, "id"); err != nil {
		return q, err
	}
	if q.Subset, err = f.str("domain"); err != nil {
		return q, err
	}
	if q.Subset == "" {
		q.Subset = strings.TrimSuffix(o.set, "_filtered")
	}
	q.Unique = q.Subset + " " + q.ID
	return q, q.lists(f, wantedRMBench, into{"prompt", &q.Prompt.Plain})
}

const (
	wantedRMB  = "want conversation_input, category_path, and chosen and reject or bon_best and loser_list, as RMB has them"
	wantedTurn = "want role and content"
)

func rmb(f fields, o lineInfo) (q Question, err error) {
	id, right, wrong := "pair_uid", "chosen", "reject"
	if _, ok := f["bon_best"]; ok {
		id, right, wrong = "bon_uid", "bon_best", "loser_list"
	}
	has := f.names()
	if q, err = f.question(o, id); err != nil {
		return q, err
	}
	if err := f.strings(wantedRMB, into{"category_path", &q.Subset}); err != nil {
		return q, err
	}
	q.Unique = q.Subset + " " + q.ID
	if err := q.turns(f); err != nil {
		return q, err
	}
	for _, name := range []string{right, wrong} {
		raw, ok := f.take(name)
		if !ok {
			return q, missing(name, raw != nil, has, wantedRMB)
		}
		all, names := []json.RawMessage{raw}, []string{name}
		if name == "loser_list" {
			if all, err = list(name, raw); err != nil {
				return q, err
			}
			names = nil
			for i := range all {
				names = append(names, fmt.Sprintf("%s[%d]", name, i))
			}
		}
		for i, raw := range all {
			answer, err := object(names[i], raw)
			if err != nil {
				return q, err
			}
			s, err := answer.need("answer", "want answer")
			if err != nil {
				return q, within(names[i], err)
			}
			q.Answers = append(q.Answers, s)
		}
	}
	if q.Correct = 1; len(q.Answers) < 2 {
		return q, fault(wrong, ErrEmpty, "")
	}
	return q, nil
}

// turns takes the conversation that the answers continue.
func (q *Question) turns(f fields) error {
	const name = "conversation_input"
	turns, err := f.list(name, wantedRMB)
	if err != nil {
		return err
	}
	for i, raw := range turns {
		at := fmt.Sprintf("%s[%d]", name, i)
		turn, err := object(at, raw)
		if err != nil {
			return err
		}
		var role, content string
		if err := turn.strings(wantedTurn, into{"role", &role}, into{"content", &content}); err != nil {
			return within(at, err)
		}
		if want := []string{"user", "assistant"}[i%2]; role != want {
			return fault(at+".role", ErrForm, "%q, want %s", role, want)
		}
		q.Prompt.Messages = append(q.Prompt.Messages, chat.NewMessage(role, content))
	}
	switch n := len(turns); {
	case n == 0:
		return fault(name, ErrEmpty, "")
	case n%2 == 0:
		return fault(name, ErrForm, "the last turn is the assistant's, want the user's")
	case n == 1: // a prompt, which models without a chat template read too
		q.Prompt.Plain, _ = q.Prompt.Messages[0].Content()
		q.Prompt.Messages = nil
	}
	return nil
}

// within puts a field's name before that of one in it.
func within(name string, err error) error {
	if f, ok := err.(*fieldError); ok {
		f.field = name + "." + f.field
	}
	return err
}
