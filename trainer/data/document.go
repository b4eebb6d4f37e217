package data

import (
	"iter"
	"strings"
)

// Document is a text to pretrain on: a line with a "text".
type Document struct {
	// At is where it was read.
	At   Place
	Text string
}

// Documents yields the texts of the remaining lines, as Pairs does.
func (r *Reader) Documents() iter.Seq2[Document, error] {
	return objects(r, parseDocument)
}

func parseDocument(f fields, o lineInfo) Document {
	f.wanted = "want text"
	text := f.need("text")
	if strings.TrimSpace(text) == "" {
		f.fault("text", ErrEmpty, "")
	}
	return Document{o.at, text}
}
