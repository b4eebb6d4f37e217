package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// Coalesce says how a Client joins the requests of concurrent callers.
type Coalesce struct {
	// MaxAnswers bounds the answers of one joined request; default 256. A
	// caller's own request that has more is sent alone.
	MaxAnswers int
	// MaxBytes bounds the text of one joined request, with a prompt counted for
	// each of its answers and a token id as one byte; default 1 MiB, so that the
	// request stays below a server's limits of bytes and tokens. A caller's own
	// request that has more is sent alone.
	MaxBytes int
	// InFlight is how many joined requests of one kind are under way at once;
	// default 2: one is computed while the next is on its way.
	InFlight int
	// Window is how long a request waits for others when none is in flight;
	// default 0. While as many are in flight as may be, others gather anyway.
	Window time.Duration
}

// WithCoalescing lets callers that are scored alike (model, mode and the rest,
// all but the inputs) share requests: a program with a goroutine for each
// sample then costs the server and the network little more than one with
// batches. Each caller gets its own part of the reply, as if it had been alone.
// When a joined request is refused for an input, or for its size, its halves are
// sent, and theirs, so that only the caller at fault is refused.
func WithCoalescing(o Coalesce) Option {
	return func(c *Client) {
		o.MaxAnswers = cmp.Or(o.MaxAnswers, 256)
		o.MaxBytes = cmp.Or(o.MaxBytes, 1<<20)
		o.InFlight = cmp.Or(o.InFlight, 2)
		c.coalescer = &coalescer{Coalesce: o, client: c, groups: map[string]*group{}}
	}
}

// coalescer joins requests.
type coalescer struct {
	Coalesce
	client *Client

	mu     sync.Mutex
	groups map[string]*group // by what the requests have in common; only those with work
}

// group is the callers whose requests may be joined, oldest first. The
// coalescer's lock guards it.
type group struct {
	key      string
	waiting  []*caller
	inFlight int
	timer    *time.Timer // of the window; nil when none runs
}

// caller is one call of Reward. The coalescer's lock guards joined and left.
type caller struct {
	ctx     context.Context
	req     *RewardRequest
	answers int
	bytes   int
	joined  *joined       // the request it is part of; nil while it waits
	left    bool          // its context ended before there was a reply
	done    chan struct{} // closed when reply and err are set
	reply   *RewardResponse
	err     error
}

// joined is a request of several callers.
type joined struct {
	callers []*caller
	waiting int // callers that have not left
	cancel  context.CancelFunc
}

// reward is Client.Reward through the coalescer.
func (o *coalescer) reward(ctx context.Context, req *RewardRequest) (*RewardResponse, error) {
	answers, bytes := 0, 0
	for i := range req.Inputs {
		answers += req.Inputs[i].Count()
		bytes += req.Inputs[i].bytes()
	}
	if answers == 0 || answers > o.MaxAnswers || bytes > o.MaxBytes {
		return o.client.rewardAlone(ctx, req)
	}
	head := *req
	head.Inputs = nil
	key, err := json.Marshal(&head)
	if err != nil {
		return o.client.rewardAlone(ctx, req)
	}
	c := &caller{ctx: ctx, req: req, answers: answers, bytes: bytes, done: make(chan struct{})}
	o.enter(string(key), c)
	select {
	case <-c.done:
		return c.reply, c.err
	case <-ctx.Done():
		o.leave(string(key), c)
		return nil, ctx.Err()
	}
}

func (o *coalescer) enter(key string, c *caller) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.groups[key]
	if g == nil {
		g = &group{key: key}
		o.groups[key] = g
	}
	g.waiting = append(g.waiting, c)
	if o.Window == 0 {
		o.send(g)
		return
	}
	switch {
	case o.full(g):
		o.send(g)
	case g.timer == nil && g.inFlight < o.InFlight:
		g.timer = time.AfterFunc(o.Window, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			g.timer = nil
			o.send(g)
		})
	}
}

// full reports whether the callers who wait make up a request, or more.
func (o *coalescer) full(g *group) bool {
	answers, bytes := 0, 0
	for _, c := range g.waiting {
		answers, bytes = answers+c.answers, bytes+c.bytes
	}
	return answers >= o.MaxAnswers || bytes >= o.MaxBytes
}

// leave takes out a caller whose context has ended. A request that nobody
// waits for any more is cancelled.
func (o *coalescer) leave(key string, c *caller) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c.left = true
	if j := c.joined; j != nil {
		if j.waiting--; j.waiting == 0 {
			j.cancel()
		}
		return
	}
	if g := o.groups[key]; g != nil {
		g.waiting = slices.DeleteFunc(g.waiting, func(w *caller) bool { return w == c })
		o.drop(g)
	}
}

// drop forgets a group that has no work.
func (o *coalescer) drop(g *group) {
	if len(g.waiting) == 0 && g.inFlight == 0 && o.groups[g.key] == g {
		if g.timer != nil {
			g.timer.Stop()
			g.timer = nil
		}
		delete(o.groups, g.key)
	}
}

