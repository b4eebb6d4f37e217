package par

import (
	"runtime"
	"time"
)

// watch limits how long a goroutine looks at a word in a loop. Where another
// goroutine may need the processor it yields now and then, so that a team makes
// progress with GOMAXPROCS=1 too.
type watch struct {
	spins bool // whether to look more than once
	n     int
	until time.Time
}

// pauses is how many pauses lie between two looks, 50 to 150 ns on the
// processors of today; a look at the clock comes every 16, a yield every 128.
const pauses = 4

// more waits a moment and says whether to look again.
func (w *watch) more() bool {
	w.n++
	switch {
	case w.n == 1:
		return true
	case !w.spins:
		return false
	case w.n%128 == 0:
		runtime.Gosched()
	}
	pause(pauses)
	if w.n%16 != 0 {
		return true
	}
	now := time.Now()
	if w.until.IsZero() {
		w.until = now.Add(spin)
	}
	return now.Before(w.until)
}
