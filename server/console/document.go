package console

import (
	"encoding/json"
	"fmt"

	"github.com/goccy/go-yaml"
)

// JSON returns a YAML document as JSON, its fields in their order, which the page
// shows.
func JSON(document string) ([]byte, error) {
	var v any
	if err := yaml.UnmarshalWithOptions([]byte(document), &v, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return appendJSON(nil, v)
}

func appendJSON(to []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case yaml.MapSlice:
		to = append(to, '{')
		for i, item := range v {
			if i > 0 {
				to = append(to, ',')
			}
			if to, err = appendJSON(to, fmt.Sprint(item.Key)); err != nil {
				return nil, err
			}
			if to, err = appendJSON(append(to, ':'), item.Value); err != nil {
				return nil, err
			}
		}
		return append(to, '}'), nil
	case []any:
		to = append(to, '[')
		for i, item := range v {
			if i > 0 {
				to = append(to, ',')
			}
			if to, err = appendJSON(to, item); err != nil {
				return nil, err
			}
		}
		return append(to, ']'), nil
	}
	data, err := json.Marshal(v)
	return append(to, data...), err
}
