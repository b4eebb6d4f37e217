package driver

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"unsafe"

	"github.com/warmserve/warmserve/model/cuda"
)

// Sizes of the pinned memory through which all copies go.
const (
	slots     = 8
	slotBytes = 4 << 20
	// copyBytes is how much one goroutine copies at a time: one core alone is slower
	// than the bus.
	copyBytes = 1 << 20
	// slotsAhead is how many slots are filled at a time, while others are copied to the card.
	slotsAhead = 4
)

// staging is pinned memory, so that a copy is really done when the driver says so: from
// memory of Go it may return before the bytes have left, and takes a second copy.
type staging struct {
	mu     sync.Mutex
	pinned uintptr // slots·slotBytes
	slots  [slots]slot
	next   int
	marked int // copies that were begun
	done   int // of them, the last that is known to be, as all before it then are
}

// slot is a part of it.
type slot struct {
	bytes []byte
	event uintptr // behind the last copy from it or to it
	mark  int     // which of all copies that was; 0 for none
}

func (s *staging) open(c *Card) error {
	var p uintptr
	err := c.call("cuMemHostAlloc", c.lib.hostAlloc, uintptr(unsafe.Pointer(&p)), slots*slotBytes, 0)
	if err != nil {
		return err
	}
	s.pinned = p
	for i := range s.slots {
		e, err := c.newEvent(eventWithoutTime)
		if err != nil {
			return err
		}
		s.slots[i] = slot{bytes: unsafe.Slice((*byte)(foreign(p+uintptr(i)*slotBytes)), slotBytes), event: e}
	}
	return nil
}

func (s *staging) close(c *Card) {
	for i := range s.slots {
		if e := s.slots[i].event; e != 0 {
			_ = c.call("cuEventDestroy", c.lib.eventDestroy, e)
		}
		s.slots[i] = slot{}
	}
	if s.pinned != 0 {
		_ = c.call("cuMemFreeHost", c.lib.hostFree, s.pinned)
		s.pinned = 0
	}
}

// take returns the next slot, whose bytes are in use no more.
func (s *staging) take(c *Card) (*slot, error) {
	t := &s.slots[s.next]
	s.next = (s.next + 1) % slots
	return t, s.await(c, t)
}

// await waits for the last copy from a slot, or to it, unless a later one is known to be done.
func (s *staging) await(c *Card, t *slot) error {
	if t.mark <= s.done {
		return nil
	}
	err := c.call("cuEventSynchronize", c.lib.eventSynchronize, t.event)
	if err == nil {
		s.done = t.mark
	}
	return err
}

// begun notes that a copy from a slot, or to it, is under way.
func (s *staging) begun(c *Card, t *slot) error {
	s.marked++
	t.mark = s.marked
	return c.call("cuEventRecord", c.lib.eventRecord, t.event, c.stream)
}

// foreign is a pointer to memory that is not Go's.
func foreign(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// Alloc takes memory, aligned to 256 bytes and of any content. The error for too little is
// a *MemoryError.
func (c *Card) Alloc(bytes int) (cuda.Ptr, error) {
	var p uint64
	err := c.call("cuMemAlloc", c.lib.memoryAlloc, uintptr(unsafe.Pointer(&p)), uintptr(max(bytes, 1)))
	var e *Error
	if errors.As(err, &e) && e.Code == outOfMemory {
		m := &MemoryError{Asked: int64(bytes), Err: err}
		m.Free, m.Total, _ = c.memory()
		return 0, m
	}
	return cuda.Ptr(p), err
}

// Free gives memory back, after all that was launched before.
func (c *Card) Free(p cuda.Ptr) {
	if p != 0 {
		// An error here is that of an earlier fault, which Sync returns.
		_ = c.call("cuMemFree", c.lib.memoryFree, uintptr(p))
	}
}

var errCapturing = errors.New("cuda: memory is written or read while a graph is captured")

// capturing says whether a graph is being captured.
func (c *Card) capturing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.capture != nil
}

// Write copies to the card, before what is launched next. src may be changed as soon as it
// returns.
func (c *Card) Write(dst cuda.Ptr, src []byte) error {
	return c.write(dst, len(src), func(to []byte, at int) error {
		copyApart(to, src[at:])
		return nil
	})
}

