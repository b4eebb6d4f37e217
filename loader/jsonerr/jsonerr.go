// Package jsonerr says in the words of JSON which key of a file holds a value of another type than
// is wanted. It knows nothing of the files; whoever reads one with encoding/json passes the error
// through [WrongType].
package jsonerr

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// WrongType returns err with the key, what it holds and what is wanted, where a type error of
// [json.Unmarshal] is in it; what is around that stays, and so do other errors.
func WrongType(err error) error {
	var e *json.UnmarshalTypeError
	if !errors.As(err, &e) {
		return err
	}
	key := "it"
	if e.Field != "" {
		key = e.Field + ":"
	}
	said := fmt.Sprintf("%s holds %s where %s is wanted", key, held(e.Value), Wanted(e.Type))
	return &typeError{strings.Replace(err.Error(), e.Error(), said, 1), err}
}

// typeError is an error in other words.
type typeError struct {
	text string
	err  error
}

func (e *typeError) Error() string { return e.text }

func (e *typeError) Unwrap() error { return e.err }

// held names the value that encoding/json describes.
func held(value string) string {
	switch kind, number, ok := strings.Cut(value, " "); {
	case ok && kind == "number":
		return "the number " + number
	case kind == "array":
		return "a list"
	case kind == "bool":
		return "true or false"
	case kind == "object":
		return "an object"
	default:
		return "a " + kind
	}
}

// Wanted names a Go type by the values that fit.
func Wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Pointer:
		return Wanted(t.Elem())
	}
	return "a whole number"
}
