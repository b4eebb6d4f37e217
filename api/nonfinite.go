package api

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// Python's json.dumps writes numbers that are not finite as NaN, Infinity and
// -Infinity, which are not JSON. A body that holds them in fields that are not
// read is read all the same: each is replaced by a number that no field takes,
// as it is beyond every type, so that one in a field that is read is refused
// there, by its name.
var nonFinite = []struct{ word, standIn string }{
	{"NaN", "9e999999978"},
	{"-Infinity", "-9e999999973"},
	{"Infinity", "9e999999973"},
}

// withStandIns returns body with a stand-in for each number that is not finite, and
// body itself when there is none, which is found out without a copy.
func withStandIns(body []byte) []byte {
	return replaceNonFinite(body, func(i int) string { return nonFinite[i].standIn })
}

// NullNonFinite returns body with null for each number that is not finite, for
// what is handed back as it came.
func NullNonFinite(body []byte) []byte {
	return replaceNonFinite(body, func(int) string { return "null" })
}

func replaceNonFinite(body []byte, with func(i int) string) []byte {
	if !bytes.Contains(body, []byte("NaN")) && !bytes.Contains(body, []byte("Infinity")) {
		return body
	}
	var out []byte
	done, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted, c != 'N' && c != 'I' && c != '-':
		default:
			for k, f := range nonFinite {
				if bytes.HasPrefix(body[i:], []byte(f.word)) && stands(body, i, i+len(f.word)) {
					out = append(append(out, body[done:i]...), with(k)...)
					done = i + len(f.word)
					i = done - 1
					break
				}
			}
		}
	}
	if done == 0 {
		return body
	}
	return append(out, body[done:]...)
}

// stands reports whether what is between two places of a body is a value by
// itself.
func stands(body []byte, from, to int) bool {
	const between = " \t\r\n,:[]{}"
	return (from == 0 || bytes.IndexByte([]byte(between), body[from-1]) >= 0) &&
		(to == len(body) || bytes.IndexByte([]byte(between), body[to]) >= 0)
}

// holdsNonFinite reports whether a value holds a stand-in.
func holdsNonFinite(v jsontext.Value) bool {
	for _, f := range nonFinite {
		if bytes.Contains(v, []byte(f.standIn)) {
			return true
		}
	}
	return false
}

// BlameNonFinite returns the error that names a number which is not finite,
// where err is of the place of one in the body, and else err.
func BlameNonFinite(body []byte, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	replaced := withStandIns(body)
	if !holdsNonFinite(replaced) {
		return err
	}
	for dec := jsontext.NewDecoder(bytes.NewBuffer(replaced)); ; {
		token, wrong := dec.ReadToken()
		if wrong != nil {
			return err
		}
		if token.Kind() != '0' || paramOf(dec.StackPointer()) != e.Param {
			continue
		}
		for _, f := range nonFinite {
			if token.String() == f.standIn {
				return Errorf(CodeInvalidJSON, e.Param, "%s is not JSON", f.word)
			}
		}
	}
}
