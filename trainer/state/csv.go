package state

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CSVFile is the name of the metrics as a table.
const CSVFile = "metrics.csv"

// CSV turns metrics into a table: a column for each number, nested ones joined by
// a dot. The step comes first, the others in the order of the alphabet.
func CSV(lines []byte) ([]byte, error) {
	var rows []map[string]string
	columns := map[string]bool{}
	dec := json.NewDecoder(bytes.NewReader(lines))
	dec.UseNumber()
	for dec.More() { // also true for what is no value: Decode then fails
		var line map[string]any
		if err := dec.Decode(&line); err != nil {
			return nil, fmt.Errorf("%s: %w", MetricsFile, err)
		}
		row := map[string]string{}
		flatten(row, "", line)
		for k := range row {
			columns[k] = true
		}
		rows = append(rows, row)
	}
	names := slices.SortedFunc(maps.Keys(columns), func(a, b string) int {
		if (a == "step") != (b == "step") {
			if a == "step" {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	if err := w.Write(names); err != nil {
		return nil, err
	}
	for _, row := range rows {
		cells := make([]string, len(names))
		for i, n := range names {
			cells[i] = row[n]
		}
		if err := w.Write(cells); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

func flatten(row map[string]string, prefix string, v map[string]any) {
	for k, x := range v {
		switch x := x.(type) {
		case map[string]any:
			flatten(row, prefix+k+".", x)
		case json.Number:
			row[prefix+k] = x.String()
		}
	}
}
