package worker

import "sync"

// Bytes that a worker is asked to bring to its card at a time: batches wait so long.
const (
	spanBytes = 32 << 20 // of a span at most
	fillBytes = 64 << 20 // from which on no more spans are added
)

// span is bytes of an image: from which on, and how many.
type span struct{ At, Bytes int64 }

// feed is what there is of an image, in the order in which it was packed. Cards take it as it comes,
// each from the beginning.
type feed struct {
	mu     sync.Mutex
	spans  []span
	ended  bool
	err    error         // why there will be no more
	change chan struct{} // closed, and made anew, when there is
}

func newFeed() *feed { return &feed{change: make(chan struct{})} }

// add says that bytes are there.
func (f *feed) add(s span) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s.Bytes > 0 {
		n := min(s.Bytes, spanBytes)
		f.spans = append(f.spans, span{s.At, n})
		s.At, s.Bytes = s.At+n, s.Bytes-n
	}
	f.wake()
}

// end says that all are there, or why not. The first time counts.
func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.ended, f.err = true, err
	f.wake()
}

func (f *feed) wake() {
	close(f.change)
	f.change = make(chan struct{})
}

// failed returns why there will be no more.
func (f *feed) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// next waits for spans behind the first n, and returns none when there are no more.
func (f *feed) next(n int) ([]span, error) {
	for {
		f.mu.Lock()
		spans, ended, err, change := f.spans[n:], f.ended, f.err, f.change
		f.mu.Unlock()
		if err != nil || ended || len(spans) > 0 {
			sum := int64(0)
			for i, s := range spans {
				if sum += s.Bytes; sum >= fillBytes {
					spans = spans[:i+1]
					break
				}
			}
			return spans, err
		}
		<-change
	}
}
