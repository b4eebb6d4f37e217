package drawing

import (
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// points are the places of a series with their intervals, shifted along X.
type points struct {
	Series
	shift float64
}

func (s points) Len() int { return len(s.X) }

func (s points) XY(i int) (x, y float64) { return s.X[i] + s.shift, s.Y[i] }

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

// entry is a series in the legend.
type entry struct {
	label string
	thumb plot.Thumbnailer
}

// add draws the i-th series. Series beyond the palette have marks of another shape
// or broken lines.
func (s Series) add(p *plot.Plot, i int, shift float64) (entry, error) {
	c, again := palette[i%len(palette)], i/len(palette)
	data := points{s, shift}
	if s.Style == "points" {
		marks, err := plotter.NewScatter(data)
		if err != nil {
			return entry{}, err
		}
		shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}}
		marks.GlyphStyle = draw.GlyphStyle{Color: c, Radius: pointRadius, Shape: shapes[again%len(shapes)]}
		if s.Low != nil {
			bars, err := plotter.NewYErrorBars(data)
			if err != nil {
				return entry{}, err
			}
			bars.Color, bars.Width = c, 1.2
			p.Add(bars)
		}
		p.Add(marks)
		return entry{s.Label, marks}, nil
	}
	if s.Low != nil {
		band, err := plotter.NewPolygon(data.band())
		if err != nil {
			return entry{}, err
		}
		band.Color, band.LineStyle.Width = color.NRGBA{c.R, c.G, c.B, 40}, 0
		p.Add(band)
	}
	line, err := plotter.NewLine(data)
	if err != nil {
		return entry{}, err
	}
	line.Color, line.Width = c, seriesWidth
	switch {
	case s.Style == "dashes":
		line.Dashes = []vg.Length{dashesOfLine, dashesOfLine - 1}
	case again > 0:
		line.Dashes = []vg.Length{2 * dashesOfLine, 2, 2, 2}
	}
	p.Add(line)
	if len(s.X) == 1 { // a line of one point is not seen
		marks, err := plotter.NewScatter(data)
		if err != nil {
			return entry{}, err
		}
		marks.GlyphStyle = draw.GlyphStyle{Color: c, Radius: pointRadius, Shape: draw.CircleGlyph{}}
		p.Add(marks)
		return entry{s.Label, marks}, nil
	}
	return entry{s.Label, line}, nil
}

// flow breaks the legend into rows of a width.
func flow(legend []entry, style text.Style, width vg.Length) (rows [][]entry) {
	var used vg.Length
	for _, e := range legend {
		if e.label == "" {
			continue
		}
		w := thumbWidth + 4 + style.Width(e.label) + 16
		if len(rows) == 0 || used+w > width {
			rows, used = append(rows, nil), 0
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
		used += w
	}
	return rows
}

// drawRow draws a row of the legend with its text's base line at y.
func drawRow(c draw.Canvas, row []entry, style text.Style, y vg.Length) {
	x := c.Min.X
	for _, e := range row {
		thumb := c
		thumb.Rectangle = vg.Rectangle{Min: vg.Point{X: x, Y: y - 1},
			Max: vg.Point{X: x + thumbWidth, Y: y + tickSize - 2}}
		e.thumb.Thumbnail(&thumb)
		x += thumbWidth + 4
		c.FillText(style, vg.Point{X: x, Y: y}, e.label)
		x += style.Width(e.label) + 16
	}
}

// wrap breaks text into lines of a width.
func wrap(s string, style text.Style, width vg.Length) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(s) {
		longer := strings.TrimPrefix(line+" "+word, " ")
		if line != "" && style.Width(longer) > width {
			lines, line = append(lines, line), word
			continue
		}
		line = longer
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
