package drawing

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette is told apart with any colour vision (Okabe and Ito 2008).
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{86, 180, 233, 255}, {230, 159, 0, 255}, {0, 0, 0, 255}, {120, 120, 120, 255},
}

// Size and places of a drawing.
const (
	figureWidth  = 7.5 * vg.Inch
	plotHeight   = 4.2 * vg.Inch
	margin       = 10.0
	thumbWidth   = 22.0
	titleSize    = 12.0
	labelSize    = 11.0
	tickSize     = 10.0
	captionSize  = 9.0
	lineSpacing  = 1.35
	dodge        = 0.14 // between points of several series at one named place
	pointRadius  = 3.5
	seriesWidth  = 1.8
	dashesOfLine = 5.0
)

// Draw renders the figure, as "svg" or "png": the plot, below it the legend,
// where it hides nothing, and the caption.
func (f *Figure) Draw(format string) ([]byte, error) { return f.Render(format, true) }

// Render is Draw, with the caption or without.
func (f *Figure) Render(format string, caption bool) ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = f.Title, f.X.Label, f.Y.Label
	p.Title.Padding, p.X.Padding, p.Y.Padding = vg.Points(10), vg.Points(5), vg.Points(5)
	sans(&p.Title.TextStyle, titleSize, font.WeightBold)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		sans(&a.Label.TextStyle, labelSize, font.WeightNormal)
		sans(&a.Tick.Label, tickSize, font.WeightNormal)
	}
	var legend []entry
	if f.Cells != nil {
		addCells(p, f)
	} else {
		p.Add(grid())
		for i, s := range f.Series {
			e, err := s.add(p, i, f.shift(i))
			if err != nil {
				return nil, fmt.Errorf("series %q: %w", s.Label, err)
			}
			legend = append(legend, e)
		}
		f.X.prepare(&p.X, f.values(func(s Series) []float64 { return s.X }))
		f.Y.prepare(&p.Y, f.values(func(s Series) []float64 { return s.Y }))
		room(&p.Y, f.Y.Log)
		if f.X.Ticks == nil && slices.ContainsFunc(f.Series,
			func(s Series) bool { return s.Style == "points" }) {
			room(&p.X, f.X.Log)
		}
	}
	return f.compose(p, legend, format, caption)
}

// compose draws the plot over its legend and caption.
func (f *Figure) compose(p *plot.Plot, legend []entry, format string, caption bool) ([]byte, error) {
	var small text.Style
	sans(&small, captionSize, font.WeightNormal)
	small.Color, small.Handler = color.Gray{60}, plot.DefaultTextHandler
	label := small
	label.Color = color.Black
	sans(&label, tickSize, font.WeightNormal)
	width := figureWidth - 2*margin
	rows := flow(legend, label, width)
	var lines []string
	if caption {
		lines = wrap(f.Caption, small, width)
	}
	below := vg.Length(len(rows))*tickSize*lineSpacing*1.1 + vg.Length(len(lines))*captionSize*lineSpacing
	if len(rows) > 0 {
		below += 6
	}
	if len(lines) > 0 {
		below += 6
	}
	canvas, err := draw.NewFormattedCanvas(figureWidth, plotHeight+below+2*margin, format)
	if err != nil {
		return nil, err
	}
	c := draw.New(canvas)
	c.SetColor(color.White)
	c.Fill(c.Path())
	c = draw.Crop(c, margin, -margin, margin, -margin)
	p.BackgroundColor = nil
	p.Draw(draw.Crop(c, 0, 0, below, 0))
	y := c.Min.Y + below
	if len(rows) > 0 {
		y -= 6
	}
	for _, row := range rows {
		y -= tickSize * lineSpacing * 1.1
		drawRow(c, row, label, y)
	}
	if len(lines) > 0 {
		y -= 6
	}
	for _, line := range lines {
		y -= captionSize * lineSpacing
		c.FillText(small, vg.Point{X: c.Min.X, Y: y}, line)
	}
	var b bytes.Buffer
	_, err = canvas.WriteTo(&b)
	if format != "svg" {
		return b.Bytes(), err
	}
	// Where the font is not installed another one without serifs takes its place.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")), err
}

