package drawing

import (
	"image/color"
	"math"
	"strconv"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// cells draws a matrix with its values written in it.
type cells struct {
	values  [][]float64 // row 0 on top
	largest float64     // of the absolute values; above 0
	style   text.Style
}

// addCells draws a figure's cells.
func addCells(p *plot.Plot, f *Figure) {
	m := &cells{values: f.Cells}
	for _, row := range f.Cells {
		for _, v := range row {
			m.largest = max(m.largest, math.Abs(v))
		}
	}
	if m.largest == 0 {
		m.largest = 1
	}
	m.style.Handler, m.style.XAlign, m.style.YAlign = plot.DefaultTextHandler, text.XCenter, text.YCenter
	sans(&m.style, tickSize, font.WeightNormal)
	p.Add(m)
	f.X.prepare(&p.X, nil)
	f.Y.prepare(&p.Y, nil)
	n := len(f.Y.Ticks)
	var ticks []plot.Tick
	for i, t := range f.Y.Ticks {
		ticks = append(ticks, plot.Tick{Value: float64(n - 1 - i), Label: t})
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	p.Y.Tick.LineStyle.Width, p.Y.Tick.Length = 0, 3
	p.X.Padding, p.Y.Padding = 0, 0
}

// Plot implements plot.Plotter.
func (m *cells) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, row := range m.values {
		at := float64(len(m.values) - 1 - i)
		for j, v := range row {
			share := v / m.largest
			col := color.RGBA{white(share, 213), white(share, 94), white(share, 0), 255}
			if v < 0 {
				col = color.RGBA{white(-share, 0), white(-share, 114), white(-share, 178), 255}
			}
			left, right, low, high := x(float64(j)-0.5), x(float64(j)+0.5), y(at-0.5), y(at+0.5)
			c.FillPolygon(col, []vg.Point{{X: left, Y: low}, {X: right, Y: low}, {X: right, Y: high},
				{X: left, Y: high}})
			style := m.style
			style.Color = color.Black
			c.FillText(style, vg.Point{X: (left + right) / 2, Y: (low + high) / 2},
				strconv.FormatFloat(v, 'g', 3, 64))
		}
	}
}

// white mixes a colour's part with white: all white at share 0. The darkest is
// light enough for black letters.
func white(share float64, part float64) uint8 {
	return uint8(255 - 0.75*share*(255-part))
}

// DataRange implements plot.DataRanger.
func (m *cells) DataRange() (xmin, xmax, ymin, ymax float64) {
	return -0.5, float64(len(m.values[0])) - 0.5, -0.5, float64(len(m.values)) - 0.5
}
