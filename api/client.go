package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"
)

// maxReply bounds what Client reads of one reply: more than the largest
// request's answer with every member and every token id.
const maxReply = 256 << 20

// Client calls a server. It keeps connections open between calls and is safe
// for concurrent use. [WithRetry], [WithCoalescing] and [WithZstd] make it what
// a reinforcement-learning loop needs; without them a call is one plain request,
// and [Error.RetryAfter] says when a caller may try again.
type Client struct {
	base      *url.URL
	key       string
	http      *http.Client
	retry     Retry
	coalescer *coalescer    // nil without WithCoalescing
	zstd      *zstd.Encoder // nil without WithZstd; EncodeAll alone, which is safe for concurrent use
}

// Option changes a Client that is being made.
type Option func(*Client)

// WithKey sends key with every call. The default is none.
func WithKey(key string) Option { return func(c *Client) { c.key = key } }

// WithHTTPClient makes the calls through h, whose transport decides about
// connections, proxies and TLS. The default is a client without a timeout of
// its own, as the context bounds each call, that keeps up to 256 idle connections.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// minCompressed is the length from which WithZstd compresses: below it a body
// is one packet either way.
const minCompressed = 1400

// WithZstd compresses the bodies of longer requests. The default is not to: on
// the loopback and in a fast network that costs more time than it saves.
func WithZstd() Option {
	return func(c *Client) {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
		if err != nil {
			panic(fmt.Sprintf("api: zstd: %v", err)) // the options are constants
		}
		c.zstd = e
	}
}

// NewClient returns a client of the server at baseURL, such as "http://127.0.0.1:8080".
func NewClient(baseURL string, opts ...Option) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("api: base url: %w", err)
	}
	if (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("api: base url %q: want http://HOST or https://HOST", base.Redacted())
	}
	c := &Client{base: base}
	for _, o := range opts {
		o(c)
	}
	if c.http == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 256, 256
		c.http = &http.Client{Transport: t}
	}
	return c, nil
}

// Reward scores the inputs of req. The server is told of ctx's deadline, so
// that it drops what nobody waits for. An answer of the server that is not a
// reward is an *[Error].
func (c *Client) Reward(ctx context.Context, req *RewardRequest) (*RewardResponse, error) {
	if c.coalescer != nil {
		return c.coalescer.reward(ctx, req)
	}
	return c.rewardAlone(ctx, req)
}

// rewardAlone is Reward in a request of its own.
func (c *Client) rewardAlone(ctx context.Context, req *RewardRequest) (*RewardResponse, error) {
	return ask[RewardResponse](ctx, c, http.MethodPost, "/v1/reward", req)
}

// Models lists the models being served.
func (c *Client) Models(ctx context.Context) (*ModelList, error) {
	return ask[ModelList](ctx, c, http.MethodGet, "/v1/models", nil)
}

// Model describes the model called name.
func (c *Client) Model(ctx context.Context, name string) (*Model, error) {
	return ask[Model](ctx, c, http.MethodGet, modelPath(name, ""), nil)
}

// Compare compares the weight average with the ensemble and the members, on
// preference pairs.
func (c *Client) Compare(ctx context.Context, req *CompareRequest) (*CompareResponse, error) {
	return ask[CompareResponse](ctx, c, http.MethodPost, "/v1/compare", req)
}

// ask makes a call, with a body where in is not nil.
func ask[T any](ctx context.Context, c *Client, method, path string, in any) (*T, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("api: encode request: %w", err)
		}
	}
	out := new(T)
	if err := c.call(ctx, method, path, body, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Ready returns nil when the server answers that it is ready. It asks once.
func (c *Client) Ready(ctx context.Context) error {
	return c.once(ctx, http.MethodGet, "/readyz", payload{}, new(Status))
}

// call is once, as often as the client's Retry says.
func (c *Client) call(ctx context.Context, method, path string, body []byte, out any) error {
	p := payload{bytes: body}
	if c.zstd != nil && len(body) >= minCompressed {
		p = payload{c.zstd.EncodeAll(body, nil), "zstd"}
	}
	return c.withRetries(ctx, func() error { return c.once(ctx, method, path, p, out) })
}

// payload is a request's body and its Content-Encoding; the zero one is none.
type payload struct {
	bytes    []byte
	encoding string
}

// once sends body, when there is one, and reads the reply into out. Fields
// that this version does not know are ignored, so that an older client reads a
// newer server.
func (c *Client) once(ctx context.Context, method, path string, body payload, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.base.String(), "/")+path,
		bytes.NewReader(body.bytes))
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	if body.bytes != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if body.encoding != "" {
		req.Header.Set("Content-Encoding", body.encoding)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if deadline, ok := ctx.Deadline(); ok {
		// At least what three decimals can say: 0 would be refused.
		left := max(time.Until(deadline).Seconds(), 0.001)
		req.Header.Set("X-Request-Timeout", strconv.FormatFloat(left, 'f', 3, 64))
	}
	reply, err := c.http.Do(req)
	if err != nil {
		return &transportError{err}
	}
	defer reply.Body.Close()
	// A body that is read to its end lets the connection be used again.
	data, err := io.ReadAll(io.LimitReader(reply.Body, maxReply+1))
	if err != nil {
		return &transportError{fmt.Errorf("%s %s: read reply: %w", method, path, err)}
	}
	if len(data) > maxReply {
		return fmt.Errorf("api: %s %s: the reply is over %d bytes", method, path, maxReply)
	}
	if reply.StatusCode != http.StatusOK && reply.StatusCode != http.StatusAccepted {
		return replyError(reply, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("api: %s %s: decode reply: %w", method, path, err)
	}
	return nil
}

// replyError reads the error of a reply, of our shape or not.
func replyError(reply *http.Response, data []byte) *Error {
	var body errorBody
	e := &Error{Message: reply.Status}
	if err := json.Unmarshal(data, &body); err == nil && body.Error != nil && body.Error.Code != "" {
		e = body.Error
	}
	e.Status = reply.StatusCode
	if s, err := strconv.Atoi(reply.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// IsCode reports whether err is, or wraps, an *[Error] of code.
func IsCode(err error, code Code) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}
