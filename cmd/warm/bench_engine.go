package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/model/par"
)

// engineBench is the command line of warm bench engine.
type engineBench struct {
	random  string
	batch   int
	length  int
	ragged  bool
	answers int
	shapes  []string
	forward bool
	dtypes  []string
	threads int
	level   string
	rounds  int
	json    bool
}

// engineReport is what one run measured. Rates are the median of the rounds.
type engineReport struct {
	CPU        string          `json:"cpu"`
	Level      string          `json:"level"`
	Go         string          `json:"go"`
	Threads    int             `json:"threads"`
	Peaks      []peakReport    `json:"peaks"`
	ReadGBs    float64         `json:"memory_read_gb_per_s,omitempty"` // all threads, 256 MB
	GEMM       []gemmReport    `json:"gemm,omitempty"`
	Config     string          `json:"config"`
	Parameters int             `json:"parameters"`
	Forward    []forwardReport `json:"forward"`
}

type peakReport struct {
	DType  string  `json:"dtype"`
	GFLOPs float64 `json:"gflop_per_s"` // all threads
}

type gemmReport struct {
	DType  string  `json:"dtype"`
	M      int     `json:"m"`
	K      int     `json:"k"`
	N      int     `json:"n"`
	GFLOPs float64 `json:"gflop_per_s"`
	Share  float64 `json:"share_of_peak"`
}

type forwardReport struct {
	DType       string    `json:"dtype"`
	Shape       string    `json:"shape"`
	Sequences   int       `json:"sequences"`
	Tokens      int       `json:"tokens"`
	LoadSeconds float64   `json:"load_seconds"` // making random weights included
	WeightBytes int       `json:"weight_bytes"`
	RSSBytes    int       `json:"rss_bytes"` // after scoring, 0 where the system does not say
	Seconds     []float64 `json:"seconds"`   // of each round
	TokensPerS  float64   `json:"tokens_per_s"`
	GFLOPs      float64   `json:"gflop_per_s"`
	Share       float64   `json:"share_of_peak"`
	// Against float32 on the same inputs, when that was measured too.
	RMSError  *float64 `json:"rms_error_of_score_std,omitempty"`
	PairOrder *float64 `json:"pair_order_kept,omitempty"`
}

func (p *program) benchEngine() *cobra.Command {
	var b engineBench
	c := &cobra.Command{
		Use:   "engine",
		Short: "Measure the processor's peak, matrix products and the whole forward pass",
		Long: `engine measures, in one run, what the processor can do at most, the matrix
products at the model's shapes and the whole forward pass, and prints tokens/s,
GFLOP/s and the share of the peak. Medians of the rounds.

With several --dtype it also prints what the smaller formats cost: the root mean
square difference of the scores from float32, as a share of their standard
deviation, and the share of pairs of inputs whose order is kept.`,
		Example: `  warm bench engine --random config.json --batch 32 --length 128 --dtype float32,bfloat16
  warm bench engine --random config.json --batch 1 --length 512 --threads 1 --json
  warm bench engine --random config.json --shape 32x128,32x16-128,8x400+50 --forward-only`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			defer p.atOnce(c.Context())()
			return p.runBenchEngine(b)
		},
	}
	f := c.Flags()
	f.StringVar(&b.random, "random", "", "a Hugging Face config.json; weights are random, no checkpoint is needed")
	f.IntVar(&b.batch, "batch", 32, "sequences in a batch")
	f.IntVar(&b.length, "length", 128, "tokens of a sequence")
	f.BoolVar(&b.ragged, "ragged", false, "lengths uniform in [length/8, length]")
	f.IntVar(&b.answers, "answers", 1, "answers that share each prompt; the last eighth of a sequence is its own")
	f.StringSliceVar(&b.shapes, "shape", nil, "batches instead of --batch, --length, --ragged and --answers: BATCHxLENGTH, BATCHxLOW-HIGH (ragged), BATCHxPROMPT+RESPONSE (answers to one prompt)")
	f.BoolVar(&b.forward, "forward-only", false, "leave out the matrix products and the memory's bandwidth")
	f.StringSliceVar(&b.dtypes, "dtype", []string{"float32"}, "number formats: float32, bfloat16, int8")
	f.IntVar(&b.threads, "threads", runtime.GOMAXPROCS(0), "workers")
	f.StringVar(&b.level, "level", "", "CPU level: generic, avx2, avx512 (default the best)")
	f.IntVar(&b.rounds, "rounds", 5, "measured rounds, after one that is not")
	f.BoolVar(&b.json, "json", false, "print JSON")
	refuses(c, rule{when: given(c, "shape"), why: "with --shape", flags: []string{"batch", "length", "ragged", "answers"}})
	return c
}

