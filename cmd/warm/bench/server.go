package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/warmserve/warmserve/cmd/warm/load"
)

// serverWindow is what a server's own metrics say of a window.
type serverWindow struct {
	Batches        float64 `json:"batches"`
	Sequences      float64 `json:"sequences"`       // computed
	Tokens         float64 `json:"tokens"`          // computed
	ComputeSeconds float64 `json:"compute_seconds"` // of batches
	CPUSeconds     float64 `json:"cpu_seconds"`     // of the process; 0 where the system does not say
	RSSBytes       float64 `json:"rss_bytes"`       // at the window's end; 0 where the system does not say
}

// window takes the difference of two scrapes.
func window(before, after map[string]float64) serverWindow {
	d := func(name string) float64 {
		sum := 0.0
		for k, v := range after {
			if series, _, _ := strings.Cut(k, "{"); series == name {
				sum += v - before[k]
			}
		}
		return sum
	}
	return serverWindow{
		Batches: d("warm_batch_tokens_count"), Sequences: d("warm_batch_sequences_sum"),
		Tokens:         d("warm_batch_tokens_sum"),
		ComputeSeconds: d("warm_batch_seconds_sum"), CPUSeconds: d("process_cpu_seconds_total"),
		RSSBytes: after["process_resident_memory_bytes"],
	}
}

// ParseMetrics reads Prometheus' text format: values by name and labels as they
// are written.
func ParseMetrics(r io.Reader) (map[string]float64, error) {
	out := map[string]float64{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<16), 1<<20)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q: %w", line, err)
		}
		out[line[:i]] = v
	}
	return out, lines.Err()
}

// servedProcess is a warm serve in a process of its own.
type servedProcess struct {
	url  string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{}
}

var serverListens = regexp.MustCompile(`msg=listening addr=(\S+)`)

// tail keeps the first bytes that a process writes.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[:min(len(p), max(0, 1<<16-len(t.buf)))]...)
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// startServer starts warm serve and waits until it is ready.
func (b *Serve) startServer(ctx context.Context, args ...string) (*servedProcess, error) {
	cmd, err := b.Command(append([]string{"serve", "--addr", "127.0.0.1:0", "--threads",
		strconv.Itoa(b.Threads), "--device", b.DeviceName, "--dtype", b.DType}, args...)...)
	if err != nil {
		return nil, err
	}
	s := &servedProcess{cmd: cmd, log: &tail{}, done: make(chan struct{})}
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // how it ended is asked of ProcessState
		close(s.done)
	}()
	ready := func() bool {
		m := serverListens.FindStringSubmatch(s.log.String())
		if m == nil {
			return false
		}
		s.url = m[1]
		r, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
	for !ready() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.done:
			return nil, fmt.Errorf("warm serve ended: %s: %s", cmd.ProcessState, s.log)
		case <-ctx.Done():
			s.stop()
			return nil, context.Cause(ctx)
		}
	}
	return s, nil
}

// stop lets the server drain, and waits.
func (s *servedProcess) stop() {
	if s.cmd.Process.Signal(syscall.SIGTERM) != nil {
		_ = s.cmd.Process.Kill() // a system without signals, or it has ended
	}
	<-s.done
}

// load sends a load and reads the server's metrics at both ends of its window.
func (s *servedProcess) load(ctx context.Context, c load.Config) (*load.Report, serverWindow, error) {
	var before, after map[string]float64
	var errBefore, errAfter error
	end := c.End
	c.Begin = func() { before, errBefore = s.metrics() }
	c.End = func() {
		after, errAfter = s.metrics()
		if end != nil {
			end()
		}
	}
	r, err := load.Run(ctx, c)
	if err = errors.Join(err, errBefore, errAfter); err != nil {
		return nil, serverWindow{}, err
	}
	return r, window(before, after), nil
}

func (s *servedProcess) metrics() (map[string]float64, error) {
	r, err := http.Get(s.url + "/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", r.Status)
	}
	return ParseMetrics(r.Body)
}
