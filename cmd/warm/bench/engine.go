package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
)

// Engine measures the processor's peak, matrix products and the whole forward pass; of
// a card the forward pass alone.
type Engine struct {
	// Device computes; nil is the CPU with Threads workers. Who made it closes it.
	Device      model.Engine
	Random      string // a Hugging Face config.json
	Batch       int    // sequences
	Length      int    // of each, in tokens
	Ragged      bool   // lengths uniform in [Length/8, Length]
	Answers     int    // that share each prompt
	Shapes      []string
	ForwardOnly bool     // neither products nor the memory's bandwidth
	DTypes      []string // nil is the device's own
	Threads     int
	Level       string // of the CPU, "" for the best
	Rounds      int    // measured, after one that is not
}

// Run measures. A [UsageError] says what cannot be measured.
func (b *Engine) Run() (*EngineReport, error) {
	e, done := b.engine()
	defer done()
	if err := b.suits(e); err != nil {
		return nil, UsageError{err}
	}
	cfg, dtypes, restore, err := machine{b.Random, b.DTypes, b.Level}.prepare(
		count{"batch", b.Batch}, count{"length", b.Length}, count{"threads", b.Threads},
		count{"rounds", b.Rounds}, count{"answers", b.Answers})
	if err != nil {
		return nil, err
	}
	defer restore()
	shapes, err := b.batches(cfg.MaxPositions)
	if err != nil {
		return nil, UsageError{err}
	}
	r := &EngineReport{CPU: cpuName(), Level: kernel.Active().String(), Go: runtime.Version(),
		Threads: b.Threads, Config: b.Random}
	if b.onCard(e) {
		r.Device = e.Device()
	}
	return r, b.measure(r, e, cfg, dtypes, shapes)
}

// engine returns what computes, and what lets it go.
func (b *Engine) engine() (e model.Engine, done func()) {
	if b.Device != nil {
		return b.Device, func() {}
	}
	e = model.NewEngine(b.Threads)
	return e, e.Close
}

// onCard reports whether an engine is another than the CPU's.
func (b *Engine) onCard(e model.Engine) bool {
	_, cpu := e.(model.CPU)
	return !cpu
}

// suits refuses what the device does not compute in, and settles what it does.
func (b *Engine) suits(e model.Engine) error {
	if len(b.DTypes) == 0 {
		b.DTypes = []string{e.DTypes()[0].String()}
	}
	for _, d := range b.DTypes {
		if _, err := model.ChooseDType(e, d); err != nil {
			return err
		}
	}
	if b.onCard(e) && b.Level != "" {
		return fmt.Errorf("--level is of the CPU, and %s computes", e.Device())
	}
	return nil
}

// batches returns the shapes that the flags ask for.
func (b *Engine) batches(context int) ([]shape, error) {
	var out []shape
	for _, s := range b.Shapes {
		shape, err := parseShape(s)
		if err != nil {
			return nil, fmt.Errorf("--shape: %w", err)
		}
		out = append(out, shape)
	}
	if len(out) == 0 {
		s := shape{batch: b.Batch, low: b.Length, length: b.Length, answers: b.Answers,
			shared: b.Length - b.Length/8}
		s.name = fmt.Sprintf("%dx%d", b.Batch, b.Length)
		if b.Ragged {
			s.low = max(1, b.Length/8)
			s.name = fmt.Sprintf("%dx%d-%d", b.Batch, s.low, b.Length)
		}
		out = append(out, s)
	}
	for _, s := range out {
		if s.length > context {
			return nil, fmt.Errorf("%s: %d tokens are over the model's context of %d", s.name,
				s.length, context)
		}
	}
	return out, nil
}

func (b *Engine) measure(r *EngineReport, e model.Engine, cfg *model.Config, dtypes []kernel.DType, shapes []shape) error {
	peak := map[kernel.DType]float64{}
	card := b.onCard(e)
	for _, d := range dtypes {
		if card {
			break // what a card could do is not measured
		}
		peak[d] = onAll(b.Threads, func() float64 { return kernel.Peak(d) })
		r.Peaks = append(r.Peaks, peakReport{d.String(), peak[d], kernel.PeakOf(d)})
	}
	if !b.ForwardOnly && !card {
		r.ReadGBs = b.bandwidth()
		for _, d := range dtypes {
			b.gemms(r, cfg, d, peak[d])
		}
	}
	exact := make([][]float32, len(shapes))
	for _, d := range dtypes {
		if err := b.forwards(r, e, cfg, d, peak[d], shapes, exact); err != nil {
			return err
		}
	}
	return nil
}

// forwards measures every shape on one loaded model. exact holds the scores of
// each shape in float32, once they are known.
func (b *Engine) forwards(r *EngineReport, e model.Engine, cfg *model.Config, d kernel.DType, peak float64,
	shapes []shape, exact [][]float32) error {
	t := time.Now()
	m, err := e.Load(cfg, model.NewRandom(cfg, Seed), model.LoadOptions{DType: d, Workers: b.Threads})
	if err != nil {
		return err
	}
	defer m.Close()
	load := time.Since(t).Seconds()
	debug.FreeOSMemory() // what loading needed for a moment
	huge := 0
	if h, ok := m.(model.HugePaged); ok {
		huge = h.HugePages(context.Background()) // as a server does it once a model is loaded
	}
	r.Parameters = m.Parameters()
	for i, s := range shapes {
		f := forwardReport{DType: d.String(), Shape: s.name, Sequences: s.batch, LoadSeconds: load,
			WeightBytes: m.Bytes(), HugeBytes: huge}
		scores, err := b.score(&f, e, m, s.sequences(m), peak)
		if err != nil {
			return err
		}
		if d == kernel.Float32 {
			exact[i] = scores
		} else if exact[i] != nil {
			f.compare(exact[i], scores)
		}
		r.Forward = append(r.Forward, f)
	}
	return nil
}

func (b *Engine) score(f *forwardReport, e model.Engine, m model.Model, seqs []model.Sequence,
	peak float64) ([]float32, error) {
	flops := 0.0
	for _, s := range seqs {
		f.Tokens += len(s.IDs)
		flops += m.Network().FLOPs(len(s.IDs))
	}
	scores := make([]float32, len(seqs))
	for i := range b.Rounds + 1 {
		t := time.Now()
		if err := e.Score(m, scores, seqs); err != nil {
			return nil, err
		}
		if i > 0 {
			f.Seconds = append(f.Seconds, time.Since(t).Seconds())
		}
	}
	s := median(f.Seconds)
	f.TokensPerS, f.GFLOPs = float64(f.Tokens)/s, flops/s/1e9
	if peak > 0 {
		f.Share = f.GFLOPs / peak
	}
	f.RSSBytes = rss()
	return scores, nil
}

// compare fills in what a smaller number format costs against float32.
func (f *forwardReport) compare(exact, got []float32) {
	var mean, std, diff, kept, pairs float64
	n := float64(len(exact))
	for _, v := range exact {
		mean += float64(v) / n
	}
	for i, v := range exact {
		std += (float64(v) - mean) * (float64(v) - mean) / n
		diff += (float64(v) - float64(got[i])) * (float64(v) - float64(got[i])) / n
		for j := range i {
			pairs++
			if (v < exact[j]) == (got[i] < got[j]) {
				kept++
			}
		}
	}
	if std > 0 && pairs > 0 {
		rms, order := math.Sqrt(diff/std), kept/pairs
		f.RMSError, f.PairOrder = &rms, &order
	}
}
