package state

import (
	"bytes"
	"encoding/csv"
	"maps"
	"slices"
)

// CSVFile is the name of the metrics as a table.
const CSVFile = "metrics.csv"

// CSV turns metrics into a table: a column for each number, nested ones joined by
// a dot. The step comes first, the others in the order of the alphabet.
func CSV(lines []byte) ([]byte, error) {
	rows, err := numbers(lines, ".")
	if err != nil {
		return nil, err
	}
	columns := map[string]bool{}
	for _, row := range rows {
		for k := range row {
			columns[k] = true
		}
	}
	names := slices.Sorted(maps.Keys(columns))
	if i := slices.Index(names, "step"); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, "step")
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	if err := w.Write(names); err != nil {
		return nil, err
	}
	for _, row := range rows {
		cells := make([]string, len(names))
		for i, n := range names {
			cells[i] = row[n].String()
		}
		if err := w.Write(cells); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}
