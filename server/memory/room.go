package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrNoRoom is returned when a request waited in vain, or was refused so that
// older ones can go on. It is worth another try.
var ErrNoRoom = errors.New("memory: no room for the request")

// TooLargeError is returned for what could never fit.
type TooLargeError struct {
	Bytes int64 // asked for
	Limit int64 // of one request
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("memory: %d bytes, one request may hold %d", e.Bytes, e.Limit)
}

const (
	// smallShare is which part of the room only small requests may hold.
	smallShare = 8
	// maxSmall is the size up to which a request is small, where the small ones'
	// part holds enough of such.
	maxSmall = 1 << 20
	// minSmall is how many small requests their part always holds.
	minSmall = 8
)

// Room is the memory that requests share. Make one with New.
type Room struct {
	mu      sync.Mutex
	limit   int64
	small   pool
	large   pool
	growing []*Hold // that wait for more, the oldest first
	coming  []*Hold // that wait and hold nothing, the first come first
	next    uint64  // age of the next hold
	refused uint64
}

// pool is a part of the room.
type pool struct {
	limit   int64
	used    int64
	holds   int // that have a part of it
	growing int // of them those that wait for more
}

func (p *pool) fits(bytes int64) bool { return p.used+bytes <= p.limit }

// Hold is what one request has reserved. Its methods are called by one
// goroutine at a time, but for Share's release.
type Hold struct {
	room *Room

	// The room's lock guards what follows.
	age    uint64
	users  int
	in     *pool // nil while it holds nothing
	bytes  int64
	want   int64      // while it waits
	answer chan error // while it waits; has room for one
}

// New returns a room of limit bytes.
func New(limit int64) *Room {
	r := &Room{}
	r.SetLimit(limit)
	return r
}

// SetLimit changes the size of the room. What is held stays held; a room that
// has shrunk below it takes nobody in until enough is given back.
func (r *Room) SetLimit(limit int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit = max(limit, 0)
	r.small.limit = r.limit / smallShare
	r.large.limit = r.limit - r.small.limit
	r.advance()
}

// Stats is a Room at a moment.
type Stats struct {
	Limit   int64
	Held    int64
	Waiting int
	Refused uint64 // since New: requests that waited in vain and those that could never fit
}

// Stats returns the room as it is now.
func (r *Room) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Limit: r.limit, Held: r.small.used + r.large.used, Waiting: len(r.growing) +
		len(r.coming), Refused: r.refused}
}

// Reserve waits for room for bytes. The hold is nil with an error, which is
// ErrNoRoom wrapped with ctx's cause, or a *TooLargeError.
func (r *Room) Reserve(ctx context.Context, bytes int64) (*Hold, error) {
	h := &Hold{room: r, users: 1}
	r.mu.Lock()
	h.age = r.next
	r.next++
	r.mu.Unlock()
	if err := h.wait(ctx, bytes); err != nil {
		return nil, err
	}
	return h, nil
}

// Resize changes what h holds to bytes. Less is given back at once; more may
// have to be waited for, and with an error h holds what it held.
func (h *Hold) Resize(ctx context.Context, bytes int64) error {
	r := h.room
	r.mu.Lock()
	if bytes <= h.bytes {
		h.in.used -= h.bytes - bytes
		h.bytes = bytes
		r.advance()
		r.mu.Unlock()
		return nil
	}
	r.mu.Unlock()
	return h.wait(ctx, bytes)
}

// Bytes returns how much h holds.
func (h *Hold) Bytes() int64 {
	h.room.mu.Lock()
	defer h.room.mu.Unlock()
	return h.bytes
}

// Share keeps h held until the function that it returns was called, too.
func (h *Hold) Share() (release func()) {
	h.room.mu.Lock()
	defer h.room.mu.Unlock()
	h.users++
	return h.Release
}