// Fill copies the first bytes of a file to the card, before what is launched next. It is read into
// the memory that the card copies from, while the card copies what was read before.
func (c *Card) Fill(dst cuda.Ptr, src io.ReaderAt, bytes int) error {
	return c.write(dst, bytes, func(to []byte, at int) error {
		return apart(len(to), func(from, until int) error {
			_, err := src.ReadAt(to[from:until], int64(at+from))
			return err
		})
	})
}

// write copies bytes to the card that fill puts into pinned memory, from one on. It is called by
// several goroutines when there are many.
func (c *Card) write(dst cuda.Ptr, bytes int, fill func(to []byte, at int) error) (err error) {
	if c.capturing() {
		return errCapturing
	}
	s := &c.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes <= slotBytes { // most writes, of a batch
		t, err := s.take(c)
		if err == nil && bytes > 0 {
			err = fill(t.bytes[:bytes], 0)
		}
		if err == nil && bytes > 0 {
			err = c.send(dst, t, bytes)
		}
		return err
	}
	type filling struct {
		slot *slot
		at   int
		done chan error
	}
	var ahead []filling // the oldest first
	first := func() error {
		f := ahead[0]
		ahead = ahead[1:]
		if err := <-f.done; err != nil {
			return err
		}
		return c.send(dst+cuda.Ptr(f.at), f.slot, min(bytes-f.at, slotBytes))
	}
	defer func() { // nobody writes to a slot any more
		for _, f := range ahead {
			err = errors.Join(err, <-f.done)
		}
	}()
	for at := 0; at < bytes; at += slotBytes {
		if len(ahead) == slotsAhead {
			if err := first(); err != nil {
				return err
			}
		}
		t, err := s.take(c)
		if err != nil {
			return err
		}
		f := filling{t, at, make(chan error, 1)}
		go func() { f.done <- fill(t.bytes[:min(bytes-at, slotBytes)], at) }()
		ahead = append(ahead, f)
	}
	for len(ahead) > 0 {
		if err := first(); err != nil {
			return err
		}
	}
	return nil
}

// send copies the first bytes of a slot to the card.
func (c *Card) send(dst cuda.Ptr, t *slot, bytes int) error {
	err := c.call("cuMemcpyHtoDAsync", c.lib.toDevice, uintptr(dst), uintptr(unsafe.Pointer(&t.bytes[0])),
		uintptr(bytes), c.stream)
	if err != nil {
		return err
	}
	return c.staging.begun(c, t)
}

// Read copies from the card, after what was launched before.
func (c *Card) Read(dst []byte, src cuda.Ptr) error {
	if c.capturing() {
		return errCapturing
	}
	s := &c.staging
	s.mu.Lock()
	defer s.mu.Unlock()
	type part struct {
		slot *slot
		dst  []byte
	}
	var parts []part // on their way, the oldest first
	arrive := func() error {
		p := parts[0]
		parts = parts[1:]
		if err := s.await(c, p.slot); err != nil {
			return err
		}
		copyApart(p.dst, p.slot.bytes)
		return nil
	}
	for len(dst) > 0 {
		if len(parts) == slots {
			if err := arrive(); err != nil {
				return err
			}
		}
		t, err := s.take(c)
		if err != nil {
			return err
		}
		n := min(len(dst), slotBytes)
		err = c.call("cuMemcpyDtoHAsync", c.lib.toHost, uintptr(unsafe.Pointer(&t.bytes[0])), uintptr(src),
			uintptr(n), c.stream)
		if err != nil {
			return err
		}
		if err := s.begun(c, t); err != nil {
			return err
		}
		parts = append(parts, part{t, dst[:n]})
		dst, src = dst[n:], src+cuda.Ptr(n)
	}
	for len(parts) > 0 {
		if err := arrive(); err != nil {
			return err
		}
	}
	return nil
}

// copyApart copies what both have.
func copyApart(dst, src []byte) {
	_ = apart(min(len(dst), len(src)), func(from, until int) error {
		copy(dst[from:], src[from:until])
		return nil
	})
}

// apart does something to bytes from one to another, by several goroutines where they are many, and
// returns an error of any.
func apart(n int, f func(from, until int) error) error {
	if n <= copyBytes || runtime.GOMAXPROCS(0) == 1 {
		return f(0, n)
	}
	var all sync.WaitGroup
	errs := make([]error, (n+copyBytes-1)/copyBytes)
	for i := range errs {
		all.Go(func() { errs[i] = f(i*copyBytes, min(n, (i+1)*copyBytes)) })
	}
	all.Wait()
	return errors.Join(errs...)
}
