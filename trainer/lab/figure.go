package lab

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Figure is a drawing as data.
type Figure struct {
	Name    string   `json:"name"` // of the file, behind the experiment's
	Title   string   `json:"title"`
	X       Axis     `json:"x"`
	Y       Axis     `json:"y"`
	Series  []Series `json:"series"`
	Caption string   `json:"caption"` // M, seeds, pairs, kind of interval
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
	// bars) or "dashes" (a reference).
	Style string `json:"style,omitempty"`
}

// palette is told apart with any colour vision (Okabe and Ito 2008).
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{86, 180, 233, 255}, {230, 159, 0, 255}, {0, 0, 0, 255}, {120, 120, 120, 255},
}

// Draw renders the figure, as "svg" or "png".
func (f *Figure) Draw(format string) ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = f.Title, f.X.Label, f.Y.Label
	p.Title.Padding, p.X.Padding, p.Y.Padding = vg.Points(8), vg.Points(4), vg.Points(4)
	p.Legend.Top, p.Legend.Padding = true, vg.Points(2)
	p.Add(plotter.NewGrid())
	f.X.prepare(&p.X)
	f.Y.prepare(&p.Y)
	for i, s := range f.Series {
		if err := s.add(p, i); err != nil {
			return nil, fmt.Errorf("series %q: %w", s.Label, err)
		}
	}
	// The legend stands right of the axes, where it hides nothing.
	w, err := p.WriterTo(7.5*vg.Inch, 4.5*vg.Inch, format)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), err
}

func (a Axis) prepare(p *plot.Axis) {
	if a.Log {
		p.Scale, p.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	if a.Ticks != nil {
		var ticks []plot.Tick
		for i, t := range a.Ticks {
			ticks = append(ticks, plot.Tick{Value: float64(i), Label: t})
		}
		p.Tick.Marker = plot.ConstantTicks(ticks)
		p.Min, p.Max = -0.5, float64(len(ticks))-0.5
	}
}

// points are the places of a series with their intervals.
type points struct{ Series }

func (s points) Len() int                         { return len(s.X) }
func (s points) XY(i int) (x, y float64)          { return s.X[i], s.Y[i] }
func (s points) YError(i int) (low, high float64) { return s.Y[i] - s.Low[i], s.High[i] - s.Y[i] }
func (s points) band() (xys plotter.XYs) {
	for i, x := range s.X {
		xys = append(xys, plotter.XY{X: x, Y: s.High[i]})
	}
	for i := len(s.X) - 1; i >= 0; i-- {
		xys = append(xys, plotter.XY{X: s.X[i], Y: s.Low[i]})
	}
	return xys
}

// add draws the i-th series.
func (s Series) add(p *plot.Plot, i int) error {
	for j, y := range s.Y {
		if math.IsNaN(y) || math.IsInf(y, 0) || len(s.X) != len(s.Y) {
			return fmt.Errorf("point %d of %d is (%v, %v)", j, len(s.X), s.X[j], y)
		}
	}
	intervals := s.Low != nil
	if intervals && (len(s.Low) != len(s.Y) || len(s.High) != len(s.Y)) {
		return fmt.Errorf("%d points, %d and %d ends of intervals", len(s.Y), len(s.Low), len(s.High))
	}
	c := palette[i%len(palette)]
	data := points{s}
	if s.Style == "points" {
		marks, err := plotter.NewScatter(data)
		if err != nil {
			return err
		}
		marks.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(3.5), Shape: draw.CircleGlyph{}}
		if intervals {
			bars, err := plotter.NewYErrorBars(data)
			if err != nil {
				return err
			}
			bars.Color, bars.Width = c, vg.Points(1.2)
			p.Add(bars)
		}
		p.Add(marks)
		p.Legend.Add(s.Label, marks)
		return nil
	}
	if intervals {
		band, err := plotter.NewPolygon(data.band())
		if err != nil {
			return err
		}
		band.Color, band.LineStyle.Width = color.NRGBA{c.R, c.G, c.B, 40}, 0
		p.Add(band)
	}
	line, err := plotter.NewLine(data)
	if err != nil {
		return err
	}
	line.Color, line.Width = c, vg.Points(1.8)
	if s.Style == "dashes" {
		line.Dashes = []vg.Length{vg.Points(5), vg.Points(4)}
	}
	p.Add(line)
	p.Legend.Add(s.Label, line)
	return nil
}
