package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
)

// A postProcessor puts special tokens around encoded texts.
type postProcessor struct {
	prefix, suffix []int32 // around a single text
	single, pair   []Segment
}

var sequenceA = Segment{}

func sequenceB(typeID int32) Segment { return Segment{1, nil, typeID} }

type postJSON struct {
	Type       string            `json:"type"`
	Single     []templateJSON    `json:"single"`
	Pair       []templateJSON    `json:"pair"`
	Special    map[string]idJSON `json:"special_tokens"`
	Sep        []any             `json:"sep"`
	Cls        []any             `json:"cls"`
	Processors []json.RawMessage `json:"processors"`
}

type idJSON struct {
	IDs []int64 `json:"ids"`
}

type templateJSON struct {
	Sequence, SpecialToken *struct {
		ID     string `json:"id"`
		TypeID int32  `json:"type_id"`
	}
}

// parsePost reads "post_processor". ByteLevel only trims offsets there, which
// nothing here has.
func (t *Tokenizer) parsePost(data json.RawMessage) error {
	t.post.single, t.post.pair = []Segment{sequenceA}, []Segment{sequenceA, sequenceB(1)}
	found := false
	return flatten(data, "processors", func(typ string, data json.RawMessage) error {
		if typ == "ByteLevel" {
			return nil
		}
		var j postJSON
		if err := json.Unmarshal(data, &j); err != nil {
			return err
		}
		if found {
			return fmt.Errorf("more than one processor adds special tokens")
		}
		found = true
		switch typ {
		case "TemplateProcessing":
			return t.parseTemplate(j)
		case "BertProcessing":
			return t.parseClsSep(j, func(cls, sep Segment) []Segment {
				last := sep
				last.TypeID = 1
				return []Segment{cls, sequenceA, sep, sequenceB(1), last}
			})
		case "RobertaProcessing":
			return t.parseClsSep(j, func(cls, sep Segment) []Segment {
				return []Segment{cls, sequenceA, sep, sep, sequenceB(0), sep}
			})
		}
		return &UnsupportedError{"post_processor", typ}
	})
}

// parseClsSep reads the [token, id] members of BERT's and RoBERTa's processor.
func (t *Tokenizer) parseClsSep(j postJSON, pair func(cls, sep Segment) []Segment) error {
	var ids [2]int32
	for i, member := range [][]any{j.Cls, j.Sep} {
		name := [2]string{"cls", "sep"}[i]
		if len(member) != 2 {
			return fmt.Errorf("%s: want a token and its id", name)
		}
		id, ok := member[1].(float64)
		if !ok {
			return fmt.Errorf("%s: the id is not a number", name)
		}
		if err := t.checkID(int64(id)); err != nil || id != float64(int64(id)) {
			return fmt.Errorf("%s: id %v is no token's", name, id)
		}
		ids[i] = int32(id)
	}
	t.post.prefix, t.post.suffix = ids[:1], ids[1:]
	before, after := Segment{-1, ids[:1:1], 0}, Segment{-1, ids[1:], 0}
	t.post.single, t.post.pair = []Segment{before, sequenceA, after}, pair(before, after)
	return nil
}

func (t *Tokenizer) parseTemplate(j postJSON) error {
	single, err := t.segments(j, j.Single)
	if err != nil {
		return fmt.Errorf("single: %w", err)
	}
	texts := 0
	for _, p := range single {
		switch {
		case p.Text == 1:
			return fmt.Errorf("single: uses sequence B")
		case p.Text == 0:
			texts++
		case texts == 0:
			t.post.prefix = append(t.post.prefix, p.IDs...)
		default:
			t.post.suffix = append(t.post.suffix, p.IDs...)
		}
	}
	if texts != 1 {
		return fmt.Errorf("single: uses sequence A %d times, want once", texts)
	}
	t.post.single = single
	if t.post.pair, err = t.segments(j, j.Pair); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	return nil
}

func (t *Tokenizer) segments(j postJSON, in []templateJSON) ([]Segment, error) {
	var out []Segment
	for i, p := range in {
		switch {
		case p.Sequence != nil && p.SpecialToken == nil:
			at := slices.Index([]string{"A", "B"}, p.Sequence.ID)
			if at < 0 {
				return nil, fmt.Errorf("piece %d: sequence %q, want A or B", i, p.Sequence.ID)
			}
			out = append(out, Segment{at, nil, p.Sequence.TypeID})
		case p.SpecialToken != nil && p.Sequence == nil:
			special, ok := j.Special[p.SpecialToken.ID]
			if !ok {
				return nil, fmt.Errorf("piece %d: %q is not in special_tokens", i, p.SpecialToken.ID)
			}
			piece := Segment{-1, nil, p.SpecialToken.TypeID}
			for _, id := range special.IDs {
				if err := t.checkID(id); err != nil {
					return nil, fmt.Errorf("special token %q: %w", p.SpecialToken.ID, err)
				}
				piece.IDs = append(piece.IDs, int32(id))
			}
			out = append(out, piece)
		default:
			return nil, fmt.Errorf("piece %d: want one of Sequence and SpecialToken", i)
		}
	}
	return out, nil
}

// checkID refuses ids that no token has.
func (t *Tokenizer) checkID(id int64) error {
	if int64(int32(id)) == id {
		if _, ok := t.Token(int32(id)); ok {
			return nil
		}
	}
	return fmt.Errorf("id %d is no token's", id)
}
