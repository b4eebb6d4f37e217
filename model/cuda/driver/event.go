package driver

import (
	"time"
	"unsafe"
)

// Kinds of events.
const (
	eventWithTime    = 0
	eventWithoutTime = 2
)

func (c *Card) newEvent(kind uintptr) (uintptr, error) {
	var e uintptr
	err := c.call("cuEventCreate", c.lib.eventCreate, uintptr(unsafe.Pointer(&e)), kind)
	return e, err
}

// Event is a point among what was launched.
type Event struct {
	card *Card
	at   uintptr
}

// NewEvent returns an event to be recorded.
func (c *Card) NewEvent() (*Event, error) {
	e, err := c.newEvent(eventWithTime)
	return &Event{c, e}, err
}

// Record puts the event behind what was launched before.
func (e *Event) Record() error {
	return e.card.call("cuEventRecord", e.card.lib.eventRecord, e.at, e.card.stream)
}

// Since waits for the event and returns the time of the card since an earlier one.
func (e *Event) Since(earlier *Event) (time.Duration, error) {
	if err := e.card.call("cuEventSynchronize", e.card.lib.eventSynchronize, e.at); err != nil {
		return 0, err
	}
	var ms float32
	err := e.card.call("cuEventElapsedTime", e.card.lib.eventElapsed, uintptr(unsafe.Pointer(&ms)),
		earlier.at, e.at)
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

// Free gives the event back.
func (e *Event) Free() { _ = e.card.call("cuEventDestroy", e.card.lib.eventDestroy, e.at) }
