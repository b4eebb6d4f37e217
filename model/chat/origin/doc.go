// Package origin is text that knows where its characters came from.
//
// # What it knows
//
// A [Text] is characters and their origins: [Template], [Request], or a number that the caller gave
// to [Given]. Origins are runs, not bytes: text of one origin costs nothing beside the string, and
// a run costs 16 bytes. An empty value keeps its origin as an empty run, so that it has a place in
// the text that it is put into.
//
// # Why origins cannot be lost
//
// The characters of a Text are seen through [Text.Peek], to decide by. What is decided cannot become
// a Text again without saying where it came from: [Own] takes constants of the source alone (its
// parameter's type has no name outside), [Number] nothing but digits and what stands between them,
// and [Text.Map] runs a function of strings and checks run by run what it did. [Literal] is the one
// exception, for what the author of the template or its checkpoint wrote and for the clock. Where
// the origin of characters cannot be known they are [Request]'s, never [Template]'s.
//
// # Empty runs
//
// An empty run is kept where its place is kept: in a concatenation, in a slice that begins, ends or
// goes on there, and in what remains when something is trimmed or replaced. Trimming and replacing
// leave an empty run of whatever they removed whole. A neighbour of the same origin takes it in.
//
// It does not know templates or messages. A Text is immutable, safe to share, and all offsets are
// in bytes at the bounds of characters.
package origin
