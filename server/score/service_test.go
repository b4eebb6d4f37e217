package score_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/live"
	"github.com/warmserve/warmserve/server/memory"
	"github.com/warmserve/warmserve/server/score"
	"github.com/warmserve/warmserve/server/servertest"
)

// observer keeps what it is told.
type observer struct {
	mu      sync.Mutex
	scored  int
	waiting int
	samples []score.Sample
}

func (o *observer) Scored(*score.Call, *api.RewardResponse) { o.scored++ }

func (o *observer) Waiting(change int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting += change
}

func (o *observer) Sampled(s score.Sample) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.samples = append(o.samples, s)
}

// service returns what scores without a server, with models.
func service(t *testing.T, models ...live.Model) (*score.Service, *live.Models, *observer) {
	queue, served, o := batch.New(batch.Config{}), live.NewModels(), &observer{}
	for _, m := range models {
		_, err := served.Swap(m)
		require.NoError(t, err)
	}
	s := score.New(score.Config{MaxSequences: 100, MaxTokens: 1000, Observer: o}, served, queue)
	t.Cleanup(func() {
		s.Stop()
		queue.Close()
	})
	return s, served, o
}

// call returns a request that holds as much as it wants.
func call(t *testing.T) *score.Call {
	held, err := memory.New(1<<30).Reserve(t.Context(), score.RequestCost(100))
	require.NoError(t, err)
	t.Cleanup(held.Release)
	return &score.Call{ID: "7", Hold: held, Text: score.RequestCost(100)}
}

var request = &api.RewardRequest{Inputs: []api.Input{api.Answers("Q", "A", "BB")}}

func TestARequestIsScoredWithoutAServer(t *testing.T) {
	m := servertest.New("m", func(i *live.Info) { i.Sample = 1 })
	s, _, o := service(t, m)
	c := call(t)
	reply, err := s.Reward(t.Context(), c, request)
	require.NoError(t, err)
	require.Len(t, reply.Data, 2)
	assert.Equal(t, "rwd-7", reply.ID)
	assert.Equal(t, []any{"m", "wa", m.Info().Revision, 2}, []any{c.Model, c.Mode, c.Revision, c.Sequences})
	assert.Equal(t, reply.Usage.PromptTokens, c.Tokens)
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.samples) == 1
	}, 10*time.Second, time.Millisecond)
	assert.Equal(t, 1, o.scored)
	assert.Equal(t, score.SampleScored, o.samples[0].Outcome)
	assert.Len(t, o.samples[0].Std, 2)

	prompt, better, worse := api.Prompt{Text: "Q"}, "A", "BB"
	pair := api.Pair{Prompt: &prompt, Chosen: &api.Candidate{Text: &better}, Rejected: &api.Candidate{Text: &worse}}
	c = call(t)
	compared, err := s.Compare(t.Context(), c, &api.CompareRequest{Pairs: []api.Pair{pair}})
	require.NoError(t, err)
	assert.Equal(t, "compare", c.Mode)
	assert.Equal(t, 1, compared.Scorers[0].Wins+compared.Scorers[0].Losses)
	assert.Equal(t, 1, o.scored, "pairs are chosen by hand")
}

// An answer that the average did not score has no gap to the ensemble.
func TestASampleHasNoAnswerThatWasNotScored(t *testing.T) {
	m := servertest.New("m", func(i *live.Info) { i.Sample = 1 })
	m.Fakes["wa"].Reward = func(s batch.Sequence) (float32, bool) {
		return float32(math.NaN()), slices.Contains(s.IDs, 'B')
	}
	s, _, o := service(t, m)
	reply, err := s.Reward(t.Context(), call(t), &api.RewardRequest{Inputs: request.Inputs, OnError: api.OnErrorItem})
	require.NoError(t, err)
	assert.Nil(t, reply.Data[0].Error)
	require.NotNil(t, reply.Data[1].Error)
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.samples) == 1
	}, 10*time.Second, time.Millisecond)
	require.Len(t, o.samples[0].Gap, 1)
	assert.False(t, math.IsNaN(o.samples[0].Gap[0]))
	assert.Len(t, o.samples[0].Std, 1)
}

func TestARequestWaitsForAFirstModel(t *testing.T) {
	for name, c := range map[string]struct {
		then func(*score.Service, *live.Models, context.CancelCauseFunc)
		code api.Code // "" is a reward
	}{
		"and is scored once there is one": {func(_ *score.Service, ms *live.Models, _ context.CancelCauseFunc) {
			_, _ = ms.Swap(servertest.New("m"))
		}, ""},
		"and not on a server that stops": {func(s *score.Service, _ *live.Models, _ context.CancelCauseFunc) { s.Drain() }, api.CodeNotReady},
		"and not for ever":               {func(*score.Service, *live.Models, context.CancelCauseFunc) {}, api.CodeNotReady},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, models, o := service(t)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				go func() {
					time.Sleep(time.Second)
					c.then(s, models, cancel)
				}()
				reply, err := s.RewardWhenRoom(ctx, call(t), request, time.Minute)
				if c.code == "" {
					require.NoError(t, err)
					assert.Len(t, reply.Data, 2)
				} else {
					assert.True(t, api.IsCode(err, c.code), "%v", err)
				}
				assert.Zero(t, o.waiting)
			})
		})
	}
}

func TestAClientThatLeavesEndsItsWait(t *testing.T) {
	s, _, o := service(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.RewardWhenRoom(ctx, call(t), request, time.Minute)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, o.waiting)
}

func TestAnErrorOfNobodysIsInternalAndSaysNothing(t *testing.T) {
	e := score.Error(errors.New("secret"))
	assert.Equal(t, api.CodeInternal, e.Code)
	assert.NotContains(t, e.Message, "secret")
	assert.Equal(t, api.CodeDeadlineExceeded, score.Error(context.DeadlineExceeded).Code)
}
