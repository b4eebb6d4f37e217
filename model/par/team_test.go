package par

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// taskFunc makes a Task of a function.
type taskFunc func(worker, lo, hi int)

func (f taskFunc) Do(worker, lo, hi int) { f(worker, lo, hi) }

func TestRunCoversEveryIndexOnce(t *testing.T) {
	for _, size := range []int{1, 2, 3, 16} {
		team := NewTeam(size)
		defer team.Close()
		for _, n := range []int{0, 1, 2, 7, 100, 1001} {
			for _, grain := range []int{-1, 1, 3, 50, 2000} {
				seen := make([]atomic.Int32, n)
				var busy [16]atomic.Int32
				team.Run(n, grain, taskFunc(func(worker, lo, hi int) {
					assert.True(t, 0 <= worker && worker < team.Size(), "worker %d of %d", worker, size)
					assert.True(t, lo < hi && hi <= n)
					assert.Equal(t, int32(1), busy[worker].Add(1), "one range at a time for a worker")
					for i := lo; i < hi; i++ {
						seen[i].Add(1)
					}
					busy[worker].Add(-1)
				}))
				for i := range seen {
					require.Equal(t, int32(1), seen[i].Load(), "index %d of %d, grain %d, %d workers", i, n, grain, size)
				}
			}
		}
	}
}

func TestANilTeamIsTheCallerAlone(t *testing.T) {
	var team *Team
	assert.Equal(t, 1, team.Size())
	var got []int
	team.Run(10, 3, taskFunc(func(worker, lo, hi int) { got = append(got, worker, lo, hi) }))
	assert.Equal(t, []int{0, 0, 10}, got)
	team.Close()
}

// TestHelpersTakePart holds the caller's first range until a helper has one.
func TestHelpersTakePart(t *testing.T) {
	const size = 4
	team := NewTeam(size)
	defer team.Close()
	for range 50 {
		var here atomic.Int32
		team.Run(size, 1, taskFunc(func(_, _, _ int) {
			here.Add(1)
			for here.Load() < size { // every worker holds one range
				runtime.Gosched()
			}
		}))
		require.Equal(t, int32(size), here.Load())
	}
}

func TestHelpersTakePartAfterSleeping(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	for range 5 {
		waitAsleep(t, team)
		var here atomic.Int32
		team.Run(2, 1, taskFunc(func(_, _, _ int) {
			here.Add(1)
			for here.Load() < 2 {
				runtime.Gosched()
			}
		}))
	}
}

// waitAsleep returns when every helper sleeps, and fails if one does not.
func waitAsleep(t *testing.T, team *Team) {
	t.Helper()
	require.Eventually(t, func() bool {
		for i := range team.helpers {
			if !team.helpers[i].asleep.Load() {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond, "an idle helper must stop looking for work")
}

func TestAnIdleTeamSleeps(t *testing.T) {
	team := NewTeam(4)
	defer team.Close()
	waitAsleep(t, team)
	team.Run(100, 1, taskFunc(func(_, _, _ int) {}))
	waitAsleep(t, team)
}

func TestProgressOnOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	team := start(3, true) // as if the limit had been lowered after the start
	defer team.Close()
	var sum atomic.Int64
	for range 200 {
		team.Run(64, 1, taskFunc(func(_, lo, hi int) { sum.Add(int64(hi - lo)) }))
	}
	assert.Equal(t, int64(200*64), sum.Load())
}

func TestAPanicReachesTheCaller(t *testing.T) {
	for _, size := range []int{1, 2, 8} {
		team := NewTeam(size)
		defer team.Close()
		for bad := range 20 {
			var running atomic.Int32
			func() {
				defer func() {
					assert.Equal(t, "culprit", recover())
					assert.Zero(t, running.Load(), "the others have finished")
				}()
				team.Run(20, 1, taskFunc(func(_, lo, hi int) {
					running.Add(1)
					defer running.Add(-1)
					if lo <= bad && bad < hi {
						panic("culprit")
					}
				}))
			}()
		}
		var n atomic.Int32
		team.Run(20, 1, taskFunc(func(_, lo, hi int) { n.Add(int32(hi - lo)) }))
		assert.Equal(t, int32(20), n.Load(), "the team works after a panic")
	}
}

func TestCloseEndsTheHelpers(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		team := NewTeam(8)
		team.Run(100, 1, taskFunc(func(_, _, _ int) {}))
		team.Close()
		team.Close()
		var n atomic.Int32
		team.Run(100, 1, taskFunc(func(_, lo, hi int) { n.Add(int32(hi - lo)) }))
		assert.Equal(t, int32(100), n.Load(), "a closed team is the caller alone")
	}
	for range 1000 { // a helper reports its end just before it is gone
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestRunAllocatesNothing(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	var task Task = taskFunc(func(_, _, _ int) {})
	assert.Zero(t, testing.AllocsPerRun(100, func() { team.Run(100, 1, task) }))
}

// TestRunsFollowEachOtherClosely is for the race detector: late helpers meet the
// end of one run and the beginning of the next.
func TestRunsFollowEachOtherClosely(t *testing.T) {
	team := NewTeam(4)
	defer team.Close()
	x := make([]int, 64)
	for i := range 5000 {
		team.Run(1+i%64, 1+i%3, taskFunc(func(_, lo, hi int) {
			for j := lo; j < hi; j++ {
				x[j]++
			}
		}))
	}
	assert.Equal(t, 5000, x[0])
}

func BenchmarkRun(b *testing.B) {
	for _, size := range []int{1, 2} {
		b.Run(map[int]string{1: "alone", 2: "two workers"}[size], func(b *testing.B) {
			team := NewTeam(size)
			defer team.Close()
			var task Task = taskFunc(func(_, _, _ int) {})
			for b.Loop() {
				team.Run(8, 1, task)
			}
		})
	}
}
