package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/load"
)

// benchLoad is warm bench load.
func (p *program) benchLoad() *cobra.Command {
	var cfg load.Config
	var prompt, answer string
	var asJSON bool
	var tolerated float64
	c := &cobra.Command{
		Use:   "load --url URL",
		Short: "Send a reward server what reinforcement-learning stacks send",
		Long: `load measures a running server, ours or another that speaks one of the dialects:
throughput, latencies and the statuses of the answers.

Dialects: reward is POST /v1/reward; openrlhf is POST /get_reward; classify is
vLLM's POST /classify, as verl calls it; predict is text-embeddings-inference's
POST /predict. A path in --url takes the place of the dialect's own.

Lengths are a number, uniform:A-B or lognormal:MEDIAN,SIGMA; in tokens with
--ids, else in words.

After a warm-up comes a window, --duration. Throughput is what was answered in the
window over its length, latencies and statuses are of the same requests, whenever
they were sent; so the figures hold where an answer takes longer than the window.
What is under way at its end is waited for, for --timeout at most, and checked:
an error in any part counts as failed. The three parts together are what the
server's own metrics count. A closed loop is steady once every client has been
answered; give --warmup that long, or latencies are too good.

The generator shares the machine with a local server: what it takes of the
processors, which is printed, is missing there.

Exit code 1 when a larger share of all requests than --max-failed was not answered
well, whatever the reason: a measurement of overload, which wants refusals, says how
many it allows.`,
		Example: `  warm bench load --url http://127.0.0.1:8080 --clients 256 --new-connections --duration 60s
  warm bench load --url http://127.0.0.1:8080 --dialect openrlhf --prompt 200 --answer lognormal:50,0.6
  warm bench load --url http://127.0.0.1:8080 --answers 8 --prompt 400 --answer 50 --ids 32000
  warm bench load --url http://127.0.0.1:8080 --rate 500 --clients 2000 --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if cfg.Prompt, err = load.ParseLength(prompt); err != nil {
				return usagef("--prompt: %w", err)
			}
			if cfg.Answer, err = load.ParseLength(answer); err != nil {
				return usagef("--answer: %w", err)
			}
			cfg.Key = cmp.Or(cfg.Key, p.getenv("WARM_API_KEY"))
			if err := cfg.Validate(); err != nil {
				return usageError{err}
			}
			if !(tolerated >= 0 && tolerated <= 1) {
				return usagef("--max-failed: %v, want a share in [0, 1]", tolerated)
			}
			return p.runLoad(c, cfg, asJSON, tolerated)
		},
	}
	l := c.Flags()
	l.StringVar(&cfg.URL, "url", "", "`address` of the server")
	l.StringVar(&cfg.Dialect, "dialect", "reward", "what is sent: "+strings.Join(load.Dialects(), ", "))
	l.StringVar(&cfg.Model, "model", "", "`name` of the model, where several are served")
	l.StringVar(&cfg.Key, "key", "", "API `key` (default the variable WARM_API_KEY)")
	l.IntVar(&cfg.Clients, "clients", 256, "clients; with --rate the most requests under way")
	l.DurationVar(&cfg.Duration, "duration", 30*time.Second, "the window: time to measure")
	l.DurationVar(&cfg.Warmup, "warmup", 2*time.Second, "time to send before the window")
	l.DurationVar(&cfg.Timeout, "timeout", 180*time.Second,
		"time for one request, also for those under way at the window's end")
	l.Float64Var(&cfg.Rate, "rate", 0,
		"requests per second, whatever the server does; 0 for clients that wait for their answers")
	l.BoolVar(&cfg.NewConnections, "new-connections", false, "a new connection for each request")
	l.BoolVar(&cfg.Backoff, "backoff", false, "clients wait as Retry-After says")
	l.StringVar(&prompt, "prompt", "200", "`length` of a prompt")
	l.StringVar(&answer, "answer", "50", "`length` of an answer")
	l.IntVar(&cfg.Answers, "answers", 1, "answers to a prompt in one request, as a GRPO group has them")
	l.IntVar(&cfg.Vocabulary, "ids", 0, "send token ids below `n` instead of text")
	l.IntVar(&cfg.Distinct, "distinct", 1024, "bodies made beforehand and sent in turn")
	l.Uint64Var(&cfg.Seed, "seed", 1, "of what is drawn")
	l.BoolVar(&cfg.Remote, "i-own-this-host", false, "allow a host other than this machine")
	l.BoolVar(&asJSON, "json", false, "print the report as JSON")
	l.Float64Var(&tolerated, "max-failed", 0,
		"`share` of the requests that may fail, in [0, 1]; more is exit code 1")
	refuses(c,
		rule{when: given(c, "rate"), why: "with --rate, whose requests are sent whatever the server does",
			flags: []string{"backoff"}},
		rule{when: func() bool { return !load.NamesModel(cfg.Dialect) },
			why:   "with this --dialect, which has no place for a model's name: choose it by ?model= in --url",
			flags: []string{"model"}},
	)
	return c
}

func (p *program) runLoad(c *cobra.Command, cfg load.Config, asJSON bool, tolerated float64) error {
	report, err := load.Run(c.Context(), cfg)
	if err != nil {
		return err
	}
	if err := p.tell(report, asJSON); err != nil {
		return err
	}
	total := report.Total.Ended()
	switch {
	case c.Context().Err() != nil:
		return interrupted("interrupted: the report is of the time until then")
	case report.Total.Requests == 0:
		return fmt.Errorf("no request was answered well: %v", report.Total.Statuses)
	case float64(report.Failed) > tolerated*float64(total):
		return fmt.Errorf("%d of %d requests failed, %.3g %%, more than --max-failed %g allows: %v",
			report.Failed, total, 100*float64(report.Failed)/float64(total), tolerated, report.Total.Statuses)
	}
	return nil
}
