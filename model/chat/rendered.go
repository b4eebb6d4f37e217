package chat

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
