package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// transport answers calls without a network, so that time may be synctest's.
type transport func(r *http.Request, body []byte) (status int, header map[string]string, reply any, err error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	status, header, reply, err := f(r, body)
	if err != nil {
		return nil, err
	}
	data, err := api.Encode(reply)
	if err != nil {
		return nil, err
	}
	resp := &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(data))), Request: r}
	for k, v := range header {
		resp.Header.Set(k, v)
	}
	return resp, nil
}

func clientOf(t *testing.T, f transport, opts ...api.Option) *api.Client {
	c, err := api.NewClient("http://reward.test", append(opts, api.WithHTTPClient(&http.Client{Transport: f}))...)
	require.NoError(t, err)
	return c
}

// score answers as a server does whose rewards are the lengths of the texts.
func score(body []byte) (int, map[string]string, any, error) {
	var req api.RewardRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return 0, nil, nil, err
	}
	out := api.RewardResponse{ID: "rwd-1", Object: "reward.list", Model: "m", Revision: "r", Mode: "wa", Data: []api.Reward{}}
	for i, in := range req.Inputs {
		texts := []string(in.Responses)
		if in.Text != nil {
			texts = []string{*in.Text}
		}
		for a, text := range texts {
			if text == "bad" {
				e := api.Errorf(api.CodeEmptyInput, fmt.Sprintf("inputs[%d]", i), "no")
				if req.OnError == api.OnErrorItem {
					out.Data = append(out.Data, api.Reward{Index: len(out.Data), Input: i, Answer: a, Error: e})
					continue
				}
				return e.Code.Status(), nil, map[string]any{"error": map[string]any{"type": e.Type, "message": e.Message, "param": e.Param, "code": e.Code}}, nil
			}
			out.Data = append(out.Data, api.Reward{Index: len(out.Data), Input: i, Answer: a, Reward: float32(len(text)), Tokens: len(text)})
			out.Usage.PromptTokens += len(text)
		}
	}
	out.Usage.TotalTokens = out.Usage.PromptTokens
	return 200, nil, out, nil
}

func TestTheClientTriesAgainWhatPasses(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		err    error
		tries  int
	}{
		"overloaded":             {503, nil, 4},
		"too many requests":      {429, nil, 4},
		"a bad gateway":          {502, nil, 4},
		"a gateway that waited":  {504, nil, 4},
		"a connection that ends": {0, errors.New("connection reset by peer"), 4},
		"a bad request":          {400, nil, 1},
		"a wrong key":            {401, nil, 1},
		"a fault of the server":  {500, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				c := clientOf(t, func(*http.Request, []byte) (int, map[string]string, any, error) {
					tries++
					return test.status, nil, "no", test.err
				}, api.WithRetry(api.Retry{Attempts: 4}))
				_, err := c.Models(t.Context())
				require.Error(t, err)
				assert.Equal(t, test.tries, tries)
				if test.err != nil {
					assert.ErrorIs(t, err, test.err)
				}
			})
		})
	}
}

// TestTheClientWaitsAsItIsTold holds the waits: Retry-After in full, the drawn
// wait between half of the doubling and all of it.
func TestTheClientWaitsAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 50 {
			var at []time.Time
			c := clientOf(t, func(_ *http.Request, body []byte) (int, map[string]string, any, error) {
				at = append(at, time.Now())
				switch len(at) {
				case 1, 2:
					return 503, nil, "full", nil
				case 3:
					return 503, map[string]string{"Retry-After": "2"}, "full", nil
				}
				return score(body)
			}, api.WithRetry(api.Retry{Base: 100 * time.Millisecond, Max: 150 * time.Millisecond}))
			reply, err := c.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Text("four")}})
			require.NoError(t, err)
			assert.EqualValues(t, 4, reply.Data[0].Reward)
			require.Len(t, at, 4)
			for i, bounds := range [][2]time.Duration{{50, 100}, {75, 150}, {2075, 2150}} {
				wait := at[i+1].Sub(at[i])
				assert.GreaterOrEqual(t, wait, bounds[0]*time.Millisecond)
				assert.LessOrEqual(t, wait, bounds[1]*time.Millisecond)
				seen[wait] = true
			}
		}
		assert.Greater(t, len(seen), 100, "the waits are drawn")
	})
}

func TestTheClientStopsWhenItsTimeCannotSuffice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var timeouts []string
		c := clientOf(t, func(r *http.Request, _ []byte) (int, map[string]string, any, error) {
			timeouts = append(timeouts, r.Header.Get("X-Request-Timeout"))
			return 503, map[string]string{"Retry-After": "1"}, "full", nil
		}, api.WithRetry(api.Retry{Attempts: 100, Base: time.Millisecond}))
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		_, err := c.Models(ctx)
		e, ok := errors.AsType[*api.Error](err)
		require.True(t, ok, "the server's own answer: %v", err)
		assert.Equal(t, 503, e.Status)
		assert.Len(t, timeouts, 4, "at 0, 1, 2 and 3 s")
		assert.Equal(t, "3.500", timeouts[0])
		assert.Less(t, timeouts[1], "2.5", "each try says what is left")
		assert.Less(t, time.Since(began), 3500*time.Millisecond)
	})
}

func TestACancelledCallDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clientOf(t, func(*http.Request, []byte) (int, map[string]string, any, error) {
			return 503, map[string]string{"Retry-After": "3600"}, "full", nil
		}, api.WithRetry(api.Retry{}))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := c.Models(ctx)
		require.Error(t, err)
		assert.Equal(t, time.Second, time.Since(began))
	})
}

func TestZstdBodies(t *testing.T) {
	dec, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer dec.Close()
	var encodings []string
	c := clientOf(t, func(r *http.Request, body []byte) (int, map[string]string, any, error) {
		e := r.Header.Get("Content-Encoding")
		encodings = append(encodings, e)
		if e == "zstd" {
			small := len(body)
			if body, err = dec.DecodeAll(body, nil); err != nil {
				return 0, nil, nil, err
			}
			assert.Less(t, small, len(body)/10)
		}
		return score(body)
	}, api.WithZstd())
	for _, n := range []int{10, 10000} {
		reply, err := c.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Text(strings.Repeat("x", n))}})
		require.NoError(t, err)
		assert.EqualValues(t, n, reply.Data[0].Reward)
	}
	assert.Equal(t, []string{"", "zstd"}, encodings, "what fits a packet is sent plain")
}

// TestAFlakyServerLosesNothing sends from many goroutines to a server, on real
// sockets, that refuses, hangs up in the middle and answers for a proxy.
func TestAFlakyServerLosesNothing(t *testing.T) {
	var n atomic.Int64
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		switch n.Add(1) % 7 {
		case 0, 3:
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write(api.EncodeError(api.Errorf(api.CodeOverloaded, "", "full")))
		case 1:
			panic(http.ErrAbortHandler)
		case 4:
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"data":[`)
			panic(http.ErrAbortHandler)
		case 5:
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, "<html>")
		default:
			_, _, reply, err := score(body)
			if assert.NoError(t, err) {
				data, _ := api.Encode(reply)
				w.Write(data)
			}
		}
	}, api.WithRetry(api.Retry{Attempts: 40, Base: time.Millisecond, Max: 4 * time.Millisecond}), api.WithCoalescing(api.Coalesce{MaxAnswers: 8}))
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for k := range 3 {
				want := 1 + (i+k)%60
				reply, err := c.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Text(strings.Repeat("x", want))}})
				if assert.NoError(t, err) && assert.Len(t, reply.Data, 1) {
					assert.EqualValues(t, want, reply.Data[0].Reward)
				}
			}
		})
	}
	all.Wait()
}
