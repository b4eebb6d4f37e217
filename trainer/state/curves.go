package state

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/warmserve/warmserve/trainer/lab/drawing"
)

// CurvesFile is the name of the learning curves.
const CurvesFile = "metrics.svg"

// Curves are the metrics that a run draws over its steps; without columns it draws none.
type Curves struct {
	Label   string   // of their axis
	Columns []string // as CSV names them, the most important first; those without values are left out
}

// mostPoints bounds the points of a curve, which are averaged: single steps are so few
// texts that their noise hides where a curve goes.
const mostPoints = 40

// draw returns the curves as SVG, or nil where there are no values.
func (c Curves) draw(lines []byte) ([]byte, error) {
	rows, err := numbers(lines, ".")
	if err != nil {
		return nil, err
	}
	f := drawing.Figure{Title: "Learning curves", X: drawing.Axis{Label: "step"},
		Y: drawing.Axis{Label: c.Label}}
	for _, column := range c.Columns {
		s := drawing.Series{Label: column}
		for _, row := range rows {
			if v, err := row[column].Float64(); err == nil {
				step, _ := row["step"].Float64() // every line has one
				s.X, s.Y = append(s.X, step), append(s.Y, v)
			}
		}
		if per := (len(s.X) + mostPoints - 1) / mostPoints; per > 1 {
			s.X, s.Y = means(s.X, per), means(s.Y, per)
			s.Label = fmt.Sprintf("%s, means of %d", column, per)
		}
		if len(s.X) == 1 {
			s.Style = "points"
		}
		if len(s.X) > 0 {
			f.Series = append(f.Series, s)
		}
	}
	if len(f.Series) == 0 {
		return nil, nil
	}
	return f.Draw("svg")
}

// means averages each so many values; the last mean may be of fewer.
func means(v []float64, per int) (out []float64) {
	for len(v) > 0 {
		n, sum := min(per, len(v)), 0.0
		for _, x := range v[:n] {
			sum += x
		}
		out, v = append(out, sum/float64(n)), v[n:]
	}
	return out
}

// numbers returns the numbers of each line of metrics; the names of nested ones are joined.
func numbers(lines []byte, join string) (rows []map[string]json.Number, err error) {
	dec := json.NewDecoder(bytes.NewReader(lines))
	dec.UseNumber()
	for dec.More() { // also true for what is no value: Decode then fails
		var line map[string]any
		if err := dec.Decode(&line); err != nil {
			return nil, fmt.Errorf("%s: %w", MetricsFile, err)
		}
		row := map[string]json.Number{}
		collect(row, "", join, line)
		rows = append(rows, row)
	}
	return rows, nil
}

func collect(row map[string]json.Number, prefix, join string, v map[string]any) {
	for k, x := range v {
		switch x := x.(type) {
		case map[string]any:
			collect(row, prefix+k+join, join, x)
		case json.Number:
			row[prefix+k] = x
		}
	}
}
