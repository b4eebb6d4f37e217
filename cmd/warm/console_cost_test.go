package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/cmd/warm/load"
	"github.com/warmserve/warmserve/server"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
)

// costOfConsole, when set in the environment, has the cost of an open console measured: it
// takes minutes, and figures of a machine rather than right and wrong. In a child it is
// "child".
const costOfConsole = "WARM_CONSOLE_COST"

// TestServesForNothing is the child: a server with the console whose model costs nothing,
// so that a small machine has the traffic of a large one.
func TestServesForNothing(t *testing.T) {
	if os.Getenv(costOfConsole) != "child" {
		t.Skip("the server of TestWhatAnOpenConsoleCosts")
	}
	models := live.NewModels()
	info := live.Info{Model: api.Model{ID: "free", Revision: "1", ContextLength: 4096}}
	_, err := models.Swap(live.NewModel(info, func(in *api.Input, _ live.PrepareOptions) ([]live.Prepared, error) {
		out := make([]live.Prepared, len(in.Responses))
		for i, answer := range in.Responses {
			out[i].Sequence.IDs = make([]int32, 1+len(answer))
		}
		return out, nil
	}, func(dst []float32, answers []batch.Sequence) error {
		for i, a := range answers {
			dst[i] = -float32(len(a.IDs))
		}
		return nil
	}))
	require.NoError(t, err)
	s, err := server.New(server.Config{}, models)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := untilSignal()
	defer stop()
	fmt.Printf("http://%s\n", ln.Addr())
	require.NoError(t, s.Run(ctx, ln))
}

// TestWhatAnOpenConsoleCosts offers a server 200 requests of 64 answers a second, alternately
// with the page Live open in a browser and without, five times each, and prints the
// processor time of the server for a reward: by getrusage, over its whole life. An idle
// server with the page tells the page's part alone, without the noise of the traffic:
// on a machine where other work runs that is the figure to go by.
func TestWhatAnOpenConsoleCosts(t *testing.T) {
	if os.Getenv(costOfConsole) != "1" {
		t.Skipf("set %s=1: it takes four minutes", costOfConsole)
	}
	const runs, window = 5, 12 * time.Second
	var costs [2][]float64 // microseconds a reward; without and with the page
	var rates []float64
	for run := range runs {
		for with := range 2 {
			rewards, rate := 0, 0.0
			cpu := ofFreeServer(t, with == 1, func(url string) {
				prompt, err := load.ParseLength("2")
				require.NoError(t, err)
				r, err := load.Run(t.Context(), load.Config{URL: url, Dialect: "reward", Clients: 64, Rate: 200, Warmup: time.Second,
					Duration: window, Timeout: time.Minute, Prompt: prompt, Answer: prompt, Answers: 64, Distinct: 256, Seed: 1})
				require.NoError(t, err)
				require.Zero(t, r.Failed)
				rewards, rate = r.Total.Answers, r.AnswersPerS
			})
			costs[with] = append(costs[with], 1e6*cpu.Seconds()/float64(rewards))
			rates = append(rates, rate)
			fmt.Printf("run %d, %s: %.3f µs a reward, %.0f rewards/s\n", run+1, []string{"no page", "page   "}[with], costs[with][run], rate)
		}
	}
	for i := range costs {
		slices.Sort(costs[i])
	}
	slices.Sort(rates)
	without, with := costs[0][runs/2], costs[1][runs/2]
	fmt.Printf("medians at %.0f rewards/s: %.3f µs a reward without the page, %.3f with it: %+.2f %%\n", rates[len(rates)/2], without, with, 100*(with/without-1))

	// What a longer look takes more is the page's own; the shorter one has its opening.
	const shorter, longer = 8 * time.Second, 38 * time.Second
	idle := func(page bool, d time.Duration) float64 {
		return ofFreeServer(t, page, func(string) { time.Sleep(d) }).Seconds()
	}
	none, opened, open := idle(false, shorter), idle(true, shorter), idle(true, longer)
	each := (open - opened) / (longer - shorter).Seconds()
	used := without / 1e6 * rates[len(rates)/2]
	fmt.Printf("idle server: %.1f ms to open the page, then %.2f ms a second: %.3f %% of %d processors, %.2f %% of what the traffic above takes\n",
		1e3*(opened-none-each*shorter.Seconds()), 1e3*each, 100*each/float64(runtime.NumCPU()), runtime.NumCPU(), 100*each/used)
}

// ofFreeServer returns the processor time of a server's life, in which work is done, with
// or without the page Live open in a browser.
func ofFreeServer(t *testing.T, page bool, work func(url string)) time.Duration {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run", "^TestServesForNothing$")
	c.Env = append(os.Environ(), costOfConsole+"=child")
	c.Stderr = nil // a line for each request
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	defer c.Process.Kill()
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	url := lines.Text()
	if page {
		// A tab of its own, for as long as the server.
		t.Run("page", func(t *testing.T) {
			b := newTab(t, url)
			b.open("/#/live")
			work(url)
			require.Greater(t, js[int](b, `performance.getEntriesByType('resource').filter(e => e.name.endsWith('/metrics')).length`), 2, "the page looked")
		})
	} else {
		work(url)
	}
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	for lines.Scan() { // what the test framework says at the end
	}
	require.NoError(t, c.Wait())
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime()
}
