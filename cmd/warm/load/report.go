package load

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"text/tabwriter"
)

// Report is what a run measured.
type Report struct {
	URL            string  `json:"url"`
	Dialect        string  `json:"dialect"`
	Loop           string  `json:"loop"` // "closed" or "open"
	Clients        int     `json:"clients"`
	Rate           float64 `json:"rate_per_s,omitempty"` // asked for
	NewConnections bool    `json:"new_connections"`
	Prompt         string  `json:"prompt"`
	Answer         string  `json:"answer"`
	Unit           string  `json:"unit"` // of the lengths: "tokens" or "words"
	Answers        int     `json:"answers_per_request"`
	Seconds        float64 `json:"seconds"`
	Processors     int     `json:"processors"` // of the machine
	Go             string  `json:"go"`
	RequestsPerS   float64 `json:"requests_per_s"` // of measured
	AnswersPerS    float64 `json:"answers_per_s"`
	TokensPerS     float64 `json:"tokens_per_s,omitempty"` // as the server counts; else as sent, where ids were sent
	UnitsPerS      float64 `json:"units_per_s"`            // as sent
	// Measured are the requests whose answer came within the window, whenever
	// they were sent; Warmup those before, After those that were under way at its
	// end. Total is their sum: all that was sent.
	Measured    Tally  `json:"measured"`
	Warmup      Tally  `json:"warmup"`
	After       Tally  `json:"after"`
	Total       Tally  `json:"total"`
	Failed      int    `json:"failed"`      // of all that was sent, what was not answered well
	Unsent      int    `json:"unsent"`      // open loop: due in the window while too many were under way
	Connections int64  `json:"connections"` // opened, for all that was sent
	Example     string `json:"example_of_failure,omitempty"`
	// Settled says that the warm-up answered as many requests as there are
	// clients: before that the latencies of a closed loop still grow.
	Settled bool     `json:"settled"`
	Latency Latency  `json:"latency"`           // of the measured that were answered well
	Refused *Latency `json:"refused,omitempty"` // of the other measured
	// CPUSeconds is the processor time that this process, the generator, took
	// within the window; nil where the system does not say.
	CPUSeconds *float64 `json:"generator_cpu_seconds,omitempty"`
}

// CPUShare is the generator's share of the machine's processor time within the
// window, in [0, 1]; 0 where it is not known.
func (r *Report) CPUShare() float64 {
	if r.CPUSeconds == nil || r.Seconds <= 0 {
		return 0
	}
	return min(1, *r.CPUSeconds/(r.Seconds*float64(r.Processors)))
}

func (r *runner) report() *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := max(0, r.end.Sub(r.begin).Seconds())
	out := &Report{
		URL: r.url, Dialect: r.Dialect, Loop: "closed", Clients: r.Clients, Rate: r.Rate,
		NewConnections: r.NewConnections,
		Prompt:         r.Prompt.String(), Answer: r.Answer.String(), Unit: "words", Answers: r.Answers,
		Seconds: s, Processors: runtime.NumCPU(), Go: runtime.Version(),
		Warmup: r.parts[0], Measured: r.parts[1], After: r.parts[2],
		Connections: r.dialled.Load(), Unsent: r.unsent, Example: r.example, Latency: r.answered.latency(),
	}
	out.Total = out.Warmup.plus(out.Measured).plus(out.After)
	out.Failed = out.Total.Ended() - out.Total.Requests
	out.Settled = r.Rate > 0 || out.Warmup.Requests >= r.Clients
	m := &out.Measured
	if s > 0 {
		out.RequestsPerS, out.AnswersPerS = float64(m.Requests)/s, float64(m.Answers)/s
		out.TokensPerS, out.UnitsPerS = float64(m.Tokens)/s, float64(m.Units)/s
	}
	if r.Rate > 0 {
		out.Loop = "open"
	}
	if r.Vocabulary > 0 {
		out.Unit = "tokens"
		if m.Tokens == 0 {
			out.TokensPerS = out.UnitsPerS
		}
	}
	if r.refused.n > 0 {
		out.Refused = new(r.refused.latency())
	}
	if r.cpuKnown {
		out.CPUSeconds = new(r.cpu.Seconds())
	}
	return out
}

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	pace := fmt.Sprintf("%d clients, closed loop", r.Clients)
	if r.Loop == "open" {
		pace = fmt.Sprintf("%g requests/s, open loop, at most %d under way", r.Rate, r.Clients)
	}
	kept := "connections kept"
	if r.NewConnections {
		kept = "a new connection each"
	}
	row("load", "%s, %s: %s; prompt %s, answer %s %s, %d a request", r.URL, pace, kept, r.Prompt,
		r.Answer, r.Unit, r.Answers)
	row("window", "%.1f s, %d processors, %s", r.Seconds, r.Processors, r.Go)
	if r.CPUSeconds != nil {
		row("generator", "%.2f s of processor time, %.1f %% of the machine's", *r.CPUSeconds,
			100*r.CPUShare())
	}
	row("throughput", "%.1f requests/s, %.1f answers/s, %.0f %s/s sent", r.RequestsPerS,
		r.AnswersPerS, r.UnitsPerS, r.Unit)
	if r.TokensPerS > 0 {
		row("", "%.0f tokens/s scored", r.TokensPerS)
	}
	latency := func(name string, l Latency) {
		row(name, "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s, mean %s", millis(l.P50), millis(l.P90),
			millis(l.P99), millis(l.P999), millis(l.Max), millis(l.Mean))
	}
	latency("latency", r.Latency)
	if r.Refused != nil {
		latency("until refused", *r.Refused)
	}
	if !r.Settled {
		row("", "%d of %d clients were answered in the warm-up: latencies are those of a queue that still grows", r.Warmup.Requests, r.Clients)
	}
	for _, part := range []struct {
		name string
		Tally
	}{{"answers", r.Measured}, {"before the window", r.Warmup}, {"after it", r.After}} {
		for _, status := range slices.Sorted(maps.Keys(part.Statuses)) {
			row(part.name+" "+status, "%d", part.Statuses[status])
		}
	}
	for _, s := range slices.Sorted(maps.Keys(r.Total.RetryAfter)) {
		row("Retry-After "+s, "%d", r.Total.RetryAfter[s])
	}
	row("in all", "%d sent, %d answered well, %d failed", r.Total.Ended(), r.Total.Requests, r.Failed)
	row("connections", "%d opened", r.Connections)
	if r.Unsent > 0 {
		row("not sent", "%d: %d were under way", r.Unsent, r.Clients)
	}
	if r.Example != "" {
		row("first failure", "%s", strconv.Quote(r.Example))
	}
	return t.Flush()
}

func millis(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.2f s", v/1000)
	}
	return fmt.Sprintf("%.1f ms", v)
}
