package serve

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader/jsonerr"
)

// ParseYAML reads YAML strictly into v, in which an [api.ModelSpec] has the
// fields that it has in JSON, and a member may be a path alone, too. A number that
// the field it stands in cannot hold as it is written is an error: a fraction that
// would be cut to a whole number, and a number that as a string would read
// otherwise, such as 1.10. The error names the file, and says in the user's words
// what is wrong and where.
func ParseYAML(file string, data []byte, v any) error {
	if err := yaml.UnmarshalWithOptions(data, v, yaml.Strict(),
		yaml.CustomUnmarshaler(memberFromYAML)); err != nil {
		return yamlError(file, data, err)
	}
	parsed, err := parser.ParseBytes(data, 0)
	for i := 0; err == nil && i < len(parsed.Docs); i++ {
		err = exactNumbers(parsed.Docs[i].Body, reflect.TypeOf(v))
	}
	if err != nil {
		return yamlError(file, data, err)
	}
	return nil
}

// memberFromYAML reads a path or the full form.
func memberFromYAML(m *api.MemberSpec, data []byte) error {
	var path string
	if err := yaml.Unmarshal(data, &path); err == nil {
		*m = api.MemberSpec{Path: path}
		return nil
	}
	type plain api.MemberSpec
	return yaml.UnmarshalWithOptions(data, (*plain)(m), yaml.Strict())
}

// yamlError says in the user's words what is wrong with a YAML file: where, the key, what it holds
// and what is wanted.
func yamlError(file string, data []byte, err error) error {
	var typed *yaml.TypeError
	var overflow *yaml.OverflowError
	var node *yaml.UnexpectedNodeTypeError
	said := func(t *token.Token, wanted string) error {
		return fmt.Errorf("%s:%d: %s holds %s where %s is wanted", file, t.Position.Line, yamlKey(t),
			heldYAML(t), wanted)
	}
	switch {
	case errors.As(err, &typed) && typed.Token != nil:
		return said(typed.Token, wantedYAML(typed.DstType))
	case errors.As(err, &overflow) && overflow.Token != nil:
		return said(overflow.Token, wantedYAML(overflow.DstType)+" of that size")
	case errors.As(err, &node) && node.Token != nil:
		return said(node.Token, map[string]string{"sequence": "a list",
			"mapping": "a mapping"}[node.Expected.YAMLName()])
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

// exactNumbers finds a number that changes in a field of the type t.
func exactNumbers(node ast.Node, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n := node.(type) {
	case *ast.AnchorNode:
		return exactNumbers(n.Value, t)
	case *ast.FloatNode:
		if v, _ := n.GetValue().(float64); t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 &&
			v != math.Trunc(v) {
			return &yaml.TypeError{Token: n.Token, DstType: t}
		}
		return exactText(n, t)
	case *ast.IntegerNode:
		return exactText(n, t)
	case *ast.SequenceNode:
		if t.Kind() != reflect.Slice {
			return nil
		}
		for _, v := range n.Values {
			if err := exactNumbers(v, t.Elem()); err != nil {
				return err
			}
		}
	case ast.MapNode:
		for i := n.MapRange(); i.Next(); {
			inner, ok := fieldType(t, i.Key().GetToken().Value)
			if !ok {
				continue
			}
			if err := exactNumbers(i.Value(), inner); err != nil {
				return err
			}
		}
	}
	return nil
}

// exactText finds a number that changes where it becomes a string, as members' paths do, too.
func exactText(n ast.ScalarNode, t reflect.Type) error {
	text := t.Kind() == reflect.String || t == reflect.TypeFor[api.MemberSpec]()
	if text && fmt.Sprint(n.GetValue()) != n.GetToken().Value {
		return &yaml.TypeError{Token: n.GetToken(), DstType: reflect.TypeFor[string]()}
	}
	return nil
}

// fieldType returns the type of what stands under a key of a value of the type t.
func fieldType(t reflect.Type, key string) (reflect.Type, bool) {
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), true
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			tag := cmp.Or(f.Tag.Get("yaml"), f.Tag.Get("json")) // as the decoder has it
			if name, _, _ := strings.Cut(tag, ","); name == key {
				return f.Type, true
			}
		}
	}
	return nil, false
}
