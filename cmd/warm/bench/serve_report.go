package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Write prints the report for people.
func (r *ServeReport) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s, level %s, %d processors, %s\n", r.CPU, r.Level, r.Processors, r.Go)
	l := r.Runs[0].Load
	kept := "connections kept"
	if l.NewConnections {
		kept = "a new connection each"
	}
	fmt.Fprintf(w, "%s, %d parameters, %s; %d clients, %s, prompt %s and answer %s words, windows of %.1f s\n\n", r.Config, r.Parameters, r.DType, l.Clients, kept, l.Prompt, l.Answer, l.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "run\tsent\tfailed\ttokens/s\tbatch\tengine tokens/s\tratio\tgenerator\tratio without it\toutside engine\tcomputing\tp50\tp99\t")
	for _, run := range r.Runs {
		l, s := run.Load, run.Server
		fmt.Fprintf(t, "%s %d\t%d\t%d\t%.0f\t%s\t%.0f\t%.1f %%\t%s\t%.1f %%\t%s\t%.1f %%\t%.0f ms\t%.0f ms\t\n",
			run.Dialect, run.Round, l.Total.Ended(), l.Failed, l.TokensPerS, run.Shape, run.EngineTokensPerS,
			100*run.Ratio,
			run.generator(), 100*run.RatioAlone, run.outside(), 100*s.ComputeSeconds/l.Seconds,
			l.Latency.P50, l.Latency.P99)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, dialect := range r.dialects() {
		var raw, alone []float64
		for _, run := range r.Runs {
			if run.Dialect == dialect {
				raw, alone = append(raw, run.Ratio), append(alone, run.RatioAlone)
			}
		}
		fmt.Fprintf(w, "%s: %.1f %% of the engine, %.1f %% without the generator (computed; medians of %d)\n", dialect, 100*median(raw), 100*median(alone), len(raw))
	}
	fmt.Fprintln(w, "generator: share of the machine's processor time; outside engine: share of the server's own processor time beyond what the engine alone takes for as many tokens;\ncomputing: share of the window in which a batch was under way")
	if r.Overload != nil {
		r.Overload.write(w)
	}
	return nil
}

// dialects are those of the runs, in their order.
func (r *ServeReport) dialects() []string {
	var out []string
	for _, run := range r.Runs {
		if !slices.Contains(out, run.Dialect) {
			out = append(out, run.Dialect)
		}
	}
	return out
}

func (run *servedRun) generator() string {
	if run.Load.CPUSeconds == nil {
		return "?"
	}
	return fmt.Sprintf("%.1f %%", 100*run.Load.CPUShare())
}

// outside is the server's processor time beyond the engine's, as a share of its own.
func (run *servedRun) outside() string {
	if run.OutsideSeconds == nil {
		return "?"
	}
	return fmt.Sprintf("%.1f %%", 100**run.OutsideSeconds/run.Server.CPUSeconds)
}

func (o *overloadReport) write(w io.Writer) {
	l := o.Load
	fmt.Fprintf(w, "\noverload: %.0f requests/s offered for %.1f s, %g times the capacity, queue of %d tokens\n", l.Rate, l.Seconds, float64(overloadFactor), o.QueuedTokens)
	fmt.Fprintf(w, "  throughput    %.0f tokens/s, %.1f %% of the capacity of %.0f; generator %.1f %% of the processors\n", l.TokensPerS, 100*o.Ratio, o.CapacityTokensPerS, 100*l.CPUShare())
	count := func(m map[string]int) string {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			parts = append(parts, fmt.Sprintf("%s: %d", k, m[k]))
		}
		return strings.Join(parts, ", ")
	}
	fmt.Fprintf(w, "  statuses      %s; not sent %d\n", count(l.Total.Statuses), l.Unsent)
	fmt.Fprintf(w, "  Retry-After   %s\n", count(l.Total.RetryAfter))
	refused := 0.0
	if l.Refused != nil {
		refused = l.Refused.P50
	}
	fmt.Fprintf(w, "  latency       answered p50 %.0f ms, p99 %.0f ms; refused p50 %.0f ms\n",
		l.Latency.P50, l.Latency.P99, refused)
	fmt.Fprintf(w, "  memory        %.0f MB before, %.0f MB at the end\n", o.RSSBefore/1e6,
		o.Server.RSSBytes/1e6)
	if o.RecoverySeconds != nil {
		fmt.Fprintf(w, "  recovery      %.2f s until a client alone was answered in at most twice its %.1f ms before, or 5 ms more\n", *o.RecoverySeconds, o.IdleP50)
	}
}
