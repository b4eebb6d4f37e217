package plan_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/warm/plan"
)

// alike is a load of equal groups: 4 answers of 50 tokens to a prompt of 100.
func alike(int) plan.Group { return plan.Group{Prompt: 100, Answers: []int{50, 50, 50, 50}} }

// varied is a load of groups whose answers differ.
func varied(n int) plan.Group {
	rnd := rand.New(rand.NewPCG(uint64(n), 3))
	g := plan.Group{Prompt: 20 + rnd.IntN(200)}
	for range 8 {
		g.Answers = append(g.Answers, 20+rnd.IntN(200))
	}
	return g
}

var fast = plan.Service{Batch: 2 * time.Millisecond, Token: 10 * time.Microsecond}

func TestOneClientWaitsForItsOwnGroupAlone(t *testing.T) {
	f := plan.Fleet{Replicas: 1, Service: fast, Front: time.Millisecond}
	o := plan.Simulate(f, plan.Load{Group: alike, Clients: 1, Window: 10 * time.Second}, nil, nil)
	want := 2*time.Millisecond + 300*10*time.Microsecond + time.Millisecond // the prompt once
	assert.InDelta(t, want.Seconds(), o.P50.Seconds(), 1e-6)
	assert.InDelta(t, want.Seconds(), o.P99.Seconds(), 1e-6)
	assert.InDelta(t, 1/want.Seconds(), o.GroupsPerSecond, 0.2)
	assert.InDelta(t, 600/want.Seconds(), o.TokensPerSecond, 100)
	assert.Equal(t, 600.0, o.BatchTokens)
}

func TestReplicasAddUpUnlessTheyShareAMachine(t *testing.T) {
	load := plan.Load{Group: varied, Clients: 48, Warmup: time.Second, Window: 20 * time.Second}
	rate := func(f plan.Fleet) float64 {
		f.Service = fast
		return plan.Simulate(f, load, nil, nil).TokensPerSecond
	}
	one := rate(plan.Fleet{Replicas: 1})
	assert.InDelta(t, 3, rate(plan.Fleet{Replicas: 3})/one, 0.15)
	assert.InDelta(t, 1, rate(plan.Fleet{Replicas: 3, OneMachine: true})/one, 0.1)
}

// An open load of single sequences, each a batch, is the queue M/D/1, whose time in the
// system is known.
func TestAnOpenLoadIsTheQueueOfTheBook(t *testing.T) {
	f := plan.Fleet{Replicas: 1, Service: plan.Service{Batch: 10 * time.Millisecond}, Queue: batch.Config{MaxBatchSequences: 1}}
	o := plan.Simulate(f, plan.Load{Group: func(int) plan.Group { return plan.Group{Answers: []int{1}} },
		Rate: 70, Window: 20 * time.Minute, Seed: 1}, nil, nil)
	assert.InDelta(t, 70, o.GroupsPerSecond, 1)
	assert.InEpsilon(t, erlang(0.7, 0.5), o.P50.Seconds()/0.01, 0.02)
	assert.InEpsilon(t, erlang(0.7, 0.99), o.P99.Seconds()/0.01, 0.05)
}

func TestASeedDecidesAll(t *testing.T) {
	f := plan.Fleet{Replicas: 3, Service: fast}
	run := func(seed uint64) plan.Outcome {
		return plan.Simulate(f, plan.Load{Group: varied, Rate: 100, Window: 10 * time.Second, Seed: seed}, nil, nil)
	}
	assert.Equal(t, run(1), run(1))
	assert.NotEqual(t, run(1), run(2))
}

func TestAFailureLosesNoGroup(t *testing.T) {
	f := plan.Fleet{Replicas: 2, Service: fast}
	load := plan.Load{Group: varied, Clients: 16, Window: 20 * time.Second}
	whole := plan.Simulate(f, load, nil, nil)
	failed := plan.Simulate(f, load, nil, []plan.Failure{{Replica: 1, At: 5 * time.Second, Notice: time.Second, Up: 15 * time.Second}})
	assert.Positive(t, failed.Again)
	assert.InDelta(t, 0.75, failed.TokensPerSecond/whole.TokensPerSecond, 0.05, "half of the fleet was away half of the time, and no client is stuck")
	assert.Greater(t, failed.Max, time.Second, "what was in flight waited until it was missed")
	none := plan.Simulate(plan.Fleet{Replicas: 1, Service: fast}, load, nil,
		[]plan.Failure{{At: 5 * time.Second, Notice: time.Second, Up: 15 * time.Second}})
	assert.InDelta(t, 0.5, none.TokensPerSecond/plan.Simulate(plan.Fleet{Replicas: 1, Service: fast}, load, nil, nil).TokensPerSecond, 0.15,
		"clients try again until it is back")
}

func TestASwapTakesItsShare(t *testing.T) {
	f := plan.Fleet{Replicas: 1, Service: fast}
	load := plan.Load{Group: varied, Clients: 16, Window: 20 * time.Second}
	whole := plan.Simulate(f, load, nil, nil).TokensPerSecond
	swapped := plan.Simulate(f, load, []plan.Swap{{At: 0, Takes: 10 * time.Second, Share: 0.5}}, nil).TokensPerSecond
	assert.InDelta(t, 0.75, swapped/whole, 0.03)
}

func TestAFullQueueIsTriedAgain(t *testing.T) {
	f := plan.Fleet{Replicas: 2, Service: fast, Queue: batch.Config{MaxQueuedTokens: 2000}}
	o := plan.Simulate(f, plan.Load{Group: varied, Rate: 130, Window: 20 * time.Second}, nil, nil)
	assert.Positive(t, o.Again)
	assert.Greater(t, o.P99, time.Second, "Retry-After")
}

func TestQuantilesAreOfTheNearestRank(t *testing.T) {
	ten := make([]time.Duration, 10)
	for i := range ten {
		ten[i] = time.Duration(i + 1)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.1: 1, 0.5: 5, 0.51: 6, 0.99: 10, 1: 10} {
		assert.Equal(t, want, plan.Quantile(ten, q), q)
	}
	assert.Zero(t, plan.Quantile(nil, 0.5))
}
