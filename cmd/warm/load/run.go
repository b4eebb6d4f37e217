package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Run sends the load and returns what came of it. It ends early when ctx does,
// with what was measured until then.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if !c.Remote {
		if err := checkHost(ctx, c.URL); err != nil {
			return nil, err
		}
	}
	bodies, err := c.bodies()
	if err != nil {
		return nil, err
	}
	r := &runner{Config: c, url: c.target(), bodies: bodies, dialect: dialects[c.Dialect]}
	r.client = &http.Client{Transport: r.transport()}
	defer r.client.CloseIdleConnections()
	r.begin = time.Now().Add(c.Warmup)
	r.last = r.begin.Add(c.Duration)
	r.end = r.last
	sending, stop := context.WithDeadline(ctx, r.last)
	defer stop()
	var window sync.WaitGroup
	window.Go(func() { r.window(sending) })
	if c.Rate > 0 {
		r.open(sending)
	} else {
		r.closed(sending)
	}
	window.Wait()
	return r.report(), nil
}

// runner is a load under way. Its lock guards what is below it.
type runner struct {
	Config
	url     string
	bodies  []request
	dialect dialect
	client  *http.Client
	begin   time.Time    // of the window
	last    time.Time    // nothing is sent from here on
	next    atomic.Int64 // body
	dialled atomic.Int64

	mu       sync.Mutex
	end      time.Time     // of the window: last, or when the caller stopped it
	cpu      time.Duration // that this process took in the window
	cpuKnown bool
	parts    [3]Tally  // before, in and after the window, by when the answer came
	answered histogram // latencies of good replies in the window
	refused  histogram // latencies of the others in it
	example  string    // of a failure that is no status
	unsent   int
}

// window waits for the measured time to begin and to end, and takes the
// processor time between.
func (r *runner) window(sending context.Context) {
	wait := func(t time.Time) {
		select {
		case <-time.After(time.Until(t)):
		case <-sending.Done():
		}
	}
	var hooks sync.WaitGroup
	defer hooks.Wait()
	call := func(f func()) {
		if f != nil {
			hooks.Go(f)
		}
	}
	wait(r.begin)
	call(r.Begin)
	before, ok := ProcessCPU()
	wait(r.last)
	now := time.Now()
	after, _ := ProcessCPU()
	call(r.End)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.last) {
		r.end = now
	}
	r.cpu, r.cpuKnown = after-before, ok
}

func (r *runner) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: r.Timeout}
	if !r.Remote {
		dialer.Control = onlyLoopback
	}
	return &http.Transport{
		Proxy: nil, // what is measured is the server
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			r.dialled.Add(1)
			return dialer.DialContext(ctx, network, addr)
		},
		DisableKeepAlives: r.NewConnections, DisableCompression: true,
		MaxIdleConns: r.Clients, MaxIdleConnsPerHost: r.Clients, IdleConnTimeout: time.Minute,
	}
}

// closed runs clients that wait for their answers.
func (r *runner) closed(sending context.Context) {
	var clients sync.WaitGroup
	for range r.Clients {
		clients.Go(func() {
			for sending.Err() == nil {
				wait := r.send(time.Now())
				if wait > 0 && r.Backoff {
					select {
					case <-time.After(wait):
					case <-sending.Done():
					}
				}
			}
		})
	}
	clients.Wait()
}

// open sends at random moments of a constant rate (a Poisson process).
func (r *runner) open(sending context.Context) {
	rng := rand.New(rand.NewPCG(r.Seed, 0xa221))
	slots := make(chan struct{}, r.Clients)
	var under sync.WaitGroup
	defer under.Wait()
	next := time.Now()
	for {
		next = next.Add(time.Duration(rng.ExpFloat64() / r.Rate * float64(time.Second)))
		due := next
		// What was due before the end is sent, also by a generator that lags.
		if due.After(r.last) || errors.Is(sending.Err(), context.Canceled) {
			return
		}
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-sending.Done():
				return
			}
		}
		select {
		case slots <- struct{}{}:
			under.Go(func() {
				r.send(due)
				<-slots
			})
		default:
			r.skip(due)
		}
	}
}

// skip counts a request that was due while as many as allowed were under way.
func (r *runner) skip(due time.Time) {
	if due.Before(r.begin) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsent++
}

// send sends the next body, which was due at a moment, and records what comes
// back. It returns what Retry-After asks for.
func (r *runner) send(due time.Time) (wait time.Duration) {
	req := &r.bodies[int(r.next.Add(1)-1)%len(r.bodies)]
	// Requests outlive the time of sending: each has its own.
	ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
	defer cancel()
	got, status, wait, err := r.exchange(ctx, req)
	done := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	in, part := false, &r.parts[0]
	switch {
	case done.After(r.end):
		part = &r.parts[2]
	case !done.Before(r.begin):
		in, part = true, &r.parts[1]
	}
	part.count(status, wait, err == nil, got, req.units)
	if err != nil && r.example == "" && status != strconv.Itoa(http.StatusServiceUnavailable) {
		r.example = err.Error()
	}
	switch {
	case !in:
	case err != nil:
		r.refused.add(done.Sub(due))
	default:
		r.answered.add(done.Sub(due))
	}
	return wait
}

// exchange posts a body and reads the reply. status is the reply's, or a word.
func (r *runner) exchange(ctx context.Context, q *request) (got outcome, status string,
	wait time.Duration, err error) {
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(q.body))
	if err != nil {
		return got, "other", 0, err
	}
	hr.Header.Set("Content-Type", "application/json")
	if r.dialect.says {
		hr.Header.Set("X-Request-Timeout", strconv.FormatFloat(r.Timeout.Seconds(), 'f', 3, 64))
	}
	if r.Key != "" {
		hr.Header.Set("Authorization", "Bearer "+r.Key)
	}
	resp, err := r.client.Do(hr)
	if err != nil {
		return got, failure(err), 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return got, failure(err), 0, err
	}
	status = strconv.Itoa(resp.StatusCode)
	if resp.StatusCode != http.StatusOK {
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
			wait = time.Duration(s) * time.Second
		}
		return got, status, wait, fmt.Errorf("%s: %.300s", resp.Status, body)
	}
	got, err = r.dialect.count(body, resp.Header)
	if err == nil && got.answers != q.answers {
		err = fmt.Errorf("%d rewards for %d answers", got.answers, q.answers)
	}
	if err != nil {
		return got, "bad reply", 0, err
	}
	return got, status, 0, nil
}

// failure names the kind of an error that is no reply.
func failure(err error) string {
	switch {
	case errors.Is(err, ErrRemote):
		return "not this machine"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	return "other"
}
