package rl

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/warmserve/warmserve/api"
)

// errReply is wrapped by errors of a reply that was read and says something else
// than rewards of what was asked: it will not pass.
var errReply = errors.New("the reply has no reward of every answer")

// Client is a [Scorer] that asks a server over HTTP. It survives restarts and
// swaps of the server: a request that found none, or one that is not ready or
// overloaded, is sent again until ClientConfig.Timeout. It is safe for concurrent
// use.
type Client struct {
	config ClientConfig
	native *api.Client
	http   *http.Client
	url    string // of the dialect's route

	mu   sync.Mutex
	down time.Time // since when no request was answered; zero when the server is there
}

// Dialect names how rewards are asked for.
type Dialect string

const (
	// Native is POST /v1/reward with prompt and answers, which shares the prompt's
	// computation and renders the reward model's own chat template.
	Native Dialect = "native"
	// OpenRLHF is POST /get_reward with whole texts, special tokens written out.
	OpenRLHF Dialect = "openrlhf"
)

// ClientConfig says where rewards come from.
type ClientConfig struct {
	URL     string
	Model   string // "" when the server has one
	Mode    string // wa, ens, member:NAME; "" is the model's own
	Dialect Dialect
	Key     string // sent as a bearer token
	// PerRequest is how many answers of a group a request carries; 0 is all. A group
	// in several requests is scored again, in one, when their revisions differ.
	PerRequest int
	// Connections is how many requests are under way at most; default 16.
	Connections int
	// Timeout is how long an answer is waited for, all repetitions together;
	// default 10 minutes. Attempt is how long one request may take; default 60 s.
	Timeout, Attempt time.Duration
	// Transport, when not nil, makes what requests go through of the client's own, as
	// one that traces them.
	Transport func(http.RoundTripper) http.RoundTripper
	// Say is told, once each time, that the server cannot be reached and that it is
	// back; may be nil.
	Say func(message string)
}

// NewClient returns a client of a server.
func NewClient(c ClientConfig) (*Client, error) {
	c.Dialect = cmp.Or(c.Dialect, Native)
	c.Connections = cmp.Or(c.Connections, 16)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Minute)
	c.Attempt = cmp.Or(c.Attempt, time.Minute)
	if c.PerRequest < 0 || c.Connections < 1 || c.Timeout < 0 || c.Attempt < 0 {
		return nil, fmt.Errorf("rewards: %d answers a request over %d connections within %v, each within %v: want none below 0", c.PerRequest, c.Connections, c.Timeout, c.Attempt)
	}
	if c.Dialect != Native && c.Dialect != OpenRLHF {
		return nil, fmt.Errorf("rewards: dialect %q, want %s or %s", c.Dialect, Native, OpenRLHF)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = c.Connections
	out := &Client{config: c, http: &http.Client{Transport: t}}
	if c.Transport != nil {
		out.http.Transport = c.Transport(t)
	}
	var err error
	if out.native, err = api.NewClient(c.URL, api.WithKey(c.Key), api.WithHTTPClient(out.http)); err != nil {
		return nil, err
	}
	query := url.Values{}
	for name, v := range map[string]string{"model": c.Model, "mode": c.Mode} {
		if v != "" {
			query.Set(name, v)
		}
	}
	out.url = strings.TrimRight(c.URL, "/") + "/get_reward?" + query.Encode()
	return out, nil
}

// Score implements [Scorer].
func (c *Client) Score(ctx context.Context, groups []Group) ([]Scored, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]Scored, len(groups))
	room := make(chan struct{}, c.config.Connections)
	var wg sync.WaitGroup
	for i := range groups {
		wg.Go(func() {
			var err error
			if out[i], err = c.group(ctx, &groups[i], room); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out, nil
}

// consistentTries is how often a group whose rewards come from several revisions
// is scored anew. One request is scored by one revision, so that the first new
// try is enough; a proxy that divides requests would make it fail.
const consistentTries = 3

// group scores the answers to one prompt under one revision.
func (c *Client) group(ctx context.Context, g *Group, room chan struct{}) (Scored, error) {
	n := len(g.Answers)
	out := Scored{Rewards: make([]float64, n)}
	size := c.config.PerRequest
	if size == 0 {
		size = n
	}
	for try := range consistentTries {
		revisions, err := c.requests(ctx, g, size, room, &out)
		if err != nil {
			return out, err
		}
		slices.Sort(revisions)
		if revisions = slices.Compact(revisions); len(revisions) == 1 {
			out.Revision = revisions[0]
			return out, nil
		}
		out.Rescored = try + 1
		size = n
	}
	return out, fmt.Errorf("rewards: one request was scored by several revisions, %d times", consistentTries)
}

// requests scores a group in requests of size answers and returns the revision
// that each named.
func (c *Client) requests(ctx context.Context, g *Group, size int, room chan struct{},
	out *Scored) ([]string, error) {
	n := len(g.Answers)
	parts := (n + size - 1) / size
	revisions, retries, errs := make([]string, parts), make([]int, parts), make([]error, parts)
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() {
			select {
			case room <- struct{}{}:
				defer func() { <-room }()
			case <-ctx.Done():
				errs[p] = context.Cause(ctx)
				return
			}
			lo, hi := p*size, min(n, (p+1)*size)
			retries[p], errs[p] = c.persist(ctx, func(ctx context.Context) (err error) {
				revisions[p], err = c.ask(ctx, g, lo, hi, out.Rewards[lo:hi])
				return err
			})
		})
	}
	wg.Wait()
	for _, k := range retries {
		out.Retries += k
	}
	return revisions, errors.Join(errs...)
}

