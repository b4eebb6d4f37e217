package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process is one life of a worker, from its start to its end.
type process struct {
	cmd    *exec.Cmd
	conn   *net.UnixConn
	stderr *tail
	hello  hello
	loaded map[uint64]bool // models, of Cards.mu
	scored map[uint64]bool // models that have had a batch here, of Cards.mu

	writing sync.Mutex // of frames, which are queued in the order in which they are written

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*call
	queue   []*call     // in order, those that the worker computes or will
	watch   *time.Timer // of the first of them
	err     error       // why it ended
	done    chan struct{}
	drained chan struct{} // closed when all that it wrote was read
}

// call is a request to a worker.
type call struct {
	id    uint64
	limit time.Duration // for the answer once all before it are answered
	since time.Time     // when they were
	ended chan struct{}

	payload []byte
	took    time.Duration // from since on
	err     error
}

// diedError is why a worker ended, and with it all that it was asked.
type diedError struct{ reason error }

func (e *diedError) Error() string { return e.reason.Error() }
func (e *diedError) Unwrap() error { return e.reason }

// failedError is an error that a worker answered with.
type failedError struct{ failure }

func (e *failedError) Error() string { return e.Text }

// launch starts a worker, which opens its card.
func launch(cmd *exec.Cmd, ordinal int) (*process, error) {
	conn, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	p := &process{cmd: cmd, conn: conn, stderr: &tail{to: os.Stderr},
		loaded: map[uint64]bool{}, scored: map[uint64]bool{},
		pending: map[uint64]*call{}, done: make(chan struct{}), drained: make(chan struct{})}
	cmd.Env = append(cmd.Environ(), variable+"="+strconv.Itoa(ordinal))
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = p.stderr
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = time.Second // for what it started and left behind
	if err := cmd.Start(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	go func() {
		err := cmd.Wait()
		select {
		case <-p.drained: // its last words were read
		case <-time.After(time.Second):
		}
		p.finish(err)
	}()
	return p, nil
}

// open waits until the worker has its card. A worker that has not ends.
func (p *process) open(limit time.Duration) error {
	if err := p.greet(limit); err != nil {
		close(p.drained)
		if errors.Is(err, errEnded) { // and how tells more
			_ = p.conn.Close()
			select {
			case <-p.done:
			case <-time.After(killTime):
			}
		}
		p.die(err)
		<-p.done
		return p.reason()
	}
	go p.read()
	return nil
}

// errEnded is that a worker said nothing to the end.
var errEnded = errors.New("ended")

// greet reads the first frame.
func (p *process) greet(limit time.Duration) error {
	_ = p.conn.SetReadDeadline(time.Now().Add(limit))
	h, payload, err := readFrame(p.conn)
	var f failure
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the driver did not give the card within %v", limit)
	case errors.Is(err, errProtocol):
		return err
	case err != nil:
		return errEnded
	case h.kind == kindFailed:
		if err := json.Unmarshal(payload, &f); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		return &failedError{f}
	case h.kind != kindHello:
		return fmt.Errorf("%w: it begins with kind %d", errProtocol, h.kind)
	}
	if err := json.Unmarshal(payload, &p.hello); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	return p.conn.SetReadDeadline(time.Time{})
}

// reason returns why the worker ended; it has.
func (p *process) reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// finish fails what the worker was asked. That waits until the process is gone, so that the
// card's memory is free when another one starts, unless the driver holds it for too long.
func (p *process) finish(waited error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == nil {
		return
	}
	if p.err == nil {
		p.err = p.ended(waited)
	}
	if p.watch != nil {
		p.watch.Stop()
	}
	_ = p.conn.Close()
	close(p.done)
	for _, c := range p.pending {
		c.err = &diedError{p.err}
		close(c.ended)
	}
	p.pending, p.queue = nil, nil
}

// ended says for people how a process ended by itself.
func (p *process) ended(err error) error {
	what := "ended"
	if err != nil {
		what = "ended: " + err.Error()
	}
	if last := p.stderr.last(); last != "" {
		what += ": " + last
	}
	return errors.New(what)
}

