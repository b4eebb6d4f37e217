package score

import (
	"time"

	"github.com/warmserve/warmserve/server/batch"
)

// Step is a part of a request's time, for the spans of its trace.
type Step struct {
	// Name is tokenize; queue, until the first batch with its sequences starts; compute,
	// until the last one ends, with what it waits for between them; or room, the wait for
	// a place in a full queue or for a model.
	Name         string
	Began, Ended time.Time
	Lane         string        // that computes, where the lanes have steps of their own
	Device       string        // of compute
	Batches      int           // of compute
	Busy         time.Duration // of compute: the time of its batches
}

// maxSteps bounds the steps that are kept of one request, which a client that is made
// to wait often could have many of.
const maxSteps = 64

// step keeps a step where that is asked for.
func (c *Call) step(s Step) {
	if c.KeepSteps && len(c.Steps) < maxSteps {
		c.Steps = append(c.Steps, s)
	}
}

// computed keeps the steps of a submission to the queue, whatever came of it.
func (c *Call) computed(stats batch.Stats, lane, device string) {
	switch {
	case stats.Since.IsZero(): // the queue did not take it, or nothing was to be scored
	case stats.Batches == 0:
		c.step(Step{Name: "queue", Lane: lane, Began: stats.Since, Ended: time.Now()})
	default:
		c.step(Step{Name: "queue", Lane: lane, Began: stats.Since, Ended: stats.Began})
		c.step(Step{Name: "compute", Lane: lane, Device: device, Began: stats.Began, Ended: stats.Ended,
			Batches: stats.Batches, Busy: stats.Compute})
	}
}
