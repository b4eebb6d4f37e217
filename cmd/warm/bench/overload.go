package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/warmserve/warmserve/cmd/warm/load"
)

// overloadReport is what happened at three times the capacity.
type overloadReport struct {
	CapacityTokensPerS float64      `json:"capacity_tokens_per_s"` // in the closed loop before
	QueuedTokens       int          `json:"max_queued_tokens"`
	Load               *load.Report `json:"load"`
	Server             serverWindow `json:"server"`
	Ratio              float64      `json:"ratio"`       // tokens a second over the capacity
	IdleP50            float64      `json:"idle_p50_ms"` // of a client alone, before
	// from the last request sent until a client alone was answered in at most twice IdleP50, or 5 ms
	// more; null when none did in a minute
	RecoverySeconds *float64 `json:"recovery_seconds"`
	RSSBefore       float64  `json:"rss_bytes_before"` // 0 where the system does not say
}

// overloadFactor is the load offered, in capacities.
const overloadFactor = 3

// measureOverload sends the rate of the first dialect's runs, times three, to a
// server whose queue holds half a second of work: what is queued when the load ends is
// what recovery waits for.
func (b *Serve) measureOverload(ctx context.Context, checkpoint string,
	runs []servedRun) (*overloadReport, error) {
	var requests, tokens []float64
	for _, r := range runs {
		if r.Dialect == b.Dialects[0] {
			requests, tokens = append(requests, r.Load.RequestsPerS), append(tokens, r.Load.TokensPerS)
		}
	}
	out := &overloadReport{CapacityTokensPerS: median(tokens)}
	out.QueuedTokens = max(int(out.CapacityTokensPerS/2), 4*(b.Prompt+b.Answer))
	config := filepath.Join(filepath.Dir(checkpoint), "overload.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "limits: {max_queued_tokens: %d}\n",
		out.QueuedTokens), 0o600); err != nil {
		return nil, err
	}
	s, err := b.startServer(ctx, "--config", config, "--model", "bench="+checkpoint)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	alone := b.loadConfig(s.url, b.Dialects[0])
	alone.Clients, alone.Warmup, alone.Duration = 1, time.Second, max(2*time.Second, b.Duration/20)
	idle, w, err := s.load(ctx, alone)
	if err != nil {
		return nil, err
	}
	if idle.Latency.Count == 0 {
		return nil, fmt.Errorf("a client alone was not answered in %v", alone.Duration)
	}
	out.IdleP50, out.RSSBefore = idle.Latency.P50, w.RSSBytes

	c := b.loadConfig(s.url, b.Dialects[0])
	c.Rate = overloadFactor * median(requests)
	// ten seconds' worth: none goes unsent while the server answers or refuses
	c.Clients = max(2000, int(10*c.Rate))
	c.End = func() { out.RecoverySeconds = b.recovery(ctx, s, out.IdleP50) }
	fmt.Fprintf(b.Log, "overload: %.0f requests/s, %v\n", c.Rate, c.Warmup+c.Duration)
	if out.Load, out.Server, err = s.load(ctx, c); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	out.Ratio = out.Load.TokensPerS / out.CapacityTokensPerS
	return out, nil
}

// recovery is how long it takes until a client alone is answered again in at
// most twice its time before, or 5 ms more where that is longer: what a moment of
// another process takes. It is nil when that does not come about within a minute.
func (b *Serve) recovery(ctx context.Context, s *servedProcess, idle float64) *float64 {
	begin := time.Now()
	c := b.loadConfig(s.url, b.Dialects[0])
	c.Clients, c.Warmup, c.Distinct = 1, 0, 16
	c.Duration = max(20*time.Millisecond, time.Duration(3*idle*float64(time.Millisecond)))
	for time.Since(begin) < time.Minute && ctx.Err() == nil {
		at := time.Since(begin).Seconds()
		r, err := load.Run(ctx, c)
		if err == nil && r.Failed == 0 && r.Latency.Count > 0 && r.Latency.P50 <= max(2*idle, idle+5) {
			return &at
		}
	}
	return nil
}

var (
	errLoadFailed   = errors.New("requests failed")
	errNotRecovered = errors.New("the server did not recover from the overload within a minute")
)

// failure is an error when a request failed that should not have.
func (r *ServeReport) failure() error {
	var errs []error
	for _, run := range r.Runs {
		if run.Load.Failed > 0 {
			errs = append(errs, fmt.Errorf("%s, round %d: %d of %d %w: %v", run.Dialect, run.Round,
				run.Load.Failed, run.Load.Total.Ended(), errLoadFailed, run.Load.Total.Statuses))
		}
	}
	if o := r.Overload; o != nil {
		if other := o.Load.Failed - o.Load.Total.Statuses["503"]; other > 0 {
			errs = append(errs, fmt.Errorf("overload: %d %w but by 503: %v", other, errLoadFailed,
				o.Load.Total.Statuses))
		}
		if o.RecoverySeconds == nil {
			errs = append(errs, errNotRecovered)
		}
	}
	return errors.Join(errs...)
}
