package batch_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/scorertest"
)

// seq returns a sequence of n tokens that differs from those of another id.
func seq(n int, id int32) batch.Sequence {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = id
	}
	return batch.Sequence{IDs: ids, Read: []int32{int32(n - 1)}}
}

// gate is a scorer's Before that waits until it is opened, and tells when the
// first batch is in it.
type gate struct {
	entered chan struct{}
	open    chan struct{}
	once    sync.Once
}

func newGate() *gate { return &gate{entered: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) before([]batch.Sequence) error {
	g.once.Do(func() { close(g.entered) })
	<-g.open
	return nil
}

// result is what a Submit in a goroutine came to.
type result struct {
	rewards []float32
	stats   batch.Stats
	err     error
	at      time.Time
}

func submit(ctx context.Context, q *batch.Queue, lane *batch.Lane, seqs ...batch.Sequence) <-chan result {
	out := make(chan result, 1)
	go func() {
		rewards, stats, err := q.Submit(ctx, lane, seqs)
		out <- result{rewards, stats, err, time.Now()}
	}()
	return out
}

func TestIdleEngineStartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &scorertest.Fake{PerToken: time.Millisecond}
		q := batch.New(batch.Config{})
		defer q.Close()
		start := time.Now()
		s := seq(10, 1)
		got, stats, err := q.Submit(t.Context(), batch.NewLane("a", f), []batch.Sequence{s})
		require.NoError(t, err)
		assert.Equal(t, []float32{f.Want(s)}, got)
		assert.Equal(t, 10*time.Millisecond, time.Since(start), "compute, and no wait before it")
		assert.Equal(t, batch.Stats{Compute: 10 * time.Millisecond, Batches: 1, Since: start, Began: start,
			Ended: start.Add(10 * time.Millisecond)}, stats)
	})
}

func TestEntriesGatherWhileTheEngineIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{MaxBatchTokens: 100})
		defer q.Close()
		lane := batch.NewLane("a", f)
		waits := []<-chan result{submit(t.Context(), q, lane, seq(1, 0))}
		<-g.entered
		for i := range 25 {
			waits = append(waits, submit(t.Context(), q, lane, seq(10, int32(i))))
		}
		synctest.Wait()
		assert.Equal(t, 250, q.Depth().Tokens)
		assert.Equal(t, 25, q.Depth().Sequences)
		close(g.open)
		for _, w := range waits {
			require.NoError(t, (<-w).err)
		}
		sizes := []int{}
		for _, c := range f.Calls() {
			sizes = append(sizes, len(c))
		}
		assert.Equal(t, []int{1, 10, 10, 5}, sizes, "sequences of each batch under a budget of 100 tokens")
		assert.Equal(t, batch.Depth{}, q.Depth())
	})
}

func TestOneRequestIsSplitOverBatchesAndKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &scorertest.Fake{PerToken: time.Millisecond}
		q := batch.New(batch.Config{MaxBatchTokens: 64})
		defer q.Close()
		var seqs []batch.Sequence
		var want []float32
		for i := range 50 {
			s := seq(1+(i*7)%20, int32(i))
			seqs, want = append(seqs, s), append(want, f.Want(s))
		}
		got, stats, err := q.Submit(t.Context(), batch.NewLane("a", f), seqs)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, len(f.Calls()), stats.Batches)
		for _, c := range f.Calls() {
			total := 0
			for _, n := range c {
				total += n
			}
			assert.LessOrEqual(t, total, 64)
		}
	})
}

func TestASequenceOverTheBudgetIsABatchOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &scorertest.Fake{}
		q := batch.New(batch.Config{MaxBatchTokens: 10, MaxQueuedTokens: 20})
		defer q.Close()
		_, _, err := q.Submit(t.Context(), batch.NewLane("a", f), []batch.Sequence{seq(3, 1), seq(30, 2), seq(3, 3)})
		require.NoError(t, err)
		assert.Equal(t, [][]int{{3, 3}, {30}}, f.Calls())
	})
}

func TestShortSequencesFillTheGapsAndTheOldestIsNeverPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{MaxBatchTokens: 10})
		defer q.Close()
		lane := batch.NewLane("a", f)
		first := submit(t.Context(), q, lane, seq(1, 0))
		<-g.entered
		rest := submit(t.Context(), q, lane, seq(6, 1), seq(7, 2), seq(4, 3), seq(8, 4), seq(3, 5), seq(2, 6))
		synctest.Wait()
		close(g.open)
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-rest).err)
		assert.Equal(t, [][]int{{1}, {6, 4}, {7, 3}, {8, 2}}, f.Calls())
	})
}

func TestLanesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		g := newGate()
		lane := func(name string) *batch.Lane {
			return batch.NewLane(name, &scorertest.Fake{PerToken: time.Millisecond, Before: func(s []batch.Sequence) error {
				err := g.before(s)
				order = append(order, name)
				return err
			}})
		}
		heavy, light := lane("heavy"), lane("light")
		q := batch.New(batch.Config{MaxBatchTokens: 10, Patience: time.Hour})
		defer q.Close()
		var waits []<-chan result
		for i := range 6 {
			waits = append(waits, submit(t.Context(), q, heavy, seq(10, int32(i))))
		}
		<-g.entered
		synctest.Wait()
		for i := range 2 {
			waits = append(waits, submit(t.Context(), q, light, seq(10, int32(i))))
		}
		synctest.Wait()
		close(g.open)
		for _, w := range waits {
			require.NoError(t, (<-w).err)
		}
		assert.Equal(t, []string{"heavy", "heavy", "light", "heavy", "light", "heavy", "heavy", "heavy"}, order)
	})
}

func TestPastThePatienceTheLongestWaitGoesFirstEverySecondTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		g := newGate()
		lane := func(name string) *batch.Lane {
			return batch.NewLane(name, &scorertest.Fake{Before: func(s []batch.Sequence) error {
				err := g.before(s)
				order = append(order, name)
				return err
			}})
		}
		old, fresh := lane("old"), lane("fresh")
		q := batch.New(batch.Config{MaxBatchTokens: 10, Patience: time.Second})
		defer q.Close()
		waits := []<-chan result{submit(t.Context(), q, fresh, seq(10, 0))}
		<-g.entered
		waits = append(waits, submit(t.Context(), q, old, seq(10, 1), seq(10, 2), seq(10, 3)))
		synctest.Wait()
		time.Sleep(2 * time.Second)
		waits = append(waits, submit(t.Context(), q, fresh, seq(10, 4)))
		synctest.Wait()
		close(g.open)
		for _, w := range waits {
			require.NoError(t, (<-w).err)
		}
		assert.Equal(t, []string{"fresh", "old", "fresh", "old", "old"}, order)
	})
}

func TestACancelledEntryIsDroppedBeforeCompute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{})
		defer q.Close()
		lane := batch.NewLane("a", f)
		first := submit(t.Context(), q, lane, seq(1, 0))
		<-g.entered
		why := errors.New("the client hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := submit(ctx, q, lane, seq(5, 1), seq(5, 2))
		stays := submit(t.Context(), q, lane, seq(3, 3))
		synctest.Wait()
		cancel(why)
		assert.ErrorIs(t, (<-gone).err, why, "told at once, while the engine is busy")
		assert.Equal(t, 3, q.Depth().Tokens, "its tokens are free again")
		close(g.open)
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-stays).err)
		assert.Equal(t, [][]int{{1}, {3}}, f.Calls())
	})
}

func TestAnEntryCancelledDuringComputeLeavesItsBatchMatesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, block := newGate(), newGate()
		f := &scorertest.Fake{Before: func(s []batch.Sequence) error {
			if len(s) == 1 {
				return g.before(s)
			}
			return block.before(s)
		}}
		q := batch.New(batch.Config{})
		defer q.Close()
		lane := batch.NewLane("a", f)
		first := submit(t.Context(), q, lane, seq(1, 0))
		<-g.entered
		ctx, cancel := context.WithCancel(t.Context())
		gone, stays := submit(ctx, q, lane, seq(5, 1)), submit(t.Context(), q, lane, seq(3, 3))
		synctest.Wait()
		close(g.open)
		<-block.entered
		cancel()
		assert.ErrorIs(t, (<-gone).err, context.Canceled)
		close(block.open)
		require.NoError(t, (<-first).err)
		assert.Equal(t, []float32{f.Want(seq(3, 3))}, (<-stays).rewards)
	})
}

func TestTheQueueRefusesWhatIsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{MaxQueuedTokens: 100})
		defer q.Close()
		lane := batch.NewLane("a", f)
		first := submit(t.Context(), q, lane, seq(1, 0))
		<-g.entered
		second := submit(t.Context(), q, lane, seq(200, 1)) // over the limit, but nothing else waits
		synctest.Wait()
		_, _, err := q.Submit(t.Context(), lane, []batch.Sequence{seq(1, 2)})
		assert.ErrorIs(t, err, batch.ErrOverloaded)
		close(g.open)
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-second).err)
		_, _, err = q.Submit(t.Context(), lane, []batch.Sequence{seq(1, 2)})
		assert.NoError(t, err, "once there is room")
	})
}

