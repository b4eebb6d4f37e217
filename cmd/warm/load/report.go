package load

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// Report is what a run measured.
type Report struct {
	URL            string         `json:"url"`
	Dialect        string         `json:"dialect"`
	Loop           string         `json:"loop"` // "closed" or "open"
	Clients        int            `json:"clients"`
	Rate           float64        `json:"rate_per_s,omitempty"` // asked for
	NewConnections bool           `json:"new_connections"`
	Prompt         string         `json:"prompt"`
	Answer         string         `json:"answer"`
	Unit           string         `json:"unit"` // of the lengths: "tokens" or "words"
	Answers        int            `json:"answers_per_request"`
	Seconds        float64        `json:"seconds"`
	Processors     int            `json:"processors"` // that the generator may use
	Go             string         `json:"go"`
	RequestsPerS   float64        `json:"requests_per_s"` // answered well, within the time
	AnswersPerS    float64        `json:"answers_per_s"`
	TokensPerS     float64        `json:"tokens_per_s,omitempty"` // as the server counts; else as sent, where ids were sent
	UnitsPerS      float64        `json:"units_per_s"`            // as sent
	Connections    int64          `json:"connections"`
	Statuses       map[string]int `json:"statuses"` // and other ends, by name
	Failed         int            `json:"failed"`   // all but 200
	Unsent         int            `json:"unsent"`   // open loop: due while too many were under way
	Example        string         `json:"example_of_failure,omitempty"`
	Latency        Latency        `json:"latency"`           // of the answered
	Refused        *Latency       `json:"refused,omitempty"` // of the others
}

func (r *runner) report(took time.Duration) *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := took.Seconds()
	out := &Report{
		URL: r.url, Dialect: r.Dialect, Loop: "closed", Clients: r.Clients, Rate: r.Rate, NewConnections: r.NewConnections,
		Prompt: r.Prompt.String(), Answer: r.Answer.String(), Unit: "words", Answers: r.Answers,
		Seconds: s, Processors: runtime.GOMAXPROCS(0), Go: runtime.Version(),
		Connections: r.dialled.Load(), Statuses: r.statuses, Unsent: r.unsent, Example: r.example, Latency: r.answered.latency(),
	}
	if s > 0 {
		out.RequestsPerS, out.AnswersPerS = float64(r.requests)/s, float64(r.answers)/s
		out.TokensPerS, out.UnitsPerS = float64(r.tokens)/s, float64(r.units)/s
	}
	if r.Rate > 0 {
		out.Loop = "open"
	}
	if r.Vocabulary > 0 {
		out.Unit = "tokens"
		if r.tokens == 0 {
			out.TokensPerS = out.UnitsPerS
		}
	}
	if r.refused.n > 0 {
		l := r.refused.latency()
		out.Refused = &l
	}
	for status, n := range r.statuses {
		if status != "200" {
			out.Failed += n
		}
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
	row("load", "%s, %s: %s; prompt %s, answer %s %s, %d a request", r.URL, pace, kept, r.Prompt, r.Answer, r.Unit, r.Answers)
	row("time", "%.1f s, %d processors for the generator, %s", r.Seconds, r.Processors, r.Go)
	row("throughput", "%.1f requests/s, %.1f answers/s, %.0f %s/s sent", r.RequestsPerS, r.AnswersPerS, r.UnitsPerS, r.Unit)
	if r.TokensPerS > 0 {
		row("", "%.0f tokens/s scored", r.TokensPerS)
	}
	latency := func(name string, l Latency) {
		row(name, "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s, mean %s", millis(l.P50), millis(l.P90), millis(l.P99), millis(l.P999), millis(l.Max), millis(l.Mean))
	}
	latency("latency", r.Latency)
	if r.Refused != nil {
		latency("until refused", *r.Refused)
	}
	for _, status := range slices.Sorted(maps.Keys(r.Statuses)) {
		row("answers "+status, "%d", r.Statuses[status])
	}
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
