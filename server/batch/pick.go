package batch

import "time"

// lookahead is how many waiting sequences of a lane a batch considers beyond
// those it takes: enough to find short ones, few enough to be quick.
const lookahead = 512

// sliceTokens is about what a request is given at a time. Answers to one prompt
// stay together beyond it: the engine computes their prompt once a batch.
const sliceTokens = 1024

// picking is a batch while it is put together. The queue's lock is held.
type picking struct {
	q            *Queue
	l            *line
	maxTokens    int
	maxSequences int
	batch        *work
	passed       int     // sequences that did not fit
	paused       []*flow // of which nothing fits
}

// pick takes the next batch out of a line: the oldest sequence whatever its
// length, then, once that has waited beyond the patience, the oldest ones up to
// half of the batch, and then slices of the requests of each client in turn. It
// returns nil when nobody waits for any of them.
func (q *Queue) pick(l *line, now time.Time) *work {
	p := &picking{q: q, l: l, maxTokens: q.cfg.budget(l.lane.pace), maxSequences: q.sequences(l), batch: &work{lane: l.lane}}
	for l.first != nil && l.first.gone() {
		q.fail(l.first.req, errGone)
	}
	if l.first == nil {
		return nil
	}
	late := l.waiting(now) > q.cfg.Patience
	p.take(l.first)
	if late {
		p.takeOldest()
	}
	p.takeTurns()
	return p.batch
}

// open reports whether more may be looked for.
func (p *picking) open() bool {
	return len(p.batch.items) < p.maxSequences && p.batch.tokens < p.maxTokens && p.passed < lookahead
}

// take moves a sequence from the line to the batch and charges it to its
// request and client.
func (p *picking) take(it *item) {
	f := it.flow
	it.req.waiting--
	p.q.unlink(it)
	f.client.flows.charge(&f.share, it.tokens())
	p.l.clients.charge(&f.client.share, it.tokens())
	p.batch.items = append(p.batch.items, it)
	p.batch.tokens += it.tokens()
}

// takeOldest gives half of the batch to those that have waited longest.
func (p *picking) takeOldest() {
	for it := p.l.first; it != nil && p.open() && 2*len(p.batch.items) < p.maxSequences; {
		if it.gone() {
			p.q.fail(it.req, errGone)
			it = p.l.first
			continue
		}
		if 2*(p.batch.tokens+it.tokens()) > p.maxTokens {
			return
		}
		next := it.next
		p.take(it)
		it = next
	}
}

// takeTurns fills the batch with slices, each of the client that was given the
// least and of that client's request that was given the least.
func (p *picking) takeTurns() {
	for p.open() && p.l.clients.Len() > 0 {
		c := p.l.clients.choose().(*client)
		f := c.flows.choose().(*flow)
		switch {
		case f.first.gone():
			p.q.fail(f.first.req, errGone)
		case !p.slice(f):
			p.l.pause(f)
			p.paused = append(p.paused, f)
		}
	}
	for _, f := range p.paused {
		p.l.resume(f)
	}
}

// slice takes what fits of a request, up to about sliceTokens, and reports
// whether that was anything.
func (p *picking) slice(f *flow) bool {
	given := 0
	for it := f.first; it != nil && p.open() && (given < sliceTokens || it.joined); {
		next := it.behind
		if n := it.tokens(); p.batch.tokens+n <= p.maxTokens {
			given += n
			p.take(it)
		} else {
			p.passed++
		}
		it = next
	}
	return given > 0
}