// sans sets a style's font.
func sans(s *text.Style, size vg.Length, weight font.Weight) {
	s.Font.Typeface, s.Font.Variant, s.Font.Size, s.Font.Weight = "Liberation", "Sans", size, weight
}

func grid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Horizontal.Color, g.Vertical.Color = color.Gray{225}, color.Gray{240}
	return g
}

// values returns one coordinate of all series.
func (f *Figure) values(of func(Series) []float64) []float64 {
	var out []float64
	for _, s := range f.Series {
		out = append(out, of(s)...)
	}
	return out
}

// shift is how far the i-th series stands aside at named places.
func (f *Figure) shift(i int) float64 {
	if f.X.Ticks == nil || f.Series[i].Style != "points" {
		return 0
	}
	n, at := 0, 0
	for j, s := range f.Series {
		if s.Style == "points" {
			if j < i {
				at++
			}
			n++
		}
	}
	return (float64(at) - float64(n-1)/2) * min(dodge, 0.7/float64(n))
}

// prepare sets scale and ticks for the values of an axis.
func (a Axis) prepare(p *plot.Axis, values []float64) {
	switch {
	case a.Ticks != nil:
		p.Min, p.Max = -0.5, float64(len(a.Ticks))-0.5
		p.Tick.Marker = named(a.Ticks)
		p.Tick.LineStyle.Width, p.Tick.Length = 0, 3 // no marks, but their room
	case a.Log:
		p.Scale = plot.LogScale{}
		if p.Min == p.Max {
			p.Min, p.Max = p.Min/2, p.Max*2
		}
		p.Tick.Marker = logTicks{values}
	default:
		p.Tick.Marker = linearTicks{}
	}
}

// room leaves space beyond the smallest and largest value.
func room(a *plot.Axis, log bool) {
	if log || a.Min >= a.Max {
		return
	}
	more := 0.04 * (a.Max - a.Min)
	a.Min, a.Max = a.Min-more, a.Max+more
}

// linearTicks labels multiples of 1, 2 or 5 times a power of ten, four to ten of
// them.
type linearTicks struct{}

func (linearTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	raw := (high - low) / 5
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	step := power
	for _, m := range []float64{2, 5, 10} {
		if step*1.4 < raw {
			step = m * power
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	for i := math.Ceil(low/step - 1e-9); i*step <= high+1e-9*step; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step,
			Label: strconv.FormatFloat(i*step+0, 'f', decimals, 64)})
	}
	return ticks
}

// named are ticks with names at 0, 1, 2, …; names longer than their share of the
// width are broken into lines.
func named(names []string) plot.ConstantTicks {
	var style text.Style
	sans(&style, tickSize, font.WeightNormal)
	style.Handler = plot.DefaultTextHandler
	share := (figureWidth - 1.2*vg.Inch) / vg.Length(len(names))
	var ticks []plot.Tick
	for i, t := range names {
		ticks = append(ticks, plot.Tick{Value: float64(i),
			Label: strings.Join(wrap(t, style, share-4), "\n")})
	}
	return ticks
}

// logTicks labels the powers of two when all values are such, else 1, 2 and 5 of
// each decade within two decades, and decades beyond.
type logTicks struct{ values []float64 }

func (l logTicks) Ticks(low, high float64) (ticks []plot.Tick) {
	add := func(v float64, label bool) {
		if v < low*(1-1e-9) || v > high*(1+1e-9) {
			return
		}
		t := plot.Tick{Value: v}
		if label {
			t.Label = strconv.FormatFloat(v, 'g', 4, 64)
		}
		ticks = append(ticks, t)
	}
	if powersOfTwo(l.values) {
		for v := math.Exp2(math.Floor(math.Log2(low))); v <= high*2; v *= 2 {
			add(v, true)
		}
		return ticks
	}
	few := high/low < 100
	for v := math.Pow(10, math.Floor(math.Log10(low))); v <= high*10; v *= 10 {
		for m := 1; m < 10; m++ {
			add(v*float64(m), m == 1 || few && (m == 2 || m == 5))
		}
	}
	return ticks
}

func powersOfTwo(values []float64) bool {
	for _, v := range values {
		if f, _ := math.Frexp(v); f != 0.5 {
			return false
		}
	}
	return true
}
