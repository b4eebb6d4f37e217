package worker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process is one life of a worker, from its start to its end.
type process struct {
	cmd    *exec.Cmd
	conn   *net.UnixConn // of its work
	stderr *tail
	hello  hello
	loaded map[uint64]bool // models, of Cards.mu
	scored map[uint64]bool // models that have had a batch here, of Cards.mu

	writing sync.Mutex    // of frames, which are queued in the order in which they are written
	answers *bufio.Reader // of conn, of the first call in the queue
	talk    talk

	mu      sync.Mutex
	next    uint64
	greeted bool
	ended   bool
	queue   []*call     // in order, those that the worker computes or will
	watch   *time.Timer // fires at due, or before, while there is a queue
	due     time.Time   // zero when it does not
	err     error       // why it ended
	done    chan struct{}
	drained chan struct{} // closed when all that it wrote was read by somebody to whom it did not answer
}

// call is a request to a worker. Whoever asks reads the answer, once those before have read theirs: the
// goroutine that waits for it is the one that the system wakes.
type call struct {
	id    uint64
	limit time.Duration // for the answer once all before it are answered
	since time.Time     // when they were
	turn  chan struct{} // closed then; nil for the first in the queue
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
	work, talking, theirs, err := pairs()
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs)
	p := &process{cmd: cmd, conn: work, answers: bufio.NewReader(work), stderr: &tail{to: os.Stderr},
		loaded: map[uint64]bool{}, scored: map[uint64]bool{}, done: make(chan struct{}),
		drained: make(chan struct{})}
	p.talk.conn = talking
	cmd.Env = append(cmd.Environ(), variable+"="+strconv.Itoa(ordinal))
	cmd.ExtraFiles = theirs
	cmd.Stderr = p.stderr
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = time.Second // for what it started and left behind
	if err := cmd.Start(); err != nil {
		p.hangUp()
		return nil, err
	}
	go func() {
		err := cmd.Wait()
		if p.awaited() {
			select {
			case <-p.drained: // its last words were read
			case <-time.After(time.Second):
			}
		}
		p.finish(err)
	}()
	return p, nil
}

// hangUp closes the sockets: a worker that still runs ends with that.
func (p *process) hangUp() {
	_ = p.conn.Close()
	_ = p.talk.conn.Close()
}

// awaited says whether somebody waits for an answer.
func (p *process) awaited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.greeted || len(p.queue) > 0
}

// open waits until the worker has its card. A worker that has not ends.
func (p *process) open(limit time.Duration) error {
	err := p.greet(limit)
	if err == nil {
		p.mu.Lock()
		p.greeted = true
		p.mu.Unlock()
		return nil
	}
	ended := errors.Is(err, errEnded) // and how tells more
	if !ended {
		p.die(err) // before the end of the process can be taken for the reason
	}
	close(p.drained)
	if ended {
		p.hangUp()
		select {
		case <-p.done:
		case <-time.After(killTime):
		}
		p.die(err)
	}
	<-p.done
	return p.reason()
}

// errEnded is that a worker said nothing to the end.
var errEnded = errors.New("ended")

