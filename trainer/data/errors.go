package data

import (
	"errors"
	"fmt"
)

// What can be wrong with a line or a stream. Each is wrapped in an *[Error].
var (
	// ErrFormat: the file is of another kind than JSON.
	ErrFormat = errors.New("not JSON")
	// ErrSyntax: the line is no JSON object.
	ErrSyntax = errors.New("not a JSON object")
	// ErrMissing: a field that the form needs is absent or null.
	ErrMissing = errors.New("missing")
	// ErrType: a field has a value of the wrong type.
	ErrType = errors.New("wrong type")
	// ErrEmpty: an answer has no text but white space.
	ErrEmpty = errors.New("empty")
	// ErrSame: both answers are the same, so that neither can be better.
	ErrSame = errors.New("both answers are the same")
	// ErrForm: the texts do not fit together, such as a plain prompt with messages as answers.
	ErrForm = errors.New("wrong form")
	// ErrText: the line is no valid UTF-8, or escapes half of a surrogate pair.
	ErrText = errors.New("not valid text")
	// ErrLongLine: the line is longer than [Options.MaxLine].
	ErrLongLine = errors.New("line is too long")
	// ErrDamaged: the compressed stream is cut off or corrupt. It ends the reading.
	ErrDamaged = errors.New("damaged stream")
)

// errArray is what is wrong with an array, behind which nothing can be read.
var errArray = errors.New("not a JSON array")

// Place is where a record stands.
type Place struct {
	// File is the name the reader was given.
	File string
	// Line counts from 1; 0 in a Parquet file, which has none.
	Line int
	// Item is the number of an array's element, or of a Parquet file's row, from 1, else 0.
	Item int
}

// String is pairs.jsonl:12, pairs.json:12 (item 3) in an array, or pairs.parquet (row 3).
func (p Place) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s (%s)", p.File, p.where())
	}
	if p.Item > 0 {
		return fmt.Sprintf("%s:%d (item %d)", p.File, p.Line, p.Item)
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// where is the place within its file.
func (p Place) where() string {
	if p.Line == 0 {
		return fmt.Sprintf("row %d", p.Item)
	}
	if p.Item > 0 {
		return fmt.Sprintf("item %d", p.Item)
	}
	return fmt.Sprintf("line %d", p.Line)
}

// Error says where and why a line cannot be used.
type Error struct {
	Place
	// Column is the byte in the line, from 1, where that is known, else 0.
	Column int
	// Field is the field at fault, such as chosen or votes[3]; "" when it is the whole line.
	Field string
	// Has are the names of the record's other fields when one is missing.
	Has []string
	// End says that nothing behind the place can be read.
	End bool
	// Err wraps one of the sentinels, or is the failure of reading the file.
	Err error
}

// Error implements error: pairs.jsonl:12:7: chosen: empty.
func (e *Error) Error() string {
	s := e.Place.String()
	if e.Column > 0 {
		s += fmt.Sprintf(":%d", e.Column)
	}
	if e.Field != "" {
		s += ": " + e.Field
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// fieldError is a failure inside a line, before its place is known.
type fieldError struct {
	field  string
	column int
	has    []string
	err    error
}

func (e *fieldError) Error() string { return e.field + ": " + e.err.Error() }

func fault(field string, sentinel error, format string, args ...any) error {
	if format == "" {
		return &fieldError{field: field, err: sentinel}
	}
	return &fieldError{field: field, err: fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))}
}
