package par

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Task is work over an index range. Do is called with disjoint ranges, at the
// same time by different workers; worker is in [0, Size).
type Task interface {
	Do(worker, lo, hi int)
}

// Team is a caller and the helpers that join it. Helpers are started once. A
// nil *Team is a team of one: the caller alone.
//
// A Team runs one task at a time; Run must not be called by two goroutines at
// once, nor from inside a task.
//
// # How a run is shared
//
// A helper that is not running yet when the caller has handed out the last range
// takes no part: the caller waits only for helpers that joined. After a run a
// helper looks for the next one for [spin] before it sleeps, because products
// follow each other within microseconds, while a sleeper that is woken for each
// of them comes too late for most (measured on two cores with products of
// 2.5 ms: the rate of one core in half of the calls). An idle team uses no CPU.
type Team struct {
	size    int
	spins   bool // helpers and caller have a processor each
	helpers []helper
	ended   sync.WaitGroup

	_ [64]byte // what follows is written by all workers at the same time

	// state is the number of the current run in the upper half, and below it
	// whether the run is open to helpers, whether its caller sleeps until the
	// helpers are done, and how many helpers have joined and not left.
	state atomic.Uint64
	_     [56]byte
	next  atomic.Int64 // first index nobody has taken
	_     [56]byte

	// The current run; written before state opens it, read after joining.
	task     Task
	n, grain int

	panicked atomic.Pointer[any]
	done     chan struct{} // one token for a caller that sleeps
	closed   atomic.Bool
}

const (
	stateRun    = 1 << 32 // added for each run
	stateOpen   = 1 << 31
	stateSleeps = 1 << 30
	stateJoined = 1<<16 - 1 // mask
)

// helper is one goroutine beside the caller.
type helper struct {
	asleep atomic.Bool
	wake   chan struct{} // one token for a helper that sleeps
	_      [40]byte
}

// spin is how long a worker looks for work, or for the end of a run, before it
// sleeps: longer than the gaps between the products of a forward pass.
const spin = 200 * time.Microsecond

// NewTeam starts a team of size workers, the caller of Run included.
// Size ≤ 0 means GOMAXPROCS.
func NewTeam(size int) *Team {
	procs := runtime.GOMAXPROCS(0)
	if size <= 0 {
		size = procs
	}
	return start(size, size <= min(procs, runtime.NumCPU()))
}

func start(size int, spins bool) *Team {
	t := &Team{
		size:    size,
		spins:   spins,
		helpers: make([]helper, size-1),
		done:    make(chan struct{}, 1),
	}
	t.ended.Add(size - 1)
	for i := range t.helpers {
		t.helpers[i].wake = make(chan struct{}, 1)
		go t.help(i+1, &t.helpers[i])
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

// Close ends the helpers and returns when they have ended. The team must be
// idle; afterwards Run works with the caller alone.
func (t *Team) Close() {
	if t == nil || t.closed.Swap(true) {
		return
	}
	t.wake(len(t.helpers))
	t.ended.Wait()
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
	t.state.Store(t.state.Load()&^(stateRun-1) + stateRun | stateOpen)
	t.wake(min(len(t.helpers), (n+grain-1)/grain-1))
	defer t.finish()
	t.take(0)
}

// finish closes the run, waits for the helpers in it and raises their panic.
func (t *Team) finish() {
	if t.state.And(^uint64(stateOpen))&stateJoined != 0 {
		t.await()
	}
	t.task = nil
	if p := t.panicked.Swap(nil); p != nil {
		panic(*p)
	}
}

// await returns when no helper is in the run, which is closed.
func (t *Team) await() {
	w := watch{spins: t.spins}
	for w.more() {
		if t.state.Load()&stateJoined == 0 {
			return
		}
	}
	if t.state.Or(stateSleeps)&stateJoined != 0 {
		<-t.done
	}
}

// wake rouses the first n helpers, those of them that sleep.
func (t *Team) wake(n int) {
	for i := range t.helpers[:n] {
		h := &t.helpers[i]
		if h.asleep.Load() && h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
}

func (t *Team) help(worker int, h *helper) {
	defer t.ended.Done()
	seen := uint64(0) // the last run this helper joined or missed
	for {
		run, ok := t.nextRun(seen, h)
		if !ok {
			return
		}
		seen = run
		if t.join(run) {
			t.work(worker)
		}
	}
}

// nextRun returns the number of a run after seen, or false when the team closes.
func (t *Team) nextRun(seen uint64, h *helper) (run uint64, ok bool) {
	for {
		w := watch{spins: t.spins}
		for w.more() {
			if run := t.state.Load() / stateRun; run != seen {
				return run, true
			}
			if t.closed.Load() {
				return 0, false
			}
		}
		h.asleep.Store(true)
		if t.state.Load()/stateRun != seen || t.closed.Load() {
			if h.asleep.CompareAndSwap(true, false) {
				continue
			}
		}
		<-h.wake
	}
}

// join enters the run unless it is closed or another.
func (t *Team) join(run uint64) bool {
	for {
		s := t.state.Load()
		if s/stateRun != run || s&stateOpen == 0 {
			return false
		}
		if t.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// work takes part in the run that was joined, and leaves it.
func (t *Team) work(worker int) {
	defer func() {
		if s := t.state.Add(^uint64(0)); s&stateJoined == 0 && s&stateSleeps != 0 {
			t.done <- struct{}{}
		}
	}()
	t.take(worker)
}

// take does ranges until none is left.
func (t *Team) take(worker int) {
	defer func() {
		if r := recover(); r != nil {
			// The address is kept: of a variable of its own, so that only a panic allocates.
			p := r
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
