package batch_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/scorertest"
)

// submitAs is submit of one request of a client.
func submitAs(ctx context.Context, q *batch.Queue, client string, lane *batch.Lane, seqs ...batch.Sequence) <-chan result {
	out := make(chan result, 1)
	go func() {
		rewards, stats, err := q.SubmitAll(ctx, []batch.Job{{Lane: lane, Seqs: seqs, Client: client}})
		r := result{stats: stats, err: err, at: time.Now()}
		if err == nil {
			r.rewards = rewards[0]
		}
		out <- r
	}()
	return out
}

// many returns n sequences of tokens tokens, each of an id of its own from first on.
func many(n, tokens int, first int32) []batch.Sequence {
	seqs := make([]batch.Sequence, n)
	for i := range seqs {
		seqs[i] = seq(tokens, first+int32(i))
	}
	return seqs
}

func TestALargeRequestDelaysASmallOneByABatchAtMost(t *testing.T) {
	for _, c := range []struct {
		name         string
		large, small string // their clients
		before       time.Duration
		requests     int
	}{
		{"of another client", "a", "b", 0, 1},
		{"of the same client", "a", "a", 0, 1},
		{"beside many large ones of one client", "a", "b", 0, 20},
		{"beside large ones that wait beyond the patience", "a", "b", 2 * time.Second, 20},
		{"of the same client, beyond the patience", "a", "a", 2 * time.Second, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &scorertest.Fake{PerToken: time.Millisecond}
				q := batch.New(batch.Config{MaxBatchTokens: 100, Patience: time.Second})
				defer q.Close()
				lane, began := batch.NewLane("m", f), time.Now()
				var large []<-chan result
				for i := range c.requests {
					large = append(large, submitAs(t.Context(), q, c.large, lane, many(1024, 10, int32(1024*i))...))
				}
				synctest.Wait()
				time.Sleep(c.before + 50*time.Millisecond) // in the middle of a batch
				start := time.Now()
				r := <-submitAs(t.Context(), q, c.small, lane, seq(10, 999_999))
				require.NoError(t, r.err)
				assert.LessOrEqual(t, r.at.Sub(start), 150*time.Millisecond, "the rest of the batch that was under way, and its own")
				for _, l := range large {
					require.NoError(t, (<-l).err)
				}
				assert.Equal(t, time.Duration(c.requests*10240+10)*time.Millisecond, time.Since(began), "no time is lost")
			})
		})
	}
}

func TestALargeRequestOfOneLaneDelaysASmallOneOfAnotherByABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := batch.New(batch.Config{MaxBatchTokens: 100, Patience: time.Second})
		defer q.Close()
		a, b := batch.NewLane("a", &scorertest.Fake{PerToken: time.Millisecond}), batch.NewLane("b", &scorertest.Fake{PerToken: time.Millisecond})
		large := submit(t.Context(), q, a, many(1000, 10, 0)...)
		time.Sleep(3*time.Second + 50*time.Millisecond)
		start := time.Now()
		r := <-submit(t.Context(), q, b, seq(10, 999_999))
		require.NoError(t, r.err)
		assert.LessOrEqual(t, r.at.Sub(start), 250*time.Millisecond, "what was under way, one of the old and its own")
		require.NoError(t, (<-large).err)
	})
}

func TestClientsShareALaneEvenlyWhateverTheySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &scorertest.Fake{PerToken: time.Millisecond}
		q := batch.New(batch.Config{MaxBatchTokens: 4096, BatchTime: time.Minute, Patience: time.Hour})
		defer q.Close()
		lane := batch.NewLane("m", f)
		flood := map[<-chan result]bool{}
		for i := range 400 {
			flood[submitAs(t.Context(), q, "many", lane, seq(100, int32(i)))] = true
		}
		synctest.Wait()
		start := time.Now()
		one := <-submitAs(t.Context(), q, "one", lane, many(200, 100, 1000)...)
		require.NoError(t, one.err)
		// Both have 20,000 tokens or more to do: when the one is done, so is
		// about as much of the other.
		took := one.at.Sub(start)
		assert.Greater(t, took, 36*time.Second)
		assert.Less(t, took, 46*time.Second)
		for w := range flood {
			require.NoError(t, (<-w).err)
		}
	})
}

// sharing is a scorer that computes what answers to one prompt share once a
// batch, as the engine does.
type sharing struct{ tokens int }

func (s *sharing) Score(dst []float32, seqs []batch.Sequence) error {
	ids := make([][]int32, len(seqs))
	for i, q := range seqs {
		ids[i] = q.IDs
	}
	slices.SortFunc(ids, slices.Compare)
	n := 0
	for i, these := range ids {
		shared := 0
		for i > 0 && shared < min(len(these), len(ids[i-1])) && these[shared] == ids[i-1][shared] {
			shared++
		}
		n += len(these) - shared
	}
	s.tokens += n
	time.Sleep(time.Duration(n) * 10 * time.Microsecond)
	clear(dst)
	return nil
}

