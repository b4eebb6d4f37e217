package batch_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/server/batch"
	"github.com/warmserve/warmserve/server/scorertest"
)

// A rehearsal is only worth something while it does what the queue does: both are given
// one load, the queue in synctest's time.
func TestARehearsalIsTheQueue(t *testing.T) {
	type arrival struct {
		at     time.Duration
		client string
		seqs   []batch.Sequence
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var load []arrival
	for n, at := 0, time.Duration(0); n < 120; n++ {
		at += time.Duration(rnd.IntN(400)) * time.Millisecond
		a := arrival{at: at, client: fmt.Sprint(rnd.IntN(5))}
		for range 1 + rnd.IntN(12) {
			a.seqs = append(a.seqs, seq(1+rnd.IntN(600), int32(n)))
		}
		load = append(load, a)
	}
	cfg := batch.Config{MaxBatchTokens: 2048, Patience: time.Second}
	const perToken = time.Millisecond / 5

	var batches []string
	took := make([]time.Duration, len(load))
	synctest.Test(t, func(t *testing.T) {
		cfg := cfg
		cfg.Observe = func(b batch.Batch) { batches = append(batches, fmt.Sprint(b.Sequences, " ", b.Tokens)) }
		q := batch.New(cfg)
		lane := batch.NewLane("a", &scorertest.Fake{PerToken: perToken})
		start := time.Now()
		done := make(chan struct{})
		for i, a := range load {
			time.Sleep(a.at - time.Since(start))
			go func() {
				defer func() { done <- struct{}{} }()
				_, _, err := q.SubmitAll(t.Context(), []batch.Job{{Lane: lane, Seqs: a.seqs, Client: a.client}})
				assert.NoError(t, err)
				took[i] = time.Since(start)
			}()
			synctest.Wait()
		}
		for range load {
			<-done
		}
		q.Close()
	})

	r, lane := batch.Rehearse(cfg), batch.RehearsedLane("a")
	var rehearsed []string
	var asked []batch.Rehearsed
	ends := make([]time.Duration, len(load))
	var busyTo, busyFrom time.Duration
	for next := 0; next < len(load) || busyTo > 0; {
		var now time.Duration
		if busyTo > 0 && (next == len(load) || busyTo <= load[next].at) {
			now = busyTo
			r.At(now)
			r.Finish(busyTo - busyFrom)
			busyTo = 0
		} else {
			now = load[next].at
			r.At(now)
			s, err := r.Submit([]batch.Job{{Lane: lane, Seqs: load[next].seqs, Client: load[next].client}})
			require.NoError(t, err)
			asked = append(asked, s)
			next++
		}
		for i, s := range asked {
			if s.Done() && ends[i] == 0 {
				ends[i] = now
			}
		}
		if seqs := r.Start(); seqs != nil {
			tokens := 0
			for _, s := range seqs {
				tokens += len(s.IDs)
			}
			rehearsed = append(rehearsed, fmt.Sprint(len(seqs), " ", tokens))
			busyFrom, busyTo = now, now+time.Duration(tokens)*perToken
		}
	}
	assert.Equal(t, batches, rehearsed)
	assert.Equal(t, took, ends)
	assert.Greater(t, len(batches), 30)
}
