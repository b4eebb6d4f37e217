package par

import (
	"runtime"
	"sync/atomic"
)

// Task is work over an index range. Do is called with disjoint ranges, at the
// same time by different workers; worker is in [0, Size).
type Task interface {
	Do(worker, lo, hi int)
}

// Team is a caller and the workers that help it. Workers are started once. A
// nil *Team is a team of one: the caller alone.
//
// A Team runs one task at a time; Run must not be called by two goroutines at
// once, nor from inside a task.
type Team struct {
	size int
	wake []chan struct{} // one for each helper; closed by Close

	// The current run; written before wake, read after.
	task     Task
	n, grain int
	next     atomic.Int64 // first index nobody has taken
	busy     atomic.Int64 // helpers that have not finished
	panicked atomic.Pointer[any]
	done     chan struct{}
}

// NewTeam starts a team of size workers, the caller of Run included.
// Size ≤ 0 means GOMAXPROCS.
func NewTeam(size int) *Team {
	if size <= 0 {
		size = runtime.GOMAXPROCS(0)
	}
	t := &Team{size: size, done: make(chan struct{}, 1)}
	for w := 1; w < size; w++ {
		c := make(chan struct{}, 1)
		t.wake = append(t.wake, c)
		go t.help(w, c)
	}
	return t
}

// Size returns the number of workers.
func (t *Team) Size() int {
	if t == nil {
		return 1
	}
	return t.size
}

// Close ends the helpers. The team must be idle.
func (t *Team) Close() {
	if t == nil {
		return
	}
	for _, c := range t.wake {
		close(c)
	}
}

// Run calls task.Do for ranges of up to grain indices that together cover
// [0, n), each once, and returns when all are done. A panic in a task is raised
// again in the caller after the other workers have finished.
func (t *Team) Run(n, grain int, task Task) {
	grain = max(grain, 1)
	if t == nil || t.size == 1 || n <= grain {
		if n > 0 {
			task.Do(0, 0, n)
		}
		return
	}
	t.task, t.n, t.grain = task, n, grain
	t.next.Store(0)
	helpers := min(len(t.wake), (n+grain-1)/grain-1)
	t.busy.Store(int64(helpers))
	for _, c := range t.wake[:helpers] {
		c <- struct{}{}
	}
	t.take(0)
	if helpers > 0 {
		<-t.done
	}
	t.task = nil
	if p := t.panicked.Swap(nil); p != nil {
		panic(*p)
	}
}

func (t *Team) help(worker int, wake <-chan struct{}) {
	for range wake {
		t.take(worker)
		if t.busy.Add(-1) == 0 {
			t.done <- struct{}{}
		}
	}
}

// take does ranges until none is left.
func (t *Team) take(worker int) {
	defer func() {
		if p := recover(); p != nil {
			t.next.Store(int64(t.n)) // no further range is begun
			t.panicked.CompareAndSwap(nil, &p)
		}
	}()
	for {
		hi := int(t.next.Add(int64(t.grain)))
		lo := hi - t.grain
		if lo >= t.n {
			return
		}
		t.task.Do(worker, lo, min(hi, t.n))
	}
}