// TestSharingTheEngineCostsNoThroughput has many requests at once, each of many
// groups of answers to one prompt. A group that is split computes its prompt
// twice: taking sequences in the order in which they came computes 1.17 times as
// much.
func TestSharingTheEngineCostsNoThroughput(t *testing.T) {
	const prompt, answer, answers = 400, 50, 8
	for _, requests := range []int32{1, 4, 16, 64} {
		groups := 640 / requests
		for _, clients := range []int32{1, requests} {
			synctest.Test(t, func(t *testing.T) {
				s := &sharing{}
				q := batch.New(batch.Config{})
				defer q.Close()
				lane := batch.NewLane("m", s)
				var all sync.WaitGroup
				for r := range requests {
					all.Go(func() {
						var seqs []batch.Sequence
						for g := range groups {
							p := seq(prompt, 1+groups*r+g).IDs
							for a := range int32(answers) {
								seqs = append(seqs, batch.Sequence{IDs: slices.Concat(p, seq(answer, -1-a).IDs), Read: []int32{int32(prompt + answer - 1)}})
							}
						}
						_, _, err := q.SubmitAll(t.Context(), []batch.Job{{Lane: lane, Seqs: seqs, Client: fmt.Sprint(r % clients)}})
						assert.NoError(t, err)
					})
				}
				all.Wait()
				least := int(requests*groups) * (prompt + answers*answer)
				assert.LessOrEqual(t, s.tokens, least+least/50, "%d requests of %d clients, %d tokens when no group is split", requests, clients, least)
			})
		}
	}
}

func TestWhatDoesNotFitWaitsForTheNextBatchAndHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{MaxBatchTokens: 10})
		defer q.Close()
		lane := batch.NewLane("m", f)
		waits := []<-chan result{submit(t.Context(), q, lane, seq(1, 0))}
		<-g.entered
		for i, n := range []int{2, 9, 3, 8, 1, 4} {
			waits = append(waits, submitAs(t.Context(), q, "a", lane, seq(n, int32(i))))
			synctest.Wait()
		}
		close(g.open)
		for _, w := range waits {
			require.NoError(t, (<-w).err)
		}
		assert.Equal(t, [][]int{{1}, {2, 1, 3, 4}, {9}, {8}}, f.Calls(), "of those that wait alike the smaller goes first")
	})
}

func TestALargeRequestGoesOnUnderAFloodOfSmallOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &scorertest.Fake{PerToken: time.Millisecond}
		q := batch.New(batch.Config{MaxBatchTokens: 1000, Patience: time.Second})
		defer q.Close()
		lane := batch.NewLane("m", f)
		ctx, stop := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		for i := range 200 { // each waits for its answer and asks again, more than the engine can carry
			flood.Go(func() {
				for ctx.Err() == nil {
					_, _, _ = q.Submit(ctx, lane, []batch.Sequence{seq(10, int32(i))})
				}
			})
		}
		time.Sleep(10 * time.Second)
		start := time.Now()
		large := <-submit(t.Context(), q, lane, many(1000, 10, 0)...)
		require.NoError(t, large.err)
		assert.Less(t, large.at.Sub(start), 25*time.Second, "half of the engine once it has waited, which alone takes 10 s")
		stop()
		flood.Wait()
	})
}

// TestEveryoneIsServedOnceWhateverComes runs random clients, requests and
// cancellations and holds the queue to its promises.
func TestEveryoneIsServedOnceWhateverComes(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			f, g := &scorertest.Fake{Seed: seed, PerToken: time.Microsecond}, &scorertest.Fake{Seed: seed + 1, PerToken: time.Microsecond}
			q := batch.New(batch.Config{MaxBatchTokens: 200, Patience: 2 * time.Millisecond})
			a, b := batch.NewLane("a", f), batch.NewLane("b", g)
			rng := rand.New(rand.NewPCG(seed, 1))
			var all sync.WaitGroup
			for range 150 {
				var seqs []batch.Sequence
				for range 1 + rng.IntN(30) {
					seqs = append(seqs, seq(1+rng.IntN(250), rng.Int32N(3)))
				}
				client, cancelled := fmt.Sprint(rng.IntN(4)), rng.IntN(4) == 0
				wait := time.Duration(rng.IntN(20)) * time.Millisecond
				all.Go(func() {
					time.Sleep(wait)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if cancelled {
						time.AfterFunc(wait, cancel)
					}
					got, _, err := q.SubmitAll(ctx, []batch.Job{{Lane: a, Seqs: seqs, Client: client}, {Lane: b, Seqs: seqs[:1], Client: client}})
					if err != nil {
						assert.ErrorIs(t, err, context.Canceled)
						return
					}
					for i, s := range seqs {
						assert.Equal(t, f.Want(s), got[0][i])
					}
					assert.Equal(t, g.Want(seqs[0]), got[1][0])
				})
			}
			all.Wait()
			assert.Equal(t, batch.Depth{}, q.Depth())
			for _, c := range f.Calls() {
				total := 0
				for _, n := range c {
					total += n
				}
				assert.True(t, total <= 200 || len(c) == 1, "a batch of %v", c)
			}
			q.Close()
		})
	}
}
