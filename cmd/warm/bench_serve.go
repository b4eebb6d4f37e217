package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/bench"
	"github.com/warmserve/warmserve/cmd/warm/load"
)

func (p *program) benchServe() *cobra.Command {
	b := bench.Serve{Command: ownCommand, Log: p.stderr}
	var asJSON bool
	var report, device string
	c := &cobra.Command{
		Use:   "serve --random CONFIG.json",
		Short: "Measure what the server loses of the engine's speed under load",
		Long: `serve starts warm serve on random weights with a small tokenizer, loads it as
warm bench load does, one sample a request and a new connection each, and then lets
the engine alone compute batches of the shape that the server's metrics say it
formed. It prints tokens/s of both, their ratio and latencies; rounds alternate.

The generator shares the processors with the server. Beside the raw ratio stands
the one without the generator: tokens/s ÷ (1 − generator's processor time ÷
(processors × time)), over the engine's. It is a computed figure, not a measured one.

With --overload a second server with a queue of half a second is sent three times the
measured rate, whatever it answers: throughput against capacity, refusals with
their Retry-After, and the time from the end of it until a client alone waits no
longer than twice as long as before, or 5 ms more.`,
		Example: `  warm bench serve --random cmd/warm/testdata/minilm6x384.json
  warm bench serve --random cmd/warm/testdata/qwen3-0.6b.json --clients 24 --warmup 20s --rounds 1
  warm bench serve --random config.json --dialects reward --overload --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			e, err := p.compute(device, b.Threads)
			if err != nil {
				return err
			}
			defer e.Close()
			b.Device, b.DeviceName = e, cmp.Or(device, p.getenv(deviceVariable), "auto")
			if onCPU(e) {
				b.DeviceName = "cpu"
			}
			return p.runBenchServe(c.Context(), &b, asJSON, report)
		},
	}
	f := c.Flags()
	f.StringVar(&b.Random, "random", "", "a Hugging Face config.json; weights are random")
	f.StringVar(&b.DType, "dtype", "",
		"number format: float32, bfloat16, int8 (the CPU) or fp8 (cards) (default float32 on the CPU, bfloat16 on a card)")
	deviceFlag(c, &device)
	f.IntVar(&b.Threads, "threads", runtime.GOMAXPROCS(0), "workers of server and engine")
	f.StringSliceVar(&b.Dialects, "dialects", []string{"reward", "openrlhf"},
		"wire formats, in turn: "+strings.Join(load.Dialects(), ", "))
	f.IntVar(&b.Clients, "clients", 256, "clients that wait for their answers")
	f.BoolVar(&b.Keep, "keep-connections", false, "keep connections between requests")
	f.IntVar(&b.Prompt, "prompt", 96, "tokens of a prompt")
	f.IntVar(&b.Answer, "answer", 32, "tokens of an answer")
	f.DurationVar(&b.Warmup, "warmup", 5*time.Second, "time of load before each window")
	f.DurationVar(&b.Duration, "duration", 60*time.Second, "time of each window")
	f.DurationVar(&b.Timeout, "timeout", 180*time.Second, "time for one request")
	f.IntVar(&b.Rounds, "rounds", 1, "windows of each dialect, in turn")
	f.IntVar(&b.EngineRounds, "engine-rounds", 20, "batches that the engine computes beside each window")
	f.BoolVar(&b.Overload, "overload", false, "measure three times the capacity too")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.StringVar(&report, "report", "", "write the JSON to a `file` too")
	return c
}

// ownCommand runs this program.
func ownCommand(args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(exe, args...), nil
}

// runBenchServe measures, prints what was measured, and writes it to a file when that was asked for.
func (p *program) runBenchServe(ctx context.Context, b *bench.Serve, asJSON bool, file string) error {
	r, err := b.Run(ctx)
	if r == nil {
		return err
	}
	if file != "" {
		data, e := json.MarshalIndent(r, "", "  ")
		err = errors.Join(err, e, os.WriteFile(file, append(data, '\n'), 0o644))
	}
	return errors.Join(p.tell(r, asJSON), err)
}