// greet reads the first frame.
func (p *process) greet(limit time.Duration) error {
	_ = p.conn.SetReadDeadline(time.Now().Add(limit))
	h, payload, err := readFrame(p.answers)
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

// finish ends the wait of those who asked the worker something. That is when the process is gone, so
// that the card's memory is free when another one starts, unless the driver holds it for too long.
func (p *process) finish(waited error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	if p.err == nil {
		p.err = p.words(waited)
	}
	if p.watch != nil {
		p.watch.Stop()
	}
	p.hangUp()
	close(p.done)
}

// words say for people how a process ended by itself.
func (p *process) words(err error) error {
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

// call has the worker do something, whose request stands in frame behind room for the header, and
// returns the answer's payload, and how long the worker took for it, if not for what it was asked before.
// Beyond the limit, counted from there on, it is taken for a worker that hangs.
func (p *process) call(kind byte, frame []byte, files []*os.File, limit time.Duration) (payload []byte,
	took time.Duration, err error) {
	c, err := p.write(kind, frame, files, limit)
	if err != nil {
		return nil, 0, err
	}
	if c.turn != nil {
		select {
		case <-c.turn:
		case <-p.done:
			return nil, 0, &diedError{p.reason()}
		}
	}
	h, payload, err := readFrame(p.answers)
	if err == nil {
		err = p.answer(h, payload, c)
	}
	if errors.Is(err, errProtocol) {
		p.die(err)
	}
	var failed *failedError
	if err != nil && !(errors.As(err, &failed) && !failed.Lost) {
		close(p.drained) // nobody behind reads, as it is no one's turn any more
		p.hangUp()
		<-p.done
		return nil, 0, &diedError{p.reason()}
	}
	return payload, p.answered(), err
}

// write queues a request and writes it.
func (p *process) write(kind byte, frame []byte, files []*os.File, limit time.Duration) (*call, error) {
	c := &call{limit: limit}
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	if p.ended {
		defer p.mu.Unlock()
		return nil, &diedError{p.err}
	}
	p.next++
	c.id = p.next
	if p.queue = append(p.queue, c); len(p.queue) == 1 {
		p.begin(c)
	} else {
		c.turn = make(chan struct{})
	}
	p.mu.Unlock()
	appendHeader(frame[:0], header{size: len(frame) - headerBytes, kind: kind, id: c.id})
	if err := send(p.conn, frame, files); err != nil {
		p.die(nil) // it ends, or has ended, and how tells more
	}
	return c, nil
}

// answer says what is wrong with a frame as the answer to a call, or the error that it is.
func (p *process) answer(h header, payload []byte, c *call) error {
	switch {
	case h.kind != kindDone && h.kind != kindFailed:
		return fmt.Errorf("%w: an answer of kind %d", errProtocol, h.kind)
	case h.kind == kindDone && h.id != c.id:
		return fmt.Errorf("%w: an answer to nothing", errProtocol)
	case h.kind == kindDone:
		return nil
	}
	var f failure
	if err := json.Unmarshal(payload, &f); err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	if f.Lost {
		p.die(&failedError{f}) // it ends by itself, and all calls with it
	} else if h.id != c.id {
		return fmt.Errorf("%w: an error of nothing", errProtocol)
	}
	return &failedError{f}
}

// answered takes the first call out of the queue, whose turn it is then the next one's, and returns how
// long it took.
func (p *process) answered() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := time.Since(p.queue[0].since)
	p.queue = slices.Delete(p.queue, 0, 1)
	if len(p.queue) > 0 {
		c := p.queue[0]
		p.begin(c)
		close(c.turn)
	}
	return took
}

// begin begins the time of the first call in the queue. The watch is set anew only if it would fire
// too late: setting a timer for every call costs more than to find at times that nothing is overdue.
// p.mu is held.
func (p *process) begin(c *call) {
	c.since = time.Now()
	due := c.since.Add(c.limit)
	switch {
	case p.watch == nil:
		p.watch = time.AfterFunc(c.limit, p.overdue)
	case p.due.IsZero() || due.Before(p.due):
		p.watch.Reset(c.limit)
	default:
		return
	}
	p.due = due
}

// overdue ends a worker that hangs.
func (p *process) overdue() {
	p.mu.Lock()
	p.due = time.Time{}
	if p.ended || len(p.queue) == 0 {
		p.mu.Unlock()
		return
	}
	c := p.queue[0]
	left := c.limit - time.Since(c.since)
	if left > 0 {
		p.due = time.Now().Add(left)
		p.watch.Reset(left)
	}
	p.mu.Unlock()
	if left <= 0 {
		p.die(fmt.Errorf("hangs: no answer within %v", c.limit.Round(100*time.Millisecond)))
	}
}

// ask is call with a value for a payload, and the answer's into the one that answer points to.
func (p *process) ask(kind byte, v, answer any, files []*os.File, limit time.Duration) error {
	payload, _, err := p.call(kind, frameOf(header{}, v), files, limit)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(payload, answer); err != nil {
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