// Release gives back everything, once all who share h have released it. It is
// called once by each.
func (h *Hold) Release() {
	r := h.room
	r.mu.Lock()
	defer r.mu.Unlock()
	h.users--
	switch {
	case h.users < 0:
		panic("memory: a hold was released twice")
	case h.users > 0:
		return
	}
	h.in.used -= h.bytes
	h.in.holds--
	h.in, h.bytes = nil, 0
	r.advance()
}

// wait gets h to bytes, which is more than it holds.
func (h *Hold) wait(ctx context.Context, bytes int64) error {
	r := h.room
	r.mu.Lock()
	if bytes > r.large.limit {
		r.refused++
		defer r.mu.Unlock()
		return &TooLargeError{Bytes: bytes, Limit: r.large.limit}
	}
	answer := make(chan error, 1)
	h.want, h.answer = bytes, answer
	if h.in != nil {
		h.in.growing++
		at, _ := slices.BinarySearchFunc(r.growing, h, func(a, b *Hold) int {
			if a.age < b.age {
				return -1
			}
			return 1
		})
		r.growing = slices.Insert(r.growing, at, h)
	} else {
		r.coming = append(r.coming, h)
	}
	r.advance()
	r.mu.Unlock()
	select {
	case err := <-answer:
		return err
	default:
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case err := <-answer: // it came while the context ended
		return err
	default:
	}
	r.leave(h)
	h.answer = nil
	r.refused++
	r.advance()
	return fmt.Errorf("%w: %w", ErrNoRoom, context.Cause(ctx))
}

// leave takes h out of the line in which it waits.
func (r *Room) leave(h *Hold) {
	line := &r.coming
	if h.in != nil {
		line = &r.growing
		h.in.growing--
	}
	if at := slices.Index(*line, h); at >= 0 {
		*line = slices.Delete(*line, at, at+1)
	}
}

// advance lets in whoever can go on, and resolves what would never go on.
func (r *Room) advance() {
	for {
		full := fullness{}
		r.growing = r.serve(r.growing, &full)
		r.coming = r.serve(r.coming, &full)
		if len(r.growing) == 0 || r.large.holds == 0 || r.large.growing < r.large.holds {
			return
		}
		// All who hold a part of the large pool wait for more of it.
		for _, h := range slices.Backward(r.growing) {
			if h.in == &r.large {
				r.leave(h)
				h.answer <- ErrNoRoom
				h.answer = nil
				r.refused++
				break
			}
		}
		// The refused one still holds its part until it is released, and is no
		// longer one that waits.
	}
}

// fullness says which pools somebody waits for already, whom nobody may pass.
type fullness struct{ small, large bool }

// serve lets in, from the front of a line, whoever fits, and returns the rest.
func (r *Room) serve(line []*Hold, full *fullness) []*Hold {
	if len(line) == 0 {
		return line
	}
	rest := line[:0]
	for i, h := range line {
		if full.small && full.large {
			rest = append(rest, line[i:]...)
			break
		}
		if !r.admit(h, full) {
			rest = append(rest, h)
		}
	}
	clear(line[len(rest):])
	return rest
}

// admit gives h what it wants, if that is there.
func (r *Room) admit(h *Hold, full *fullness) bool {
	isSmall := h.want <= min(maxSmall, r.small.limit/minSmall)
	switch {
	case isSmall && !full.small && r.fits(&r.small, h):
		r.grant(h, &r.small)
		return true
	case !full.large && r.fits(&r.large, h):
		r.grant(h, &r.large)
		return true
	}
	full.small = full.small || isSmall
	full.large = true
	return false
}

// fits reports whether p has room for what h wants, apart from what h has of p.
func (r *Room) fits(p *pool, h *Hold) bool {
	if h.in == p {
		return p.fits(h.want - h.bytes)
	}
	return p.fits(h.want)
}

// grant moves h to the size that it waits for, in p.
func (r *Room) grant(h *Hold, p *pool) {
	if h.in != nil {
		h.in.growing--
		h.in.holds--
		h.in.used -= h.bytes
	}
	p.holds++
	p.used += h.want
	h.in, h.bytes = p, h.want
	h.answer <- nil
	h.answer = nil
}