// ask makes one request for the answers [lo, hi).
func (c *Client) ask(ctx context.Context, g *Group, lo, hi int, rewards []float64) (revision string,
	err error) {
	if c.config.Dialect == OpenRLHF {
		return c.openRLHF(ctx, g.Written[lo:hi], rewards)
	}
	in := api.Input{Prompt: &api.Prompt{Text: g.Prompt.Plain}, Responses: api.Responses(g.Answers[lo:hi])}
	if g.Prompt.IsChat() {
		if in.Prompt.Messages, err = api.MessagesOf(g.Prompt.Messages); err != nil {
			return "", err
		}
	}
	reply, err := c.native.Reward(ctx,
		&api.RewardRequest{Model: c.config.Model, Mode: c.config.Mode, Inputs: []api.Input{in}})
	if err != nil {
		return "", err
	}
	if len(reply.Data) != len(rewards) {
		return "", fmt.Errorf("%w: %d of %d", errReply, len(reply.Data), len(rewards))
	}
	for i, d := range reply.Data {
		rewards[i] = float64(d.Reward)
	}
	return reply.Revision, nil
}

// largestReply bounds what is read of a reply: far above that of any group.
const largestReply = 64 << 20

// openRLHF asks as OpenRLHF does, for one or more whole texts.
func (c *Client) openRLHF(ctx context.Context, texts []string, rewards []float64) (revision string,
	err error) {
	body, err := json.Marshal(map[string]any{"query": texts})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.config.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.config.Key)
	}
	r, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(io.LimitReader(r.Body, largestReply))
	if err != nil {
		return "", err
	}
	if r.StatusCode != http.StatusOK {
		e := &api.Error{Status: r.StatusCode, Message: strings.TrimSpace(string(data[:min(len(data), 500)]))}
		if s, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil {
			e.RetryAfter = time.Duration(s) * time.Second
		}
		return "", e
	}
	var reply struct {
		Rewards []float64 `json:"rewards"`
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return "", fmt.Errorf("%w: %w", errReply, err)
	}
	if len(reply.Rewards) != len(rewards) {
		return "", fmt.Errorf("%w: %d of %d", errReply, len(reply.Rewards), len(rewards))
	}
	copy(rewards, reply.Rewards)
	return r.Header.Get("X-Model-Revision"), nil
}

// passes says whether what went wrong may be gone at the next try: a server that
// cannot be reached or cuts its reply short, and one that says it is busy.
func passes(err error) bool {
	if e, ok := errors.AsType[*api.Error](err); ok {
		switch e.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable,
			http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	return !errors.Is(err, errReply)
}

// The wait before another try doubles from the first to the longest.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 5 * time.Second
)

// persist calls f until it succeeds, what went wrong will not pass, or the
// client's timeout is over. It returns how often it tried again.
func (c *Client) persist(ctx context.Context, f func(ctx context.Context) error) (retries int, err error) {
	begin := time.Now()
	for backoff := firstWait; ; backoff = min(2*backoff, longestWait) {
		attempt, cancel := context.WithTimeout(ctx, c.config.Attempt)
		err := f(attempt)
		cancel()
		if err == nil {
			c.answered()
			return retries, nil
		}
		if ctx.Err() != nil {
			return retries, context.Cause(ctx)
		}
		if !passes(err) {
			return retries, err
		}
		wait := backoff/2 + rand.N(backoff/2)
		if e, ok := errors.AsType[*api.Error](err); ok {
			wait += e.RetryAfter
		}
		if time.Since(begin)+wait > c.config.Timeout {
			return retries, fmt.Errorf("no answer within %v: %w", c.config.Timeout, err)
		}
		c.failed(err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return retries, context.Cause(ctx)
		}
		retries++
	}
}

// failed says once that the server does not answer.
func (c *Client) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.down.IsZero() {
		return
	}
	c.down = time.Now()
	c.say(fmt.Sprintf("rewards: %v; trying again for up to %v", err, c.config.Timeout))
}

// answered says that the server is back.
func (c *Client) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down.IsZero() {
		return
	}
	c.say(fmt.Sprintf("rewards: answered again after %v", time.Since(c.down).Round(time.Millisecond)))
	c.down = time.Time{}
}

func (c *Client) say(message string) {
	if c.config.Say != nil {
		c.config.Say(message)
	}
}
