package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// EngineReport is what a run measured. Rates are the median of the rounds.
type EngineReport struct {
	CPU        string          `json:"cpu"`
	Level      string          `json:"level"`
	Go         string          `json:"go"`
	Threads    int             `json:"threads"`
	Device     string          `json:"device,omitempty"` // that computed the forward pass; "" for the CPU
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
	Of     string  `json:"of"`          // what the processor does so fast
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
	HugeBytes   int       `json:"huge_page_bytes"` // of the weights, that lie on huge pages
	RSSBytes    int       `json:"rss_bytes"`       // after scoring, 0 where the system does not say
	Seconds     []float64 `json:"seconds"`         // of each round
	TokensPerS  float64   `json:"tokens_per_s"`
	GFLOPs      float64   `json:"gflop_per_s"`
	Share       float64   `json:"share_of_peak"` // 0 where the peak is not measured
	// Against float32 on the same inputs, when that was measured too.
	RMSError  *float64 `json:"rms_error_of_score_std,omitempty"`
	PairOrder *float64 `json:"pair_order_kept,omitempty"`
}

// Write prints the report for people.
func (r *EngineReport) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s, level %s, %d threads, %s\n\n", r.CPU, r.Level, r.Threads, r.Go)
	if r.Device != "" {
		fmt.Fprintf(w, "computed on %s\n\n", r.Device)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(r.Peaks) > 0 {
		fmt.Fprintln(t, "peak\tGFLOP/s\t  of")
	}
	for _, p := range r.Peaks {
		fmt.Fprintf(t, "%s\t%.0f\t  %s\n", p.DType, p.GFLOPs, p.Of)
	}
	if len(r.GEMM) > 0 {
		fmt.Fprintf(t, "memory read, GB/s\t%.0f\t\n\t\t\n", r.ReadGBs)
		fmt.Fprintln(t, "product\tM x K x N\tGFLOP/s\tof peak\t")
		for _, g := range r.GEMM {
			fmt.Fprintf(t, "%s\t%d x %d x %d\t%.0f\t%.0f %%\t\n", g.DType, g.M, g.K, g.N, g.GFLOPs,
				100*g.Share)
		}
	}
	fmt.Fprintf(t, "\t\t\t\t\n")
	fmt.Fprintln(t, "forward\tshape\ttokens\ttokens/s\tGFLOP/s\tof peak\tms\tweights MB\tRSS MB\trms error\tpairs kept\t")
	for _, f := range r.Forward {
		rms, order := "", ""
		if f.RMSError != nil {
			rms, order = fmt.Sprintf("%.2f %%", 100**f.RMSError), fmt.Sprintf("%.2f %%", 100**f.PairOrder)
		}
		share := ""
		if f.Share > 0 {
			share = fmt.Sprintf("%.0f %%", 100*f.Share)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%.0f\t%.0f\t%s\t%.1f\t%.0f\t%.0f\t%s\t%s\t\n", f.DType, f.Shape,
			f.Tokens, f.TokensPerS,
			f.GFLOPs, share, 1e3*median(f.Seconds), float64(f.WeightBytes)/1e6,
			float64(f.RSSBytes)/1e6, rms, order)
	}
	return t.Flush()
}
