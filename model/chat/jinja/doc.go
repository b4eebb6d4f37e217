// Package jinja renders the Jinja2 templates that Hugging Face checkpoints carry as their chat
// templates, as transformers renders them: an immutable sandbox, trim_blocks and lstrip_blocks set,
// the loop-control extension, the generation tag, and a tojson filter that keeps key order and
// escapes nothing for HTML.
//
// # What it knows
//
// Lexing, parsing and evaluation with the semantics of Jinja2 3.1 on Python 3: whitespace control,
// lexical scopes, lazy generators, single-use iterators, Python's str, repr and number formats,
// undefined values that may be printed, tested and iterated but nothing else, and the text of the
// errors a template author meets. It holds neither files, the network nor the environment:
// include, import, extends and block are refused when the template is parsed.
//
// # What bounds it
//
// A template comes from a checkpoint directory and may be hostile. Source size, nesting, macro
// depth, evaluation steps, and the bytes of every string and list that is built are limited
// ([Limits]); passing a limit is an [Error] of kind [LimitError]. No panic leaves it, and nothing here reads a
// clock by itself or starts a goroutine.
//
// # What differs from Jinja2
//
//   - Integers are 64 bit; larger ones in the data are kept, compared and printed exactly, but
//     arithmetic that leaves the 64 bits is an error instead of a longer number.
//   - Text that would hold a memory address, such as a printed generator or method, is an error.
//   - The filters urlize, xmlattr, pprint, random, wordwrap, filesizeformat, urlencode and
//     striptags, and the tags block, extends, include, import, from and autoescape, are refused
//     at parse time; the globals lipsum and self do not exist.
//   - The difference, union and order of dict views, complex numbers, nested fields and attributes
//     in str.format, and most methods of Markup (what safe and escape return) are errors.
//   - A slice of a literal that cannot be sliced is an error; Jinja2 sometimes folds it to undefined.
//   - str.encode, str.translate and str.maketrans do not exist.
//   - A macro reads variables where they stand when it runs; Jinja2 decides some of that before
//     the first statement runs. The two differ when a macro is called before a top-level set of a
//     variable that is also an argument of the render.
//
// How to start: [Parse] once, [Template.Render] often and from any number of goroutines.
//
// Sources: the Jinja2 3.1 template designer documentation, and the behaviour of Jinja2 3.1.6 as
// observed by the differential test of package chat.
package jinja
