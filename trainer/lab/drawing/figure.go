package drawing

import (
	"errors"
	"fmt"
	"math"

	"github.com/warmserve/warmserve/eval"
)

// Figure is a drawing as data: series over two axes, or the cells of a matrix.
type Figure struct {
	Name   string   `json:"name"` // of the file, behind the experiment's
	Title  string   `json:"title"`
	X      Axis     `json:"x"`
	Y      Axis     `json:"y"`
	Series []Series `json:"series,omitempty"`
	// Cells are a matrix's values, row by row from the top, in place of series: the
	// rows are Y's Ticks and the columns X's. Larger values are darker, 0 is white.
	Cells [][]float64 `json:"cells,omitempty"`
	// Caption says M, seeds, the number of pairs and the kind of interval. It is
	// drawn below.
	Caption string `json:"caption"`
}

// Axis is a labelled axis, with its unit in the label.
type Axis struct {
	Label string `json:"label"`
	// Log draws logarithmically; all values are then above 0.
	Log bool `json:"log,omitempty"`
	// Ticks are the names of the places 0, 1, 2, …; nil for numbers.
	Ticks []string `json:"ticks,omitempty"`
}

// Series is one line or set of points.
type Series struct {
	Label string    `json:"label"`
	X     []float64 `json:"x"`
	Y     []float64 `json:"y"`
	// Low and High are the ends of Y's intervals; nil for none.
	Low  []float64 `json:"low,omitempty"`
	High []float64 `json:"high,omitempty"`
	// Style is "line" (the default, with a band for the interval), "points" (with
	// bars) or "dashes" (a reference). Where X's places have names, points of
	// several series stand beside each other.
	Style string `json:"style,omitempty"`
}

// check reports what cannot be drawn.
func (f *Figure) check() error {
	if f.Cells != nil {
		return f.checkCells()
	}
	if len(f.Series) == 0 {
		return errors.New("nothing to draw")
	}
	for _, s := range f.Series {
		if err := s.check(f.X.Log, f.Y.Log); err != nil {
			return fmt.Errorf("series %q: %w", s.Label, err)
		}
	}
	return nil
}

func (f *Figure) checkCells() error {
	if len(f.Cells) != len(f.Y.Ticks) || len(f.Series) > 0 {
		return fmt.Errorf("%d rows of cells, %d names, %d series", len(f.Cells), len(f.Y.Ticks),
			len(f.Series))
	}
	for i, row := range f.Cells {
		if len(row) != len(f.X.Ticks) {
			return fmt.Errorf("row %d: %d cells, %d names", i, len(row), len(f.X.Ticks))
		}
		for j, v := range row {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("cell %d of row %d is %v", j, i, v)
			}
		}
	}
	return nil
}

func (s *Series) check(logX, logY bool) error {
	if len(s.X) != len(s.Y) || len(s.X) == 0 {
		return fmt.Errorf("%d places, %d values", len(s.X), len(s.Y))
	}
	if (s.Low != nil || s.High != nil) && (len(s.Low) != len(s.Y) || len(s.High) != len(s.Y)) {
		return fmt.Errorf("%d points, %d and %d ends of intervals", len(s.Y), len(s.Low), len(s.High))
	}
	for _, values := range []struct {
		v   []float64
		log bool
	}{{s.X, logX}, {s.Y, logY}, {s.Low, logY}, {s.High, logY}} {
		for i, v := range values.v {
			if math.IsNaN(v) || math.IsInf(v, 0) || values.log && v <= 0 {
				return fmt.Errorf("point %d of %d is %v at (%v, %v)", i, len(s.X), v, s.X[i], s.Y[i])
			}
		}
	}
	return nil
}

// Put appends an estimate at a place, in some unit.
func (s *Series) Put(x float64, e eval.Estimate, unit float64) {
	s.X, s.Y = append(s.X, x), append(s.Y, unit*e.Value)
	s.Low, s.High = append(s.Low, unit*e.Low), append(s.High, unit*e.High)
}
