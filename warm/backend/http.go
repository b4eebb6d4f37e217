package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"time"
)

// wire is how one kind of engine is spoken to.
type wire interface {
	// state says what the engine serves.
	state(ctx context.Context) (state, error)
	// load has the engine take the weights of a folder, as it sees it, under a name. An
	// error that wraps errNoLoad says that it cannot; what it serves is as before.
	load(ctx context.Context, dir, name string) error
	// score returns the outputs of each item, and the name of the weights that computed
	// them where the reply says it.
	score(ctx context.Context, m *staged, items []item) (outputs [][]float32, name string, err error)
	// start says how the engine is started on a folder.
	start(dir string) string
	close()
}

// state is what an engine says of itself.
type state struct {
	name    string // of the weights, or of the folder that it was started on
	path    string // of that folder
	class   string // of the model; "" where it does not say
	longest int    // tokens of a sequence; 0 where it does not say
}

// item is a sequence whose last token's outputs are wanted, or an encoder's.
type item struct {
	ids   []int32
	types []int32 // nil for all 0
}

// errNoLoad is that of an engine that takes no other weights while it runs.
var errNoLoad = errors.New("the engine takes no other weights while it runs")

// Kinds of failure, which decide what is done about it.
var (
	// errAway: nobody answers, or somebody in between; again a little later.
	errAway = errors.New("away")
	// errItem: this very request cannot be computed; another may.
	errItem = errors.New("refused")
	// errReply: what came back is no answer to what was asked.
	errReply = errors.New("not an answer")
)

// statusError is a reply that is no success.
type statusError struct {
	status int
	said   string // in the engine's words; "" where a request held what a client sent
	kind   error  // one of the above, or nil
}

func (e *statusError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("HTTP %d", e.status)
	}
	return fmt.Sprintf("HTTP %d: %s", e.status, e.said)
}

func (e *statusError) Unwrap() error { return e.kind }

// statusOf is the status of a reply that an error is of; 0 for none.
func statusOf(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 0
}

// kindOf is what a status says about the request.
func kindOf(status int) error {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return errAway
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity,
		http.StatusFailedDependency, http.StatusInternalServerError:
		return errItem
	}
	return nil // as a wrong key or a path that is not there: no other request fares better
}

// client speaks HTTP with one engine.
type client struct {
	base, key string
	http      *http.Client
	transport *http.Transport
}

func newClient(o Options) *client {
	c := &client{base: strings.TrimRight(o.URL, "/"), key: o.Key,
		transport: http.DefaultTransport.(*http.Transport).Clone()}
	c.transport.MaxIdleConnsPerHost = 64
	c.transport.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	var carrier http.RoundTripper = c.transport
	if o.Wrap != nil {
		carrier = o.Wrap(carrier)
	}
	c.http = &http.Client{Transport: carrier, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // an engine that sends elsewhere is not the one that was named
	}}
	return c
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// most is how much of a reply about an engine's state is read.
const most = 4 << 20

// get reads JSON from a path.
func (c *client) get(ctx context.Context, path string, to any) error {
	return c.do(ctx, http.MethodGet, path, nil, to, most, true)
}

// post sends JSON that holds nothing of a client's, and reads the reply unless to is nil.
func (c *client) post(ctx context.Context, path string, body, to any) error {
	return c.do(ctx, http.MethodPost, path, body, to, most, true)
}

// ask sends what clients sent, whose words an error must not repeat, and reads the reply
// of at most limit bytes.
func (c *client) ask(ctx context.Context, path string, body, to any, limit int64) error {
	return c.do(ctx, http.MethodPost, path, body, to, limit, false)
}

func (c *client) do(ctx context.Context, method, path string, body, to any, limit int64, quote bool) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	reply, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(io.LimitReader(reply.Body, limit+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: the reply ended early: %w", errAway, err)
	case reply.StatusCode != http.StatusOK:
		e := &statusError{status: reply.StatusCode, kind: kindOf(reply.StatusCode)}
		if quote {
			e.said = words(data)
		}
		return e
	case int64(len(data)) > limit:
		return fmt.Errorf("%w: more than %d bytes", errReply, limit)
	case to == nil:
		return nil
	}
	if err := json.Unmarshal(data, to); err != nil {
		if quote {
			return fmt.Errorf("%w: %w", errReply, err)
		}
		return fmt.Errorf("%w: it is no JSON of the form that is wanted", errReply)
	}
	return nil
}

// words is what a reply says in an error, in one line that is not too long.
func words(data []byte) string {
	var said struct {
		Message, Detail string
		Error           json.RawMessage
	}
	text := string(data)
	if json.Unmarshal(data, &said) == nil {
		var inner struct{ Message string }
		switch {
		case said.Message != "":
			text = said.Message
		case said.Detail != "":
			text = said.Detail
		case json.Unmarshal(said.Error, &inner) == nil && inner.Message != "":
			text = inner.Message
		case json.Unmarshal(said.Error, &text) == nil:
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	const longest = 400
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

// replyLimit is how long the reply to a request may be: some kilobytes beside the
// numbers of each sequence.
func replyLimit(m *staged, items []item) int64 {
	return 64<<10 + int64(len(items))*int64(4<<10+64*m.net.Head.Outputs())
}

// idsOf returns the ids of items.
func idsOf(items []item) [][]int32 {
	ids := make([][]int32, len(items))
	for i := range items {
		ids[i] = items[i].ids
	}
	return ids
}

// enough refuses a reply that has not a result for each item.
func enough(results int, items []item) error {
	if results != len(items) {
		return fmt.Errorf("%w: %d results for %d sequences", errReply, results, len(items))
	}
	return nil
}

// outputsOf reads the outputs of a sequence, of which null is a NaN.
func outputsOf(m *staged, row []*float32) ([]float32, error) {
	if want := m.net.Head.Outputs(); len(row) != want {
		return nil, fmt.Errorf("%w: %d outputs of a sequence, the model has %d", errReply, len(row), want)
	}
	out := make([]float32, len(row))
	for i, v := range row {
		out[i] = float32(math.NaN())
		if v != nil {
			out[i] = *v
		}
	}
	return out, nil
}