// send starts as many joined requests as may be in flight. Its goroutines end
// with their requests.
func (o *coalescer) send(g *group) {
	for len(g.waiting) > 0 && g.inFlight < o.InFlight {
		n, answers, bytes := 0, 0, 0
		for n < len(g.waiting) {
			c := g.waiting[n]
			if answers, bytes = answers+c.answers, bytes+c.bytes; n > 0 &&
				(answers > o.MaxAnswers || bytes > o.MaxBytes) {
				break
			}
			n++
		}
		j := join(slices.Clone(g.waiting[:n]))
		g.waiting = slices.Delete(g.waiting, 0, n)
		ctx := j.context()
		g.inFlight++
		go o.run(ctx, g, j)
	}
}

// join makes one request of callers.
func join(callers []*caller) *joined {
	j := &joined{callers: callers, waiting: len(callers)}
	for _, c := range callers {
		c.joined = j
	}
	return j
}

// context returns the context of a joined request: it ends when the last of
// the callers' does.
func (j *joined) context() context.Context {
	// The callers' values, as of traces, belong to each; a request of one caller keeps them.
	ctx := context.Background()
	if len(j.callers) == 1 {
		ctx = context.WithoutCancel(j.callers[0].ctx)
	}
	var latest time.Time
	for _, c := range j.callers {
		deadline, ok := c.ctx.Deadline()
		if !ok {
			latest = time.Time{}
			break
		}
		if deadline.After(latest) {
			latest = deadline
		}
	}
	if latest.IsZero() {
		ctx, j.cancel = context.WithCancel(ctx)
	} else {
		ctx, j.cancel = context.WithDeadline(ctx, latest)
	}
	return ctx
}

// run sends a joined request and hands out its parts.
func (o *coalescer) run(ctx context.Context, g *group, j *joined) {
	defer j.cancel()
	o.score(ctx, j)
	o.mu.Lock()
	defer o.mu.Unlock()
	g.inFlight--
	o.send(g)
	o.drop(g)
}

func (o *coalescer) score(ctx context.Context, j *joined) {
	req := *j.callers[0].req
	req.Inputs = nil
	for _, c := range j.callers {
		req.Inputs = append(req.Inputs, c.req.Inputs...)
	}
	reply, err := o.client.rewardAlone(ctx, &req)
	if e, ok := errors.AsType[*Error](err); ok && len(j.callers) > 1 && e.ofInput() {
		o.halve(j)
		return
	}
	at := 0
	for _, c := range j.callers {
		if err == nil && len(j.callers) > 1 {
			c.reply, c.err = part(reply, at, c)
		} else {
			c.reply, c.err = reply, err
		}
		at += len(c.req.Inputs)
		close(c.done)
	}
}

// halve scores a joined request in two, without the callers that have left.
func (o *coalescer) halve(j *joined) {
	middle := len(j.callers) / 2
	var both sync.WaitGroup
	for _, callers := range [][]*caller{j.callers[:middle], j.callers[middle:]} {
		o.mu.Lock()
		callers = slices.DeleteFunc(slices.Clone(callers), func(c *caller) bool { return c.left })
		half := join(callers)
		ctx := half.context()
		o.mu.Unlock()
		both.Go(func() {
			defer half.cancel()
			if len(callers) > 0 {
				o.score(ctx, half)
			}
		})
	}
	both.Wait()
}

// ofInput reports whether a request was refused for one of its inputs or for how
// many there are, and not for what all its inputs have in common.
func (e *Error) ofInput() bool {
	return e.Status == http.StatusRequestEntityTooLarge || strings.HasPrefix(e.Param, "inputs[")
}

// shift returns e of the input at from, said of the one at to.
func (e *Error) shift(from, to int) *Error {
	rest, ok := strings.CutPrefix(e.Param, fmt.Sprintf("inputs[%d]", from))
	if !ok {
		return e
	}
	out := *e
	out.Param = fmt.Sprintf("inputs[%d]%s", to, rest)
	return &out
}

// part returns the reply to one caller of a joined request, whose inputs begin
// at the first-th.
func part(reply *RewardResponse, first int, c *caller) (*RewardResponse, error) {
	out := *reply
	out.Data, out.Usage = nil, Usage{}
	for _, r := range reply.Data {
		if r.Input < first || r.Input >= first+len(c.req.Inputs) {
			continue
		}
		if r.Error != nil {
			r.Error = r.Error.shift(r.Input, r.Input-first)
		}
		r.Index, r.Input = len(out.Data), r.Input-first
		out.Data = append(out.Data, r)
		out.Usage.PromptTokens += r.Tokens
	}
	out.Usage.TotalTokens = out.Usage.PromptTokens
	if len(out.Data) != c.answers {
		return nil, Errorf(CodeInternal, "", "the server answered %d of %d answers", len(out.Data), c.answers)
	}
	return &out, nil
}