// die ends the process for a reason; nil is that it ended by itself.
func (p *process) die(reason error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = reason
	}
	p.mu.Unlock()
	_ = p.cmd.Process.Kill()
	time.AfterFunc(killTime, func() { p.finish(nil) })
}

// killTime is how long a killed process may take to go. One that hangs in the driver may stay.
const killTime = 10 * time.Second

// read takes answers until there are no more.
func (p *process) read() {
	defer close(p.drained)
	for {
		h, payload, err := readFrame(p.conn)
		if err == nil {
			err = p.answer(h, payload)
		}
		if errors.Is(err, errProtocol) {
			p.die(err)
		}
		if err != nil {
			_ = p.conn.Close() // a worker that still runs ends with that
			return
		}
	}
}

// answer ends the call that a frame answers.
func (p *process) answer(h header, payload []byte) error {
	var failed error
	if h.kind == kindFailed {
		var f failure
		if err := json.Unmarshal(payload, &f); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		if failed = (&failedError{f}); f.Lost {
			p.die(failed) // it ends by itself, and all calls with it
			return nil
		}
	} else if h.kind != kindDone {
		return fmt.Errorf("%w: an answer of kind %d", errProtocol, h.kind)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.pending[h.id]
	if c == nil {
		return fmt.Errorf("%w: an answer to nothing", errProtocol)
	}
	if c.limit > 0 {
		if p.queue[0] != c {
			return fmt.Errorf("%w: an answer out of turn", errProtocol)
		}
		c.took = time.Since(c.since)
		p.queue = p.queue[1:]
		p.turn()
	}
	delete(p.pending, h.id)
	c.payload, c.err = payload, failed
	close(c.ended)
	return nil
}

// turn begins the time of the first call in the queue. p.mu is held.
func (p *process) turn() {
	if p.watch != nil {
		p.watch.Stop()
		p.watch = nil
	}
	if len(p.queue) == 0 {
		return
	}
	c := p.queue[0]
	c.since = time.Now()
	p.watch = time.AfterFunc(c.limit, func() {
		select {
		case <-c.ended: // just now
		default:
			p.die(fmt.Errorf("hangs: no answer within %v", c.limit.Round(100*time.Millisecond)))
		}
	})
}

// begin writes a request, whose payload stands in frame behind room for the header. With a
// limit it is one of those that are answered in order.
func (p *process) begin(kind byte, frame []byte, files []*os.File, limit time.Duration) *call {
	c := &call{limit: limit, ended: make(chan struct{})}
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	if p.pending == nil {
		c.err = &diedError{p.err}
		close(c.ended)
		p.mu.Unlock()
		return c
	}
	p.next++
	c.id = p.next
	p.pending[c.id] = c
	if limit > 0 {
		p.queue = append(p.queue, c)
		if len(p.queue) == 1 {
			p.turn()
		}
	}
	p.mu.Unlock()
	appendHeader(frame[:0], header{size: len(frame) - headerBytes, kind: kind, id: c.id})
	if err := send(p.conn, frame, files); err != nil {
		p.die(nil) // it ends, or has ended, and how tells more
	}
	return c
}

// ask is begin with a value for a payload, and the answer's into the one that answer points to.
func (p *process) ask(kind byte, v, answer any, files []*os.File, limit time.Duration) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c := p.begin(kind, append(make([]byte, headerBytes), payload...), files, limit)
	<-c.ended
	if c.err != nil || answer == nil {
		return c.err
	}
	if err := json.Unmarshal(c.payload, answer); err != nil {
		p.die(fmt.Errorf("%w: %w", errProtocol, err))
		return &diedError{err}
	}
	return nil
}

// tail passes on what a worker writes and keeps its last lines.
type tail struct {
	to   *os.File
	mu   sync.Mutex
	kept []byte
}

const tailBytes = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-tailBytes):]
	return t.to.Write(b)
}

// last returns the first of the lines that tells of a panic or fatal error, else the last.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := ""
	for l := range bytes.Lines(t.kept) {
		if s := strings.TrimSpace(string(l)); s != "" {
			line = s
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			break
		}
	}
	return line
}