func TestASubmissionForSeveralLanesIsTakenWholeOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		a, b := &scorertest.Fake{Seed: 1, Before: g.before}, &scorertest.Fake{Seed: 2}
		q := batch.New(batch.Config{MaxQueuedTokens: 100})
		defer q.Close()
		jobs := []batch.Job{{Lane: batch.NewLane("a", a), Seqs: []batch.Sequence{seq(30, 1), seq(2, 2)}}, {Lane: batch.NewLane("b", b), Seqs: []batch.Sequence{seq(30, 1)}}}
		first := submit(t.Context(), q, jobs[0].Lane, seq(1, 0))
		<-g.entered
		waiting := submit(t.Context(), q, jobs[0].Lane, seq(50, 0))
		synctest.Wait()
		_, _, err := q.SubmitAll(t.Context(), jobs)
		require.ErrorIs(t, err, batch.ErrOverloaded)
		assert.Equal(t, 50, q.Depth().Tokens, "nothing of the refused submission stays")
		close(g.open)
		require.NoError(t, (<-first).err)
		require.NoError(t, (<-waiting).err)
		got, _, err := q.SubmitAll(t.Context(), jobs)
		require.NoError(t, err)
		assert.Equal(t, [][]float32{{a.Want(seq(30, 1)), a.Want(seq(2, 2))}, {b.Want(seq(30, 1))}}, got)
	})
}

func TestAnEntryThatWaitsTooLongExpiresWhileTheEngineIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		f := &scorertest.Fake{Before: g.before}
		q := batch.New(batch.Config{MaxWait: time.Minute})
		defer q.Close()
		lane := batch.NewLane("a", f)
		start := time.Now()
		first := submit(t.Context(), q, lane, seq(1, 0))
		<-g.entered
		late := <-submit(t.Context(), q, lane, seq(1, 1))
		assert.ErrorIs(t, late.err, batch.ErrExpired)
		assert.Equal(t, time.Minute, late.at.Sub(start))
		time.Sleep(time.Minute)
		close(g.open)
		assert.NoError(t, (<-first).err, "what is being computed does not expire")
	})
}

func TestNothingToScoreIsNoError(t *testing.T) {
	q := batch.New(batch.Config{})
	defer q.Close()
	got, _, err := q.Submit(t.Context(), batch.NewLane("a", &scorertest.Fake{}), nil)
	require.NoError(t, err)
	assert.Empty(t, got)
}

func TestACallerThatIsGoneAlreadyIsNotQueued(t *testing.T) {
	q := batch.New(batch.Config{})
	defer q.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := &scorertest.Fake{}
	_, _, err := q.Submit(ctx, batch.NewLane("a", f), []batch.Sequence{seq(1, 1)})
	assert.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, f.Calls())
}

func TestAMalformedSequenceIsTheCallersBug(t *testing.T) {
	q := batch.New(batch.Config{})
	defer q.Close()
	lane := batch.NewLane("a", &scorertest.Fake{})
	for name, s := range map[string]batch.Sequence{
		"no ids":            {},
		"scored after end":  {IDs: []int32{1}, Read: []int32{1}},
		"scored before it":  {IDs: []int32{1}, Read: []int32{-1}},
		"types of no match": {IDs: []int32{1}, Types: []int32{0, 0}, Read: []int32{0}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Panics(t, func() { _, _, _ = q.Submit(t.Context(), lane, []batch.Sequence{s}) })
		})
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	err := batch.Config{MaxBatchTokens: -1, MaxWait: -time.Second}.Validate()
	assert.ErrorContains(t, err, "MaxBatchTokens")
	assert.ErrorContains(t, err, "MaxWait")
	assert.NoError(t, batch.Config{}.Validate())
}

// TestManyCallersWithRandomCancellation is for the race detector: whoever is
// not cancelled has the right reward, and the queue is empty at the end.
func TestManyCallersWithRandomCancellation(t *testing.T) {
	f, g := &scorertest.Fake{Seed: 1}, &scorertest.Fake{Seed: 2}
	q := batch.New(batch.Config{MaxBatchTokens: 64})
	lanes := []*batch.Lane{batch.NewLane("f", f), batch.NewLane("g", g)}
	fakes := []*scorertest.Fake{f, g}
	var callers sync.WaitGroup
	for c := range 64 {
		callers.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if (c+i)%3 == 0 {
					go cancel()
				}
				s := []batch.Sequence{seq(1+i%40, int32(c)), seq(3, int32(i))}
				got, _, err := q.Submit(ctx, lanes[c%2], s)
				if err != nil {
					assert.ErrorIs(t, err, context.Canceled)
				} else {
					assert.Equal(t, []float32{fakes[c%2].Want(s[0]), fakes[c%2].Want(s[1])}, got)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	assert.Equal(t, batch.Depth{}, q.Depth())
	require.NoError(t, q.Drain(t.Context()))
}

// BenchmarkQueue is the queue's own cost for each sequence, with 256 callers
// that each wait for one: what a reward costs before a model computes anything.
func BenchmarkQueue(b *testing.B) {
	q := batch.New(batch.Config{})
	defer q.Close()
	lane := batch.NewLane("a", nothing{})
	s := []batch.Sequence{seq(100, 1)}
	b.ReportAllocs()
	b.SetParallelism(256 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := q.Submit(context.Background(), lane, s); err != nil {
				b.Error(err)
			}
		}
	})
}

// nothing is a scorer without cost.
type nothing struct{}

func (nothing) Score(dst []float32, _ []batch.Sequence) error {
	clear(dst)
	return nil
}