func (p *program) runBenchEngine(b engineBench) error {
	if b.random == "" {
		return usagef("bench engine needs --random CONFIG.json")
	}
	if err := atLeastOne(flagValue{"batch", b.batch}, flagValue{"length", b.length}, flagValue{"threads", b.threads},
		flagValue{"rounds", b.rounds}, flagValue{"answers", b.answers}); err != nil {
		return err
	}
	dtypes, err := parseDTypes(b.dtypes)
	if err != nil {
		return err
	}
	restore, err := useLevel(b.level)
	if err != nil {
		return err
	}
	defer restore()
	data, err := os.ReadFile(b.random)
	if err != nil {
		return usageError{err}
	}
	cfg, err := model.ParseConfig(data)
	if err != nil {
		return err
	}
	shapes, err := b.batches(cfg.MaxPositions)
	if err != nil {
		return usageError{err}
	}
	r := &engineReport{CPU: cpuName(), Level: kernel.Active().String(), Go: runtime.Version(), Threads: b.threads, Config: b.random}
	if err := b.measure(r, cfg, dtypes, shapes); err != nil {
		return err
	}
	if b.json {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.print(p.stdout)
}

// flagValue is a number on the command line.
type flagValue struct {
	flag string
	n    int
}

// atLeastOne refuses the first number below 1.
func atLeastOne(values ...flagValue) error {
	for _, v := range values {
		if v.n < 1 {
			return usagef("--%s: %d, want at least 1", v.flag, v.n)
		}
	}
	return nil
}

// parseDTypes reads the number formats of --dtype.
func parseDTypes(names []string) ([]kernel.DType, error) {
	var out []kernel.DType
	for _, s := range names {
		d, err := kernel.ParseDType(s)
		if err != nil {
			return nil, usageError{err}
		}
		out = append(out, d)
	}
	return out, nil
}

// useLevel sets the CPU level of --level, "" being the best, and returns what
// sets it back.
func useLevel(name string) (restore func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	i := slices.IndexFunc(kernel.Available(), func(l kernel.Level) bool { return l.String() == name })
	if i < 0 {
		return nil, usagef("--level: %q is not one of this machine's levels %v", name, kernel.Available())
	}
	return kernel.SetLevel(kernel.Available()[i]), nil
}

// batches returns the shapes that the flags ask for.
func (b *engineBench) batches(context int) ([]benchShape, error) {
	var out []benchShape
	for _, s := range b.shapes {
		shape, err := parseShape(s)
		if err != nil {
			return nil, fmt.Errorf("--shape: %w", err)
		}
		out = append(out, shape)
	}
	if len(out) == 0 {
		s := benchShape{batch: b.batch, low: b.length, length: b.length, answers: b.answers, shared: b.length - b.length/8}
		s.name = fmt.Sprintf("%dx%d", b.batch, b.length)
		if b.ragged {
			s.low = max(1, b.length/8)
			s.name = fmt.Sprintf("%dx%d-%d", b.batch, s.low, b.length)
		}
		out = append(out, s)
	}
	for _, s := range out {
		if s.length > context {
			return nil, fmt.Errorf("%s: %d tokens are over the model's context of %d", s.name, s.length, context)
		}
	}
	return out, nil
}

func (b *engineBench) measure(r *engineReport, cfg *model.Config, dtypes []kernel.DType, shapes []benchShape) error {
	peak := map[kernel.DType]float64{}
	for _, d := range dtypes {
		peak[d] = onAll(b.threads, func() float64 { return kernel.Peak(d) })
		r.Peaks = append(r.Peaks, peakReport{d.String(), peak[d]})
	}
	if !b.forward {
		r.ReadGBs = b.bandwidth()
		for _, d := range dtypes {
			b.gemms(r, cfg, d, peak[d])
		}
	}
	exact := make([][]float32, len(shapes))
	for _, d := range dtypes {
		if err := b.forwards(r, cfg, d, peak[d], shapes, exact); err != nil {
			return err
		}
	}
	return nil
}

// bandwidth returns what all threads read from memory in GB/s.
func (b *engineBench) bandwidth() float64 {
	defer debug.FreeOSMemory() // or the buffer would count as the model's
	buf := make([]byte, 256<<20)
	for i := range buf {
		buf[i] = byte(i) // pages of their own: untouched ones are all the same zero page
	}
	n := len(buf) / b.threads
	var next sync.Mutex
	at := 0
	return onAll(b.threads, func() float64 {
		next.Lock()
		part := buf[at : at+n]
		at += n
		next.Unlock()
		return kernel.ReadBandwidth(part, 5)
	})
}

// onAll runs f on every thread at once and adds up what they return.
func onAll(threads int, f func() float64) float64 {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		sum float64
	)
	for range threads {
		wg.Go(func() {
			v := f()
			mu.Lock()
			sum += v
			mu.Unlock()
		})
	}
	wg.Wait()
	return sum
}

