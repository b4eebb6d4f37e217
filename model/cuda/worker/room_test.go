//go:build linux

package worker

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/kernel"
)

func TestWeightsLieInStripesOfFiles(t *testing.T) {
	for _, size := range []int64{1, 4096, stripe, stripe + 1, 2*stripe - 1, 7 * stripe, (mostFiles-1)*stripe + 5,
		mostFiles * stripe, 3*mostFiles*stripe + 3*stripe + 17} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			r, err := newRoom(size)
			require.NoError(t, err)
			defer r.close()
			require.Len(t, r.files, int(min(mostFiles, (size+stripe-1)/stripe)))
			sum := int64(0)
			for i := range r.files {
				sum += part(size, i, len(r.files))
			}
			require.Equal(t, size, sum)
			rnd := rand.New(rand.NewPCG(1, uint64(size)))
			want := make([]byte, size)
			for at := 0; at < len(want); { // pieces of any length
				n := min(len(want)-at, 1+rnd.IntN(3*stripe))
				for i := range want[at:][:n] {
					want[at+i] = byte(rnd.Uint32())
				}
				did, err := r.WriteAt(want[at:][:n], int64(at))
				require.NoError(t, err)
				require.Equal(t, n, did)
				at += n
			}
			_, err = r.WriteAt([]byte{1, 2}, size-1)
			require.ErrorIs(t, err, io.ErrShortWrite)

			other, err := roomOf(r.files, size)
			require.NoError(t, err)
			got, err := io.ReadAll(io.NewSectionReader(other, 0, size+9))
			require.NoError(t, err)
			require.True(t, string(want) == string(got))
			for range 20 {
				at := rnd.Int64N(size)
				b := make([]byte, 1+rnd.Int64N(size-at))
				n, err := other.ReadAt(b, at)
				require.NoError(t, err)
				require.Equal(t, len(b), n)
				require.True(t, string(want[at:][:n]) == string(b))
			}
			n, err := other.ReadAt(make([]byte, 4), size-1)
			assert.Equal(t, 1, n)
			assert.Equal(t, io.EOF, err)
		})
	}
}

func TestFilesThatAreNotThoseOfTheWeightsAreRefused(t *testing.T) {
	const size = 2*stripe + 9
	r, err := newRoom(size)
	require.NoError(t, err)
	defer r.close()
	for what, c := range map[string]struct {
		files []*os.File
		size  int64
		err   string
	}{
		"too few":   {r.files[:2], size, "2 files for 524297 bytes of weights"},
		"none":      {nil, size, "0 files"},
		"no bytes":  {r.files, 0, "3 files for 0 bytes"},
		"too long":  {r.files, size - 1, "9 bytes of weights in file 2 of 3, want 8"},
		"too short": {r.files, size + 1, "9 bytes of weights in file 2 of 3, want 10"},
	} {
		_, err := roomOf(c.files, c.size)
		assert.ErrorContains(t, err, c.err, what)
	}
}

// stopping is a source that stops before its last tensor, until it may go on.
type stopping struct {
	model.Source
	last string
	stop func() error // of the first time
	once *sync.Once
}

func (s stopping) ReadAt(dst []float32, name string, offset int) (err error) {
	if name == s.last {
		s.once.Do(func() { err = s.stop() })
	}
	if err != nil {
		return err
	}
	return s.Source.ReadAt(dst, name, offset)
}

// loadStopping loads a model whose last tensor comes behind stop.
func loadStopping(t *testing.T, c *Cards, stop func() error) (*Model, error) {
	src := stopping{model.NewRandom(tiny(t, 32), 1), "score.weight", stop, new(sync.Once)}
	m, err := c.Load(tiny(t, 32), src, model.LoadOptions{DType: kernel.BFloat16, Workers: 1})
	if err != nil {
		return nil, err
	}
	return m.(*Model), nil
}

func TestWeightsGoToTheCardWhileOthersArePacked(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	other := loadTiny(t, c, 2)
	filled := func() int { return c.Stats()[0].Memory }
	before := filled()
	m, err := loadStopping(t, c, func() error {
		require.Eventually(t, func() bool { return filled() > before }, 10*time.Second, time.Millisecond)
		assert.Equal(t, want(t, other, 5), scoreOf(t, other, 5), "batches go on between")
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5))
	for _, what := range m.Times() {
		assert.Positive(t, what.Took, what.What)
	}
	assert.NotEqual(t, want(t, other, 5), want(t, m, 5))
	kill(t, c, 0)
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5), "and all at once to the next worker")
}

func TestALoadThatEndsInItsMiddleLeavesNothing(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	broken := errors.New("the disk is gone")
	before := pid(c, 0)
	_, err := loadStopping(t, c, func() error {
		require.Eventually(t, func() bool { return c.Stats()[0].Free == 1 }, 10*time.Second, time.Millisecond)
		return broken
	})
	require.ErrorIs(t, err, broken)
	assert.Zero(t, c.Stats()[0].Free)
	assert.Equal(t, before, pid(c, 0))
	m := loadTiny(t, c, 1)
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5))
}

func TestAWorkerThatEndsInTheMiddleOfALoadIsFollowedByAnother(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	m, err := loadStopping(t, c, func() error {
		require.Eventually(t, func() bool { return c.Stats()[0].Free == 1 }, 10*time.Second, time.Millisecond)
		kill(t, c, 0)
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, want(t, m, 5), scoreOf(t, m, 5))
	assert.Equal(t, uint64(1), c.Stats()[0].Restarts)
}

func TestWhatDoesNotFitIsKnownBeforeItIsPacked(t *testing.T) {
	c := fakeCards(t, "cuda", fakeOptions())
	large := tiny(t, tooLarge)
	read := 0
	count := func() error { read++; return nil }
	src := stopping{model.NewRandom(large, 1), "score.weight", count, new(sync.Once)}
	slow := func() error { time.Sleep(300 * time.Millisecond); return nil } // the answer comes before the end
	_, err := c.Load(large, src, model.LoadOptions{DType: kernel.BFloat16, Workers: 1, Interrupt: slow})
	var memory *model.MemoryError
	require.ErrorAs(t, err, &memory)
	assert.Zero(t, read)
}
