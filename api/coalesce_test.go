package api_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// slow is a server in which a request takes a second. It notes how many inputs
// each had, and how many were under way at once.
type slow struct {
	mu       sync.Mutex
	sizes    []int
	now, top int
	ended    int // requests whose context ended first
	deadline []string
}

func (s *slow) answer(r *http.Request, body []byte) (int, map[string]string, any, error) {
	var req api.RewardRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return 0, nil, nil, err
	}
	s.mu.Lock()
	s.sizes = append(s.sizes, len(req.Inputs))
	s.deadline = append(s.deadline, r.Header.Get("X-Request-Timeout"))
	s.now++
	s.top = max(s.top, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	select {
	case <-time.After(time.Second):
	case <-r.Context().Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended++
		return 0, nil, nil, r.Context().Err()
	}
	return score(body)
}

func text(s string) *api.RewardRequest { return &api.RewardRequest{Inputs: []api.Input{api.Text(s)}} }

func TestConcurrentCallersShareRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		c := clientOf(t, s.answer, api.WithCoalescing(api.Coalesce{MaxAnswers: 10}))
		var all sync.WaitGroup
		for i := range 25 {
			all.Go(func() {
				// Two inputs, of three answers together.
				reply, err := c.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Text(strings.Repeat("x", i+1)), api.Answers("q", "a", strings.Repeat("y", i+1))}})
				if !assert.NoError(t, err) {
					return
				}
				n := float32(i + 1)
				assert.Equal(t, []api.Reward{{Reward: n, Tokens: i + 1}, {Index: 1, Input: 1, Reward: 1, Tokens: 1}, {Index: 2, Input: 1, Answer: 1, Reward: n, Tokens: i + 1}}, reply.Data)
				assert.Equal(t, api.Usage{PromptTokens: 2*i + 3, TotalTokens: 2*i + 3}, reply.Usage)
				assert.Equal(t, "r", reply.Revision)
			})
		}
		all.Wait()
		// The first two go at once; the other 23 gather, three callers of three
		// answers a request.
		assert.ElementsMatch(t, []int{2, 2, 6, 6, 6, 6, 6, 6, 6, 4}, s.sizes, "two at a time, in no order")
		assert.Equal(t, []int{2, 2}, s.sizes[:2])
		assert.Equal(t, 2, s.top)
	})
}

func TestAWindowGathersTheFirstOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		c := clientOf(t, s.answer, api.WithCoalescing(api.Coalesce{MaxAnswers: 4, InFlight: 1, Window: 500 * time.Microsecond}))
		var all sync.WaitGroup
		call := func(n int) {
			for i := range n {
				all.Go(func() {
					reply, err := c.Reward(t.Context(), text(strings.Repeat("x", i+1)))
					if assert.NoError(t, err) {
						assert.EqualValues(t, i+1, reply.Data[0].Reward)
					}
				})
			}
			all.Wait()
		}
		began := time.Now()
		call(3)
		assert.Equal(t, []int{3}, s.sizes)
		assert.Equal(t, time.Second+500*time.Microsecond, time.Since(began))
		began = time.Now()
		call(4)
		assert.Equal(t, []int{3, 4}, s.sizes)
		assert.Equal(t, time.Second, time.Since(began), "a full request does not wait for its window")
		call(6)
		assert.Equal(t, []int{3, 4, 4, 2}, s.sizes)
	})
}

func TestOnlyRequestsOfOneKindAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		c := clientOf(t, s.answer, api.WithCoalescing(api.Coalesce{InFlight: 1, Window: time.Millisecond}))
		lambda := 0.5
		var all sync.WaitGroup
		for range 3 {
			for _, req := range []*api.RewardRequest{{}, {Model: "a"}, {Mode: "ens"}, {Mode: "ens", Aggregate: "mean_minus_std", Lambda: &lambda}, {Return: []string{"tokens"}}} {
				all.Go(func() {
					own := *req
					own.Inputs = []api.Input{api.Text("x")}
					_, err := c.Reward(t.Context(), &own)
					assert.NoError(t, err)
				})
			}
		}
		all.Wait()
		assert.Equal(t, []int{3, 3, 3, 3, 3}, s.sizes)
	})
}

func TestARefusalIsTheCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		c := clientOf(t, s.answer, api.WithCoalescing(api.Coalesce{Window: time.Millisecond}))
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				if i == 3 {
					_, err := c.Reward(t.Context(), text("bad"))
					assert.EqualError(t, err, "empty_input: inputs[0]: no", "the place is in its own request")
					return
				}
				reply, err := c.Reward(t.Context(), text("good"))
				if assert.NoError(t, err) {
					assert.EqualValues(t, 4, reply.Data[0].Reward)
				}
			})
		}
		all.Wait()
		slices.Sort(s.sizes)
		// Halves of 2 and 3, and of 1 and 2 again: by where among the five the fault came to stand.
		assert.Contains(t, [][]int{{1, 1, 2, 3, 5}, {1, 2, 2, 3, 5}, {1, 1, 1, 2, 2, 3, 5}}, s.sizes)
	})
}

// Joined requests hold so many bytes at most, and one that is too large for the
// server all the same is halved, not sent again caller by caller.
func TestJoinedRequestsStayBelowTheServersLimits(t *testing.T) {
	for name, test := range map[string]struct {
		coalesce api.Coalesce
		limit    int // of the server, in inputs
		want     []int
	}{
		"cut by bytes":        {api.Coalesce{MaxBytes: 40}, 100, []int{4, 4, 4, 4}},
		"halved":              {api.Coalesce{MaxBytes: 1000}, 4, []int{4, 4, 4, 4, 8, 8, 16}},
		"a request too large": {api.Coalesce{MaxBytes: 9}, 100, slices.Repeat([]int{1}, 16)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{}
				answer := func(r *http.Request, body []byte) (int, map[string]string, any, error) {
					var req api.RewardRequest
					if err := json.Unmarshal(body, &req); err == nil && len(req.Inputs) > test.limit {
						s.mu.Lock()
						defer s.mu.Unlock()
						s.sizes = append(s.sizes, len(req.Inputs))
						return 413, nil, map[string]any{"error": map[string]any{"type": "too_large", "message": "no", "param": nil, "code": "too_many_tokens"}}, nil
					}
					return s.answer(r, body)
				}
				test.coalesce.Window = time.Millisecond
				c := clientOf(t, answer, api.WithCoalescing(test.coalesce))
				var all sync.WaitGroup
				for range 16 {
					all.Go(func() {
						// Five bytes of each answer and of the prompt that comes with it.
						reply, err := c.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Answers("12345", "12345")}})
						if assert.NoError(t, err) {
							assert.EqualValues(t, 5, reply.Data[0].Reward)
						}
					})
				}
				all.Wait()
				slices.Sort(s.sizes)
				assert.Equal(t, test.want, s.sizes)
			})
		})
	}
}

// What is wrong for all is asked once.
func TestARefusalOfTheRequestIsEveryCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := clientOf(t, func(*http.Request, []byte) (int, map[string]string, any, error) {
			asked++
			return 401, nil, map[string]any{"error": map[string]any{"type": "unauthorized", "message": "send the key", "param": nil, "code": "unauthorized"}}, nil
		}, api.WithCoalescing(api.Coalesce{Window: time.Millisecond}))
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, err := c.Reward(t.Context(), text("x"))
				assert.EqualError(t, err, "unauthorized: send the key")
			})
		}
		all.Wait()
		assert.Equal(t, 1, asked)
	})
}

func TestACallerThatLeavesDoesNotTakeTheOthersWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		c := clientOf(t, s.answer, api.WithCoalescing(api.Coalesce{InFlight: 1, Window: time.Millisecond}))
		call := func(timeout time.Duration) <-chan error {
			out := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				_, err := c.Reward(ctx, text("x"))
				out <- err
			}()
			return out
		}
		hurried, patient := call(100*time.Millisecond), call(5*time.Second)
		time.Sleep(2 * time.Millisecond)
		waiting := call(50 * time.Millisecond)
		assert.ErrorIs(t, <-waiting, context.DeadlineExceeded, "while it waits")
		assert.ErrorIs(t, <-hurried, context.DeadlineExceeded, "while it is under way")
		assert.NoError(t, <-patient)
		assert.Equal(t, []int{2}, s.sizes, "who left while waiting was never sent")
		assert.Equal(t, "4.999", s.deadline[0], "the last caller's deadline")
		assert.Zero(t, s.ended)

		a, b := call(100*time.Millisecond), call(200*time.Millisecond)
		assert.Error(t, <-a)
		assert.Error(t, <-b)
		synctest.Wait()
		assert.Equal(t, 1, s.ended, "a request that nobody waits for is cancelled")
	})
}

func TestARequestLivesAsLongAsOneOfItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		c := clientOf(t, s.answer, api.WithCoalescing(api.Coalesce{InFlight: 1, Window: time.Millisecond}))
		call := func(ctx context.Context) <-chan error {
			out := make(chan error, 1)
			go func() {
				_, err := c.Reward(ctx, text("x"))
				out <- err
			}()
			return out
		}
		hurried, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer stop()
		brief := call(hurried)
		synctest.Wait() // it waits for its window, and is the first
		forever := call(t.Context())
		assert.ErrorIs(t, <-brief, context.DeadlineExceeded)
		assert.NoError(t, <-forever, "a caller without a deadline is not bound by another's")
		assert.Equal(t, []string{""}, s.deadline)

		ctx, cancel := context.WithCancel(t.Context())
		one, two := call(ctx), call(ctx)
		time.Sleep(10 * time.Millisecond)
		cancel()
		assert.ErrorIs(t, <-one, context.Canceled)
		assert.ErrorIs(t, <-two, context.Canceled)
		synctest.Wait()
		assert.Equal(t, 1, s.ended, "nobody waits for it, and it has no deadline")
	})
}

func TestRequestsOverTheBoundGoAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		c := clientOf(t, s.answer, api.WithCoalescing(api.Coalesce{MaxAnswers: 2, InFlight: 1}))
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				var answers []string
				for k := range 5 {
					answers = append(answers, fmt.Sprint(i, k))
				}
				reply, err := c.Reward(t.Context(), &api.RewardRequest{Inputs: []api.Input{api.Answers("q", answers...)}})
				if assert.NoError(t, err) {
					assert.Len(t, reply.Data, 5)
				}
			})
		}
		all.Wait()
		assert.Equal(t, 3, s.top)
		_, err := c.Reward(t.Context(), &api.RewardRequest{})
		require.NoError(t, err, "nothing to join is for the server to refuse")
	})
}

// With on_error: item a joined request is not voided by one of its callers, and
// what each is told of a bad answer is in the terms of its own request.
func TestABadAnswerOfAJoinedRequestIsItsCallersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		c := clientOf(t, s.answer, api.WithCoalescing(api.Coalesce{InFlight: 1, Window: time.Second}))
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				req := &api.RewardRequest{OnError: api.OnErrorItem, Inputs: []api.Input{api.Text("good"), api.Answers("q", "good", "bad")}}
				if i == 0 {
					req.Inputs[1] = api.Text("fine")
				}
				reply, err := c.Reward(t.Context(), req)
				if !assert.NoError(t, err) || i == 0 {
					return
				}
				if assert.Len(t, reply.Data, 3) && assert.NotNil(t, reply.Data[2].Error) {
					assert.Equal(t, "empty_input: inputs[1]: no", reply.Data[2].Error.Error())
					assert.Equal(t, api.Reward{Index: 2, Input: 1, Answer: 1, Error: reply.Data[2].Error}, reply.Data[2])
				}
			})
		}
		all.Wait()
		assert.Equal(t, []int{8}, s.sizes)
	})
}

func TestARefusedAnswerHasNoRewardOnTheWire(t *testing.T) {
	in := api.Reward{Index: 3, Input: 1, Answer: 2, Error: api.Errorf(api.CodeTooLong, "inputs[1].responses[2]", "too long")}
	data, err := api.Encode([]api.Reward{in})
	require.NoError(t, err)
	assert.Equal(t, `[{"index":3,"input":1,"answer":2,"error":{"type":"too_long","message":"too long","param":"inputs[1].responses[2]","code":"too_long"}}]`, string(data))
	var out []api.Reward
	require.NoError(t, json.Unmarshal(data, &out))
	assert.Equal(t, []api.Reward{in}, out)
}