// gemmTask multiplies with the rows divided among the workers, as the engine does.
type gemmTask struct {
	p       kernel.Product
	rows    int // 0: the panels are divided instead
	scratch []kernel.Scratch
}

func (t *gemmTask) Do(worker, lo, hi int) {
	if t.rows == 0 {
		t.p.Panels(lo, hi, &t.scratch[worker])
		return
	}
	p := t.p
	p.A, p.C, p.M = p.A[lo*p.LDA:], p.C[lo*p.LDC:], hi-lo
	p.All(&t.scratch[worker])
}

func (b *engineBench) gemms(r *engineReport, cfg *model.Config, d kernel.DType, peak float64) {
	team := par.NewTeam(b.threads)
	defer team.Close()
	shapes := [][2]int{{cfg.Hidden, cfg.Heads * cfg.HeadDim}, {cfg.Hidden, cfg.Intermediate}, {cfg.Intermediate, cfg.Hidden}}
	for i, s := range slices.Compact(shapes) {
		for _, m := range []int{1, 16, 128, 1024} {
			if m < 128 && i == 0 {
				continue
			}
			k, n := s[0], s[1]
			lda, ldc := kernel.Stride(k), kernel.Stride(n)
			t := &gemmTask{scratch: make([]kernel.Scratch, b.threads), p: kernel.Product{
				A: randomValues(m*lda, 1), LDA: lda, C: make([]float32, m*ldc), LDC: ldc, W: kernel.NewPanels(d, n, k), M: m,
			}}
			w := randomValues(n*k, 2)
			t.p.W.Pack(0, w)
			total, grain := t.p.W.Len(), 1
			if m >= 14*b.threads {
				t.rows, total = m, m
				grain = (m + b.threads - 1) / b.threads
				if grain > kernel.RowBlock {
					grain = kernel.RowBlock
				}
			} else {
				grain = max(1, total/(4*b.threads))
			}
			rates := b.rates(2*float64(m)*float64(n)*float64(k), func() { team.Run(total, grain, t) })
			g := median(rates)
			r.GEMM = append(r.GEMM, gemmReport{d.String(), m, k, n, g, g / peak})
		}
	}
}

