package jinja

import "fmt"

// Kind says what sort of failure an [Error] is.
type Kind uint8

const (
	// SyntaxError: the template cannot be parsed, or uses a tag, filter or test that does not exist.
	SyntaxError Kind = iota + 1
	// RaisedError: the template itself called raise_exception; Message is its text, unchanged.
	RaisedError
	// UndefinedError: an undefined value was used for more than printing, testing or iterating.
	UndefinedError
	// TypeError: an operation met a value of a type it does not take.
	TypeError
	// ValueError: an operation met a value outside its domain.
	ValueError
	// SecurityError: the template tried what the sandbox forbids, such as changing a list.
	SecurityError
	// LimitError: the template passed one of its [Limits].
	LimitError
)

var kindNames = [...]string{
	SyntaxError: "syntax", RaisedError: "raised", UndefinedError: "undefined", TypeError: "type",
	ValueError: "value", SecurityError: "security", LimitError: "limit",
}

// String returns the kind in one lower-case word.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is what [Parse] and [Template.Render] fail with.
type Error struct {
	Kind Kind
	// Line of the template, from 1; 0 when the failure belongs to no line (a limit on the source).
	Line int
	// Message is the text Jinja2 and Python give for the same failure where they have one.
	Message string
	// subject is the expression that the failure is about and is what that was; "" when not known.
	subject, is string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line == 0 {
		return "chat template: " + e.Reason()
	}
	return fmt.Sprintf("chat template line %d: %s", e.Line, e.Reason())
}

func newError(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

func typeErrorf(format string, args ...any) error  { return newError(TypeError, format, args...) }
func valueErrorf(format string, args ...any) error { return newError(ValueError, format, args...) }

// Evaluation panics with the *[Error] that ends it, as the parser does: any value may be the one that is
// wrong, and what fails ends the render. It is caught where a render, or what else is asked of this package,
// begins.

// catch is to be deferred: it makes the failure that is passing the error of the function.
func catch(err *error) {
	if e := failure(recover()); e != nil {
		*err = e
	}
}

// failure is what was recovered, nil for none. What is no Error is a fault of this program, and goes on.
func failure(recovered any) *Error {
	switch e := recovered.(type) {
	case nil:
		return nil
	case *Error:
		return e
	}
	panic(recovered)
}

// check fails with an error, if there is one.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// at gives e the line of what it is about, unless it has one.
func (e *Error) at(line int) *Error {
	if e.Line == 0 {
		e.Line = line
	}
	return e
}
