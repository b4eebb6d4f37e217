package main

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/warmserve/warmserve/loader/jsonerr"
)

// yamlError says in the user's words what is wrong with a YAML file: where, the key, what it holds and what is wanted.
func yamlError(file string, data []byte, err error) error {
	var typed *yaml.TypeError
	var overflow *yaml.OverflowError
	var node *yaml.UnexpectedNodeTypeError
	said := func(t *token.Token, wanted string) error {
		return fmt.Errorf("%s:%d: %s holds %s where %s is wanted", file, t.Position.Line, yamlKey(t), heldYAML(t), wanted)
	}
	switch {
	case errors.As(err, &typed) && typed.Token != nil:
		return said(typed.Token, wantedYAML(typed.DstType))
	case errors.As(err, &overflow) && overflow.Token != nil:
		return said(overflow.Token, wantedYAML(overflow.DstType)+" of that size")
	case errors.As(err, &node) && node.Token != nil:
		return said(node.Token, map[string]string{"sequence": "a list", "mapping": "a mapping"}[node.Expected.YAMLName()])
	}
	if _, quoted, ok := strings.Cut(err.Error(), "duration "); ok && strings.HasPrefix(err.Error(), "time: ") { // without its place
		for _, t := range lexer.Tokenize(string(data)) {
			if strconv.Quote(t.Value) == quoted {
				return said(t, wantedYAML(reflect.TypeFor[time.Duration]()))
			}
		}
	}
	return fmt.Errorf("%s: %s", file, strings.TrimSpace(yaml.FormatError(err, false, true)))
}

// heldYAML is a value as it is written, or what begins with it.
func heldYAML(t *token.Token) string {
	switch t.Value {
	case "[", "-":
		return "a list"
	case "{":
		return "a mapping"
	}
	return t.Value
}

// yamlKey names the key that a value belongs to.
func yamlKey(value *token.Token) string {
	for t := value; t != nil; t = t.Prev {
		if t.Type == token.MappingValueType && t.Prev != nil {
			return t.Prev.Value + ":"
		}
	}
	return "it"
}

// wantedYAML names a Go type by the values that fit.
func wantedYAML(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration such as 60s"
	}
	return jsonerr.Wanted(t)
}