// rates measures f for each round and returns 10⁹ operations a second. A round
// repeats f for at least 20 ms.
func (b *engineBench) rates(ops float64, f func()) []float64 {
	f()
	t := time.Now()
	f()
	repeat := max(1, int(20*time.Millisecond/max(time.Since(t), 1)))
	var out []float64
	for range b.rounds {
		t := time.Now()
		for range repeat {
			f()
		}
		out = append(out, ops*float64(repeat)/time.Since(t).Seconds()/1e9)
	}
	return out
}

// forwards measures every shape on one loaded model. exact holds the scores of
// each shape in float32, once they are known.
func (b *engineBench) forwards(r *engineReport, cfg *model.Config, d kernel.DType, peak float64, shapes []benchShape, exact [][]float32) error {
	t := time.Now()
	m, err := model.Load(cfg, model.NewRandom(cfg, randomSeed), model.LoadOptions{DType: d, Workers: b.threads})
	if err != nil {
		return err
	}
	load := time.Since(t).Seconds()
	debug.FreeOSMemory() // what loading needed for a moment
	r.Parameters = m.Parameters()
	e := model.NewEngine(b.threads)
	defer e.Close()
	for i, s := range shapes {
		f := forwardReport{DType: d.String(), Shape: s.name, Sequences: s.batch, LoadSeconds: load, WeightBytes: m.Bytes()}
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

func (b *engineBench) score(f *forwardReport, e *model.Engine, m *model.Model, seqs []model.Sequence, peak float64) ([]float32, error) {
	flops := 0.0
	for _, s := range seqs {
		f.Tokens += len(s.IDs)
		flops += m.Net.FLOPs(len(s.IDs))
	}
	scores := make([]float32, len(seqs))
	for i := range b.rounds + 1 {
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
	f.Share = f.GFLOPs / peak
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

func (r *engineReport) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, level %s, %d threads, %s\n\n", r.CPU, r.Level, r.Threads, r.Go)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "peak\tGFLOP/s\t")
	for _, p := range r.Peaks {
		fmt.Fprintf(t, "%s\t%.0f\t\n", p.DType, p.GFLOPs)
	}
	if len(r.GEMM) > 0 {
		fmt.Fprintf(t, "memory read, GB/s\t%.0f\t\n\t\t\n", r.ReadGBs)
		fmt.Fprintln(t, "product\tM x K x N\tGFLOP/s\tof peak\t")
		for _, g := range r.GEMM {
			fmt.Fprintf(t, "%s\t%d x %d x %d\t%.0f\t%.0f %%\t\n", g.DType, g.M, g.K, g.N, g.GFLOPs, 100*g.Share)
		}
	}
	fmt.Fprintf(t, "\t\t\t\t\n")
	fmt.Fprintln(t, "forward\tshape\ttokens\ttokens/s\tGFLOP/s\tof peak\tms\tweights MB\tRSS MB\trms error\tpairs kept\t")
	for _, f := range r.Forward {
		rms, order := "", ""
		if f.RMSError != nil {
			rms, order = fmt.Sprintf("%.2f %%", 100**f.RMSError), fmt.Sprintf("%.2f %%", 100**f.PairOrder)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%.0f\t%.0f\t%.0f %%\t%.1f\t%.0f\t%.0f\t%s\t%s\t\n", f.DType, f.Shape, f.Tokens, f.TokensPerS,
			f.GFLOPs, 100*f.Share, 1e3*median(f.Seconds), float64(f.WeightBytes)/1e6, float64(f.RSSBytes)/1e6, rms, order)
	}
	return errors.Join(t.Flush())
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func randomValues(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()*2 - 1
	}
	return x
}

// cpuName returns the processor's name, or the architecture where the system
// does not say.
func cpuName() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

// rss returns the resident memory of the process in bytes, 0 where the system
// does not say.
func rss() int {
	data, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(data))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(f[1])
	return pages * os.Getpagesize()
}
