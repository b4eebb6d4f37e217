package chat

import (
	"github.com/warmserve/warmserve/model/chat/jinja"
	"github.com/warmserve/warmserve/model/chat/origin"
)

// Rendered is the text of a conversation and where it came from.
type Rendered struct {
	Text   string
	Pieces []Piece // in order; they cover Text
}

// Piece is a run of Text from one source. It may be empty: an empty value stood there.
type Piece struct {
	End    int // byte offset in Text where it ends
	Source Source
}

// Source names the value that characters came from.
type Source struct {
	// Message is the index in the messages given to Render, or Own or Request.
	Message int
	// Field is the top-level key of the message: "content", "role", "tool_calls", …; "" otherwise.
	Field string
}

const (
	// Own is the Message of the template's own text, its special tokens included.
	Own = -1
	// Request is the Message of what else the caller gave: tools, documents, Extra variables.
	Request = -2
)

// sources numbers the sources of one render: source i has the origin i+1.
type sources struct {
	list    []Source
	entries []entry // room for those of one message
}

func (s *sources) add(message int, field string) origin.ID {
	s.list = append(s.list, Source{message, field})
	return origin.ID(len(s.list))
}

// message is a message as a template's value that knows its sources.
func (s *sources) message(i int, m Message, f form) jinja.Value {
	s.entries = m.forTemplates(s.entries[:0], f)
	d := jinja.NewDict(len(s.entries))
	for _, e := range s.entries {
		from := s.add(i, e.field)
		d.Add(e.key, jinja.Tag(e.value, from), from)
	}
	return jinja.Tagged(d, s.add(i, ""))
}

// rendered is a text with its origins named.
func (s *sources) rendered(t origin.Text) Rendered {
	r := Rendered{Text: t.Peek()}
	for end, from := range t.Runs() {
		switch from {
		case origin.Template:
			if end == 0 {
				continue // the text is empty, and nothing stood there
			}
			r.Pieces = append(r.Pieces, Piece{end, Source{Message: Own}})
		case origin.Request:
			r.Pieces = append(r.Pieces, Piece{end, Source{Message: Request}})
		default:
			r.Pieces = append(r.Pieces, Piece{end, s.list[from-1]})
		}
	}
	return r
}
